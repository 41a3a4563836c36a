/** Brings the database to the last schema step. Steps only add; a released step is never edited. */

import type { Pool } from './pool.ts';
import { transaction } from './transaction.ts';

export interface SchemaStep {
  /** Sorts after every earlier step. */
  readonly name: string;
  readonly up: string;
}

/** Of all who migrate: also while there is no table yet that could be locked, and that two of them would make at once. */
const advisoryLock = 'pando.payments.schema';

/** Safe to call from several processes at once: a lock lets one go first; those of the last release take the table's alone. */
export async function migrate(pool: Pool, steps: readonly SchemaStep[]): Promise<void> {
  const names = steps.map((step) => step.name);
  if (names.some((name, at) => at > 0 && name <= (names[at - 1] ?? '')))
    throw new Error(`schema steps are out of order: ${names.join(', ')}`);
  await transaction(
    pool,
    async (client) => {
      await client.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [advisoryLock]);
      await client.query('create table if not exists schema_step (name text primary key)');
      await client.query('lock table schema_step in exclusive mode');
      const { rows } = await client.query<{ name: string }>('select name from schema_step');
      const done = new Set(rows.map((row) => row.name));
      for (const step of steps) {
        if (done.has(step.name)) continue;
        await client.query(step.up);
        await client.query('insert into schema_step (name) values ($1)', [step.name]);
      }
    },
    { repeatable: true },
  );
}
