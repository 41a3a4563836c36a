/**
 * Where VMs go, in one transaction. The view decides, the store arbitrates: a claim is one statement that names the best hosts in order
 * and is made on the first of them that is free and has room. Two processors that decide alike: one wins, the other has the next, in the
 * same statement. Placement has no side door.
 */
import { startAgain } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import { fits } from '#slots/amount.ts';
import {
  type GroupNeeds,
  groupObstacle,
  nearestFirst,
  obstacleOf,
  roomiestRack,
} from '#slots/constraints.ts';
import type { HostFacts } from '#slots/slot-map.ts';
import { candidatesMax, placeRoundsMax } from '../limits.ts';
import { nobodyListened } from '../store/capacity.ts';
import { claimIdOf, type HostCounters, type NewClaim, takeClaim } from '../store/claims.ts';
import type { PlacementGroupRow } from '../store/placement-groups.ts';
import type { Sql } from '../store/sql.ts';
import type { Capacity } from './capacity.ts';
import { groupNeeds, lockKnown, needsOf } from './constrained.ts';
import { freeOf } from './view.ts';

export interface Placed {
  readonly hostId: string;
  readonly vtep: string;
  /** Of a member of a partition group: its number. */
  readonly partition?: number;
}

export interface PlacementRequest {
  readonly claim: NewClaim & { readonly type: string };
  readonly zone: string;
  /** Hosts that will do, beside having room. */
  readonly accept?: (host: HostFacts) => boolean;
  /** Only this host will do. */
  readonly hostId?: string;
  /** What the claim's group is, where the caller knows it. A group that nobody knows constrains nothing until it is known. */
  readonly group?: PlacementGroupRow | undefined;
  /** How many more of it the caller wants, this one included: a cluster group begins where there is room for all. */
  readonly count?: number;
}

/** `wide`: all hosts are looked at, since the nearest may be a costly one. */
type Wide = PlacementRequest & { readonly wide?: boolean };

interface Made {
  readonly claimId: string;
  readonly counters: HostCounters;
}

export interface PlacingOptions {
  readonly tx: Sql;
  readonly capacity: Capacity;
  /** Hosts that this processor reaches are taken before others. */
  readonly reached: { readonly size: number; has(hostId: string): boolean };
}

const comingBack = (): PandoError =>
  new PandoError(
    'Unavailable',
    'The cell is coming back and hears from its hosts just now. Retry your request.',
  );

export class Placing {
  readonly #options: PlacingOptions;
  readonly #made: Made[] = [];
  /** The reading of the view's that is this transaction's own: what it has given back itself is free there, and in no other one. */
  #own: number | undefined;

  constructor(options: PlacingOptions) {
    this.#options = options;
  }

  /**
   * Claims on the cheapest host that fits; `undefined`: none does. The transaction's first claim may wait for a host that others are
   * claiming on; a later one starts the transaction again instead (two that place several would wait for each other).
   */
  async place(given: PlacementRequest): Promise<Placed | undefined> {
    for (const group of await this.#groupsOf(given)) {
      const placed = await this.#placeWithin(group === undefined ? given : this.#within(given, group), group);
      if (placed !== undefined) return placed;
    }
    return undefined;
  }

  async #placeWithin(request: Wide, group: GroupNeeds | undefined): Promise<Placed | undefined> {
    for (let round = 1; round <= placeRoundsMax; round++) {
      const near = this.#inOrder(nearestFirst(this.#candidates(request, 'reached'), group));
      // A host may have dialled in, or got room, since the view was read: it is asked for before one that is out of reach.
      if (near.length === 0 && this.#own !== this.#options.capacity.view.readings) {
        await this.#refresh();
        continue;
      }
      const candidates =
        near.length > 0 ? near : this.#inOrder(nearestFirst(this.#candidates(request, 'any'), group));
      if (candidates.length === 0) return this.#none(request);
      const taken = await this.#take(request, candidates);
      if (taken !== undefined)
        return {
          ...{ hostId: taken.id, vtep: taken.vtep },
          ...(group?.partition === undefined ? {} : { partition: group.partition }),
        };
      // The view was behind, or all of them are being claimed on.
      await this.#refresh();
    }
    throw startAgain('every host that fits is being claimed on');
  }

  /** What the claim's group asks, one after the other. Its lock is had before the first host's, and kept until the transaction ends. */
  async #groupsOf({
    claim,
    group,
    zone,
    count = 1,
  }: PlacementRequest): Promise<readonly (GroupNeeds | undefined)[]> {
    if (claim.group === undefined) return [undefined];
    const { tx } = this.#options;
    const row = await lockKnown(tx, claim.group.groupId, group);
    if (row === undefined) return [undefined];
    const all = await groupNeeds(tx, claim, row);
    return all.map((needs) =>
      needs.strategy === 'cluster' && needs.members.length === 0
        ? { ...needs, ...this.#rackFor(claim, zone, count) }
        : needs,
    );
  }

  /** Where a cluster group begins. */
  #rackFor(claim: NewClaim, zone: string, count: number): { readonly rack?: string } {
    const { slots } = this.#options.capacity.view;
    const open = slots.hosts().flatMap((facts) => {
      const free = slots.free(facts.hostId);
      const will = this.#options.capacity.view.row(facts.hostId)?.zone === zone && free !== undefined;
      return will && obstacleOf(facts, needsOf(claim)) === undefined ? [{ facts, free }] : [];
    });
    const rack = roomiestRack(open, claim.amount, count);
    return rack === undefined ? {} : { rack };
  }

  #within(request: PlacementRequest, group: GroupNeeds): Wide {
    const { groupId, partition, strategy } = group;
    const claim =
      partition === undefined ? request.claim : { ...request.claim, group: { groupId, partition } };
    const { accept } = request;
    const will = (host: HostFacts): boolean =>
      groupObstacle(host, group) === undefined && (accept === undefined || accept(host));
    return { ...request, claim, accept: will, wide: strategy !== 'spread' };
  }

  /** The transaction was committed. */
  commit(): void {
    const { view } = this.#options.capacity;
    const at = this.#options.capacity.now();
    for (const { claimId, counters } of this.#made) view.commit(claimId, counters, at);
    this.#release();
  }

  /** It was rolled back. */
  abandon(): void {
    const { view } = this.#options.capacity;
    for (const { claimId, counters } of this.#made) view.abandon(claimId, counters.id);
    this.#release();
  }

  #release(): void {
    for (const { counters } of this.#made) this.#options.capacity.claiming.end(counters.id);
    this.#made.length = 0;
  }

  /** Hosts that nobody here is claiming on come first: their rows are free. */
  #inOrder(candidates: readonly string[]): string[] {
    const { claiming } = this.#options.capacity;
    const free = candidates.filter((hostId) => !claiming.has(hostId));
    return [...free, ...candidates.filter((hostId) => claiming.has(hostId))].slice(0, candidatesMax);
  }

  async #take(
    { claim, zone }: PlacementRequest,
    candidates: readonly string[],
  ): Promise<HostCounters | undefined> {
    const { tx, capacity } = this.#options;
    const wait = this.#made.length > 0 ? ['free'] : ['free', 'any'];
    const [first = ''] = candidates;
    for (const mode of wait) {
      const at = { candidates, zone, wait: mode === 'any' ? 'any' : 'free' } as const;
      // Until the store has said which one it is, others of this processor begin with another.
      capacity.claiming.begin(first);
      const counters = await takeClaim(tx, claim, at).finally(() => capacity.claiming.end(first));
      if (counters === undefined) continue;
      capacity.claiming.begin(counters.id);
      const claimId = claimIdOf(claim.purpose, claim.holder, claim.part);
      this.#made.push({ claimId, counters });
      capacity.view.begin(claimId, counters, claim.amount);
      return counters;
    }
    return undefined;
  }

  /** The best hosts by the view. */
  #candidates({ claim, zone, accept, hostId, wide }: Wide, which: 'reached' | 'any'): string[] {
    const { capacity, reached } = this.#options;
    const { view } = capacity;
    const needs = needsOf(claim);
    const will = (host: HostFacts): boolean =>
      (which === 'any' || reached.size === 0 || reached.has(host.hostId)) &&
      (hostId === undefined || host.hostId === hostId) &&
      view.row(host.hostId)?.zone === zone &&
      obstacleOf(host, needs) === undefined &&
      (accept === undefined || accept(host));
    const max = wide ? view.slots.size : candidatesMax + capacity.claiming.size;
    const request = { type: claim.type, amount: claim.amount, max };
    return view.slots.choose({ ...request, accept: will });
  }

  /** By this transaction's own connection; what it has claimed itself is in what it reads. */
  async #refresh(): Promise<void> {
    const { tx, capacity } = this.#options;
    this.#own = await capacity.refreshBy(tx);
  }

  /** None has room; but a host that only seems silent is no want of room. */
  async #none({ claim, zone, accept, hostId }: PlacementRequest): Promise<undefined> {
    const { tx, capacity } = this.#options;
    const silent = capacity.view
      .rows()
      .filter((row) => row.state === 'active' && !row.open && row.zone === zone)
      .filter((row) => (hostId === undefined || row.id === hostId) && fits(freeOf(row), claim.amount))
      .filter((row) => {
        const facts = capacity.view.slots.host(row.id);
        return facts !== undefined && (accept === undefined || accept(facts));
      });
    if (silent.length > 0 && (await nobodyListened(tx))) throw comingBack();
    return undefined;
  }
}
