/** A transaction's effect on everything that a device holds, and the way back. Pure. */

import { z } from 'zod';
import { PandoError } from '#contracts/errors.ts';
import type { VpcPort } from '#contracts/network.ts';
import { digestOfAll } from '#contracts/network-digest.ts';
import {
  type DeviceObjects,
  type DeviceTransaction,
  type FleetBody,
  fleetBody,
  fleetId,
  networkObject,
  type ObjectChange,
  objectDigest,
  objectKind,
} from '#contracts/network-objects.ts';
import { changeObjects, describeObject, keyOf, type Objects, type ObjectVersions } from './objects.ts';
import { changeParts, type VpcParts } from './parts.ts';

/** What a transaction did to one object; what is not as it left it any more is not taken back. */
export const undoRecord = z.object({
  kind: objectKind,
  id: z.string(),
  vpcId: z.string().optional(),
  /** What it made of the object; absent: it removed it. */
  made: objectDigest.optional(),
  current: networkObject.optional(),
  previous: networkObject.optional(),
});
export type Undo = z.infer<typeof undoRecord>;

export interface Planned {
  readonly fleet: Objects;
  /** Those that the transaction is about. */
  readonly vpcs: ReadonlyMap<string, VpcParts>;
  readonly undo: readonly Undo[];
}

/** VPCs that a transaction is about. */
export const vpcsOf = ({ objects, places }: DeviceTransaction): string[] => [
  ...new Set([
    ...objects.flatMap(({ vpcId }) => (vpcId === undefined ? [] : [vpcId])),
    ...places.map(({ vpcId }) => vpcId),
  ]),
];

/** What a device has when a transaction comes. */
export interface HasNow {
  readonly fleet: Objects;
  parts(vpcId: string): VpcParts;
  /** Interfaces that are attached here, as they were attached. */
  attached(vpcId: string): Iterable<VpcPort>;
}

/** @throws as `changeObjects` does; nothing has changed then */
export const planTransaction = (
  { fleet, parts, attached }: HasNow,
  transaction: DeviceTransaction,
): Planned => {
  const { places, confirmWithinMs, transactionId } = transaction;
  const objects = withoutNeeded(transaction, parts, attached);
  if (confirmWithinMs !== undefined && (transactionId === undefined || places.some(isNotEmpty)))
    throw new PandoError(
      'InvalidParameterValue',
      'What is to be confirmed needs a transactionId, and changes no places: those are not taken back.',
    );
  const byVpc = Map.groupBy(objects, ({ vpcId }) => vpcId);
  for (const { kind, id } of byVpc.get(undefined) ?? [])
    if (kind !== 'fleet' || id !== fleetId)
      throw new PandoError('InvalidParameterValue', `${kind} ${id.slice(0, 80)} is a VPC's, and names none.`);
  const vpcs = vpcsOf(transaction).map((vpcId): [string, VpcParts] => {
    const changes = byVpc.get(vpcId) ?? [];
    const deltas = places.filter((delta) => delta.vpcId === vpcId);
    return [vpcId, changeParts(parts(vpcId), changes, deltas)];
  });
  const versionsBefore = ({ vpcId, ...of }: ObjectChange): ObjectVersions | undefined =>
    (vpcId === undefined ? fleet : parts(vpcId).objects).get(keyOf(of));
  return {
    fleet: changeObjects(fleet, byVpc.get(undefined) ?? []),
    vpcs: new Map(vpcs),
    undo: objects.map((change) => undoOf(change, versionsBefore(change))),
  };
};

/**
 * Whoever says that a group is not needed here any more may not know of a port that is being attached. The device does: it keeps the
 * groups of its own ports.
 */
const withoutNeeded = (
  { objects, places }: DeviceTransaction,
  parts: HasNow['parts'],
  attached: HasNow['attached'],
): readonly ObjectChange[] => {
  const isTrimmed = ({ kind, from, to }: ObjectChange): boolean =>
    kind === 'security-group' && to === undefined && from === undefined;
  const trimmed = new Set(objects.filter(isTrimmed).map(({ vpcId = '' }) => vpcId));
  if (trimmed.size === 0) return objects;
  const carried = new Set<string>();
  for (const vpcId of trimmed) {
    const known = parts(vpcId).places.entries;
    const told = new Map(
      places.flatMap((delta) => (delta.vpcId === vpcId ? delta.set : [])).map((port) => [port.eniId, port]),
    );
    for (const { eniId, groupIds } of attached(vpcId))
      for (const groupId of (told.get(eniId) ?? known.get(eniId)?.port ?? { groupIds }).groupIds)
        carried.add(groupId);
  }
  return objects.filter((change) => !isTrimmed(change) || !carried.has(change.id));
};

const isNotEmpty = ({ set, removed, gateway }: DeviceTransaction['places'][number]): boolean =>
  set.length + removed.length > 0 || gateway !== undefined;

const undoOf = ({ kind, id, vpcId, to }: ObjectChange, held: ObjectVersions | undefined): Undo => ({
  ...{ kind, id, vpcId, made: to?.digest },
  ...{ current: held?.current, previous: held?.previous },
});

/** The objects without what the transaction made of them. */
export const takeBack = (objects: Objects, undo: readonly Undo[]): Objects => {
  const after = new Map(objects);
  for (const { kind, id, made, current, previous } of undo) {
    const key = keyOf({ kind, id });
    if (objects.get(key)?.current?.digest !== made) continue;
    if (current === undefined && previous === undefined) after.delete(key);
    else after.set(key, { kind, id, current, previous });
  }
  return after;
};

const objectDigests = new WeakMap<Objects, string>();

/** Worked out once: a change makes another map. */
const digestOfObjects = (objects: Objects): string => {
  const known = objectDigests.get(objects);
  if (known !== undefined) return known;
  const made = digestOfAll(
    new Map(
      [...objects].flatMap(([key, { current }]) => (current === undefined ? [] : [[key, current.digest]])),
    ),
  );
  objectDigests.set(objects, made);
  return made;
};

/** What a device tells of itself. */
export const describeDevice = (fleet: Objects, vpcs: Iterable<VpcParts>): DeviceObjects => {
  const all = [...vpcs];
  const objects = [fleet, ...all.map((parts) => parts.objects)].flatMap((held) => [...held.values()]);
  return {
    objects: objects.map(describeObject),
    places: all.map(({ vpcId, places: { version, digest }, objects: held }) => ({
      ...{ vpcId, version, digest },
      objects: digestOfObjects(held),
    })),
  };
};

/** The installation's settings; none are known: empty. */
export const fleetOf = (fleet: Objects): FleetBody =>
  fleetBody.parse(fleet.get(keyOf({ kind: 'fleet', id: fleetId }))?.current?.body ?? {});
