/** Opens a PostgreSQL database as a Kysely instance over a guarded, bounded pool. */
import { Kysely, PostgresDialect } from 'kysely';
import { StorePool, type StorePoolOptions } from './pool.ts';

export { poolMaxDefault } from './limits.ts';
export type OpenDatabaseOptions = StorePoolOptions;

/** Opens the database at `url`; nothing is connected until the first query. Close with `.destroy()`. */
export const openDatabase = <Schema>(options: OpenDatabaseOptions): Kysely<Schema> =>
  new Kysely<Schema>({ dialect: new PostgresDialect({ pool: new StorePool(options) }) });
