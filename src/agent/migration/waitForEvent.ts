/** Waiting for what a VMM does by itself: it tells of each change, so nobody has to ask again and again. */
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Qmp, QmpEvent } from '../qmp.ts';

const lookEveryMsDefault = 50;

export interface Patience {
  /** Milliseconds of `monotonicMs()`. */
  readonly until: number;
  readonly complaint: string;
  /** Looked at least this often: an event is a hint to look, and one may be lost with its connection. */
  readonly lookEveryMs?: number;
}

/**
 * Looks now, after each event of these names, and now and then besides, until `look` finds something. `DeadlineExceeded` with
 * `complaint` when it has found nothing in time; what `look` throws.
 */
export const waitForEvent = async <T>(
  monitor: Qmp,
  names: readonly string[],
  { until, complaint, lookEveryMs = lookEveryMsDefault }: Patience,
  look: () => Promise<T | undefined>,
): Promise<T> => {
  let seen = false;
  let wake = (): void => undefined;
  const onEvent = ({ name }: QmpEvent): void => {
    if (!names.includes(name)) return;
    seen = true;
    wake();
  };
  monitor.on('event', onEvent);
  try {
    for (;;) {
      seen = false;
      const found = await look();
      if (found !== undefined) return found;
      if (monotonicMs() >= until) throw new PandoError('DeadlineExceeded', complaint);
      if (seen) continue; // An event that came while we looked may not be in what we saw.
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, lookEveryMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  } finally {
    monitor.off('event', onEvent);
  }
};
