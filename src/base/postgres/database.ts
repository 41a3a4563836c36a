/** Opens a PostgreSQL database as a Kysely instance over a guarded, bounded pool. */
import { type Dialect, Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';

export const poolMaxDefault = 10;
const statementTimeoutMs = 15_000;
const idleInTransactionTimeoutMs = 10_000;
const connectTimeoutMs = 5_000;
const idleConnectionMs = 60_000;
/** Distinct statement texts that are kept prepared on each connection; beyond them, texts are sent whole. */
const preparedTextsMax = 500;

export interface OpenDatabaseOptions {
  /** `postgresql://user@host/database`, with `?host=DIR` for a Unix socket. */
  readonly url: string;
  /** Connections at most. Default `poolMaxDefault`. */
  readonly poolMax?: number;
  /** Shown in `pg_stat_activity`. */
  readonly name?: string;
  /** Told of connections that broke while idle: the pool replaces them by itself. */
  onConnectionError?(error: Error): void;
}

/** Statement text → the name under which connections prepare it. Texts are constants of the program, so few. */
const preparedNames = new Map<string, string>();

const nameOf = (text: string): string | undefined => {
  const known = preparedNames.get(text);
  if (known !== undefined || preparedNames.size >= preparedTextsMax) return known;
  const name = `s${preparedNames.size}`;
  preparedNames.set(text, name);
  return name;
};

type TextQuery = (text: string, values: unknown[]) => Promise<pg.QueryResult>;

/**
 * Prepares every parameterised statement once per connection: planning costs more than most of our statements' work.
 * Also listens to `error` for the whole life of the connection: the pool listens only while it is idle, and a server that
 * ends it in use (57P01 at a shutdown or failover) would otherwise end the process. The query in flight is rejected anyway.
 */
const prepareAndGuard = (client: pg.PoolClient, onError: (error: Error) => void): void => {
  client.on('error', onError);
  const send = client.query.bind(client) as TextQuery & ((...args: unknown[]) => unknown);
  const query = (...args: unknown[]): unknown => {
    const [text, values] = args;
    if (typeof text !== 'string' || !Array.isArray(values) || values.length === 0) return send(...args);
    const name = nameOf(text);
    return name === undefined ? send(...args) : send({ name, text, values }, ...args.slice(2));
  };
  Object.assign(client, { query });
};

/** `bigint` counters and sizes arrive as numbers: ours stay far below 2^53. */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === pg.types.builtins.INT8
      ? Number
      : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

/** The pool behind {@link openDatabase}; closing is the caller's (`pool.end()`). */
export const openPool = (options: OpenDatabaseOptions): pg.Pool => {
  const onError = (error: Error): void => options.onConnectionError?.(error);
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolMax ?? poolMaxDefault,
    application_name: options.name ?? 'pando',
    connectionTimeoutMillis: connectTimeoutMs,
    idleTimeoutMillis: idleConnectionMs,
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
    types,
  });
  pool.on('error', onError);
  pool.on('connect', (client) => prepareAndGuard(client, onError));
  return pool;
};

/** Opens the database at `url`; nothing is connected until the first query. Close with `.destroy()`. */
export const openDatabase = <Schema>(options: OpenDatabaseOptions): Kysely<Schema> => {
  const dialect: Dialect = new PostgresDialect({ pool: openPool(options) });
  return new Kysely<Schema>({ dialect });
};
