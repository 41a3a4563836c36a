/**
 * Ordered schema steps: an array in code, run once each, in order, by whichever process comes first.
 *
 * A region is upgraded and rolled back while it runs, so processes of two releases live beside each other on one schema: a step only
 * adds (expand), what it replaces goes a release later (contract), and steps of a newer release do not stop an older process.
 * Which steps ran is in `schema_steps`. The first releases kept that in `kysely_migration`, and refuse to start when a name
 * in it is unknown to them: their steps are written there too, and no later ones.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Kysely, sql, type Transaction } from 'kysely';
import { sqlStateOf, storeFaultOf } from './faults.ts';
import {
  schemaAwayAttemptsMax,
  schemaLockAttemptsMax,
  schemaLockTimeoutMs,
  schemaStepTimeoutMs,
} from './limits.ts';
import { patiently } from './patience.ts';
import { transact } from './transaction.ts';

/** One step of a schema's history. Never edited once released; a change is a new step. */
export interface SchemaStep {
  /** Sorts after every earlier step: `0001-begin`. */
  readonly name: string;
  /** Statements, separated as PostgreSQL separates them. Only additions, so that processes of the last release go on. */
  readonly up: string;
  /** Known to the releases that kept their steps in `kysely_migration`. */
  readonly kysely?: true;
}

/** Of Kysely's own migrator, so that a process of an older release and one of this do not run steps at once. */
const advisoryLock = '3853314791062309107';
const lockNotAvailable = '55P03';
/** Of one who makes a table "if not exists" while a process of an older release, which looks before it has the lock, makes it too. */
const madeAtOnce: ReadonlySet<string> = new Set(['23505', '42P07']);
const retryMs = 200;

/** Brings the database up to the last step. Safe to call from several processes at once. */
export const migrate = async <Schema>(db: Kysely<Schema>, steps: readonly SchemaStep[]): Promise<void> => {
  const names = steps.map((step) => step.name);
  if (names.some((name, at) => at > 0 && name <= (names[at - 1] ?? '')))
    throw new Error(`migrations are out of order: ${names.join(', ')}`);
  if (await repeated(() => areNoted(db, names))) return;
  if (await begin(db, steps)) return;
  for (const step of steps)
    await namingStep(
      () => step.name,
      () => repeated(() => exclusively(db, (tx) => upgrade(tx, step))),
    );
};

/**
 * Runs all steps in one transaction where none has ever run. So whoever begins at the same time waits, and finds all of it: of two that took
 * turns the one that came later would take the other for a process of the last release, and end its connections. Answers whether it was so.
 */
const begin = async <Schema>(db: Kysely<Schema>, steps: readonly SchemaStep[]): Promise<boolean> => {
  let name = '';
  const work = async (tx: Transaction<Schema>): Promise<boolean> => {
    if (await hasSteps(tx)) return false;
    for (const step of steps) {
      ({ name } = step);
      await runOnce(tx, step);
    }
    return true;
  };
  if (await repeated(() => hasSteps(db))) return false;
  return namingStep(
    () => name,
    () => repeated(() => exclusively(db, work)),
  );
};

const upgrade = async <Schema>(tx: Transaction<Schema>, step: SchemaStep): Promise<void> => {
  const ran = await runOnce(tx, step);
  if (ran && altersTables.test(step.up)) await endFormerPlans(tx);
};

/** @throws Error that says which step it was */
const namingStep = async <T>(name: () => string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (cause) {
    throw new Error(`migration ${name()} failed`, { cause });
  }
};

const altersTables = /\balter table\b/i;

/**
 * Ends the other connections. A process of the last release may have prepared statements over a table that has more columns now: each
 * would fail from here on ("cached plan must not change result type"), and with it what a client was promised. A process that loses
 * its connection tries again on a new one, which waits for this transaction and plans anew. Other migrators wait for the lock, and stay,
 * or begin their step again.
 */
const endFormerPlans = async <Schema>(tx: Transaction<Schema>): Promise<void> => {
  await sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and usename = current_user and backend_type = 'client backend'
      and pid <> pg_backend_pid() and wait_event is distinct from 'advisory'`.execute(tx);
};

/** Whether any step has ever run here: then processes of an earlier release may be at work. */
const hasSteps = async <Schema>(db: Kysely<Schema>): Promise<boolean> => {
  const { rows: tables } = await sql<{
    noted: string | null;
  }>`select coalesce(to_regclass('schema_steps'), to_regclass('kysely_migration'))::text as noted`.execute(
    db,
  );
  return tables[0]?.noted != null;
};

/** Whether every step is noted: the usual start. Steps are noted in the transaction that runs them, and none is ever taken back. */
const areNoted = async <Schema>(db: Kysely<Schema>, names: readonly string[]): Promise<boolean> => {
  const { rows: tables } = await sql<{
    noted: string | null;
  }>`select to_regclass('schema_steps')::text as noted`.execute(db);
  if (tables[0]?.noted == null) return false;
  const { rows } = await sql`select name from schema_steps where name = any(${names})`.execute(db);
  return rows.length === names.length;
};

/** One transaction under the lock of all migrators, with time for statements that rewrite a table. */
const exclusively = <Schema, T>(
  db: Kysely<Schema>,
  work: (tx: Transaction<Schema>) => Promise<T>,
): Promise<T> =>
  patiently(schemaStepTimeoutMs, () =>
    transact(db, async (tx) => {
      await sql`select set_config('statement_timeout', ${String(schemaStepTimeoutMs)}, true)`.execute(tx);
      await sql`select pg_advisory_xact_lock(${advisoryLock}::bigint)`.execute(tx);
      // From here on: a step that waits for a table's lock blocks every query behind it.
      await sql`select set_config('lock_timeout', ${String(schemaLockTimeoutMs)}, true)`.execute(tx);
      return work(tx);
    }),
  );

/** Makes the table of steps, and takes over what an older release noted. */
const adoptOldTable = async <Schema>(tx: Transaction<Schema>): Promise<void> => {
  await sql`create table if not exists schema_steps (name text primary key, applied_at timestamptz not null default now())`.execute(
    tx,
  );
  const { rows } = await sql<{
    old: string | null;
  }>`select to_regclass('kysely_migration')::text as old`.execute(tx);
  if (rows[0]?.old != null)
    await sql`insert into schema_steps (name) select name from kysely_migration on conflict do nothing`.execute(
      tx,
    );
};

/** Whether it ran now. */
const runOnce = async <Schema>(tx: Transaction<Schema>, step: SchemaStep): Promise<boolean> => {
  // Each time: a process of an older release may have run it since the step before.
  await adoptOldTable(tx);
  const { rows } = await sql`
    insert into schema_steps (name) values (${step.name}) on conflict do nothing returning name`.execute(tx);
  if (rows.length === 0) return false;
  await sql.raw(step.up).execute(tx);
  if (step.kysely) await noteForOldReleases(tx, step.name);
  return true;
};

/** Kysely's table as it makes it itself; it wants its rows' times in the order of their names. */
const noteForOldReleases = async <Schema>(tx: Transaction<Schema>, name: string): Promise<void> => {
  await sql`create table if not exists kysely_migration
    (name varchar(255) not null primary key, timestamp varchar(255) not null)`.execute(tx);
  await sql`insert into kysely_migration (name, timestamp)
    values (${name}, to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
    on conflict do nothing`.execute(tx);
};

/**
 * How often what failed like this is tried in all. A table's lock may be had later. A connection may have been ended by another process
 * that migrates, as one of former plans: also between two waits for the lock, or at its COMMIT. What was kept then is noted, and is not
 * run twice.
 */
const attemptsMaxAfter = (error: unknown): number => {
  if (sqlStateOf(error) === lockNotAvailable) return schemaLockAttemptsMax;
  const isPassing = storeFaultOf(error) === 'away' || madeAtOnce.has(sqlStateOf(error) ?? '');
  return isPassing ? schemaAwayAttemptsMax : 1;
};

const repeated = async <T>(work: () => Promise<T>): Promise<T> => {
  for (let attempt = 1; ; attempt++)
    try {
      return await work();
    } catch (error) {
      if (attempt >= attemptsMaxAfter(error)) throw error;
      await delay(retryMs);
    }
};
