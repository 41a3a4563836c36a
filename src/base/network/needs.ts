/** Who needs which objects of a VPC, and what leads from what a device has to what it needs. Pure. */
import { PandoError } from '#contracts/errors.ts';
import type { VpcPort } from '#contracts/network.ts';
import { digestOfAll } from '#contracts/network-digest.ts';
import {
  type DeviceObjects,
  type NetworkObject,
  type ObjectChange,
  objectKind,
  type PlacesDelta,
} from '#contracts/network-objects.ts';
import { encodeOnce } from '../rpc/json.ts';
import { keyOf } from './objects.ts';
import type { VpcParts } from './parts.ts';
import type { Places } from './places.ts';

/** Groups that some of these interfaces carry. Of a group that their rules refer to, the members are known by their places. */
export const groupsCarried = (
  { places }: VpcParts,
  isOwn: (port: VpcPort) => boolean,
): ReadonlySet<string> => {
  const carried = new Set<string>();
  for (const { port } of places.entries.values())
    if (isOwn(port)) for (const groupId of port.groupIds) carried.add(groupId);
  return carried;
};

const byCard = new WeakMap<Places, ReadonlyMap<string, ReadonlySet<string>>>();

/** The groups that the interfaces of each card carry, by the card's end of the tunnels. */
export const groupsByCard = ({ places }: VpcParts): ReadonlyMap<string, ReadonlySet<string>> => {
  const known = byCard.get(places);
  if (known !== undefined) return known;
  const made = new Map<string, Set<string>>();
  for (const { port } of places.entries.values()) {
    if (port.vtep === undefined) continue;
    const carried = made.get(port.vtep) ?? new Set();
    made.set(port.vtep, carried);
    for (const groupId of port.groupIds) carried.add(groupId);
  }
  byCard.set(places, made);
  return made;
};

/** The objects for a device whose interfaces carry these groups: the VPC's settings, all its subnets, and those groups. */
export const objectsFor = (parts: VpcParts, groupIds: ReadonlySet<string>): NetworkObject[] =>
  [...parts.objects.values()].flatMap(({ kind, id, current }) =>
    current === undefined || (kind === 'security-group' && !groupIds.has(id)) ? [] : [current],
  );

/** What is known of what a device has of one VPC. */
export interface Known {
  /** Digests by `keyOf`. */
  readonly objects: ReadonlyMap<string, string>;
  /** As a value that the device was brought to, or as the digest that it told. */
  readonly places: Places | { readonly digest: string } | undefined;
}

/** A device that has nothing, or of which nothing is known. */
export const nothingKnown: Known = { objects: new Map(), places: undefined };

/** What a device told of one VPC. */
export const knownOf = (vpcId: string, { objects, places }: DeviceObjects): Known => ({
  objects: new Map(
    objects.flatMap((held): [string, string][] =>
      held.vpcId === vpcId && held.current !== undefined ? [[keyOf(held), held.current.digest]] : [],
    ),
  ),
  places: places.find((held) => held.vpcId === vpcId),
});

/**
 * What is known of what a device has after it was told a change and has answered which of these objects it has now. undefined: it has other
 * objects than that, as somebody else changed them: what it has must be asked.
 */
export const knownAfter = (
  { objects: before }: Known,
  change: Difference,
  told: DeviceObjects,
): ReadonlyMap<string, string> | undefined => {
  const { vpcId } = change.places;
  const after = new Map(before);
  for (const each of change.objects) after.delete(keyOf(each));
  for (const { kind, id, vpcId: of, current } of told.objects)
    if (of === vpcId && current !== undefined) after.set(keyOf({ kind, id }), current.digest);
  const digest = told.places.find((held) => held.vpcId === vpcId)?.objects;
  return digest === undefined || digest === digestOfAll(after) ? after : undefined;
};

export interface Difference {
  readonly objects: readonly ObjectChange[];
  readonly places: PlacesDelta;
}

/** What brings a device to `wanted` and to the places of `parts`; undefined: it is there. */
export const difference = (
  has: Known,
  parts: VpcParts,
  wanted: readonly NetworkObject[],
): Difference | undefined => {
  const { vpcId } = parts;
  const keys = new Set(wanted.map(keyOf));
  const set = wanted.filter((object) => has.objects.get(keyOf(object)) !== object.digest).map(newest);
  const gone = [...has.objects.keys()].filter((key) => !keys.has(key)).map(removalOf(vpcId));
  const places = placesDifference(parts, has.places);
  const isThere = set.length + gone.length === 0 && isEmpty(places);
  return isThere ? undefined : { objects: [...set, ...gone], places };
};

const changes = new WeakMap<NetworkObject, ObjectChange>();

/** Whatever the device has: this, unless it has a newer one. Made once for all that are told it. */
const newest = (object: NetworkObject): ObjectChange => {
  const known = changes.get(object);
  if (known !== undefined) return known;
  const { kind, id, vpcId } = object;
  const made = encodeOnce({ kind, id, vpcId, to: object });
  changes.set(object, made);
  return made;
};

const placesDifference = ({ vpcId, places }: VpcParts, has: Known['places']): PlacesDelta => {
  const { version } = places;
  if (has !== undefined && 'entries' in has) return places.since(vpcId, has);
  return has?.digest === places.digest
    ? { vpcId, version, set: [], removed: [] }
    : places.since(vpcId, undefined);
};

const isEmpty = ({ complete, set, removed, gateway }: PlacesDelta): boolean =>
  !complete && set.length + removed.length === 0 && gateway === undefined;

const removalOf =
  (vpcId: string) =>
  (key: string): ObjectChange => {
    const at = key.indexOf('/');
    return { kind: objectKind.parse(key.slice(0, at)), id: key.slice(at + 1), vpcId };
  };

/**
 * A port without the rules of its groups lets nothing pass: whoever brings it must have told of them. As for a VPC that is not known here,
 * so that it is told again: others may have said meanwhile that they are not needed here any more.
 *
 * @throws InvalidVpcID.NotFound
 */
export const assertGroups = ({ vpcId, objects }: VpcParts, { eniId, groupIds }: VpcPort): void => {
  const lacking = groupIds.find(
    (id) => objects.get(keyOf({ kind: 'security-group', id }))?.current === undefined,
  );
  if (lacking !== undefined)
    throw new PandoError(
      'InvalidVpcID.NotFound',
      `${vpcId} has not been declared to this device with ${lacking}, a group of ${eniId}.`,
    );
};
