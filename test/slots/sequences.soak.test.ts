/** The whole million of sequences.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monotonicMs } from '#base/monotonic.ts';
import { runSequences } from './sequences.suite.ts';

const sequences = 1_000_000;

test('I3, S4.3 a million random sequences by two processors at once', { timeout: 14 * 60_000 }, () => {
  assert.equal(runSequences(sequences, Number.POSITIVE_INFINITY, monotonicMs), sequences);
});
