/** Schema steps while processes of two releases live beside each other: upgraded, rolled back, several at once. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import pg from 'pg';
import { ensureDatabase } from '#base/postgres/create.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { storeFaultOf } from '#base/postgres/faults.ts';
import { migrate, type SchemaStep } from '#base/postgres/migrate.ts';
import { cellSchema } from '#cell/store/schema.ts';
import { regionMigrations } from '#region/migrations.ts';
import { startTestDatabase, type TestDatabase } from './test-database.ts';

type Schema = Record<never, never>;

const waitMsMax = 30_000;

let database: TestDatabase;
const opened: Kysely<Schema>[] = [];
let made = 0;

/** A handle on a database of its own. */
const fresh = async (): Promise<Kysely<Schema>> => {
  const db = openDatabase<Schema>({ url: await ensureDatabase(database.url, `m_${made++}_${process.pid}`) });
  opened.push(db);
  return db;
};

/** How a process of the first releases brings its schema up: it knows these steps and no others. */
const migrateAsBefore = async (db: Kysely<Schema>, steps: readonly SchemaStep[]): Promise<unknown> => {
  const migrations: Record<string, Migration> = Object.fromEntries(
    steps.map((step) => [
      step.name,
      { up: async (on: Kysely<unknown>) => void (await sql.raw(step.up).execute(on)) },
    ]),
  );
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  return (await migrator.migrateToLatest()).error;
};

const appliedSteps = async (db: Kysely<Schema>): Promise<string[]> =>
  (await sql<{ name: string }>`select name from schema_steps order by name`.execute(db)).rows.map(
    ({ name }) => name,
  );

before(async () => {
  database = await startTestDatabase();
});

after(async () => {
  for (const db of opened) await db.destroy();
  await database.stop();
});

test('a step that alters a table leaves no plan of its former shape: whoever had prepared one goes on over a new connection', async () => {
  const url = await ensureDatabase(database.url, `m_plans_${process.pid}`);
  const db = openDatabase<Schema>({ url });
  opened.push(db);
  const steps: SchemaStep[] = [{ name: '0001-made', up: 'create table shaped (id int primary key)' }];
  await migrate(db, steps);
  // As a process of the last release has it: a statement by name, prepared before.
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const ended = new Promise<void>((resolve) => client.once('end', () => resolve()));
  client.on('error', () => undefined);
  await client.query({ name: 'all', text: 'select * from shaped' });
  await migrate(db, [...steps, { name: '0002-more', up: 'create table beside (id int)' }]);
  await client.query({ name: 'all', text: 'select * from shaped' });
  await migrate(db, [
    ...steps,
    { name: '0002-more', up: 'create table beside (id int)' },
    { name: '0003-wider', up: 'alter table shaped add column note text' },
  ]);
  await ended;
  await sql`select * from shaped`.execute(db);
});

const newStep: SchemaStep = { name: '9999-newer', up: 'create table newer (id int primary key)' };

for (const [what, steps] of [
  ['the cell’s', cellSchema],
  ['the region’s', regionMigrations],
] as const) {
  const released = steps.filter((step) => step.kysely);

  test(`${what} store: a database of the last release is taken over, upgraded, and the last release still starts on it`, async () => {
    const db = await fresh();
    assert.equal(await migrateAsBefore(db, released), undefined);
    await migrate(db, [...steps, newStep]);
    assert.deepEqual(await appliedSteps(db), [...steps.map(({ name }) => name), '9999-newer']);
    assert.equal(await migrateAsBefore(db, released), undefined, 'rolled back: the old process starts');
    await migrate(db, [...steps, newStep]);
  });

  test(`${what} store: a database that this release made lets the last one start, too`, async () => {
    const db = await fresh();
    await migrate(db, steps);
    assert.equal(await migrateAsBefore(db, released), undefined);
  });
}

test('steps of a newer release do not stop a process that does not know them', async () => {
  const db = await fresh();
  await migrate(db, [...cellSchema, newStep]);
  await migrate(db, cellSchema);
  assert.ok((await appliedSteps(db)).includes('9999-newer'));
});

test('a step that was merged late, before others that ran, is run', async () => {
  const db = await fresh();
  await migrate(db, [
    { name: '0001-a', up: 'create table a ()' },
    { name: '0003-c', up: 'create table c ()' },
  ]);
  await migrate(db, [
    { name: '0001-a', up: 'create table a ()' },
    { name: '0002-b', up: 'create table b ()' },
    { name: '0003-c', up: 'create table c ()' },
  ]);
  assert.deepEqual(await appliedSteps(db), ['0001-a', '0002-b', '0003-c']);
});

test('processes of both releases that start at once run each step once', async () => {
  const db = await fresh();
  const released = cellSchema.filter((step) => step.kysely);
  // An upgrade ends the connections of former processes: whoever keeps them starts one again that could not begin.
  const startedAgain = async (): Promise<unknown> => {
    const error = await migrateAsBefore(db, released);
    return storeFaultOf(error) === 'away' ? migrateAsBefore(db, released) : error;
  };
  const outcomes = await Promise.all([
    migrate(db, cellSchema),
    startedAgain(),
    migrate(db, cellSchema),
    startedAgain(),
  ]);
  assert.deepEqual(outcomes, [undefined, undefined, undefined, undefined]);
});

test('a step whose connection is ended at its COMMIT, as by another process that upgrades, is run again and once', async () => {
  const db = await fresh();
  const ends = { name: '0002-rows', up: 'insert into rows values (1)' };
  const first: readonly SchemaStep[] = [
    {
      name: '0001-a',
      // A sequence counts also what is rolled back.
      up: `create table rows (id int); create sequence commits;
        create function ends_first() returns trigger language plpgsql as $$ begin
          if nextval('commits') = 1 then perform pg_terminate_backend(pg_backend_pid()); end if; return null; end $$;
        create constraint trigger ends_first after insert on rows deferrable initially deferred
          for each row execute function ends_first()`,
    },
  ];
  await migrate(db, first);
  await migrate(db, [...first, ends]);
  const { rows } = await sql`select rows.id, last_value from rows, commits`.execute(db);
  assert.deepEqual(rows, [{ id: 1, last_value: 2 }]);
});

/** Whether another process sees that steps have run. */
const noted = async (db: Kysely<Schema>): Promise<string | null | undefined> =>
  (await sql<{ noted: string | null }>`select to_regclass('schema_steps')::text as noted`.execute(db)).rows[0]
    ?.noted;

test('of two that begin with an empty database one does all of it at once, and the other keeps its connections', async () => {
  const url = await ensureDatabase(database.url, `m_two_${process.pid}`);
  const broken: string[] = [];
  const open = (): Kysely<Schema> => {
    const db = openDatabase<Schema>({ url, onConnectionError: ({ message }) => broken.push(message) });
    opened.push(db);
    return db;
  };
  const [one, two, onlooker] = [open(), open(), open()];
  const steps: SchemaStep[] = Array.from({ length: 20 }, (_, at) => ({
    name: `00${10 + at}-step`,
    up: at === 0 ? 'create table begun (id int)' : `alter table begun add column more${at} int`,
  }));
  const waits = { name: '0100-waits', up: 'select pg_advisory_xact_lock(1)' };
  const [locked, free] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const holds = onlooker.transaction().execute(async (tx) => {
    await sql`select pg_advisory_xact_lock(1)`.execute(tx);
    locked.resolve();
    await free.promise;
  });
  await locked.promise;
  const waiting = async (count: number): Promise<void> => {
    for (const end = performance.now() + waitMsMax; ; await delay(5)) {
      assert.ok(performance.now() < end, `waited too long for ${count} to wait`);
      const { rows } = await sql<{ n: number }>`
        select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted
          and database = (select oid from pg_database where datname = current_database())`.execute(onlooker);
      if (rows[0]?.n === count) return;
    }
  };
  const first = migrate(one, [...steps, waits]);
  await waiting(1);
  assert.equal(await noted(onlooker), null, 'nobody sees a part of it');
  const second = migrate(two, [...steps, waits]);
  await waiting(2);
  free.resolve();
  await Promise.all([holds, first, second]);
  assert.equal((await appliedSteps(onlooker)).length, 21);
  assert.deepEqual(broken, []);
});

test('a step that fails leaves nothing of itself, and those before it stay', async () => {
  const db = await fresh();
  const bad: SchemaStep = { name: '0002-bad', up: 'create table half (); create tabel x ()' };
  const first: SchemaStep = { name: '0001-a', up: 'create table a ()' };
  await assert.rejects(migrate(db, [first, bad]), /0002-bad failed/);
  assert.equal(await noted(db), null, 'a database that was empty is so again');
  await migrate(db, [first]);
  await assert.rejects(migrate(db, [first, bad]), /0002-bad failed/);
  assert.deepEqual(await appliedSteps(db), ['0001-a']);
  const { rows } = await sql<{ half: string | null }>`select to_regclass('half')::text as half`.execute(db);
  assert.equal(rows[0]?.half, null);
});

test('a step gives way to the traffic on its table, and runs when that lets it', async () => {
  const db = await fresh();
  await migrate(db, [{ name: '0001-a', up: 'create table a (id int)' }]);
  let free = (): void => undefined;
  const busy = db.transaction().execute(async (tx) => {
    await sql`insert into a values (1)`.execute(tx);
    await new Promise<void>((resolve) => {
      free = resolve;
    });
  });
  const altered = migrate(db, [
    { name: '0001-a', up: '' },
    { name: '0002-b', up: 'alter table a add column more int' },
  ]);
  // Requests that come while the step waits: they get through in the gaps between its attempts.
  await sql`insert into a values (2)`.execute(db);
  free();
  await busy;
  await altered;
  assert.deepEqual(await appliedSteps(db), ['0001-a', '0002-b']);
});
