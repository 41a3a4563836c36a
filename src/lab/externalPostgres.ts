/** A PostgreSQL that somebody else runs: this run has a database for the region on it, and one for each cell. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { ensureDatabase } from '#base/postgres/create.ts';
import { sqlStateOf } from '#base/postgres/transaction.ts';
import { cellName } from './plan.ts';
import type { RunRecord } from './runRecord.ts';

const versionMin = 15;
const connectTimeoutMs = 5_000;
const insufficientPrivilege = '42501';

export type External = NonNullable<RunRecord['postgres']>;

/** Names for the databases of a new run: several machines may share one server. */
export const newExternal = (url: string): External => ({
  url,
  prefix: `pando_${randomBytes(4).toString('hex')}`,
});

/** The database of the region (`region`) or of a cell (`cell-a`). */
export const databaseName = ({ prefix }: External, owner: string): string =>
  `${prefix}_${owner.replaceAll('-', '_')}`;

export const databaseUrlOf = (external: External, owner: string): string => {
  const url = new URL(external.url);
  url.pathname = `/${databaseName(external, owner)}`;
  return url.toString();
};

const ownersOf = (run: RunRecord): string[] => [
  'region',
  ...Array.from({ length: run.cells }, (_, at) => cellName(at + 1)),
];

/** The server's address without its password, for people. */
export const shown = (url: string): string => {
  const parts = new URL(url);
  parts.password = '';
  return parts.toString();
};

const connected = async <T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> => {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: connectTimeoutMs });
  client.on('error', () => undefined); // A server that goes away: the query that notices fails.
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
};

/** What keeps this URL from being used, and what to do about it; undefined: nothing. */
export async function objection(url: string): Promise<string | undefined> {
  if (!URL.canParse(url) || !/^postgres(ql)?:$/.test(new URL(url).protocol))
    return 'It is not a URL of PostgreSQL: postgresql://user:password@host:5432/postgres';
  try {
    return await connected(url, async (client) => {
      const { rows } = await client.query(
        `select current_setting('server_version_num')::int / 10000 as version, rolcreatedb or rolsuper as creates
         from pg_roles where rolname = current_user`,
      );
      const [{ version, creates }] = rows;
      if (version < versionMin)
        return `${shown(url)} is PostgreSQL ${version}: ${versionMin} or newer is needed.`;
      return creates
        ? undefined
        : `Its user may not create databases: ALTER ROLE … CREATEDB on ${shown(url)}.`;
    });
  } catch (error) {
    return `${shown(url)} cannot be used: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Makes the databases that are missing. */
export async function ensureDatabases(run: RunRecord): Promise<void> {
  const { postgres } = run;
  if (postgres === undefined) return;
  for (const owner of ownersOf(run)) await ensureDatabase(postgres.url, databaseName(postgres, owner), 'C');
}

/** Removes the databases, whoever is still connected. A server that is away keeps them, and the caller is told their names. */
export async function dropDatabases(run: RunRecord, log: (line: string) => void): Promise<void> {
  const { postgres } = run;
  if (postgres === undefined) return;
  const names = ownersOf(run).map((owner) => databaseName(postgres, owner));
  try {
    await connected(postgres.url, async (client) => {
      for (const name of names) await client.query(`drop database if exists ${name} with (force)`);
    });
  } catch (error) {
    const why = sqlStateOf(error) === insufficientPrivilege ? 'not allowed' : String(error);
    log(`These databases stay on ${shown(postgres.url)} (${why}): ${names.join(' ')}`);
  }
}
