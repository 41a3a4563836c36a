/** Engines of rollouts on a database of the test's own, over devices in memory. */
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { monotonicMs } from '#base/monotonic.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { migrate } from '#base/postgres/migrate.ts';
import type { ChangedObject } from '#contracts/rollout.ts';
import { healthCheck, type PolicySpec, policySpec } from '#contracts/rollout-policy.ts';
import { regionMigrations } from '#region/migrations.ts';
import { type HealthMeter, RolloutEngine } from '#region/rollouts/engine.ts';
import type { Fleet } from '#region/rollouts/fleet.ts';
import { rolloutHandlers } from '#region/rollouts/handlers.ts';
import type { Database, RegionSchema } from '#region/schema.ts';
import { startTestDatabase } from '../../base/postgres/test-database.ts';
import type { SimFleet } from './sim-fleet.ts';

export const healthyMeter: HealthMeter = {
  measures: new Set(healthCheck.options),
  baseline: async () => ({ baseline: {}, verdict: { kind: 'healthy', detail: '', beganMs: Date.now() } }),
  measure: async () => ({ kind: 'healthy', detail: '', beganMs: Date.now() }),
};

export const open = (url: string): Database =>
  openDatabase<RegionSchema>({ url, poolMax: 6, name: 'rollout test', onConnectionError: () => undefined });

export interface Running {
  readonly engine: RolloutEngine;
  /** As `kill -9`: it writes nothing more, and gives nothing back. */
  kill(): Promise<void>;
}

export const policyOf = (spec: Partial<PolicySpec> & Pick<PolicySpec, 'waves'>): PolicySpec =>
  policySpec.parse({ bakeMs: 0, confirmMs: 500, ...spec });

export class RolloutBench<F extends Fleet = SimFleet> implements AsyncDisposable {
  readonly db: Database;
  readonly fleet: F;
  readonly url: string;
  /** What policies may ask for. */
  measures: HealthMeter['measures'] = healthyMeter.measures;
  /** Moves the engines' clock ahead: what bakes has baked when a test says so. */
  aheadMs = 0;
  #engines: Running[] = [];
  readonly #stopDatabase: () => Promise<void>;
  #names = 0;

  private constructor(db: Database, url: string, fleet: F, stop: () => Promise<void>) {
    this.db = db;
    this.url = url;
    this.fleet = fleet;
    this.#stopDatabase = stop;
  }

  static async create<F extends Fleet>(fleet: F): Promise<RolloutBench<F>> {
    const database = await startTestDatabase();
    const db = open(database.url);
    await migrate(db, regionMigrations);
    return new RolloutBench(db, database.url, fleet, () => database.stop());
  }

  /** Starts an engine with connections of its own. */
  start(meter: HealthMeter = healthyMeter, fleet: Fleet = this.fleet): Running {
    const db = open(this.url);
    const engine = new RolloutEngine({
      ...{ db, fleet, meter, log: pino({ level: process.env.PANDO_LOG ?? 'silent' }) },
      ...{ name: `test-${++this.#names}`, now: () => Date.now() + this.aheadMs, tickMs: 20, leaseTtlMs: 600 },
      timing: { awayMsMin: 500, backoffMsMin: 20, backoffMsMax: 100 },
    });
    engine.start();
    let killed: Promise<void> | undefined;
    const kill = (): Promise<void> => {
      killed ??= db.destroy().then(() => engine.stop());
      return killed;
    };
    const running = { engine, kill };
    this.#engines.push(running);
    return running;
  }

  /** As an operator of this name calls the region. */
  as(name: string): ReturnType<typeof callerOf> {
    return callerOf(this, name, () => this.#engines.at(-1)?.engine.hint());
  }

  async mtuPolicy(name: string, spec: Partial<PolicySpec> & Pick<PolicySpec, 'waves'>): Promise<void> {
    await this.as('alice').createPolicy(name, policyOf(spec));
  }

  async until(rolloutId: string, phase: string, ms = 20_000): Promise<void> {
    const deadline = monotonicMs() + ms;
    for (;;) {
      const now = await this.as('alice').show(rolloutId);
      if (now.phase === phase) return;
      if (monotonicMs() > deadline)
        throw new Error(`${rolloutId} is not ${phase}: ${JSON.stringify(now, null, 1)}`);
      await delay(20);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { kill } of this.#engines) await kill();
    await this.db.destroy();
    await this.#stopDatabase();
  }
}

const callerOf = (
  bench: Pick<RolloutBench<Fleet>, 'db' | 'fleet' | 'measures'>,
  name: string,
  hint: () => void,
) => {
  const context = {
    peer: `spiffe://pando/operator/-/${name}`,
    requestId: 'test',
    signal: AbortSignal.timeout(60_000),
  };
  const handlers = rolloutHandlers({
    db: bench.db,
    fleet: bench.fleet,
    engine: { hint },
    measures: bench.measures,
    now: Date.now,
  });
  return {
    createPolicy: (policy: string, spec: PolicySpec) =>
      handlers['operator.createPolicy']({ name: policy, spec }, context),
    start: (
      policy: string,
      body: unknown,
      more: { from?: number; clientToken?: string; dryRun?: boolean } = {},
    ) => {
      const { from, dryRun = false, clientToken } = more;
      const object = { kind: 'fleet' as const, id: 'fleet', body, ...(from !== undefined && { from }) };
      const request = { policy: { name: policy }, class: 'fleet' as const, objects: [object], dryRun };
      return handlers['operator.startRollout'](
        { ...request, ...(clientToken !== undefined && { clientToken }) },
        context,
      );
    },
    change: (policy: string, objects: readonly ChangedObject[]) =>
      handlers['operator.startRollout'](
        { policy: { name: policy }, class: 'fleet', objects: [...objects], dryRun: false },
        context,
      ),
    show: async (rolloutId: string) => await handlers['operator.rollout']({ rolloutId, waitMs: 0 }, context),
    list: async (ended: boolean) => await handlers['operator.rollouts']({ ended, limit: 50 }, context),
    audit: async (rolloutId: string) =>
      (await handlers['operator.rolloutAudit']({ rolloutId, after: 0, limit: 5_000 }, context)).records,
    diff: async (rolloutId: string, deviceId?: string) =>
      await handlers['operator.rolloutDiff'](
        { rolloutId, ...(deviceId !== undefined && { deviceId }) },
        context,
      ),
    control: (rolloutId: string, action: 'pause' | 'resume' | 'abort' | 'approve') =>
      handlers['operator.controlRollout']({ rolloutId, action }, context),
  };
};
