/** Rollouts that overlap (S8.5), and what a device should have by now. */
import type { World } from './orders.ts';
import type { DeviceRecord, RolloutRecord, Transition } from './record.ts';
import type { RolloutRun } from './run.ts';

/** `fleet/fleet`: objects are told apart by kind and id. */
export const objectKey = ({ kind, id }: Pick<Transition, 'kind' | 'id'>): string => `${kind}/${id}`;

const shareAnObject = (a: RolloutRecord, b: RolloutRecord): boolean => {
  const keys = new Set(a.transitions.map(objectKey));
  return b.transitions.some((transition) => keys.has(objectKey(transition)));
};

/** The digest that the device should have of an object by now; undefined: none. `owed`: it is known not to have it yet. */
export interface Desired {
  digest(deviceId: string, key: string): string | undefined;
  owed(deviceId: string, key: string): boolean;
}

/**
 * Whether it is this rollout's turn at a device. Of rollouts that share an object, the one that was submitted first has all its devices
 * until it has ended: so no two ever change the same object of a device, and none waits for one that waits for it.
 */
export const turnOf = (
  run: Pick<RolloutRun, 'record'>,
  deviceId: string,
  others: readonly Pick<RolloutRun, 'record' | 'devices' | 'ended'>[],
  desired: Desired,
): ReturnType<World['turn']> => {
  const { record } = run;
  const earlier = others.filter(
    (other) => !other.ended && other.record.seq < record.seq && shareAnObject(other.record, record),
  );
  if (earlier.some(({ devices }) => devices.get(deviceId) !== undefined)) return 'wait';
  const keys = record.transitions.map(objectKey);
  const isStale = record.transitions.some(
    (transition, at) => desired.digest(deviceId, keys[at] ?? '') !== transition.from?.digest,
  );
  if (isStale) return 'stale';
  return keys.some((key) => desired.owed(deviceId, key)) ? 'owed' : 'go';
};

/**
 * Which state of the rollout a device should have by now. `busy`: the rollout is at it, nobody else may touch these objects.
 * undefined: the rollout has no say.
 */
export const sayOf = (
  { phase }: Pick<RolloutRecord, 'phase'>,
  { state, touched }: DeviceRecord,
): 'first' | 'second' | 'busy' | undefined => {
  if (state === 'gone' || phase === 'refused') return undefined;
  if (phase === 'done') return state === 'drifted' ? undefined : 'second';
  if (phase === 'rolled-back') return touched === undefined || state === 'drifted' ? undefined : 'first';
  if (state === 'confirmed' && phase !== 'rolling-back') return 'second';
  if (state === 'reverted') return 'first';
  return touched === undefined ? undefined : 'busy';
};
