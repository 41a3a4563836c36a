/** A store that goes back to what it was: all rows of all tables, as after a failover that lost commits, or from a backup. */
import { sql } from 'kysely';
import { transact } from '#base/postgres/transaction.ts';
import type { Database } from '#region/schema.ts';

/** Remembers what the store has now. Call the result to lose all that was committed since; sequences go on. */
export const lostCommits = async (db: Database): Promise<() => Promise<void>> => {
  const { rows } = await sql<{ name: string }>`
    select table_name as name from information_schema.tables
    where table_schema = 'public' and table_type = 'BASE TABLE' order by table_name`.execute(db);
  const tables = rows.map(({ name }) => ({
    now: sql.table(`public.${name}`),
    before: sql.table(`before_loss.${name}`),
  }));
  await transact(
    db,
    async (tx) => {
      await sql`drop schema if exists before_loss cascade`.execute(tx);
      await sql`create schema before_loss`.execute(tx);
      for (const { now, before } of tables) await sql`create table ${before} as table ${now}`.execute(tx);
    },
    { isolation: 'repeatable read' },
  );
  return () =>
    transact(db, async (tx) => {
      // No trigger and no foreign key has a say in it, and nobody writes meanwhile.
      await sql`set local session_replication_role = replica`.execute(tx);
      await sql`lock table ${sql.join(tables.map(({ now }) => now))} in share row exclusive mode`.execute(tx);
      for (const { now } of tables) await sql`delete from ${now}`.execute(tx);
      for (const { now, before } of tables)
        await sql`insert into ${now} overriding system value table ${before}`.execute(tx);
    });
};
