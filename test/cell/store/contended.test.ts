/** A deadlock is nobody's answer: statements on their own are run again, as transactions are. On PostgreSQL's own deadlocks. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Kysely, sql } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import { transact } from '#base/postgres/transaction.ts';
import { type CellSchema, type Database, databaseOver } from '#cell/store/sql.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';

let database: TestDatabase;
let handle: Kysely<CellSchema>;
let db: Database;

before(async () => {
  database = await startTestDatabase();
  handle = openDatabase<CellSchema>({ url: database.url, poolMax: 8 });
  db = databaseOver(handle);
  await sql`create table pair (id int primary key, n int not null default 0)`.execute(handle);
  await sql`insert into pair values (1), (2)`.execute(handle);
  // It locks one row, waits until somebody waits for it, and only then the other: the circle is closed for certain.
  await sql`create function both_rows(first int, second int) returns void language plpgsql volatile as $$
    begin
      update pair set n = n + 1 where id = first;
      for turn in 1..500 loop
        exit when exists (select from pg_locks where not granted) or turn = 100;
        perform pg_sleep(0.01);
      end loop;
      update pair set n = n + 1 where id = second;
    end $$`.execute(handle);
});
after(async () => {
  await handle.destroy();
  await database.stop();
});

/** Since the database was made; sessions write what they counted once they are idle. */
const deadlocks = async (): Promise<number> => {
  const { rows } = await sql<{ n: number }>`
    select deadlocks as n from pg_stat_database where datname = current_database()`.execute(handle);
  return rows[0]?.n ?? -1;
};

for (const [what, other] of [
  ['another statement', () => db.query('select both_rows(2, 1)')],
  ['a transaction', () => transact(handle, (tx) => sql`select both_rows(2, 1)`.execute(tx))],
] as const)
  test(`a statement that meets ${what} in a circle: both are done, each once`, async () => {
    const [before] = await db.query<{ n: number }>('select sum(n)::int as n from pair');
    await Promise.all([db.query('select both_rows(1, 2)'), other()]);
    const [now] = await db.query<{ n: number }>('select sum(n)::int as n from pair');
    assert.equal((now?.n ?? 0) - (before?.n ?? 0), 4);
  });

test('there were deadlocks in these tests', async () => {
  for (let tries = 0; tries < 100 && (await deadlocks()) === 0; tries++)
    await sql`select pg_stat_force_next_flush(), pg_sleep(0.05)`.execute(handle);
  assert.ok((await deadlocks()) > 0);
});

test('an error of the statement itself is told at once', async () => {
  await assert.rejects(db.query('select 1 / $1::int', [0]), { code: '22012' });
});
