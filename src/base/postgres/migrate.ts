/** Ordered migrations: an array in code, run once each, in order, under the migrator's lock. */
import { type Kysely, sql } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';

/** One step of a schema's history. Never edited once released; a change is a new step. */
export interface SchemaStep {
  /** Sorts after every earlier step: `0001-begin`. */
  readonly name: string;
  /** Statements, separated as PostgreSQL separates them. */
  readonly up: string;
}

/** Brings the database up to the last step. Safe to call from several processes at once. */
export const migrate = async <Schema>(db: Kysely<Schema>, steps: readonly SchemaStep[]): Promise<void> => {
  const names = steps.map((step) => step.name);
  if (names.some((name, at) => at > 0 && name <= (names[at - 1] ?? '')))
    throw new Error(`migrations are out of order: ${names.join(', ')}`);
  const migrations: Record<string, Migration> = Object.fromEntries(
    steps.map((step) => [step.name, { up: async (on) => void (await sql.raw(step.up).execute(on)) }]),
  );
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  const { error, results } = await migrator.migrateToLatest();
  if (error === undefined) return;
  const failed =
    results?.find((result) => result.status === 'Error')?.migrationName ?? 'before the first step';
  throw new Error(`migration ${failed} failed`, { cause: error });
};
