/** The narrow door through which the cell's store reaches PostgreSQL: statements are constants with `$n` parameters. */
import { CompiledQuery, type Kysely, type Transaction } from 'kysely';
import { storeFaultOf } from '#base/postgres/faults.ts';
import { transact } from '#base/postgres/transaction.ts';

/** The store's tables are reached by statements of our own, so Kysely is told of none. */
export type CellSchema = Record<never, never>;

export interface Sql {
  query<Row>(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

export interface Database extends Sql {
  /** Runs `work` in one transaction; again where `transact` says so, hence `work` has no effect outside of it. */
  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T>;
}

const sqlOver = (handle: Kysely<CellSchema> | Transaction<CellSchema>): Sql => ({
  query: async <Row>(text: string, values: readonly unknown[] = []) => {
    const result = await handle.executeQuery<Row>(CompiledQuery.raw(text, [...values]));
    return result.rows;
  },
});

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
export const databaseOver = (db: Kysely<CellSchema>): Database => ({
  ...repeating(sqlOver(db)),
  transaction: (work) => transact(db, (tx) => work(sqlOver(tx))),
});
