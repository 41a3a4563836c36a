/** The narrow door through which the cell's store reaches PostgreSQL: statements are constants with `$n` parameters. */
import type { Kysely } from 'kysely';
import { poolOf } from '#base/postgres/database.ts';
import { storeFaultOf } from '#base/postgres/faults.ts';
import { transactPipelined } from '#base/postgres/pipelined.ts';
import type { StorePool } from '#base/postgres/pool.ts';

/** The store's tables are reached by statements of our own, so Kysely is told of none. */
export type CellSchema = Record<never, never>;

export interface Sql {
  query<Row>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /**
   * Of a transaction: runs a statement whose rows nobody reads. It is not waited for; where it fails, what is awaited next fails with it,
   * at the latest the commit. `refused`: what its failure is to the caller.
   */
  send?(text: string, values: readonly unknown[], refused?: (error: unknown) => unknown): void;
}

/** Runs a statement whose rows nobody reads: in a transaction without waiting for it. */
export const send = async (
  sql: Sql,
  text: string,
  values: readonly unknown[],
  refused?: (error: unknown) => unknown,
): Promise<void> => {
  if (sql.send !== undefined) return sql.send(text, values, refused);
  try {
    await sql.query(text, values);
  } catch (error) {
    throw refused?.(error) ?? error;
  }
};

export interface Database extends Sql {
  /** Runs `work` in one transaction; again where `transact` says so, hence `work` has no effect outside of it. */
  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T>;
}

const sqlOver = (pool: StorePool): Sql => ({ query: (text, values) => pool.run(text, values) });

const reads = /^\s*select\b/;

/** How often a statement on its own is tried that was the victim of a deadlock: nothing of it was done. */
const contendedTriesMax = 6;

/**
 * Outside of transactions. A read whose connection broke is read once more, on another: after a failover each pooled connection breaks
 * once. A statement that was contended is run again, as `transact` does with a transaction: who asked hears nothing of it.
 */
const repeating = (sql: Sql): Sql => ({
  query: async <Row>(text: string, values?: readonly unknown[]) => {
    let broke = false;
    for (let tries = 1; ; tries++)
      try {
        return await sql.query<Row>(text, values);
      } catch (error) {
        const fault = storeFaultOf(error);
        const again = (fault === 'away' || fault === 'read-only') && reads.test(text) && !broke;
        if (!again && (fault !== 'contended' || tries >= contendedTriesMax)) throw error;
        broke ||= fault !== 'contended';
      }
  },
});

/** The store's view of a pool opened by `openDatabase`. */
export const databaseOver = (db: Kysely<CellSchema>): Database => {
  const pool = poolOf(db);
  return {
    ...repeating(sqlOver(pool)),
    transaction: (work) => transactPipelined(pool, work),
  };
};
