/** Brings the database to the last schema step. Steps only add; a released step is never edited. */

import type { Pool } from './pool.ts';
import { transaction } from './transaction.ts';

export interface SchemaStep {
  /** Sorts after every earlier step. */
  readonly name: string;
  readonly up: string;
}

/** Safe to call from several processes at once: the table's lock lets one go first. */
export async function migrate(pool: Pool, steps: readonly SchemaStep[]): Promise<void> {
  const names = steps.map((step) => step.name);
  if (names.some((name, at) => at > 0 && name <= (names[at - 1] ?? '')))
    throw new Error(`schema steps are out of order: ${names.join(', ')}`);
  await transaction(
    pool,
    async (client) => {
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
