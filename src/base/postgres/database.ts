/** Opens a PostgreSQL database as a Kysely instance over a guarded, bounded pool. */
import { Kysely, PostgresDialect } from 'kysely';
import { StorePool, type StorePoolOptions } from './pool.ts';

export { poolMaxDefault } from './limits.ts';
export type OpenDatabaseOptions = StorePoolOptions;

const pools = new WeakMap<object, StorePool>();

/** Opens the database at `url`; nothing is connected until the first query. Close with `.destroy()`. */
export const openDatabase = <Schema>(options: OpenDatabaseOptions): Kysely<Schema> => {
  const pool = new StorePool(options);
  const database = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  pools.set(database, pool);
  const destroy = database.destroy.bind(database);
  // Kysely ends the pool only where it has used it itself.
  database.destroy = async () => {
    await destroy();
    await pool.end();
  };
  return database;
};

/** The connections beneath a database that `openDatabase` opened. @throws for any other, a transaction for example */
export const poolOf = <Schema>(database: Kysely<Schema>): StorePool => {
  const pool = pools.get(database);
  if (pool === undefined) throw new Error('this is not a database as openDatabase gives it');
  return pool;
};

/** The same; undefined for any other. */
export const findPool = (database: object): StorePool | undefined => pools.get(database);
