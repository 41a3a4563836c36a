/**
 * The group of slots that placement uses (S4.2): for each type the hosts with a slot of it, the cheapest first. A host that changes is
 * put anew for every type, in microseconds; a placement takes the first. What a host's slots are in detail is worked out when asked for.
 */
import { type Amount, clamped, fits, minus } from './amount.ts';
import { absent, Buckets } from './buckets.ts';
import { shareOf, type ValuedType, valuedTypes, worthOf, worthWithout } from './cost.ts';
import type { DemandedType } from './demand.ts';
import { determine, type Mix } from './mix.ts';

/** What is known of a host when its slots are determined. */
export interface HostFacts {
  readonly hostId: string;
  /** What may be promised of it, oversubscription included; `Infinity` where it is not counted. */
  readonly limit: Amount;
  readonly used: Amount;
  /** Its real processors, in thousandths: beyond them neighbours slow each other down. */
  readonly realVcpusMilli: number;
  /** Takes new VMs: active, heard lately, validated. Else its slots are withdrawn. */
  readonly open: boolean;
  /** Hosts of one class are alike: adverse reports about one speak of all. */
  readonly hostClass: string;
  /** What it can do: an accelerator, CPU features. */
  readonly capabilities: ReadonlySet<string>;
  /** What runs on it, by type. */
  readonly running: ReadonlyMap<string, number>;
  /** Hosts of one rack are near each other; absent: it told of none. */
  readonly rack?: string;
  /** The only account that may have VMs on it. */
  readonly dedicatedTo?: string;
  /** Whose VMs are on it, stopped ones included. */
  readonly accounts?: ReadonlySet<string>;
}

/** How far a type may be used on a host, by adverse reports: 1 without limit, 0 not at all. */
export type Fitness = (host: HostFacts, type: string) => number;

export interface SlotRequest {
  readonly type: string;
  readonly amount: Amount;
  /** How many hosts are wanted, in order of cost. */
  readonly max: number;
  readonly accept?: (host: HostFacts) => boolean;
}

interface TrackedType {
  readonly type: string;
  readonly amount: Amount;
  readonly buckets: Buckets;
  /** A bigger type is asked for. */
  smaller: boolean;
  usedAt: number;
}

interface Entry {
  readonly facts: HostFacts;
  readonly free: Amount;
  /** What slots are worth on a host of this size. */
  valued: readonly ValuedType[];
}

/** Types with a group of their own; of more, the one that was longest not asked for loses it. */
export const trackedTypesMax = 64;
const costLevels = 128;
const tieLevels = 8;
const pressureLevels = 4;
const bucketCount = pressureLevels * costLevels * tieLevels;
/** A host that is that much oversubscribed is the next worse place. */
const pressureStep = 0.5;

export class SlotMap {
  readonly #entries: (Entry | undefined)[] = [];
  readonly #index = new Map<string, number>();
  readonly #freed: number[] = [];
  readonly #tracked = new Map<string, TrackedType>();
  readonly #fitness: Fitness;
  #demand: readonly DemandedType[] = [];
  /** What slots are worth depends on how big a host is: one list for each size of host. */
  readonly #valued = new Map<string, readonly ValuedType[]>();
  #cursor = 0;
  #uses = 0;

  constructor(fitness: Fitness = () => 1) {
    this.#fitness = fitness;
  }

  get size(): number {
    return this.#index.size;
  }

  hosts(): HostFacts[] {
    return [...this.#index.values()].flatMap((at) => this.#entries[at]?.facts ?? []);
  }

  host(hostId: string): HostFacts | undefined {
    return this.#entries[this.#index.get(hostId) ?? absent]?.facts;
  }

  /** What is free of a host; parts that are promised beyond what it has are 0. */
  free(hostId: string): Amount | undefined {
    return this.#entries[this.#index.get(hostId) ?? absent]?.free;
  }

  /** Another demand: the mix of every host follows at once, the order of hosts as they change or are rescored. */
  setDemand(demand: readonly DemandedType[]): void {
    this.#demand = demand;
    this.#valued.clear();
    for (const tracked of this.#tracked.values()) tracked.smaller = this.#isSmaller(tracked.amount);
    this.#cursor = 0;
  }

  get demand(): readonly DemandedType[] {
    return this.#demand;
  }

  /** Puts the next hosts anew under the present demand and reports; true once all have been. */
  rescore(hostsMax: number): boolean {
    const end = Math.min(this.#entries.length, this.#cursor + hostsMax);
    for (; this.#cursor < end; this.#cursor++) {
      const entry = this.#entries[this.#cursor];
      if (entry === undefined) continue;
      entry.valued = this.#valuedFor(entry.facts);
      this.#place(this.#cursor);
    }
    return this.#cursor >= this.#entries.length;
  }

  /** Begins anew with the first host. */
  rescoreFrom(): void {
    this.#cursor = 0;
  }

  rescoreAll(): void {
    this.rescoreFrom();
    this.rescore(this.#entries.length);
  }

  /** What changed of a host: it is put anew. */
  set(facts: HostFacts): void {
    const known = this.#index.get(facts.hostId);
    const at = known ?? this.#freed.pop() ?? this.#entries.length;
    this.#index.set(facts.hostId, at);
    const free = clamped(minus(facts.limit, facts.used));
    this.#entries[at] = { facts, free, valued: this.#valuedFor(facts) };
    this.#place(at);
  }

  delete(hostId: string): void {
    const at = this.#index.get(hostId);
    if (at === undefined) return;
    this.#index.delete(hostId);
    this.#entries[at] = undefined;
    this.#freed.push(at);
    for (const { buckets } of this.#tracked.values()) buckets.put(at, absent);
  }

  /** The hosts where a slot of this type can be taken, at the least cost first. */
  choose({ type, amount, max, accept }: SlotRequest): string[] {
    const chosen: string[] = [];
    this.#group(type, amount).buckets.walk((at) => {
      const entry = this.#entries[at];
      if (entry !== undefined && fits(entry.free, amount) && (accept === undefined || accept(entry.facts)))
        chosen.push(entry.facts.hostId);
      return chosen.length >= max;
    });
    return chosen;
  }

  /** The slots of one host: the best mix for what is free there. */
  mixOf(hostId: string): Mix | undefined {
    const entry = this.#entries[this.#index.get(hostId) ?? absent];
    if (entry === undefined) return undefined;
    const { facts, free } = entry;
    const types = facts.open ? this.#demand : [];
    return determine(free, types, (type) => {
      const fitness = this.#fitness(facts, type);
      return fitness >= 1 ? Number.POSITIVE_INFINITY : Math.floor(fitness * 8);
    });
  }

  /** The group of a type; of one that was not asked for before it is made now. */
  #group(type: string, amount: Amount): TrackedType {
    const known = this.#tracked.get(type);
    // A smaller disk than any before: hosts may fit that did not.
    if (known !== undefined && fits(amount, known.amount)) {
      known.usedAt = ++this.#uses;
      return known;
    }
    const smallest =
      known === undefined
        ? amount
        : {
            vcpusMilli: Math.min(amount.vcpusMilli, known.amount.vcpusMilli),
            memoryMib: Math.min(amount.memoryMib, known.amount.memoryMib),
            diskMib: Math.min(amount.diskMib, known.amount.diskMib),
            networkMbps: Math.min(amount.networkMbps, known.amount.networkMbps),
          };
    if (known === undefined && this.#tracked.size >= trackedTypesMax) this.#forgetLeastUsed();
    const buckets = new Buckets(bucketCount, this.#entries.length);
    const made = {
      ...{ type, amount: smallest, buckets },
      ...{ smaller: this.#isSmaller(smallest), usedAt: ++this.#uses },
    };
    this.#tracked.set(type, made);
    for (const [at, entry] of this.#entries.entries())
      if (entry !== undefined) this.#placeIn(made, at, entry, worthOf(entry.free, entry.valued));
    return made;
  }

  #forgetLeastUsed(): void {
    const [least] = [...this.#tracked.values()].sort((a, b) => a.usedAt - b.usedAt);
    if (least !== undefined) this.#tracked.delete(least.type);
  }

  #place(at: number): void {
    const entry = this.#entries[at];
    if (entry === undefined) return;
    const value = worthOf(entry.free, entry.valued);
    for (const tracked of this.#tracked.values()) this.#placeIn(tracked, at, entry, value);
  }

  #placeIn(tracked: TrackedType, at: number, entry: Entry, value: number): void {
    const there = entry.facts.open && fits(entry.free, tracked.amount);
    tracked.buckets.put(at, there ? this.#bucketOf(tracked, entry, value) : absent);
  }

  #isSmaller(amount: Amount): boolean {
    return this.#demand.some(
      (each) => each.amount.vcpusMilli > amount.vcpusMilli || each.amount.memoryMib > amount.memoryMib,
    );
  }

  #valuedFor({ limit }: HostFacts): readonly ValuedType[] {
    const key = `${limit.vcpusMilli}/${limit.memoryMib}`;
    const known = this.#valued.get(key);
    if (known !== undefined) return known;
    const made = valuedTypes(this.#demand, limit);
    this.#valued.set(key, made);
    return made;
  }

  #bucketOf({ type, amount, smaller }: TrackedType, { facts, free, valued }: Entry, value: number): number {
    const fitness = this.#fitness(facts, type);
    if (fitness <= 0) return absent;
    const cost = Math.max(0, value - worthWithout(free, amount, valued));
    const level = Math.min(costLevels - 1, Math.floor(Math.sqrt(cost) * costLevels));
    const pressure = fitness < 1 ? pressureLevels - 1 : pressureOf(facts, amount);
    return (pressure * costLevels + level) * tieLevels + tieOf(facts, free, smaller);
  }
}

/**
 * Among places that cost the others alike: where a bigger type is asked for, the fullest, so that big slots stay whole; where none is,
 * the emptiest, so that neighbours have the most for themselves.
 */
const tieOf = ({ limit }: HostFacts, free: Amount, smaller: boolean): number => {
  const open = Math.min(1, shareOf(free, limit));
  return Math.min(tieLevels - 1, Math.floor((smaller ? open : 1 - open) * tieLevels));
};

/** 0 while every vCPU has a processor of its own. */
const pressureOf = ({ used, realVcpusMilli }: HostFacts, amount: Amount): number => {
  if (realVcpusMilli <= 0) return 0;
  const over = (used.vcpusMilli + amount.vcpusMilli) / realVcpusMilli - 1;
  return over <= 0 ? 0 : Math.min(pressureLevels - 2, 1 + Math.floor(over / pressureStep));
};
