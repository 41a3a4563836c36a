/** Rollouts of one region process: its devices, its engine, its answers to operators. */
import { randomBytes } from 'node:crypto';
import type { Logger } from '#base/log.ts';
import type { CellDevice, GatewayDevice } from '../devices.ts';
import type { Database } from '../schema.ts';
import { RolloutEngine } from './engine.ts';
import { rolloutHandlers } from './handlers.ts';
import { CallMeter } from './meter.ts';
import { RegionFleet } from './region-fleet.ts';

/** Bake times, time windows and records of rollouts outlive a process. */
const now = (): number => Date.now();

export interface Rollouts {
  readonly handlers: ReturnType<typeof rolloutHandlers>;
  stop(): Promise<void>;
}

export const openRollouts = async (options: {
  readonly db: Database;
  readonly cells: ReadonlyMap<string, CellDevice>;
  readonly gateway: GatewayDevice;
  readonly log: Logger;
}): Promise<Rollouts> => {
  const { db, log } = options;
  const fleet = new RegionFleet(options);
  await fleet.start();
  const name = `region-${process.pid}-${randomBytes(4).toString('hex')}`;
  const engine = new RolloutEngine({ db, fleet, log, name, now, meter: new CallMeter(fleet, now) });
  engine.start();
  return {
    handlers: rolloutHandlers({ db, fleet, engine, now }),
    stop: async () => {
      await engine.stop();
      await fleet.stop();
    },
  };
};
