/** As many simulated rollouts as fit into some seconds; all of the ten thousand: invariant.soak.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monotonicMs } from '#base/monotonic.ts';
import { runSimulations } from './invariant.suite.ts';

const boxMs = 10_000;

test('I7, S8.3, S8.5 simulated rollouts: never more devices changed than the policy allows, and all converge', (t) => {
  const firstSeed = 1 + Math.floor(Math.random() * 1e9);
  const { done, applied } = runSimulations(10_000, monotonicMs() + boxMs, monotonicMs, firstSeed);
  t.diagnostic(`${done} rollouts, ${applied} changes of devices, from seed ${firstSeed}`);
  assert.ok(done > 20 && applied > done, 'the simulation changes devices');
});
