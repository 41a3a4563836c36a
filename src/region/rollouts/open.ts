/** Rollouts of one region process: its devices, its engine, its answers to operators. */
import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import type { CellDevice, GatewayDevice } from '../devices.ts';
import type { Database } from '../schema.ts';
import { RolloutEngine } from './engine.ts';
import { rolloutHandlers } from './handlers.ts';
import { ProbeMeter } from './probe-meter.ts';
import { RegionFleet } from './region-fleet.ts';

/** One address of a tenant on each of these cards: what is wrong with a range of theirs shows at a guest that has it too. */
const tenantAddresses = async (db: Database, vteps: readonly string[]): Promise<Map<string, string>> => {
  const { rows } = await sql<{ vtep: string; ip: string }>`
    select distinct on (vtep) vtep, ip from eni where vtep = any(${[...vteps]}) order by vtep, eni_id`.execute(
    db,
  );
  return new Map(rows.map(({ vtep, ip }) => [vtep, ip]));
};

/** Time windows and records of rollouts are people's. */
export const now = (): number => Date.now();

const beganMs = Date.now() - monotonicMs();
/**
 * For what engines measure (bake times, pauses, patience): milliseconds since 1970 as the wall clock had it when this process began, and by
 * the monotonic clock since. So it goes on in the next process, and a clock that is stepped lets no wave go unbaked or unmeasured.
 */
export const steadyNow = (): number => Math.round(beganMs + monotonicMs());

export interface Rollouts {
  readonly handlers: ReturnType<typeof rolloutHandlers>;
  /** Milliseconds since 1970. */
  now(): number;
  stop(): Promise<void>;
}

export const openRollouts = async (options: {
  readonly db: Database;
  readonly cells: ReadonlyMap<string, CellDevice>;
  readonly gateway: GatewayDevice;
  readonly log: Logger;
  /** Of the overlay, in bytes. */
  readonly mtu: number;
}): Promise<Rollouts> => {
  const { db, log } = options;
  const fleet = new RegionFleet(options);
  await fleet.start();
  const name = `region-${process.pid}-${randomBytes(4).toString('hex')}`;
  const addresses = (vteps: readonly string[]) => tenantAddresses(db, vteps);
  const meter = new ProbeMeter({ fleet, now: steadyNow, mtu: options.mtu, addresses });
  const engine = new RolloutEngine({ db, fleet, log, name, now: steadyNow, wallNow: now, meter });
  engine.start();
  return {
    handlers: rolloutHandlers({ db, fleet, engine, measures: meter.measures, now }),
    now,
    stop: async () => {
      await engine.stop();
      await fleet.stop();
    },
  };
};
