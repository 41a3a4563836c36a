/** Makes a database inside a cluster that is already there. */
import pg from 'pg';
import { sqlStateOf } from './transaction.ts';

const duplicateDatabase = '42P04';
const uniqueViolation = '23505';

/**
 * Makes sure that database `name` exists on the server of `url`; returns its URL. `locale`: how it sorts, where the server's own
 * choice is not known to be ours.
 */
export const ensureDatabase = async (url: string, name: string, locale?: 'C'): Promise<string> => {
  if (!/^[a-z][a-z0-9_]{0,62}$/.test(name)) throw new RangeError(`"${name}" is not a database name of ours`);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const sorting = locale === undefined ? '' : ` template template0 encoding 'UTF8' locale '${locale}'`;
    await client.query(`create database ${name}${sorting}`);
  } catch (error) {
    // Two processes may create it at once: whoever is second finds it there, by either of two errors.
    const state = sqlStateOf(error);
    if (state !== duplicateDatabase && state !== uniqueViolation) throw error;
  } finally {
    await client.end();
  }
  const result = new URL(url);
  result.pathname = `/${name}`;
  return result.toString();
};
