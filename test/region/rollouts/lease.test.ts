/** Which process runs the rollouts, when the clock of the store's machine is stepped back: one that is dead keeps them for no hour. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sql } from 'kysely';
import { EngineLease } from '#region/rollouts/lease.ts';
import { RolloutBench } from './bench.ts';
import { SimFleet } from './sim-fleet.ts';

/** Much less than the step, and long enough for a machine that stands still between two looks. */
const ttlMs = 60_000;

test('a lease that was renewed in an hour that has not come yet is of before the step, and is taken', async () => {
  await using bench = await RolloutBench.create(new SimFleet(1));
  const dead = new EngineLease(bench.db, 'dead', ttlMs);
  assert.equal(await dead.keep(), true);
  const next = new EngineLease(bench.db, 'next', ttlMs);
  assert.equal(await next.keep(), false, 'while it is fresh');
  await sql`update rollout_engine set renewed_at = renewed_at + interval '1 hour'`.execute(bench.db);
  assert.equal(await next.keep(), true);
  assert.ok((next.epoch ?? 0) > (dead.epoch ?? 0));
});
