import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Kysely, sql } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import { migrate } from '#base/postgres/migrate.ts';
import { sqlStateOf, transact, violatedConstraint } from '#base/postgres/transaction.ts';
import { startTestDatabase, type TestDatabase } from './test-database.ts';

interface Schema {
  account: { id: number; balance: number };
}

let database: TestDatabase;
let db: Kysely<Schema>;
const brokenConnections: Error[] = [];

before(async () => {
  database = await startTestDatabase();
  db = openDatabase<Schema>({
    url: database.url,
    poolMax: 8,
    onConnectionError: (error) => brokenConnections.push(error),
  });
});

after(async () => {
  await db.destroy();
  await database.stop();
});

const steps = [
  { name: '0001-begin', up: 'create table account (id int primary key, balance bigint not null)' },
  {
    name: '0002-rows',
    up: 'insert into account values (1, 100), (2, 100); insert into account values (3, 5000000000)',
  },
];

test('migrations run once each, in order, also from several processes at once', async () => {
  await Promise.all([migrate(db, steps), migrate(db, steps), migrate(db, steps)]);
  const rows = await db.selectFrom('account').selectAll().orderBy('id').execute();
  assert.deepEqual(
    rows.map((row) => row.balance),
    [100, 100, 5_000_000_000],
    'bigint arrives as a number',
  );
  await assert.rejects(migrate(db, [...steps].reverse()), /out of order/);
  await assert.rejects(
    migrate(db, [...steps, { name: '0003-bad', up: 'create tabel x()' }]),
    /0003-bad failed/,
  );
});

test('deadlocks and serialization failures are run again until all transfers are done', async () => {
  const transfer = (from: number, to: number) =>
    transact(
      db,
      async (tx) => {
        const source = await tx
          .selectFrom('account')
          .selectAll()
          .where('id', '=', from)
          .executeTakeFirstOrThrow();
        await tx
          .updateTable('account')
          .set({ balance: source.balance - 1 })
          .where('id', '=', from)
          .execute();
        await tx
          .updateTable('account')
          .set((row) => ({ balance: row('balance', '+', 1) }))
          .where('id', '=', to)
          .execute();
      },
      { isolation: 'serializable', attemptsMax: 60 },
    );
  await Promise.all(Array.from({ length: 8 }, (_, n) => (n % 2 ? transfer(1, 2) : transfer(2, 1))));
  const rows = await db.selectFrom('account').selectAll().where('id', '<', 3).orderBy('id').execute();
  assert.deepEqual(
    rows.map((row) => row.balance),
    [100, 100],
  );
});

test('exhausted retries are a Conflict; other errors pass as they are', async () => {
  let runs = 0;
  const conflict = transact(
    db,
    async (tx) => {
      runs += 1;
      await sql`do $$ begin raise exception using errcode = '40001'; end $$`.execute(tx);
    },
    { attemptsMax: 3 },
  );
  await assert.rejects(conflict, { code: 'Conflict' });
  assert.equal(runs, 3);
  const duplicate = transact(db, (tx) => tx.insertInto('account').values({ id: 1, balance: 0 }).execute());
  await assert.rejects(duplicate, (error) => {
    assert.equal(sqlStateOf(error), '23505');
    assert.equal(violatedConstraint(error), 'account_pkey');
    return true;
  });
});

test('a connection ended by the server (57P01), idle or in use, does not end the process, and is replaced', async () => {
  const inUse = transact(db, async (tx) => {
    await sql`select pg_terminate_backend(pg_backend_pid())`.execute(tx);
  });
  await assert.rejects(inUse);
  await Promise.all([1, 2, 3, 4].map(() => sql`select pg_sleep(0.01)`.execute(db)));
  await sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and state = 'idle'`.execute(db);
  const deadline = Date.now() + 5_000;
  while (brokenConnections.length === 0 && Date.now() < deadline)
    await new Promise((wake) => setTimeout(wake, 10));
  assert.ok(brokenConnections.length > 0, 'idle connections reported their end');
  for (let n = 0; n < 8; n++) await sql`select 1`.execute(db).catch(() => undefined);
  assert.equal((await db.selectFrom('account').selectAll().execute()).length, 3);
});

test('parameterised statements are prepared once per connection', async () => {
  await db.connection().execute(async (one) => {
    for (let n = 0; n < 3; n++) await one.selectFrom('account').select('id').where('id', '=', n).execute();
    const { rows } = await sql<{ n: number }>`select count(*) as n from pg_prepared_statements
      where statement = ${'select "id" from "account" where "id" = $1'}`.execute(one);
    assert.equal(rows[0]?.n, 1);
  });
});
