/** The pool of connections to PostgreSQL: bounded, guarded, and with money as bigint. */
import pg from 'pg';

export const poolMaxDefault = 16;
const statementTimeoutMs = 15_000;
const lockTimeoutMs = 5_000;
const idleInTransactionTimeoutMs = 10_000;
const connectTimeoutMs = 5_000;
/** A new connection costs a process of the server's and the planning of every statement: those of a quiet minute are kept. */
const idleMsMax = 10 * 60_000;
/**
 * A statement is planned once for each connection. The server would otherwise plan each of its first five executions anew, which costs
 * more than the execution: no plan of ours depends on the values, since each looks its rows up by an index.
 */
const planOnce = '-c plan_cache_mode=force_generic_plan';

export type Pool = pg.Pool;
/** What runs statements: a pool or a transaction's connection. */
export type Queryable = Pick<pg.ClientBase, 'query'>;

const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === pg.types.builtins.INT8
      ? BigInt
      : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

export interface PoolOptions {
  /** `postgresql://user@host/database`, with `?host=DIR` for a Unix socket. */
  readonly url: string;
  readonly poolMax?: number;
  /** Told of connections that broke; the pool replaces them. */
  onConnectionError?(error: Error): void;
}

/** Opens a pool; nothing is connected before the first query. Close with `.end()`. */
export function openPool(options: PoolOptions): Pool {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolMax ?? poolMaxDefault,
    application_name: 'pando-payments',
    connectionTimeoutMillis: connectTimeoutMs,
    idleTimeoutMillis: idleMsMax,
    options: planOnce,
    statement_timeout: statementTimeoutMs,
    lock_timeout: lockTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
    types,
    // Statements that do not need each other's answers are sent together: see `Promise.all` on one connection.
    pipeline: true,
  });
  const onError = (error: Error): void => options.onConnectionError?.(error);
  pool.on('error', onError);
  // The pool listens while a connection is idle; a server that ends it in use would end the process otherwise.
  pool.on('connect', (client) => void client.on('error', onError));
  return pool;
}

/** Statement text → the name under which connections prepare it. Texts are constants of the program, so few. */
const preparedNames = new Map<string, string>();
const preparedTextsMax = 500;

/** What one connection sends until this moment's work is done goes out in one write: each write wakes the server's process. */
export function gather(on: Queryable): void {
  if (!(on instanceof pg.Client)) return;
  const { stream } = on.connection;
  stream.cork();
  process.nextTick(() => stream.uncork());
}

/**
 * Sends a statement before it returns, and gives its result. The library is given a callback: of the promises that it makes itself, V8
 * keeps one in eight objects of a finished request through each collection of the young generation, which then takes 5 to 12 ms instead
 * of one, in the midst of somebody's payment.
 */
export async function send<Row extends pg.QueryResultRow>(
  on: Queryable,
  query: string | pg.QueryConfig,
): Promise<pg.QueryResult<Row>> {
  const { promise, resolve, reject } = Promise.withResolvers<pg.QueryResult<Row>>();
  on.query<Row>(query, (error, result) => (error ? reject(error) : resolve(result)));
  try {
    return await promise;
  } catch (error) {
    // Its own stack leads to the socket; whoever asked is what a log should name.
    if (error instanceof Error) Error.captureStackTrace(error);
    throw error;
  }
}

/** Runs a statement that is prepared once per connection: planning costs more than most of our statements' work. */
export async function run<Row extends pg.QueryResultRow>(
  on: Queryable,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  let name = preparedNames.get(text);
  if (name === undefined && preparedNames.size < preparedTextsMax) {
    name = `s${preparedNames.size}`;
    preparedNames.set(text, name);
  }
  gather(on);
  const { rows } = await send<Row>(on, { ...(name && { name }), text, values: [...values] });
  return rows;
}

/** As {@link run}, for statements that give at most one row. */
export async function first<Row extends pg.QueryResultRow>(
  on: Queryable,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row | undefined> {
  return (await run<Row>(on, text, values))[0];
}
