/**
 * Random lives of a small cell: two processors place by views of their own that are behind, one store arbitrates as the real one does
 * (a claim is made only where it fits and its group's constraint holds just now). Place, migrate, resize, terminate, host loss, expiry,
 * adverse reports, a change of groups, and the moves that mend it.
 */
import assert from 'node:assert/strict';
import { AdverseBook } from '#slots/adverse.ts';
import { type Amount, dimensionNames, fits, minus, nothing, plus } from '#slots/amount.ts';
import { type GroupNeeds, type Member, obstacleOf, othersOf, violationsOf } from '#slots/constraints.ts';
import type { DemandedType } from '#slots/demand.ts';
import { overlap, potentialSlots, takePotential } from '#slots/potential.ts';
import { type HostFacts, SlotMap } from '#slots/slot-map.ts';
import { amount, demanded, seeded } from './support.ts';

const types: readonly DemandedType[] = [
  demanded('nano', amount(250, 64, 256, 32), 0.5),
  demanded('small', amount(500, 512, 256, 64), 0.3),
  demanded('memory', amount(500, 2_048, 256, 64), 0.15),
  demanded('large', amount(2_000, 1_024, 2_048, 256), 0.05),
];

type Group = Pick<GroupNeeds, 'groupId' | 'strategy'>;
const groups: readonly Group[] = [
  { groupId: 'pg-s', strategy: 'spread' },
  { groupId: 'pg-c', strategy: 'cluster' },
  { groupId: 'pg-p', strategy: 'partition' },
];

interface ModelHost {
  readonly rack: string;
  readonly limit: Amount;
  used: Amount;
  open: boolean;
}

interface ModelClaim {
  readonly hostId: string;
  readonly amount: Amount;
  readonly type: string;
  /** Of a migration: the other claim goes when it is settled. */
  readonly moving?: string;
  readonly expires: boolean;
  readonly group?: Group;
  readonly partition?: number;
  /** Whose place in the group it is: a move has two. */
  readonly holder: string;
}

/** The store: claims, counters, and who wins. */
class Store {
  readonly hosts = new Map<string, ModelHost>();
  readonly claims = new Map<string, ModelClaim>();

  /** What the group's lock shows: the members of this moment. */
  needsOf({ group, holder, partition }: Omit<ModelClaim, 'hostId'>): GroupNeeds | undefined {
    if (group === undefined) return undefined;
    const members = othersOf(group.strategy, this.membersOf(group), holder);
    return { ...group, members, ...(partition === undefined ? {} : { partition }) };
  }

  membersOf({ groupId }: Group): Member[] {
    return [...this.claims.values()]
      .filter(({ group }) => group?.groupId === groupId)
      .map(({ hostId, holder, partition }) => ({
        ...{ hostId, holder, rack: this.hosts.get(hostId)?.rack ?? '' },
        ...(partition === undefined ? {} : { partition }),
      }));
  }

  take(id: string, candidates: readonly string[], claim: Omit<ModelClaim, 'hostId'>): string | undefined {
    const group = this.needsOf(claim);
    for (const hostId of candidates) {
      const host = this.hosts.get(hostId);
      if (host === undefined || !host.open || !fits(minus(host.limit, host.used), claim.amount)) continue;
      const place = { hostId, rack: host.rack, capabilities: new Set<string>() };
      if (group !== undefined && obstacleOf(place, { group }) !== undefined) continue;
      host.used = plus(host.used, claim.amount);
      this.claims.set(id, { ...claim, hostId });
      return hostId;
    }
    return undefined;
  }

  release(id: string): void {
    const claim = this.claims.get(id);
    const host = this.hosts.get(claim?.hostId ?? '');
    if (claim === undefined || host === undefined) return;
    host.used = minus(host.used, claim.amount);
    this.claims.delete(id);
  }

  /** No group has more violating members than those that joined it where they were. */
  checkGroups(regrouped: ReadonlySet<string>): void {
    for (const group of groups)
      for (const { holder } of violationsOf({ ...group, members: this.membersOf(group) }))
        assert.ok(
          regrouped.has(group.groupId),
          `${holder} violates ${group.groupId}, which nobody joined where he was`,
        );
  }

  check(): void {
    const sums = new Map<string, Amount>();
    for (const { hostId, amount: each } of this.claims.values())
      sums.set(hostId, plus(sums.get(hostId) ?? nothing, each));
    for (const [hostId, { limit, used }] of this.hosts)
      for (const dimension of dimensionNames) {
        assert.ok(used[dimension] <= limit[dimension], `${hostId} ${dimension}: never above capacity`);
        assert.equal(
          used[dimension],
          (sums.get(hostId) ?? nothing)[dimension],
          'counters are the sums of claims',
        );
      }
  }
}

class Life {
  readonly #random: () => number;
  readonly #store = new Store();
  readonly #book = new AdverseBook({ halfLifeMs: 1_000 });
  readonly #views: readonly SlotMap[];
  /** Groups that an instance has joined where it was. */
  readonly #regrouped = new Set<string>();
  #now = 0;
  #made = 0;

  constructor(seed: number) {
    this.#random = seeded(seed);
    const hosts = 1 + this.#below(4);
    for (let n = 0; n < hosts; n++) this.#addHost(`h-${n}`);
    const fitness = (host: HostFacts, type: string): number => this.#book.fitness(host, type, this.#now);
    this.#views = [new SlotMap(fitness), new SlotMap(fitness)];
    for (const view of this.#views) {
      view.setDemand(types);
      this.#look(view);
    }
  }

  #addHost(hostId: string): void {
    const cores = (1 + this.#below(4)) * 1_000;
    const limit = amount(
      cores,
      256 * (1 + this.#below(16)),
      1_024 * (1 + this.#below(8)),
      256 * (1 + this.#below(4)),
    );
    const rack = this.#random() < 0.5 ? 'a' : 'b';
    this.#store.hosts.set(hostId, { rack, limit, used: nothing, open: true });
  }

  /** A processor reads the store. */
  #look(view: SlotMap): void {
    for (const [hostId, { rack, limit, used, open }] of this.#store.hosts)
      view.set({
        rack,
        ...{ hostId, limit, used, open, hostClass: 'c', realVcpusMilli: limit.vcpusMilli },
        ...{ capabilities: new Set(), running: new Map() },
      });
  }

  step(): void {
    this.#now += 10;
    const view = this.#views[this.#below(2)];
    const type = types[this.#below(types.length)];
    if (view === undefined || type === undefined) return;
    const dice = this.#random();
    if (dice < 0.45) this.#place(view, type, {});
    else if (dice < 0.6) this.#end();
    else if (dice < 0.68) this.#migrate(view);
    else if (dice < 0.74) this.#resize(view);
    else if (dice < 0.79) this.#expire();
    else if (dice < 0.83) this.#turnHost();
    else if (dice < 0.87) this.#complain(view, type);
    else if (dice < 0.9) this.#regroup();
    else if (dice < 0.93) this.#mend(view);
    else this.#look(view);
    this.#store.check();
    this.#store.checkGroups(this.#regrouped);
    this.#checkMix(view);
  }

  #place(view: SlotMap, type: DemandedType, more: Partial<ModelClaim>): string | undefined {
    const id = `c-${this.#made++}`;
    const joins = this.#random() < 0.4 ? groups[this.#below(groups.length)] : undefined;
    const member = {
      ...(joins === undefined ? {} : { group: joins }),
      holder: id,
      partition: 1 + this.#below(3),
      ...more,
    };
    const group = this.#store.needsOf({ type: type.type, amount: type.amount, expires: false, ...member });
    const accept = (host: HostFacts): boolean =>
      group === undefined || obstacleOf(host, { group }) === undefined;
    const candidates = view.choose({ type: type.type, amount: type.amount, max: 8, accept });
    for (const hostId of candidates) {
      const host = view.host(hostId);
      assert.ok(host !== undefined && this.#book.fitness(host, type.type, this.#now) >= 0);
    }
    const expires = this.#random() < 0.2;
    const taken = this.#store.take(id, candidates, {
      type: type.type,
      amount: type.amount,
      expires,
      ...member,
    });
    // Its own commits are events: this processor's view has them at once, the other's with its next look.
    const host = view.host(taken ?? '');
    const row = this.#store.hosts.get(taken ?? '');
    if (host !== undefined && row !== undefined) view.set({ ...host, used: row.used });
    return taken;
  }

  /** A member's claim as another one for it: of its move, or after its type has changed. */
  #same({ group, holder, partition }: ModelClaim): Partial<ModelClaim> {
    return {
      holder,
      ...(group === undefined ? {} : { group }),
      ...(partition === undefined ? {} : { partition }),
    };
  }

  /** A stopped instance joins a group where it is, which may violate it. */
  #regroup(): void {
    const [id, claim] = this.#pick() ?? [];
    const group = groups[this.#below(groups.length)];
    if (id === undefined || claim === undefined || group === undefined || claim.moving !== undefined) return;
    if ([...this.#store.claims.values()].some((each) => each.moving === id)) return;
    this.#store.claims.set(id, { ...claim, group });
    this.#regrouped.add(group.groupId);
  }

  /** Whoever violates moves away, as far as there is room elsewhere; a group that nobody violates any more stays so. */
  #mend(view: SlotMap): void {
    for (const group of groups) {
      for (const { holder, hostId } of violationsOf({ ...group, members: this.#store.membersOf(group) })) {
        const [id, claim] =
          [...this.#store.claims].find(([, each]) => each.holder === holder && each.hostId === hostId) ?? [];
        const type = types.find((each) => each.type === claim?.type);
        if (id === undefined || claim === undefined || type === undefined) continue;
        if (this.#place(view, type, this.#same(claim)) !== undefined) this.#store.release(id);
      }
      const left = violationsOf({ ...group, members: this.#store.membersOf(group) });
      if (left.length === 0) this.#regrouped.delete(group.groupId);
    }
  }

  #pick(): [string, ModelClaim] | undefined {
    const all = [...this.#store.claims];
    return all[this.#below(Math.max(1, all.length))];
  }

  #end(): void {
    const [id = ''] = this.#pick() ?? [];
    this.#store.release(id);
    // Given back twice: once.
    this.#store.release(id);
  }

  #migrate(view: SlotMap): void {
    const [id, claim] = this.#pick() ?? [];
    const type = types.find((each) => each.type === claim?.type);
    if (id === undefined || type === undefined) return;
    if (claim === undefined) return;
    if (claim.moving === undefined) this.#place(view, type, { ...this.#same(claim), moving: id });
    // The end of a move: the one side or the other is given back.
    else this.#store.release(this.#random() < 0.5 ? id : claim.moving);
  }

  #resize(view: SlotMap): void {
    const [id] = this.#pick() ?? [];
    const type = types[this.#below(types.length)];
    if (id === undefined || type === undefined) return;
    this.#store.release(id);
    this.#place(view, type, {});
  }

  #expire(): void {
    for (const [id, { expires }] of this.#store.claims) if (expires) this.#store.release(id);
  }

  #turnHost(): void {
    const host = [...this.#store.hosts.values()][this.#below(this.#store.hosts.size)];
    if (host !== undefined) host.open = !host.open;
  }

  #complain(view: SlotMap, type: DemandedType): void {
    const host = view.hosts()[this.#below(Math.max(1, view.size))];
    if (host === undefined) return;
    const { hostId, hostClass, running } = host;
    this.#book.report({ kind: 'launch-failed', hostId, hostClass, running, type: type.type }, this.#now);
    view.set(host);
  }

  /** Slots of a host are within its free capacity, and taking one withdraws those that it overlaps alone. */
  #checkMix(view: SlotMap): void {
    const hostId = `h-${this.#below(this.#store.hosts.size)}`;
    const mix = view.mixOf(hostId);
    const free = view.free(hostId);
    if (mix === undefined || free === undefined) return;
    let left = free;
    for (const [at, { amount: each }] of mix.types.entries()) left = minus(left, each, mix.counts[at] ?? 0);
    for (const dimension of dimensionNames)
      assert.ok(left[dimension] >= 0, `${dimension} of slots is within`);
    const slots = potentialSlots(mix);
    const slot = slots[this.#below(Math.max(1, slots.length))];
    if (slot === undefined) return;
    const { mix: after } = takePotential(mix, slot);
    for (const [at, count] of after.counts.entries())
      assert.equal(
        count,
        (mix.counts[at] ?? 0) - (slot.pieces[at] ?? 0),
        'its pieces went, and no other slot',
      );
    for (const other of slots)
      if (other !== slot && !overlap(mix, slot, other)) assert.ok(fits(after.remainder, other.rest));
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }
}

const stepsMax = 12;

/** Runs sequences until there were `count` or the time is over. Returns how many; a failure names its seed. */
export const runSequences = (count: number, untilMs: number, now: () => number, firstSeed = 1): number => {
  let done = 0;
  for (; done < count && now() < untilMs; done++) {
    const seed = firstSeed + done;
    try {
      const life = new Life(seed);
      for (let n = 1 + (seed % stepsMax); n > 0; n--) life.step();
    } catch (cause) {
      throw new Error(`sequence of seed ${seed} failed`, { cause });
    }
  }
  return done;
};
