/** A store that misbehaves, seen from a pool: silence, a demotion, a lost answer, and every class of SQLSTATE. */
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { type Kysely, sql } from 'kysely';
import { type OpenDatabaseOptions, openDatabase, poolOf } from '#base/postgres/database.ts';
import { faultOfState, storeFaultOf } from '#base/postgres/faults.ts';
import { transactPipelined } from '#base/postgres/pipelined.ts';
import { StorePool } from '#base/postgres/pool.ts';
import { transact } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import { StoreProxy } from '../../support/storeProxy.ts';
import { startTestDatabase, type TestDatabase } from './test-database.ts';

interface Schema {
  kept: { id: number };
}

const options: Partial<OpenDatabaseOptions> = {
  acquireTimeoutMs: 3_000,
  acquireTimeoutDownMs: 300,
  reconnectMsMax: 200,
};
/** Where a server is silent. Elsewhere a machine that stands still is no fault of the server's: an answer counts however late it is. */
const quick: Partial<OpenDatabaseOptions> = {
  queryTimeoutMs: 400,
  connectTimeoutMs: 400,
  checkTimeoutMs: 300,
};
let database: TestDatabase;
let one: StoreProxy;
let two: StoreProxy;
const opened: Kysely<Schema>[] = [];

const open = (url: string, more: Partial<OpenDatabaseOptions> = {}): Kysely<Schema> => {
  const db = openDatabase<Schema>({ ...options, ...more, url });
  opened.push(db);
  return db;
};
const both = (): string =>
  `postgresql://pando@${one.address},${two.address}${new URL(database.url).pathname}`;
const ask = (db: Kysely<Schema>): Promise<unknown> => sql`select 1`.execute(db);
const keep = (db: Kysely<Schema>, id: number): Promise<unknown> =>
  transact(db, (tx) => tx.insertInto('kept').values({ id }).execute());
const has = async (id: number): Promise<boolean> => {
  const db = open(database.url);
  return (await db.selectFrom('kept').select('id').where('id', '=', id).execute()).length === 1;
};

before(async () => {
  database = await startTestDatabase();
  one = await StoreProxy.of(database.url);
  two = await StoreProxy.of(database.url);
  await sql`create table kept (id int primary key)`.execute(open(database.url));
});

afterEach(async () => {
  for (const proxy of [one, two])
    Object.assign(proxy, { mode: 'pass', error: undefined, commitAnswersToLose: 0 });
  for (const db of opened.splice(0)) await db.destroy();
});

after(async () => {
  await one.close();
  await two.close();
  await database.stop();
});

test('a server that falls silent is left for the next address within the query timeout, in use and idle alike', async () => {
  const db = open(both(), quick);
  await Promise.all(Array.from({ length: 6 }, () => ask(db)));
  const before = two.accepted;
  one.mode = 'silent';
  const began = performance.now();
  await keep(db, 1);
  const ms = performance.now() - began;
  assert.ok(two.accepted > before, 'the second address serves');
  assert.ok(ms < 10_000, `left after ${ms} ms: a query's and a connection's time, not for ever`);
  assert.equal(await has(1), true);
});

test('an answer that came in time and is read late, since this process stood still in between, is taken', async () => {
  const db = open(database.url, quick);
  await ask(db);
  const asked = ask(db);
  // By then it is with the server.
  setImmediate(() => {
    const end = performance.now() + 2 * (quick.queryTimeoutMs ?? 0);
    while (performance.now() < end);
  });
  await asked;
});

test('every caller hears Unavailable in a bounded time while no address answers, and all is well when one does', async () => {
  const db = open(both(), quick);
  await ask(db);
  for (const proxy of [one, two]) proxy.mode = 'silent';
  const asked = await Promise.allSettled(Array.from({ length: 40 }, () => ask(db)));
  for (const outcome of asked) {
    assert.equal(outcome.status, 'rejected');
    assert.ok(outcome.reason instanceof PandoError);
    assert.equal(outcome.reason.code, 'Unavailable');
    assert.equal(outcome.reason.status, 503);
  }
  for (const proxy of [one, two]) proxy.mode = 'pass';
  await keep(db, 2);
});

test('after an outage connections come back a few at a time, and the failed rounds grow apart', async () => {
  const db = open(one.url(database.url), { poolMax: 10 });
  one.mode = 'refuse';
  const before = one.accepted;
  const waiting = Array.from({ length: 60 }, () => ask(db).catch(() => undefined));
  await Promise.all(waiting);
  const tried = one.accepted - before;
  // Without growing intervals sixty callers would have made hundreds of attempts in these three seconds.
  assert.ok(tried >= 3 && tried <= 40, `${tried} attempts`);
  one.mode = 'pass';
  await Promise.all(Array.from({ length: 60 }, () => keepAsking(db)));
  assert.ok(one.accepted - before - tried <= 10, 'at most one connection each place in the pool');
});

const keepAsking = async (db: Kysely<Schema>): Promise<void> => {
  for (;;) {
    const done = await ask(db).then(
      () => true,
      () => false,
    );
    if (done) return;
  }
};

test('a server that takes no writes is passed over when connecting, and a pooled connection to it is thrown away', async () => {
  const shy = open(database.url);
  await sql`alter system set default_transaction_read_only = on`.execute(shy);
  await sql`select pg_reload_conf()`.execute(shy);
  try {
    await until(async () => (await readOnly(shy)) === 'on');
    await assert.rejects(ask(open(both())), { code: 'Unavailable' });
    // For who wants to read only.
    await ask(open(`${both()}?target_session_attrs=any`));
    await assert.rejects(
      keep(shy, 3),
      (error) => storeFaultOf(error) === 'read-only' || storeFaultOf(error) === 'away',
    );
  } finally {
    const reader = open(`${database.url}&target_session_attrs=any`);
    await sql`alter system reset default_transaction_read_only`.execute(reader);
    await sql`select pg_reload_conf()`.execute(reader);
    await until(async () => (await readOnly(reader)) === 'off');
  }
  await keep(shy, 3);
});

const readOnly = async (db: Kysely<Schema>): Promise<string | undefined> =>
  (await sql<{ is: string }>`select current_setting('default_transaction_read_only') as is`.execute(db))
    .rows[0]?.is;

const until = async (condition: () => Promise<boolean>): Promise<void> => {
  const end = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error('not within 30 s');
    await new Promise((wake) => setTimeout(wake, 20));
  }
};

test('a COMMIT whose answer is lost is an unknown outcome, and is not run again', async () => {
  const db = open(one.url(database.url));
  await ask(db);
  one.commitAnswersToLose = 1;
  let runs = 0;
  const lost = transact(db, async (tx) => {
    runs++;
    await tx.insertInto('kept').values({ id: 4 }).execute();
  });
  await assert.rejects(
    lost,
    (error) => error instanceof PandoError && error.code === 'UnknownOutcome' && error.status === 503,
  );
  assert.equal(runs, 1);
  assert.equal(await has(4), true, 'the server did keep it');
});

test('a transaction whose failure nobody passed on is rolled back by the server, and says so', async () => {
  const db = open(database.url);
  await keep(db, 7);
  const twice = 'insert into kept (id) values (7)';
  for (let turn = 0; turn < 3; turn++) {
    const swallowed = transact(db, async (tx) => {
      await tx.insertInto('kept').values({ id: 8 }).execute();
      await sql
        .raw(twice)
        .execute(tx)
        .catch(() => undefined);
    });
    await assert.rejects(swallowed, /rolled back/);
    const piped = transactPipelined(poolOf(db), async (tx) => {
      await tx.query('insert into kept (id) values (8)');
      await tx.query(twice).catch(() => undefined);
    });
    await assert.rejects(piped, /rolled back/);
  }
  assert.equal(await has(8), false);
});

test('a connection that breaks before COMMIT: the transaction is run again, and happens once', async () => {
  const db = open(one.url(database.url));
  let runs = 0;
  await transact(db, async (tx) => {
    runs++;
    await tx.insertInto('kept').values({ id: 5 }).execute();
    if (runs === 1) one.cut();
    await sql`select 1`.execute(tx);
  });
  assert.equal(runs, 2);
  assert.equal(await has(5), true);
});

test('every SQLSTATE of a store in trouble has its class, its code, and its way of going on', async () => {
  const table = [
    ['57P01', 'away', 'Unavailable'],
    ['57P02', 'away', 'Unavailable'],
    ['57P03', 'away', 'Unavailable'],
    ['57P04', 'away', 'Unavailable'],
    ['08006', 'away', 'Unavailable'],
    ['08P01', 'away', 'Unavailable'],
    ['25006', 'read-only', 'Unavailable'],
    ['40001', 'contended', 'Conflict'],
    ['40P01', 'contended', 'Conflict'],
    ['53100', 'full', 'Unavailable'],
    ['58030', 'full', 'Unavailable'],
    ['53000', 'busy', 'Unavailable'],
    ['53300', 'busy', 'Unavailable'],
    ['57014', 'busy', 'Unavailable'],
  ] as const;
  for (const [sqlState, fault, code] of table) {
    assert.equal(faultOfState(sqlState), fault);
    const db = open(one.url(database.url));
    await ask(db);
    const before = one.accepted;
    one.error = { sqlState, statements: /kept/ };
    let runs = 0;
    const failed = transact(db, async (tx) => {
      runs++;
      await tx.insertInto('kept').values({ id: 6 }).execute();
    });
    await assert.rejects(failed, (error) => {
      assert.ok(error instanceof PandoError, sqlState);
      assert.equal(error.code, code, sqlState);
      assert.equal(error.retryable, true);
      return true;
    });
    const again = fault === 'away' || fault === 'read-only' || fault === 'contended';
    assert.equal(runs > 1, again, `${sqlState}: ${runs} runs`);
    one.error = undefined;
    await ask(db);
    const thrownAway = fault === 'away' || fault === 'read-only';
    assert.equal(one.accepted > before, thrownAway, `${sqlState}: connections thrown away`);
  }
  assert.equal(faultOfState('23505'), undefined);
  assert.equal(storeFaultOf(Object.assign(new Error('broken pipe'), { code: 'EPIPE' })), undefined);
});

test('an answer that cannot pass with time is told at once', async () => {
  const began = performance.now();
  await assert.rejects(ask(open(`${one.url(database.url)}_absent`, { acquireTimeoutMs: 60_000 })), {
    ...{ code: 'Unavailable', status: 503 },
  });
  assert.ok(performance.now() - began < 30_000);
});

test('callers that wait for a connection are bounded in time, and a closed pool lets nobody wait', async () => {
  const pool = new StorePool({ ...options, url: database.url, poolMax: 1, acquireTimeoutMs: 100 });
  const held = await pool.connect();
  await assert.rejects(pool.connect(), { code: 'Unavailable' });
  const ended = pool.end();
  await assert.rejects(pool.connect(), /closed/);
  held.release();
  await ended;
});
