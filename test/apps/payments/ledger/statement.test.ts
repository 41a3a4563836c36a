/** The statement as its owner gets it: enough for an auditor who trusts nobody, and never a part that looks like the whole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeBooks } from '#payments/housekeeping.ts';
import { auditStatement } from '#payments/ledger/statement.ts';
import { near, service } from '../support/service.ts';

test('a statement can be recomputed from what the API answers, and from nothing else', async () => {
  const on = await service();
  const [ana, ben] = [await on.phone('@ana'), await on.phone('@ben')];
  await ana.report(near(0));
  await ben.report(near(5));
  for (const amount of ['100', '250', '1'])
    await ana.pay({ kind: 'contact', personId: ben.personId }, amount);
  const statement = await ana.call('statement');
  const recomputed = (change: bigint) => ({
    accountId: statement.accountId,
    currency: statement.currency,
    openingMinor: BigInt(statement.openingMinor),
    closingMinor: BigInt(statement.closingMinor),
    entries: statement.entries.map(({ subAccount, at, amountMinor, balanceMinor, ...entry }, index) => ({
      ...entry,
      sub: subAccount,
      atMs: at,
      amountMinor: BigInt(amountMinor) + (index === 1 ? change : 0n),
      balanceMinor: BigInt(balanceMinor),
    })),
  });
  assert.equal(statement.entries.length, 4);
  assert.equal(BigInt(statement.closingMinor), await ana.balance());
  assert.deepEqual(auditStatement(recomputed(0n)), []);
  assert.notDeepEqual(auditStatement(recomputed(1n)), []);
});

test('the day before is proved once: afterwards nothing is recomputed and no payment waits', async () => {
  const on = await service();
  on.pass(24 * 3_600_000);
  await closeBooks(on.app);
  const writer = await on.app.pool.connect();
  try {
    await writer.query('begin');
    await writer.query('lock table ledger_transaction in row exclusive mode');
    // It would wait for the writer, and give up with `busy`.
    await closeBooks(on.app);
  } finally {
    await writer.query('rollback');
    writer.release();
  }
  const { rows } = await on.app.pool.query('select day from ledger_day_proof');
  assert.equal(rows.length, 1);
});
