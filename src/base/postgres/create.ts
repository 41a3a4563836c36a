/** Makes a database inside a cluster that is already there. */
import { withDatabase } from './addresses.ts';
import type { StoreConnection } from './connection.ts';
import { sqlStateOf } from './faults.ts';
import { StorePool } from './pool.ts';

const duplicateDatabase = '42P04';
const uniqueViolation = '23505';

/** Runs `work` on one connection to the server of `url` that takes writes. */
export const onServer = async <T>(url: string, work: (server: StoreConnection) => Promise<T>): Promise<T> => {
  const pool = new StorePool({ url, poolMax: 1 });
  try {
    const connection = await pool.connect();
    try {
      return await work(connection);
    } finally {
      connection.release();
    }
  } finally {
    await pool.end();
  }
};

/**
 * Makes sure that database `name` exists on the server of `url`; returns its URL. `locale`: how it sorts, where the server's own
 * choice is not known to be ours.
 */
export const ensureDatabase = async (url: string, name: string, locale?: 'C'): Promise<string> => {
  if (!/^[a-z][a-z0-9_]{0,62}$/.test(name)) throw new RangeError(`"${name}" is not a database name of ours`);
  const sorting = locale === undefined ? '' : ` template template0 encoding 'UTF8' locale '${locale}'`;
  try {
    await onServer(url, (server) => server.query(`create database ${name}${sorting}`, []));
  } catch (error) {
    // Two processes may create it at once. The second one finds it there, by either of two errors.
    const state = sqlStateOf(error);
    if (state !== duplicateDatabase && state !== uniqueViolation) throw error;
  }
  return withDatabase(url, name);
};
