/**
 * VMs that come and go, and ways of placing them, for the packing part of bench/capacity.ts.
 *
 * The generator is no trace. It has the shape that is published of Azure's traces (the packing trace of 2020 is what placement is usually
 * judged by): types are fractions of a machine, with several ratios of memory to cores; most VMs are small; a few are a half or a whole
 * machine; most live for minutes or hours, and the few that live for weeks are most of what is allocated at any time.
 */
import { type Amount, countOf, fits, minus, nothing, plus } from '#slots/amount.ts';
import type { DemandedType } from '#slots/demand.ts';
import { determine } from '#slots/mix.ts';
import { type HostFacts, SlotMap } from '#slots/slot-map.ts';
import { seeded } from '../../test/slots/support.ts';

const cores = 64;
const memoryGib = 256;

const size = (vcpus: number, gib: number): Amount => ({
  vcpusMilli: vcpus * 1_000,
  memoryMib: gib * 1_024,
  diskMib: 0,
  networkMbps: 0,
});

/** Cores, GiB, and how many of a hundred VMs are of it. */
const shares: readonly (readonly [number, number, number])[] = [
  [1, 2, 12],
  [1, 4, 6],
  [2, 4, 20],
  [2, 8, 20],
  [2, 16, 4],
  [4, 8, 8],
  [4, 16, 10],
  [4, 32, 3],
  [8, 16, 4],
  [8, 32, 5],
  [8, 64, 2],
  [16, 64, 3],
  [16, 128, 1],
  [32, 128, 1.5],
  [64, 256, 0.5],
];
const shareSum = shares.reduce((sum, [, , share]) => sum + share, 0);

export const packingTypes: readonly DemandedType[] = shares
  .map(([vcpus, gib, share]) => ({
    type: `${vcpus}c${gib}g`,
    amount: size(vcpus, gib),
    weight: share / shareSum,
  }))
  .sort((a, b) => b.weight - a.weight);

export const packingHost: Amount = size(cores, memoryGib);

export interface Arrival {
  readonly at: number;
  readonly ends: number;
  readonly type: DemandedType;
}

const lifetimes: readonly (readonly [share: number, hours: number])[] = [
  [0.6, 0.5],
  [0.3, 5],
  [0.1, 100],
];

const exponential = (random: () => number, mean: number): number => -Math.log(1 - random()) * mean;

const pickOf = <T>(random: () => number, all: readonly T[], weight: (each: T) => number): T => {
  let left = random() * all.reduce((sum, each) => sum + weight(each), 0);
  for (const each of all) {
    left -= weight(each);
    if (left <= 0) return each;
  }
  const last = all.at(-1);
  if (last === undefined) throw new Error('nothing to choose from');
  return last;
};

/** `perHour` arrivals an hour, `count` of them; times in hours. */
export const arrivals = (seed: number, count: number, perHour: number): Arrival[] => {
  const random = seeded(seed);
  let at = 0;
  return Array.from({ length: count }, () => {
    at += exponential(random, 1 / perHour);
    const type = pickOf(random, packingTypes, ({ weight }) => weight);
    const [, mean] = pickOf(random, lifetimes, ([share]) => share);
    return { at, type, ends: at + exponential(random, mean) };
  });
};

/** Takes a place for a VM and gives it back. */
export interface Packer {
  readonly name: string;
  /** The host, or undefined: refused. */
  take(type: DemandedType): number | undefined;
  give(host: number, type: DemandedType): void;
  /** What is free of each host, and how many of a type could still be placed on it. */
  free(host: number): Amount;
  more(host: number, type: DemandedType): number;
}

const byScan = (
  name: string,
  hosts: number,
  better: ((a: Amount, b: Amount) => boolean) | undefined,
): Packer => {
  const free = Array.from({ length: hosts }, () => packingHost);
  return {
    name,
    take: ({ amount }) => {
      let chosen: number | undefined;
      for (const [at, room] of free.entries()) {
        if (!fits(room, amount)) continue;
        const before = chosen === undefined ? undefined : free[chosen];
        if (before === undefined || better?.(room, before)) chosen = at;
        if (better === undefined) break;
      }
      if (chosen !== undefined) free[chosen] = minus(free[chosen] ?? nothing, amount);
      return chosen;
    },
    give: (host, { amount }) => {
      free[host] = plus(free[host] ?? nothing, amount);
    },
    free: (host) => free[host] ?? nothing,
    more: (host, { amount }) => countOf(free[host] ?? nothing, amount),
  };
};

const shareOf = ({ vcpusMilli, memoryMib }: Amount): number =>
  (vcpusMilli / packingHost.vcpusMilli + memoryMib / packingHost.memoryMib) / 2;

export const firstFit = (hosts: number): Packer => byScan('first fit', hosts, undefined);
export const bestFit = (hosts: number): Packer =>
  byScan('best fit', hosts, (a, b) => shareOf(a) < shareOf(b));

/** Each host is cut once, into the best mix for this demand; a VM takes a slot of its type, else the smallest that has room for it. */
export const staticSlots = (hosts: number): Packer => {
  const mix = determine(packingHost, packingTypes);
  // A host takes the few big types by turns, as whole hosts of slots of one type.
  const whole = packingTypes.filter((_, at) => (mix.counts[at] ?? 0) === 0);
  const layout = (host: number): number[] => {
    const turn = whole.length === 0 ? undefined : whole[host % (whole.length * 8)];
    return packingTypes.map((each, at) =>
      turn === undefined ? (mix.counts[at] ?? 0) : each === turn ? countOf(packingHost, each.amount) : 0,
    );
  };
  const slots = Array.from({ length: hosts }, (_, host) => layout(host));
  const bySize = packingTypes.map((_, at) => at).sort((a, b) => sizeAt(a) - sizeAt(b));
  const used = Array.from({ length: hosts }, () => nothing);
  const given = new Map<string, number[]>();
  const slotFor = (host: number, type: DemandedType): number | undefined =>
    bySize.find((at) => {
      const slot = packingTypes[at];
      return slot !== undefined && (slots[host]?.[at] ?? 0) > 0 && fits(slot.amount, type.amount);
    });
  return {
    name: 'static slots',
    take: (type) => {
      let chosen: { host: number; slot: number } | undefined;
      for (let host = 0; host < hosts; host++) {
        const slot = slotFor(host, type);
        if (slot !== undefined && (chosen === undefined || sizeAt(slot) < sizeAt(chosen.slot)))
          chosen = { host, slot };
      }
      if (chosen === undefined) return undefined;
      const { host, slot } = chosen;
      const row = slots[host];
      if (row !== undefined) row[slot] = (row[slot] ?? 0) - 1;
      used[host] = plus(used[host] ?? nothing, type.amount);
      const key = `${host}/${type.type}`;
      given.set(key, [...(given.get(key) ?? []), slot]);
      return host;
    },
    give: (host, type) => {
      const key = `${host}/${type.type}`;
      const slot = given.get(key)?.pop();
      const row = slots[host];
      if (slot === undefined || row === undefined) return;
      row[slot] = (row[slot] ?? 0) + 1;
      used[host] = minus(used[host] ?? nothing, type.amount);
    },
    free: (host) => minus(packingHost, used[host] ?? nothing),
    more: (host, type) =>
      bySize.reduce((sum, at) => {
        const slot = packingTypes[at];
        return slot !== undefined && fits(slot.amount, type.amount) ? sum + (slots[host]?.[at] ?? 0) : sum;
      }, 0),
  };
};

const sizeAt = (at: number): number => shareOf(packingTypes[at]?.amount ?? nothing);

/** The production code: a demand that is learned from what came, and the map of slots. */
export const pandoSlots = (hosts: number): Packer => {
  const map = new SlotMap();
  map.setDemand(packingTypes);
  const facts = (host: number): HostFacts => {
    const found = map.host(`h-${host}`);
    if (found === undefined) throw new Error(`no host ${host}`);
    return found;
  };
  for (let host = 0; host < hosts; host++)
    map.set({
      ...{ hostId: `h-${host}`, limit: packingHost, used: nothing, open: true, hostClass: 'x' },
      ...{ realVcpusMilli: packingHost.vcpusMilli, capabilities: new Set(), running: new Map() },
    });
  const change = (host: number, type: DemandedType, sign: 1 | -1): void => {
    const found = facts(host);
    map.set({ ...found, used: plus(found.used, type.amount, sign) });
  };
  return {
    name: 'Pando’s slots',
    take: (type) => {
      const [hostId] = map.choose({ type: type.type, amount: type.amount, max: 1 });
      if (hostId === undefined) return undefined;
      const host = Number(hostId.slice(2));
      change(host, type, 1);
      return host;
    },
    give: (host, type) => change(host, type, -1),
    free: (host) => map.free(`h-${host}`) ?? nothing,
    more: (host, type) => countOf(map.free(`h-${host}`) ?? nothing, type.amount),
  };
};

export interface PackingResult {
  readonly name: string;
  readonly refused: number;
  /** Share of all cores, and of all memory, that is allocated, in the mean. */
  readonly vcpus: number;
  readonly memory: number;
  /** Share of all capacity that is free and of no use to a VM that may come, in the mean: by what is asked for. */
  readonly stranded: number;
  readonly ms: number;
}

interface Ending {
  readonly at: number;
  readonly host: number;
  readonly type: DemandedType;
}

/** A heap of what ends first. */
class Endings {
  readonly #heap: Ending[] = [];

  push(ending: Ending): void {
    let at = this.#heap.push(ending) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (this.#at(up) <= ending.at) break;
      this.#swap(at, up);
      at = up;
    }
  }

  /** The first that has ended by then. */
  pop(now: number): Ending | undefined {
    const [first] = this.#heap;
    if (first === undefined || first.at > now) return undefined;
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return first;
    this.#heap[0] = last;
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      const least = this.#at(left + 1) < this.#at(left) ? left + 1 : left;
      if (this.#at(least) >= last.at) return first;
      this.#swap(at, least);
      at = least;
    }
  }

  #at(index: number): number {
    return this.#heap[index]?.at ?? Number.POSITIVE_INFINITY;
  }

  #swap(a: number, b: number): void {
    const [one, two] = [this.#heap[a], this.#heap[b]];
    if (one === undefined || two === undefined) return;
    this.#heap[a] = two;
    this.#heap[b] = one;
  }
}

const strandedOf = (packer: Packer, host: number): number => {
  const useful = packingTypes.reduce(
    (sum, type) => sum + type.weight * packer.more(host, type) * shareOf(type.amount),
    0,
  );
  return Math.max(0, shareOf(packer.free(host)) - useful);
};

const sampleEvery = 100;

/** Plays the arrivals. Figures are of the second half, when the cluster has filled. */
export const pack = (
  packer: Packer,
  hosts: number,
  list: readonly Arrival[],
  now: () => number,
): PackingResult => {
  const endings = new Endings();
  const begun = now();
  const sums = { refused: 0, vcpus: 0, memory: 0, stranded: 0, samples: 0 };
  for (const [at, { at: time, ends, type }] of list.entries()) {
    for (let ended = endings.pop(time); ended !== undefined; ended = endings.pop(time))
      packer.give(ended.host, ended.type);
    const host = packer.take(type);
    if (host !== undefined) endings.push({ at: ends, host, type });
    else if (at >= list.length / 2) sums.refused++;
    if (at < list.length / 2 || at % sampleEvery !== 0) continue;
    sums.samples++;
    for (let each = 0; each < hosts; each++) {
      const free = packer.free(each);
      sums.vcpus += 1 - free.vcpusMilli / packingHost.vcpusMilli;
      sums.memory += 1 - free.memoryMib / packingHost.memoryMib;
      sums.stranded += strandedOf(packer, each);
    }
  }
  const mean = (sum: number): number => sum / sums.samples / hosts;
  return {
    ...{ name: packer.name, refused: sums.refused, ms: now() - begun },
    ...{ vcpus: mean(sums.vcpus), memory: mean(sums.memory), stranded: mean(sums.stranded) },
  };
};
