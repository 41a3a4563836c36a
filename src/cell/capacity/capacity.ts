/** The cell's capacity as this processor knows it: the view, kept fresh; the demand; and transactions that place. */

import { AdverseBook, type AdverseKind } from '#slots/adverse.ts';
import type { Amount } from '#slots/amount.ts';
import { Demand } from '#slots/demand.ts';
import type { Fitness } from '#slots/slot-map.ts';
import type { Clock } from '../clock.ts';
import type { HostSessions } from '../hosts/sessions.ts';
import { demandShiftMin, rescoreBatchMax } from '../limits.ts';
import { readCapacity, readOccupants } from '../store/capacity.ts';
import type { Database, Sql } from '../store/sql.ts';
import { type Placed, type PlacementRequest, Placing } from './placing.ts';
import { CapacityView } from './view.ts';

/** How many claims are being made on each host. */
export class Claiming {
  readonly #counts = new Map<string, number>();

  begin(hostId: string): void {
    this.#counts.set(hostId, (this.#counts.get(hostId) ?? 0) + 1);
  }

  end(hostId: string): void {
    const left = (this.#counts.get(hostId) ?? 0) - 1;
    if (left > 0) this.#counts.set(hostId, left);
    else this.#counts.delete(hostId);
  }

  has(hostId: string): boolean {
    return this.#counts.has(hostId);
  }

  get size(): number {
    return this.#counts.size;
  }
}

export interface CapacityOptions {
  readonly db: Database;
  readonly hosts: HostSessions;
  readonly clock: Clock;
}

export class Capacity {
  readonly demand = new Demand();
  readonly #adverse = new AdverseBook();
  readonly view: CapacityView;
  /** Hosts on which transactions of this processor are claiming just now. */
  readonly claiming = new Claiming();
  readonly #options: CapacityOptions;
  /** Types that are waited for, as was told last. */
  readonly #waited = new Map<string, Amount>();
  #reading: Promise<void> | undefined;

  constructor(options: CapacityOptions) {
    this.#options = options;
    this.view = new CapacityView(this.fitness);
  }

  /** How far a type may be used on a host, by adverse reports. */
  readonly fitness: Fitness = (host, type) =>
    this.takes(host.hostId, type) ? this.#adverse.fitness(host, type, this.now()) : 0;

  /** Told of launches that found no place. */
  onRefused: ((type: string, count: number) => void) | undefined;

  /** Whether the host's pool gives slots of this type. */
  takes(hostId: string, type: string): boolean {
    return this.view.row(hostId)?.slot_types?.includes(type) ?? true;
  }

  /** How free of pressure a host is, by its own reports alone: 1 wholly, 0 not at all. */
  readonly calm = (hostId: string): number => this.#adverse.calm(hostId, this.now());

  /** A type did badly on a host, or everything did. The host's slots follow at once. */
  adverse(hostId: string, kind: AdverseKind, type?: string): void {
    const host = this.view.slots.host(hostId);
    if (host === undefined) return;
    const { hostClass, running } = host;
    const about = type === undefined ? {} : { type };
    this.#adverse.report({ kind, hostId, hostClass, running, ...about }, this.now());
    this.view.slots.set(host);
  }

  /** Reads all hosts anew. Calls that come while one reads wait for the next, which reads what theirs was about. */
  async refresh(): Promise<void> {
    if (this.#reading !== undefined) await this.#reading.catch(() => undefined);
    this.#reading ??= this.refreshBy(this.#options.db)
      .then(() => undefined)
      .finally(() => {
        this.#reading = undefined;
      });
    await this.#reading;
  }

  /** The same by this connection: inside of a transaction nothing takes a second one. Answers which reading of the view's it is. */
  async refreshBy(sql: Sql): Promise<number> {
    const readAt = this.now();
    const rows = await readCapacity(sql);
    const changed = this.view.changed(rows);
    const occupants = changed.length === 0 ? new Map() : await readOccupants(sql, changed);
    return this.view.refresh(rows, readAt, occupants);
  }

  /** A launch of this type came, or found no place. */
  note(type: string, amount: Amount, kind: 'arrival' | 'refusal', count = 1): void {
    this.demand.note(type, amount, kind, this.now(), count);
    if (kind === 'refusal') this.onRefused?.(type, count);
    if (this.view.slots.demand.length === 0) this.publishDemand();
  }

  /** What is waited for just now, by type: it counts as demand while it waits (S10.6). */
  waitedFor(
    types: readonly { readonly type: string; readonly amount: Amount; readonly count: number }[],
  ): void {
    const now = new Set(types.map(({ type }) => type));
    for (const [type, amount] of this.#waited) if (!now.has(type)) this.demand.setPending(type, amount, 0);
    this.#waited.clear();
    for (const { type, amount, count } of types) {
      this.demand.setPending(type, amount, count);
      this.#waited.set(type, amount);
    }
  }

  /** Slots follow demand: at once in what is published, a batch of hosts at a time in the order of placement. */
  publishDemand(): void {
    const { slots } = this.view;
    const types = this.demand.types(this.now());
    const published = new Map(slots.demand.map(({ type, weight }) => [type, weight]));
    let shift = 0;
    for (const { type, weight } of types) {
      shift += Math.abs(weight - (published.get(type) ?? 0));
      published.delete(type);
    }
    for (const weight of published.values()) shift += weight;
    if (shift >= demandShiftMin) slots.setDemand(types);
    // Reports decay without an event: hosts are put anew until none is left.
    const rescored = slots.rescore(rescoreBatchMax);
    if (rescored && this.#adverse.size > 0) {
      this.#adverse.prune(this.now());
      slots.rescoreFrom();
    }
  }

  /** One claim by itself: one statement, which is its own transaction. */
  async claim(request: PlacementRequest): Promise<Placed | undefined> {
    const placing = new Placing({ tx: this.#options.db, capacity: this, reached: this.#options.hosts });
    try {
      const placed = await placing.place(request);
      placing.commit();
      return placed;
    } catch (error) {
      placing.abandon();
      throw error;
    }
  }

  /** Runs a transaction that may place. What it claimed counts in this processor's view from the decision on, and no longer if it fails. */
  async transaction<T>(work: (tx: Sql, placing: Placing) => Promise<T>): Promise<T> {
    let placing: Placing | undefined;
    try {
      const value = await this.#options.db.transaction((tx) => {
        // Run again: what the last try claimed is rolled back.
        placing?.abandon();
        placing = new Placing({ tx, capacity: this, reached: this.#options.hosts });
        return work(tx, placing);
      });
      placing?.commit();
      return value;
    } catch (error) {
      placing?.abandon();
      throw error;
    }
  }

  now(): number {
    return this.#options.clock.monotonicMs();
  }
}
