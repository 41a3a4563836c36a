/**
 * What a change would do to the kernels of its devices (S8.2): each is asked, those that answer the same are shown once. Devices of the first
 * wave are asked first. Never throws: a device that does not say is shown with why.
 */
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { KernelPreview } from '#contracts/kernel-preview.ts';
import type { DeviceTransaction } from '#contracts/network-objects.ts';
import type { KernelShown } from '#contracts/rollout.ts';
import type { Transition } from '#rollout/record.ts';
import type { Database } from '../schema.ts';
import { changeOf } from './device-orders.ts';
import type { Fleet } from './fleet.ts';
import { loadDevices, loadRollout } from './store.ts';
import { unknownRollout } from './views.ts';

/** Devices that are asked; the rest is counted. */
export const previewedMax = 256;
const previewsAtOnce = 16;
/** No further device is asked then. */
const previewMsMax = 8_000;
/** Differences in an answer, and devices that are named with each. */
const shownMax = 64;
const namedMax = 16;
const whyCharsMax = 300;

type Reply = { readonly deviceId: string } & (
  | { readonly preview: KernelPreview }
  | { readonly preview?: never; readonly why: string }
);

export const previewKernel = async (
  fleet: Fleet,
  deviceIds: readonly string[],
  transitions: readonly Transition[],
): Promise<KernelShown> => {
  const transaction: DeviceTransaction = {
    objects: transitions.map((each) => changeOf(each, each.from?.digest, each.to)),
    places: [],
  };
  const asked = deviceIds.slice(0, previewedMax);
  const until = monotonicMs() + previewMsMax;
  const replies: Reply[] = [];
  const queue = [...asked];
  const worker = async (): Promise<void> => {
    for (let deviceId = queue.shift(); deviceId !== undefined; deviceId = queue.shift())
      replies.push(
        monotonicMs() < until
          ? await ask(fleet, deviceId, transaction)
          : { deviceId, why: 'There was no time left to ask it.' },
      );
  };
  await Promise.all(Array.from({ length: previewsAtOnce }, worker));
  const order = new Map(asked.map((deviceId, at) => [deviceId, at]));
  replies.sort((a, b) => (order.get(a.deviceId) ?? 0) - (order.get(b.deviceId) ?? 0));
  return shown(replies, deviceIds.length - asked.length);
};

const ask = async (fleet: Fleet, deviceId: string, transaction: DeviceTransaction): Promise<Reply> => {
  const device = fleet.device(deviceId);
  if (device === undefined || !fleet.reachable(deviceId))
    return { deviceId, why: 'It cannot be reached now.' };
  if (device.preview === undefined) return { deviceId, why: 'It does not say.' };
  try {
    return { deviceId, preview: await device.preview(transaction) };
  } catch (error) {
    return { deviceId, why: whyOf(error) };
  }
};

const whyOf = (error: unknown): string => {
  const { code, message, details } = PandoError.from(error);
  const has = details?.has === undefined ? '' : ` It has ${details.has}`;
  return `${code === 'Conflict' ? 'It would refuse: ' : ''}${message}${has}`.slice(0, whyCharsMax);
};

/** The same difference once, with the devices that have it. */
const shown = (replies: readonly Reply[], notAsked: number): KernelShown => {
  const found = replies.flatMap(({ deviceId, preview }) =>
    (preview?.differences ?? []).map((difference) => ({ deviceId, difference })),
  );
  const same = Map.groupBy(found, ({ difference: { vpcIds, lines, more } }) =>
    JSON.stringify([vpcIds.length === 0, lines, more]),
  );
  const differences = [...same.values()].map((each) => ({
    devices: [...new Set(each.map(({ deviceId }) => deviceId))],
    vpcIds: [...new Set(each.flatMap(({ difference }) => difference.vpcIds))],
    namespaces: each.reduce((sum, { difference }) => sum + difference.namespaces, 0),
    lines: each[0]?.difference.lines ?? [],
    more: each[0]?.difference.more ?? 0,
  }));
  const unchanged = replies.flatMap(({ deviceId, preview }) =>
    preview?.differences.length === 0 ? [deviceId] : [],
  );
  const unsaid = replies.flatMap((each) => (each.preview === undefined ? [each] : []));
  const byWhy = [...Map.groupBy(unsaid, ({ why }) => why)];
  return {
    differences: differences.slice(0, shownMax).map(({ devices, vpcIds, ...rest }) => ({
      ...{ ...rest, devices: devices.slice(0, namedMax), deviceCount: devices.length },
      vpcIds: vpcIds.slice(0, namedMax),
    })),
    more:
      Math.max(0, differences.length - shownMax) +
      replies.reduce((sum, { preview }) => sum + (preview?.more ?? 0), 0),
    unchanged: unchanged.length,
    unsaid: byWhy.slice(0, shownMax).map(([why, devices]) => ({
      ...{ why, deviceCount: devices.length },
      devices: devices.slice(0, namedMax).map(({ deviceId }) => deviceId),
    })),
    notAsked,
  };
};

/** Of a rollout that there is, for all of its devices or one. @throws NotFound */
export const diffOfRollout = async (
  db: Database,
  fleet: Fleet,
  { rolloutId, deviceId }: { readonly rolloutId: string; readonly deviceId?: string | undefined },
): Promise<KernelShown> => {
  const record = await loadRollout(db, rolloutId);
  if (record === undefined) throw unknownRollout(rolloutId);
  const all = (await loadDevices(db, rolloutId)).map((device) => device.deviceId);
  if (deviceId !== undefined && !all.includes(deviceId))
    throw new PandoError('NotFound', `${deviceId} is no device of ${rolloutId}.`);
  return previewKernel(fleet, deviceId === undefined ? all : [deviceId], record.transitions);
};
