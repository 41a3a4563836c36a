/** This device's position: asked for after it was explained, signed, and told to the server while a page is open. */
import { ApiError, call } from './api.ts';
import type { AnswerOf } from './contract.ts';
import { ensureDevice } from './device.ts';
import { signedMessage } from './signing.ts';
import { store } from './store.ts';

const fixMsMax = 8_000;
const fixAgeMsMax = 5_000;
const reportEveryMs = 30_000;
/** After one that did not work. */
const againMs = 4_000;
const accuracyM = { min: 1, max: 50_000 } as const;

export interface LocationState {
  /** As the browser has it. `unsupported`: it has no positions to give. */
  readonly permission: 'unknown' | 'prompt' | 'granted' | 'denied' | 'unsupported';
  readonly last?: {
    readonly at: number;
    readonly accuracyM: number;
    readonly standing: 'trusted' | 'suspect';
  };
  /** Why the last try did not work, for people. */
  readonly problem?: string;
}

export const whereabouts = store<LocationState>({ permission: 'unknown' });
const note = (change: Partial<LocationState>): void => whereabouts.set({ ...whereabouts.get(), ...change });

/** Learns what the browser allows, without asking anybody. */
export async function watchPermission(): Promise<void> {
  if (!('geolocation' in navigator)) return note({ permission: 'unsupported' });
  const status = await navigator.permissions.query({ name: 'geolocation' });
  note({ permission: status.state });
  status.onchange = () => note({ permission: status.state });
}

const position = (): Promise<GeolocationPosition> =>
  new Promise((resolve, reject) =>
    navigator.geolocation.getCurrentPosition(resolve, reject, {
      enableHighAccuracy: true,
      timeout: fixMsMax,
      maximumAge: fixAgeMsMax,
    }),
  );

/** Measures, signs and sends. The browser asks its user where it has not yet. False: it did not work, and `problem` says why. */
export async function reportNow(personId: string): Promise<boolean> {
  try {
    const { coords, timestamp } = await position();
    const fix = {
      // A browser cannot tell what its platform used.
      source: 'fused',
      position: { latitude: coords.latitude, longitude: coords.longitude },
      accuracyM: Math.min(accuracyM.max, Math.max(accuracyM.min, coords.accuracy)),
      at: Math.min(Math.round(timestamp), Date.now()),
    };
    const device = await ensureDevice(personId);
    const message = await signedMessage(device, 'location.report', { fixes: [fix] });
    const receipt: AnswerOf<'report'> = await call('report', message as Parameters<typeof call<'report'>>[1]);
    note({
      permission: 'granted',
      problem: undefined,
      last: { at: Date.now(), accuracyM: fix.accuracyM, standing: receipt.standing },
    });
    return true;
  } catch (error) {
    note({ problem: problemOf(error) });
    if (error instanceof GeolocationPositionError && error.code === error.PERMISSION_DENIED)
      note({ permission: 'denied' });
    return false;
  }
}

function problemOf(error: unknown): string {
  if (error instanceof GeolocationPositionError)
    return error.code === error.TIMEOUT ? 'The position took too long.' : 'There is no position right now.';
  if (error instanceof ApiError) return error.message;
  return 'The position could not be sent.';
}

/** Reports while the page is seen and the browser allows it; the answer ends that. `after` runs after each report. */
export function keepReporting(personId: string, after: () => void): () => void {
  let isBusy = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tick = async (): Promise<void> => {
    if (isBusy || document.visibilityState !== 'visible' || whereabouts.get().permission !== 'granted')
      return;
    isBusy = true;
    const isDone = await reportNow(personId);
    isBusy = false;
    if (isOver) return;
    if (isDone) after();
    clearTimeout(timer);
    timer = setTimeout(() => void tick(), isDone ? reportEveryMs : againMs);
  };
  let isOver = false;
  void tick();
  const seen = (): void => void tick();
  document.addEventListener('visibilitychange', seen);
  return () => {
    isOver = true;
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', seen);
  };
}
