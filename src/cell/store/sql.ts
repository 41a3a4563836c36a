/** The narrow door through which the cell's store reaches PostgreSQL: statements are constants with `$n` parameters. */
import { CompiledQuery, type Kysely, type Transaction } from 'kysely';
import { transact } from '#base/postgres/transaction.ts';

/** The store's tables are reached by statements of our own, so Kysely is told of none. */
export type CellSchema = Record<never, never>;

export interface Sql {
  query<Row>(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

export interface Database extends Sql {
  /** Runs `work` in one transaction; again on a serialization failure, so `work` has no effect outside of it. */
  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T>;
}

const sqlOver = (handle: Kysely<CellSchema> | Transaction<CellSchema>): Sql => ({
  query: async <Row>(text: string, values: readonly unknown[] = []) => {
    const result = await handle.executeQuery<Row>(CompiledQuery.raw(text, [...values]));
    return result.rows;
  },
});

/** The store's view of a pool opened by `openDatabase`. */
export const databaseOver = (db: Kysely<CellSchema>): Database => ({
  ...sqlOver(db),
  transaction: (work) => transact(db, (tx) => work(sqlOver(tx))),
});
