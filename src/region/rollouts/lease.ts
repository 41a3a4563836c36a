/**
 * Which region process runs the rollouts: one at a time, by (holder, epoch) on a row. Every write of an engine locks that row and names its
 * epoch, and every command to a device carries it: one that was frozen and wakes up writes nothing, and devices do not obey it.
 */
import { sql } from 'kysely';
import { monotonicMs } from '#base/monotonic.ts';
import { OwnershipTable } from '#base/ownership.ts';
import type { Database, RegionTransaction } from '../schema.ts';

const engine = 'rollouts';
const renewalsPerTtl = 5;
const table = new OwnershipTable({ table: 'rollout_engine', id: 'engine', holder: 'holder', epoch: 'epoch' });

export class EngineLease {
  readonly #db: Database;
  readonly #holder: string;
  readonly #ttlMs: number;
  #epoch: number | undefined;
  #renewedMs = Number.NEGATIVE_INFINITY;

  constructor(db: Database, holder: string, ttlMs: number) {
    this.#db = db;
    this.#holder = holder;
    this.#ttlMs = ttlMs;
  }

  /** undefined: another process has it, as far as is known. */
  get epoch(): number | undefined {
    return this.#epoch;
  }

  /** Renews the lease, or takes one that has run out. Answers whether it has just been taken. */
  async keep(): Promise<boolean> {
    const isFresh = monotonicMs() - this.#renewedMs < this.#ttlMs / renewalsPerTtl;
    if (isFresh && this.#epoch !== undefined) return false;
    const beganMs = monotonicMs();
    if (this.#epoch !== undefined && (await this.#renew(this.#epoch))) {
      this.#renewedMs = beganMs;
      return false;
    }
    this.#epoch = await this.#take();
    this.#renewedMs = beganMs;
    return this.#epoch !== undefined;
  }

  /** @throws StaleEpoch when another has taken over. For each transaction of an engine, first of all. */
  async assertHeld(tx: RegionTransaction): Promise<void> {
    await table.assertHeld(tx, engine, { holder: this.#holder, epoch: this.#epoch ?? 0 });
  }

  /** Another may take over at once. */
  async release(): Promise<void> {
    if (this.#epoch === undefined) return;
    const epoch = this.#epoch;
    this.#epoch = undefined;
    await sql`update rollout_engine set holder = null
      where engine = ${engine} and holder = ${this.#holder} and epoch = ${epoch}`.execute(this.#db);
  }

  async #renew(epoch: number): Promise<boolean> {
    const { numAffectedRows } = await sql`update rollout_engine set renewed_at = clock_timestamp()
      where engine = ${engine} and holder = ${this.#holder} and epoch = ${epoch}`.execute(this.#db);
    return numAffectedRows === 1n;
  }

  /** Renewed later than it can be by now: before the store's clock was stepped back. Who lives renews again, or loses it. */
  async #take(): Promise<number | undefined> {
    const ttl = sql`make_interval(secs => ${this.#ttlMs / 1_000})`;
    const { rows } = await sql<{ epoch: number }>`
      update rollout_engine set holder = ${this.#holder}, epoch = epoch + 1, renewed_at = clock_timestamp()
      where engine = ${engine}
        and (holder is null or renewed_at not between clock_timestamp() - ${ttl} and clock_timestamp() + ${ttl})
      returning epoch`.execute(this.#db);
    return rows[0]?.epoch;
  }
}
