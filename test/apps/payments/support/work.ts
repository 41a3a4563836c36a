/** What a piece of work costs, in what does not depend on the machine: statements, rows, and processor time. */
import { readFileSync } from 'node:fs';
import type pg from 'pg';
import type { Pool } from '#payments/store/pool.ts';

/** Index scans alone, and one plan for each statement: as with tables of a size at which a service's work can be measured at all. */
export const plansOfLargeTables = '-c enable_seqscan=off -c plan_cache_mode=force_generic_plan -c jit=off';

const rowsTouched = `select relname, seq_tup_read, idx_tup_fetch, n_tup_ins, n_tup_upd, n_tup_del from pg_stat_xact_user_tables
  order by relname`;

interface Result {
  readonly rowCount: number | null;
  readonly rows: readonly Readonly<Record<string, unknown>>[];
}
type Query = (this: object, ...args: unknown[]) => unknown;

const textOf = (what: unknown): string =>
  typeof what === 'object' && what !== null && 'text' in what ? `${what.text}` : `${what}`;

/** Rows of each table that a transaction read and wrote. What its connection had counted before does not count. */
function touched(before: Result, after: Result): string[] {
  const known = new Map(before.rows.map((row) => [row.relname, row]));
  return after.rows.flatMap((row) => {
    const counts = Object.entries(row).flatMap(([name, value]) => {
      const more = name === 'relname' ? 0 : Number(value) - Number(known.get(row.relname)?.[name] ?? 0);
      return more === 0 ? [] : [`${name} ${more}`];
    });
    return counts.length === 0 ? [] : [`  ${row.relname}: ${counts.join(', ')}`];
  });
}

/** The statements that the application runs meanwhile with their row counts, and after each transaction the rows that it touched. */
export async function statementsOf(pool: Pool, work: () => Promise<unknown>): Promise<string[]> {
  const client = await pool.connect();
  client.release();
  const prototype = Object.getPrototypeOf(client) as { query: Query };
  const { query } = prototype;
  const starts = new WeakMap<object, Promise<Result>>();
  // In the order in which they are sent, whenever their answers come.
  const lines: Promise<readonly string[]>[] = [];
  const note = (line: Promise<readonly string[]>): void => void lines.push(line.catch(() => ['  refused']));
  const look = (on: object): Promise<Result> => {
    const looked = query.call(on, rowsTouched) as Promise<Result>;
    looked.catch(() => undefined);
    return looked;
  };
  prototype.query = function (this: object, ...args: unknown[]): unknown {
    const text = textOf(args[0]);
    const start = starts.get(this);
    if (start !== undefined && (text === 'commit' || text === 'rollback')) {
      starts.delete(this);
      note(Promise.all([start, look(this)]).then(([before, after]) => touched(before, after)));
    }
    const { promise: ran, resolve, reject } = Promise.withResolvers<Result | undefined>();
    const callback = args.at(-1);
    const running =
      typeof callback === 'function'
        ? query.call(this, ...args.slice(0, -1), (error: unknown, result: Result | undefined) => {
            resolve(result);
            callback(error, result);
          })
        : query.call(this, ...args);
    if (running instanceof Promise) running.then(resolve, reject);
    if (text === 'begin') starts.set(this, look(this));
    note(ran.then((result) => [`${text} → ${result?.rowCount}`]));
    return running;
  };
  try {
    await work();
  } finally {
    prototype.query = query;
  }
  return (await Promise.all(lines)).flat();
}

/** How often the work writes to the store through the pool's one connection: statements that go out together are one trip. */
export async function tripsOf(pool: Pool, work: () => Promise<unknown>): Promise<number> {
  if (pool.options.max !== 1) throw new Error('the trips of one connection are counted: give the pool one');
  const client = await pool.connect();
  const { stream } = (client as unknown as pg.Client).connection;
  client.release();
  const { write, writev } = { write: stream._write, writev: stream._writev };
  let trips = 0;
  stream._write = function (...args) {
    trips += 1;
    write.apply(this, args);
  };
  stream._writev = function (...args) {
    trips += 1;
    writev?.apply(this, args);
  };
  try {
    await work();
  } finally {
    Object.assign(stream, { _write: write, _writev: writev });
  }
  return trips;
}

/** Processor time of this thread (the phone and the service) and of the service's one connection, in microseconds. */
export async function cpuMeter(pool: Pool): Promise<(work: () => Promise<unknown>) => Promise<number>> {
  if (pool.options.max !== 1) throw new Error('the time of one connection is measured: give the pool one');
  const { rows } = await pool.query<{ pid: number }>('select pg_backend_pid() pid');
  const ofBackend = (): number =>
    Number(readFileSync(`/proc/${rows[0]?.pid}/schedstat`, 'utf8').split(' ')[0]) / 1_000;
  return async (work) => {
    const [thread, backend] = [process.threadCpuUsage(), ofBackend()];
    await work();
    const used = process.threadCpuUsage(thread);
    return used.user + used.system + ofBackend() - backend;
  };
}
