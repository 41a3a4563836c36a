/** What fits where, for people: how many more of each type, tiered, and why a type fits nowhere. Reads the map, changes nothing. */
import { type Amount, countOf, type Dimension, dimensionNames, minus } from './amount.ts';
import { type Needs, type Obstacle, obstacleOf } from './constraints.ts';
import { potentialSlots } from './potential.ts';
import type { Fitness, HostFacts, SlotMap } from './slot-map.ts';

export interface SizedType {
  readonly type: string;
  readonly amount: Amount;
}

export interface TypeCapacity {
  readonly type: string;
  /** How many more of it there is room for, if nothing else comes. */
  readonly more: number;
  /** Hosts that have room for one. */
  readonly hosts: number;
  /** Actual slots: what the best mix promises beside those of other types. */
  readonly actual: number;
  /** When the biggest types come first, as many of each as fit: this many. */
  readonly tiered: number;
}

const bigger = (a: SizedType, b: SizedType): number =>
  b.amount.vcpusMilli - a.amount.vcpusMilli ||
  b.amount.memoryMib - a.amount.memoryMib ||
  (a.type < b.type ? -1 : 1);

/** Of a host of which one dimension counts and this type asks for none, more would fit than anybody can start. */
const countMax = 1_000_000;

/** How many more of each type, in the order in which they are given. */
export const capacityOf = (map: SlotMap, types: readonly SizedType[], fitness: Fitness): TypeCapacity[] => {
  const bySize = [...types].sort(bigger);
  const sums = new Map(types.map(({ type }) => [type, { more: 0, hosts: 0, actual: 0, tiered: 0 }]));
  for (const host of map.hosts()) {
    if (!host.open) continue;
    const free = map.free(host.hostId);
    const mix = map.mixOf(host.hostId);
    if (free === undefined || mix === undefined) continue;
    let left = free;
    for (const { type, amount } of bySize) {
      const sum = sums.get(type);
      if (sum === undefined || fitness(host, type) <= 0) continue;
      const more = Math.min(countMax, countOf(free, amount));
      const tiered = Math.min(countMax, countOf(left, amount));
      left = minus(left, amount, tiered);
      sum.more += more;
      sum.tiered += tiered;
      if (more > 0) sum.hosts++;
    }
    for (const [at, { type }] of mix.types.entries()) {
      const sum = sums.get(type);
      if (sum !== undefined) sum.actual += mix.counts[at] ?? 0;
    }
  }
  return types.map(({ type }) => ({
    type,
    ...(sums.get(type) ?? { more: 0, hosts: 0, actual: 0, tiered: 0 }),
  }));
};

export interface HostSlots {
  readonly hostId: string;
  readonly open: boolean;
  readonly free: Amount;
  readonly actual: readonly { readonly type: string; readonly count: number }[];
  /** What could be made instead, and of which actual slots. */
  readonly potential: readonly {
    readonly type: string;
    readonly of: readonly { readonly type: string; readonly count: number }[];
  }[];
}

const counted = (types: readonly SizedType[], counts: readonly number[]) =>
  types.flatMap(({ type }, at) => ((counts[at] ?? 0) > 0 ? [{ type, count: counts[at] ?? 0 }] : []));

/** The slots of one host; undefined: it is not known. */
export const slotsOf = (map: SlotMap, hostId: string): HostSlots | undefined => {
  const facts = map.host(hostId);
  const free = map.free(hostId);
  const mix = map.mixOf(hostId);
  if (facts === undefined || free === undefined || mix === undefined) return undefined;
  return {
    hostId,
    open: facts.open,
    free,
    actual: counted(mix.types, mix.counts),
    potential: potentialSlots(mix).map(({ type, pieces }) => ({ type, of: counted(mix.types, pieces) })),
  };
};

export interface Lack {
  readonly dimension: Dimension;
  readonly free: number;
  readonly asked: number;
}

export interface HostVerdict {
  readonly hostId: string;
  /** What there is too little of. */
  readonly lacks: readonly Lack[];
  /** It takes no new VMs. */
  readonly closed: boolean;
  /** Adverse reports: 0 where they have withdrawn the type there. */
  readonly fitness: number;
  /** The constraint that excludes it. */
  readonly obstacle?: Obstacle;
  readonly fits: boolean;
}

export interface ExplainRequest extends SizedType {
  readonly needs?: Needs;
  readonly fitness: Fitness;
  readonly max: number;
}

const lacksOf = (free: Amount, amount: Amount): Lack[] =>
  dimensionNames.flatMap((dimension) =>
    amount[dimension] > 0 && amount[dimension] > free[dimension]
      ? [{ dimension, free: free[dimension], asked: amount[dimension] }]
      : [],
  );

/** How far a host is from having room: each lack as a part of what is asked for. */
const distance = ({ lacks, closed, fitness, obstacle }: HostVerdict): number =>
  lacks.reduce((sum, { free, asked }) => sum + (asked - free) / asked, 0) +
  (closed ? 4 : 0) +
  (fitness <= 0 ? 2 : 0) +
  (obstacle === undefined ? 0 : 8);

/** Why a type fits nowhere, or where it does: the nearest hosts first, with what each lacks. */
export const explain = (
  map: SlotMap,
  { type, amount, needs = {}, fitness, max }: ExplainRequest,
): HostVerdict[] =>
  map
    .hosts()
    .map((host) => verdictOf(map, host, { type, amount, needs, fitness }))
    .sort((a, b) => distance(a) - distance(b) || (a.hostId < b.hostId ? -1 : 1))
    .slice(0, max);

const verdictOf = (
  map: SlotMap,
  host: HostFacts,
  { type, amount, needs, fitness }: Required<Omit<ExplainRequest, 'max'>>,
): HostVerdict => {
  const lacks = lacksOf(map.free(host.hostId) ?? host.limit, amount);
  const obstacle = obstacleOf(host, needs);
  const fit = fitness(host, type);
  const fits = lacks.length === 0 && host.open && fit > 0 && obstacle === undefined;
  return {
    ...{ hostId: host.hostId, lacks, closed: !host.open, fitness: fit, fits },
    ...(obstacle === undefined ? {} : { obstacle }),
  };
};
