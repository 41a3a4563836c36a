/** The whole ten thousand of invariant.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monotonicMs } from '#base/monotonic.ts';
import { runSimulations } from './invariant.suite.ts';

const simulations = 10_000;

test('I7, S8.3, S8.5 ten thousand simulated rollouts', { timeout: 14 * 60_000 }, (t) => {
  const firstSeed = 1 + Math.floor(Math.random() * 1e9);
  const { done, applied } = runSimulations(simulations, Number.POSITIVE_INFINITY, monotonicMs, firstSeed);
  t.diagnostic(`${applied} changes of devices, from seed ${firstSeed}`);
  assert.equal(done, simulations);
});
