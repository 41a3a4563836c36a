/** Policy objects that a device holds, and a transaction's effect on them. Pure: nothing is changed in place. */
import { PandoError } from '#contracts/errors.ts';
import { digestOf } from '#contracts/network-digest.ts';
import {
  type NetworkObject,
  type ObjectChange,
  type ObjectKind,
  type ObjectOnDevice,
  objectBodies,
} from '#contracts/network-objects.ts';

export interface ObjectVersions {
  readonly kind: ObjectKind;
  readonly id: string;
  readonly current: NetworkObject | undefined;
  /** What it can go back to. */
  readonly previous: NetworkObject | undefined;
}

/** By {@link keyOf}. */
export type Objects = ReadonlyMap<string, ObjectVersions>;

export const keyOf = ({ kind, id }: { readonly kind: ObjectKind; readonly id: string }): string =>
  `${kind}/${id}`;

const refOf = (
  object: NetworkObject | undefined,
): { readonly version: number; readonly digest: string } | undefined =>
  object && { version: object.version, digest: object.digest };

/** As it is told to whoever asks what a device has. */
export const describeObject = ({ kind, id, current, previous }: ObjectVersions): ObjectOnDevice => ({
  ...{ kind, id, vpcId: (current ?? previous)?.vpcId },
  ...{ current: refOf(current), previous: refOf(previous) },
});

/**
 * The objects after these changes; the same map if they change nothing. Without a first state, what is newer stays.
 *
 * @throws Conflict when a first state is not what is held (drift); InvalidParameterValue for a body that is none
 */
export const changeObjects = (objects: Objects, changes: readonly ObjectChange[]): Objects => {
  let after: Map<string, ObjectVersions> | undefined;
  for (const change of changes) {
    const key = keyOf(change);
    const held = (after ?? objects).get(key);
    const next = changed(held, change);
    if (next === held) continue;
    after ??= new Map(objects);
    if (next === undefined) after.delete(key);
    else after.set(key, next);
  }
  return after ?? objects;
};

/** undefined: it is not held any more. */
const changed = (held: ObjectVersions | undefined, change: ObjectChange): ObjectVersions | undefined => {
  const { kind, id, from, to } = change;
  const current = held?.current;
  if (to !== undefined) checkObject(change, to);
  // Also when its answer was lost and it is repeated.
  if (to?.digest === current?.digest) return seenLater(held, to);
  if (from !== undefined && from !== (current?.digest ?? null)) throw drift(change, held);
  if (to === undefined) return from === undefined ? undefined : { kind, id, current: to, previous: current };
  if (from === undefined && current !== undefined && current.version > to.version) return held;
  return { kind, id, current: to, previous: current ?? held?.previous };
};

/** The same content under a later version: an older one must not replace it. */
const seenLater = (
  held: ObjectVersions | undefined,
  to: NetworkObject | undefined,
): ObjectVersions | undefined => {
  if (held?.current === undefined || to === undefined || to.version <= held.current.version) return held;
  return { ...held, current: { ...held.current, version: to.version } };
};

const drift = ({ kind, id, from }: ObjectChange, held: ObjectVersions | undefined): PandoError =>
  new PandoError(
    'Conflict',
    `${kind} ${id} is ${held?.current?.digest ?? 'not'} here, not ${from ?? 'absent'}: it has drifted.`,
    { details: { has: JSON.stringify(held === undefined ? { kind, id } : describeObject(held)) } },
  );

const checkObject = (change: ObjectChange, to: NetworkObject): void => {
  const { kind, id } = change;
  const refuse = (why: string): PandoError =>
    new PandoError('InvalidParameterValue', `${kind} ${id.slice(0, 80)}: ${why}`);
  if (to.kind !== kind || to.id !== id || to.vpcId !== change.vpcId)
    throw refuse('what it is to become is another object.');
  if (kind === 'network-acl' || kind === 'gateway') throw refuse('this device takes none of its kind.');
  const parsed = objectBodies[kind].safeParse(to.body);
  if (!parsed.success) throw refuse(parsed.error.issues[0]?.message ?? 'its body is not right.');
  if (digestOf(to) !== to.digest) throw refuse('its digest is not that of its body.');
};
