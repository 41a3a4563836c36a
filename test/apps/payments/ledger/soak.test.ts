/** Many operations, eight retries of each key at once, one in a hundred with another body (S9.5, I10). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testDatabase } from '../support/database.ts';
import { soak } from '../support/soak.ts';

test('no charge twice, no other answer than the first, and the books balance', async () => {
  const { pool } = await testDatabase(24);
  const operations = Number(process.env.PANDO_LEDGER_OPERATIONS ?? 500);
  const result = await soak(pool, {
    operations,
    accounts: 20,
    concurrency: 4,
    retries: 8,
    wrongBodyShare: 0.01,
    seed: 7,
  });
  assert.equal(result.booked + result.refused, operations);
  assert.ok(
    result.booked > operations / 3 && result.refused > 0,
    JSON.stringify(result, (_, value) => `${value}`),
  );
  assert.deepEqual(
    [
      result.differentAnswers,
      result.wrongBodiesTaken,
      result.lostOrDoubledMinor,
      result.sumMinor,
      result.drifted,
    ],
    [0, 0, 0n, 0n, 0],
  );
});
