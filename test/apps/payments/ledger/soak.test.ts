/** Many operations, eight retries of each key at once, one in a hundred with another body (S9.5, I10). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPool } from '#payments/store/pool.ts';
import { atEnd, testDatabase } from '../support/database.ts';
import { soak } from '../support/soak.ts';

test('no charge twice, no other answer than the first, and the books balance', async () => {
  const { pool, url } = await testDatabase(4);
  const others = Array.from({ length: 7 }, () => openPool({ url, poolMax: 4 }));
  atEnd(() => Promise.all(others.map((other) => other.end())));
  const operations = Number(process.env.PANDO_LEDGER_OPERATIONS ?? 500);
  const result = await soak({
    processes: [pool, ...others],
    operations,
    accounts: 20,
    concurrency: 4,
    retries: 8,
    // Of the suite's few operations more are wrong, so that each run has some.
    wrongBodyShare: 0.05,
    seed: 7,
  });
  const shown = JSON.stringify(result, (_, value) => (typeof value === 'bigint' ? `${value}` : value));
  assert.equal(result.booked + result.refused, operations, shown);
  assert.ok(result.booked > operations / 3 && result.refused > 0, shown);
  assert.ok(result.raced > operations / 3 && result.racedByAll > operations / 20, shown);
  assert.ok(result.wrongBodies > 0 && result.lateReplays > 0 && result.calls > 8 * operations, shown);
  assert.equal(result.postings, 2n * BigInt(result.booked + 20), shown);
  assert.deepEqual(
    [
      result.differentAnswers,
      result.wrongBodiesTaken,
      result.unexpected,
      result.doubleCharges,
      result.untoldCharges,
      result.lostOrDoubledMinor,
      result.sumMinor,
      result.drifted,
    ],
    [0, 0, undefined, 0, 0, 0n, 0n, 0],
    shown,
  );
});
