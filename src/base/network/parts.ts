/** A VPC's state as its parts, and the parts as the whole document that the data path is worked out from. Pure. */
import type { z } from 'zod';
import type { VpcState } from '#contracts/network.ts';
import { digestOf } from '#contracts/network-digest.ts';
import {
  type NetworkObject,
  type ObjectKind,
  type PlacesDelta,
  securityGroupBody,
  subnetBody,
  vpcBody,
} from '#contracts/network-objects.ts';
import { encodeOnce } from '../rpc/json.ts';
import { changeObjects, keyOf, type Objects, type ObjectVersions } from './objects.ts';
import { Places } from './places.ts';

/** What is known of one VPC. Never changed in place. */
export interface VpcParts {
  readonly vpcId: string;
  readonly objects: Objects;
  readonly places: Places;
}

export const noParts = (vpcId: string): VpcParts => ({ vpcId, objects: new Map(), places: new Places() });

/**
 * The parts of a whole document; what is as it was `before` keeps its version and its digest. Objects that the document does not have
 * are not held any more.
 */
export const partsOf = (state: VpcState, before: VpcParts = noParts(state.vpcId)): VpcParts => {
  const objects = new Map(
    bodiesOf(state).map(({ kind, id, body }): [string, ObjectVersions] => {
      const key = keyOf({ kind, id });
      const held = before.objects.get(key);
      const current = objectOf(state, { kind, id, body }, held?.current);
      if (current === held?.current) return [key, held];
      return [key, { kind, id, current, previous: held?.current ?? held?.previous }];
    }),
  );
  return { vpcId: state.vpcId, objects, places: before.places.apply(placesOf(state)) };
};

const placesOf = ({ vpcId, version, ports, internetGateway }: VpcState): PlacesDelta => ({
  ...{ vpcId, version, complete: true, set: ports, removed: [] },
  gateway: internetGateway ?? null,
});

interface Body {
  readonly kind: ObjectKind;
  readonly id: string;
  readonly body: object;
}

const bodiesOf = (state: VpcState): Body[] => [
  { kind: 'vpc', id: state.vpcId, body: settingsOf(state) },
  ...state.subnets.map(({ subnetId, ...body }): Body => ({ kind: 'subnet', id: subnetId, body })),
  ...state.groups.map(
    ({ groupId, ingress, egress }): Body => ({
      kind: 'security-group',
      id: groupId,
      body: { ingress, egress },
    }),
  ),
];

const settingsOf = ({ vpcId, version, subnets, groups, ports, internetGateway, ...settings }: VpcState) =>
  settings;

const objectOf = (
  { vpcId, version }: VpcState,
  { kind, id, body }: Body,
  before: NetworkObject | undefined,
): NetworkObject => {
  if (before !== undefined && sameBody(kind, before.body, body)) return before;
  const digest = digestOf({ kind, id, body });
  if (before?.digest === digest) return before;
  return encodeOnce({ kind, id, vpcId, version, digest, body });
};

/** Cheap, and never wrongly true: who compiles a group anew keeps the lists of rules that have not changed. */
const sameBody = (kind: ObjectKind, before: unknown, after: object): boolean => {
  if (kind !== 'security-group') return JSON.stringify(before) === JSON.stringify(after);
  const [a, b] = [before, after] as Partial<{ ingress: unknown; egress: unknown }>[];
  return a?.ingress === b?.ingress && a?.egress === b?.egress;
};

/** Whether the VPC's settings are there: without them nothing can be made of the rest. */
export const isDeclared = ({ vpcId, objects }: VpcParts): boolean =>
  objects.get(keyOf({ kind: 'vpc', id: vpcId }))?.current !== undefined;

/** Bodies as they were read once. */
const bodies = new WeakMap<NetworkObject, unknown>();
const bodyOf = <T>(object: NetworkObject, shape: z.ZodType<T>): T => {
  // A kind has one shape, which this object's body was read by.
  if (bodies.has(object)) return bodies.get(object) as T;
  const body = shape.parse(object.body);
  bodies.set(object, body);
  return body;
};

const states = new WeakMap<VpcParts, VpcState>();

/** The whole document; undefined: the VPC's settings are not there. */
export const stateOf = (parts: VpcParts): VpcState | undefined => {
  const known = states.get(parts);
  if (known !== undefined) return known;
  const made = assemble(parts);
  if (made !== undefined) states.set(parts, encodeOnce(made));
  return made;
};

const assemble = ({ vpcId, objects, places }: VpcParts): VpcState | undefined => {
  const settings = objects.get(keyOf({ kind: 'vpc', id: vpcId }))?.current;
  if (settings === undefined) return undefined;
  const subnets: VpcState['subnets'] = [];
  const groups: VpcState['groups'] = [];
  for (const { kind, id, current } of objects.values()) {
    if (current === undefined) continue;
    if (kind === 'subnet') subnets.push({ subnetId: id, ...bodyOf(current, subnetBody) });
    if (kind === 'security-group') groups.push({ groupId: id, ...bodyOf(current, securityGroupBody) });
  }
  const { gateway, version, entries } = places;
  return {
    ...bodyOf(settings, vpcBody),
    ...{ vpcId, version: Math.max(1, version), subnets, groups },
    ports: [...entries.values()].map(({ port }) => port),
    ...(gateway === undefined ? {} : { internetGateway: gateway }),
  };
};

/** The parts after a transaction's objects and places of this VPC; the same if it says nothing new. @throws as {@link changeObjects} */
export const changeParts = (
  parts: VpcParts,
  changes: Parameters<typeof changeObjects>[1],
  deltas: readonly PlacesDelta[],
): VpcParts => {
  const objects = changeObjects(parts.objects, changes);
  const places = deltas.reduce((known, delta) => known.apply(delta), parts.places);
  if (objects === parts.objects && places === parts.places) return parts;
  return { vpcId: parts.vpcId, objects, places };
};
