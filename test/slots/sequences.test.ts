/** As many random sequences as fit into a few seconds; all of the million: sequences.soak.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monotonicMs } from '#base/monotonic.ts';
import { runSequences } from './sequences.suite.ts';

const boxMs = 5_000;

test('I3, S4.3 random sequences by two processors at once: never above capacity, counters are the sums of claims, no group’s constraint broken', (t) => {
  const firstSeed = 1 + Math.floor(Math.random() * 1e9);
  const done = runSequences(1_000_000, monotonicMs() + boxMs, monotonicMs, firstSeed);
  t.diagnostic(`${done} sequences from seed ${firstSeed}`);
  assert.ok(done > 0);
});
