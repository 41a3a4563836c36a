/** The rules that the database itself keeps, whoever writes to it (S9.5, I10). */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import {
  type Account,
  balanceOf,
  capture,
  hold,
  openAccount,
  release,
  transfer,
} from '#payments/ledger/ledger.ts';
import { proveDay } from '#payments/ledger/proof.ts';
import * as names from '#payments/ledger/schema.ts';
import { auditStatement, statementOf } from '#payments/ledger/statement.ts';
import type { Pool } from '#payments/store/pool.ts';
import { constraintOf, transaction } from '#payments/store/transaction.ts';
import { testDatabase } from '../support/database.ts';

const now = Date.parse('2026-11-25T10:00:00Z');
let pool: Pool;
let world: Account;
let ana: Account;
let ben: Account;
let cafe: Account;
let count = 0;

const id = (): string => {
  count += 1;
  return `tx_${count}`;
};
const pay = (from: Account, to: Account, amountMinor: bigint, atMs = now): Promise<void> =>
  transaction(pool, (client) =>
    transfer(client, { transactionId: id(), kind: 'payment', reference: 'r', from, to, amountMinor, atMs }),
  );
const refused =
  (constraint: string) =>
  (error: unknown): boolean => {
    assert.equal(constraintOf(error), constraint, String(error));
    return true;
  };

before(async () => {
  ({ pool } = await testDatabase());
  world = await openAccount(pool, now, { ownerId: 'world', currency: 'EUR', kind: 'world' });
  ana = await openAccount(pool, now, { ownerId: 'ana', currency: 'EUR', kind: 'person' });
  ben = await openAccount(pool, now, { ownerId: 'ben', currency: 'EUR', kind: 'person' });
  cafe = await openAccount(pool, now, { ownerId: 'cafe', currency: 'EUR', kind: 'merchant', subAccounts: 4 });
  await pay(world, ana, 10_000n);
});

test('an account opens once', async () => {
  const again = await openAccount(pool, now, { ownerId: 'ana', currency: 'EUR', kind: 'person' });
  assert.deepEqual(again, ana);
});

test('a transaction that does not sum to zero is refused at COMMIT', async () => {
  const begun = transaction(pool, async (client) => {
    await client.query('select ledger_post($1, $2, $3, $4, $5, $6, $7, $8)', [
      id(),
      'x',
      'r',
      now,
      [ana.accountId, ben.accountId],
      [0, 0],
      ['EUR', 'EUR'],
      [-100n, 99n],
    ]); // prettier-ignore
  });
  await assert.rejects(begun, refused(names.sumZero));
});

test('sums are kept per currency: one may not make up for another', async () => {
  const usd = await openAccount(pool, now, { ownerId: 'ben', currency: 'USD', kind: 'person' });
  const mixed = transaction(pool, async (client) => {
    await client.query('select ledger_post($1, $2, $3, $4, $5, $6, $7, $8)', [
      id(),
      'x',
      'r',
      now,
      [ana.accountId, usd.accountId],
      [0, 0],
      ['EUR', 'USD'],
      [-100n, 100n],
    ]); // prettier-ignore
  });
  await assert.rejects(mixed, refused(names.sumZero));
  await assert.rejects(pay(ana, usd, 100n), { code: 'currency_mismatch' });
  const disguised = transaction(pool, async (client) => {
    await client.query('select ledger_post($1, $2, $3, $4, $5, $6, $7, $8)', [
      id(),
      'x',
      'r',
      now,
      [ana.accountId, usd.accountId],
      [0, 0],
      ['EUR', 'EUR'],
      [-100n, 100n],
    ]); // prettier-ignore
  });
  await assert.rejects(disguised, refused(names.sameCurrency));
});

test('a transaction without postings, or with one, is refused', async () => {
  await assert.rejects(
    pool.query(
      'insert into ledger_transaction (transaction_id, kind, reference, at_ms) values ($1, $2, $3, $4)',
      [id(), 'x', 'r', now],
    ),
    refused(names.sumZero),
  );
});

test('nothing is changed, deleted or truncated, and nothing is added to an old transaction', async () => {
  await pay(ana, ben, 10n);
  const old = `tx_${count}`;
  for (const statement of [
    'update ledger_posting set amount_minor = amount_minor + 1',
    'delete from ledger_posting',
    'truncate ledger_posting',
    'update ledger_transaction set kind = kind',
    'delete from ledger_transaction',
    'truncate ledger_transaction cascade',
    'update ledger_balance set posted_minor = posted_minor + 1000',
    'update ledger_balance set held_minor = 0, sequence = 0',
    'delete from ledger_balance',
    `insert into ledger_balance (account_id, sub, currency, floor_minor, posted_minor) values ('${ana.accountId}', 9, 'EUR', 0, 5)`,
  ])
    await assert.rejects(pool.query(statement), refused(names.appendOnly), statement);
  const add = transaction(pool, async (client) => {
    for (const [account, amount] of [
      [ana, -5],
      [ben, 5],
    ] as const)
      await client.query(
        `insert into ledger_posting (transaction_id, account_id, sub, currency, amount_minor, at_ms, sequence, balance_minor, hash)
         values ($1, $2, 0, 'EUR', $3, $4, 0, 0, '')`,
        [old, account.accountId, amount, now],
      );
  });
  await assert.rejects(add, refused(names.appendOnly));
});

test('a balance never falls below zero, and never leaves its bounds', async () => {
  const { postedMinor } = await balanceOf(pool, ana.accountId);
  await assert.rejects(pay(ana, ben, postedMinor + 1n), { code: 'insufficient_funds' });
  assert.equal((await balanceOf(pool, ana.accountId)).postedMinor, postedMinor);
  await assert.rejects(pay(world, ana, 1_000_000_000_000_000n), { code: 'balance_exceeded' });
  for (const amount of [0n, -1n])
    await assert.rejects(pay(ana, ben, amount), { code: 'amount_out_of_range' });
});

test('two spends that race for one balance: one goes through', async () => {
  const racer = await openAccount(pool, now, { ownerId: 'racer', currency: 'EUR', kind: 'person' });
  await pay(world, racer, 100n);
  const results = await Promise.allSettled(Array.from({ length: 12 }, () => pay(racer, ben, 60n)));
  assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1);
  assert.equal((await balanceOf(pool, racer.accountId)).postedMinor, 40n);
});

test('what is held cannot be spent; a hold ends once, captured or released', async () => {
  const holder = await openAccount(pool, now, { ownerId: 'holder', currency: 'EUR', kind: 'person' });
  await pay(world, holder, 100n);
  await hold(pool, { holdId: 'h1', account: holder, amountMinor: 80n, atMs: now });
  await assert.rejects(pay(holder, ben, 30n), { code: 'insufficient_funds' });
  await assert.rejects(hold(pool, { holdId: 'h2', account: holder, amountMinor: 30n, atMs: now }), {
    code: 'insufficient_funds',
  });
  const order = {
    transactionId: id(),
    kind: 'payment',
    reference: 'r',
    from: holder,
    to: ben,
    amountMinor: 80n,
    atMs: now,
  };
  await transaction(pool, (client) => capture(client, 'h1', order));
  assert.deepEqual(await balanceOf(pool, holder.accountId), { postedMinor: 20n, heldMinor: 0n });
  assert.equal(await release(pool, 'h1', now), false);
  await assert.rejects(
    transaction(pool, (client) => capture(client, 'h1', { ...order, transactionId: id() })),
    { code: 'state_conflict' },
  );
  await hold(pool, { holdId: 'h3', account: holder, amountMinor: 20n, atMs: now });
  assert.equal(await release(pool, 'h3', now), true);
  await pay(holder, ben, 20n);
});

test('a hot account takes credits in sub-accounts, and pays from all of them together', async () => {
  for (let at = 0; at < 40; at += 1) await pay(ana, cafe, 100n);
  const { rows } = await pool.query(
    'select sub from ledger_balance where account_id = $1 and posted_minor > 0',
    [cafe.accountId],
  );
  assert.ok(rows.length > 1, 'credits are spread');
  await assert.rejects(pay(cafe, ben, 4_001n), { code: 'insufficient_funds' });
  await pay(cafe, ben, 3_999n);
  assert.equal((await balanceOf(pool, cafe.accountId)).postedMinor, 1n);
});

test('a statement can be recomputed by an auditor, who notices any change', async () => {
  for (const account of [ana, cafe]) {
    const statement = await statementOf(pool, account, 0, now + 1);
    assert.ok(statement.entries.length > 10);
    assert.deepEqual(auditStatement(statement), []);
    assert.equal(statement.closingMinor, (await balanceOf(pool, account.accountId)).postedMinor);
    const [head, ...rest] = statement.entries;
    assert.ok(head);
    const forged = { ...statement, entries: [{ ...head, amountMinor: head.amountMinor + 1n }, ...rest] };
    assert.notDeepEqual(auditStatement(forged), []);
    assert.notDeepEqual(auditStatement({ ...statement, entries: rest }), [], 'an entry that is missing');
  }
});

test('the end of the day is proved once, chained to the day before, and closes the day', async () => {
  const later = Date.parse('2026-11-26T00:00:01Z');
  await assert.rejects(
    transaction(pool, (client) => proveDay(client, '2026-11-26', later)),
    /not over/,
  );
  const proof = await transaction(pool, (client) => proveDay(client, '2026-11-25', later));
  assert.ok(proof.health.sums.every((sum) => sum.sumMinor === 0n));
  assert.ok(proof.postings > 50n);
  const again = await transaction(pool, (client) => proveDay(client, '2026-11-25', later + 5_000));
  assert.equal(again.digest, proof.digest);
  await assert.rejects(pay(ana, ben, 1n), refused(names.dayOpen));
  await pay(ana, ben, 1n, later);
  const next = await transaction(pool, (client) => proveDay(client, '2026-11-26', later + 86_400_000));
  assert.notEqual(next.digest, proof.digest);
  await assert.rejects(pool.query(`update ledger_day_proof set postings = 0`), refused(names.appendOnly));
});
