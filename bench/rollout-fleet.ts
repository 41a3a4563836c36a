/**
 * How fast a rollout goes through a fleet: devices a second and the time until the whole fleet has it, at 1,000, 10,000 and 100,000
 * simulated devices, by the production engine on PostgreSQL. Devices answer after `deviceMs`, as many at a time as the policy allows.
 *
 *   node bench/rollout-fleet.ts [devices…] [--device-ms 2] [--concurrency 500]
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { sql } from 'kysely';
import { monotonicMs } from '#base/monotonic.ts';
import { policyOf, RolloutBench } from '../test/region/rollouts/bench.ts';
import { SimFleet } from '../test/region/rollouts/sim-fleet.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'device-ms': { type: 'string', default: '2' }, concurrency: { type: 'string', default: '500' } },
});
const sizes = positionals.length > 0 ? positionals.map(Number) : [1_000, 10_000, 100_000];
const deviceMs = Number(values['device-ms']);
const concurrency = Number(values.concurrency);

export interface FleetFigures {
  readonly devices: number;
  readonly seconds: number;
  readonly perS: number;
  readonly cpuMsPerDevice: number;
  readonly rollbackSeconds: number;
}

/** Looks at the one row, so that looking costs the store nothing. */
const phaseIs = async (
  { db }: RolloutBench,
  rolloutId: string,
  holds: (phase: string, wave: number) => boolean,
): Promise<void> => {
  for (;;) {
    const { rows } = await sql<{ phase: string; wave: number }>`
      select phase, (progress ->> 'wave')::int as wave from rollout where rollout_id = ${rolloutId}`.execute(
      db,
    );
    if (rows[0] !== undefined && holds(rows[0].phase, rows[0].wave)) return;
    await delay(50);
  }
};

/** Forward through canary, 10 %, 40 % and the rest; then a second change that is aborted in its last wave. */
export const measureFleet = async (devices: number): Promise<FleetFigures> => {
  const fleet = new SimFleet(devices, 8);
  await using bench = await RolloutBench.create(fleet);
  for (const device of fleet.all.values()) device.latencyMs = deviceMs;
  bench.start();
  const caller = bench.as('alice');
  const waves = [{ percent: 1 }, { percent: 10 }, { percent: 40 }, { rest: true as const }];
  await caller.createPolicy('bench', policyOf({ waves, concurrency, order: 'spread', confirmMs: 60_000 }));
  const cpu = process.cpuUsage();
  const beganMs = monotonicMs();
  const { rolloutId = '' } = await caller.start('bench', { mtu: 1400 });
  await phaseIs(bench, rolloutId, (phase) => phase === 'done');
  const seconds = (monotonicMs() - beganMs) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  const second = await caller.start('bench', { mtu: 1300 });
  await phaseIs(bench, second.rolloutId ?? '', (_, wave) => wave === waves.length - 1);
  const backMs = monotonicMs();
  await caller.control(second.rolloutId ?? '', 'abort');
  await phaseIs(bench, second.rolloutId ?? '', (phase) => phase === 'rolled-back');
  return {
    ...{ devices, seconds, perS: devices / seconds, cpuMsPerDevice: (user + system) / 1_000 / devices },
    rollbackSeconds: (monotonicMs() - backMs) / 1_000,
  };
};

if (import.meta.main) {
  console.log(
    `each device answers after ${deviceMs} ms; ${concurrency} at a time; two calls each (apply, confirm)`,
  );
  console.log('devices   whole fleet   devices/s   CPU/device   rollback of half');
  for (const size of sizes) {
    const { seconds, perS, cpuMsPerDevice, rollbackSeconds } = await measureFleet(size);
    console.log(
      [
        String(size).padStart(7),
        `${seconds.toFixed(1)} s`.padStart(13),
        perS.toFixed(0).padStart(11),
        `${cpuMsPerDevice.toFixed(2)} ms`.padStart(12),
        `${rollbackSeconds.toFixed(1)} s`.padStart(18),
      ].join(' '),
    );
  }
}
