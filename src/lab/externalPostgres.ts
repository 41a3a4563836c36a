/** A PostgreSQL that somebody else runs: this run has a database for the region on it, and one for each cell. */
import { randomBytes } from 'node:crypto';
import { parseStoreUrl, shownUrl, withDatabase } from '#base/postgres/addresses.ts';
import { ensureDatabase, onServer } from '#base/postgres/create.ts';
import { sqlStateOf } from '#base/postgres/transaction.ts';
import { cellName } from './plan.ts';
import type { RunRecord } from './runRecord.ts';

const versionMin = 15;
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

export const databaseUrlOf = (external: External, owner: string): string =>
  withDatabase(external.url, databaseName(external, owner));

const ownersOf = (run: RunRecord): string[] => [
  'region',
  ...Array.from({ length: run.cells }, (_, at) => cellName(at + 1)),
];

/** The server's address without its password, for people. */
export const shown = shownUrl;

/** What keeps this URL from being used, and what to do about it; undefined: nothing. */
export async function objection(url: string): Promise<string | undefined> {
  try {
    parseStoreUrl(url);
  } catch (error) {
    return `It is not a URL of PostgreSQL (postgresql://user:password@host:5432/postgres): ${wordsOf(error)}`;
  }
  try {
    return await onServer(url, async (server) => {
      const { rows } = await server.query<{ version: number; creates: boolean }>(
        `select current_setting('server_version_num')::int / 10000 as version, rolcreatedb or rolsuper as creates
         from pg_roles where rolname = current_user`,
        [],
      );
      const { version = 0, creates = false } = rows[0] ?? {};
      if (version < versionMin)
        return `${shown(url)} is PostgreSQL ${version}: ${versionMin} or newer is needed.`;
      return creates
        ? undefined
        : `Its user may not create databases: ALTER ROLE … CREATEDB on ${shown(url)}.`;
    });
  } catch (error) {
    return `${shown(url)} cannot be used: ${wordsOf(error)}`;
  }
}

/** The words of the innermost error: what the server or the network said. */
const wordsOf = (error: unknown): string => {
  let inner = error;
  while (inner instanceof Error && inner.cause !== undefined) inner = inner.cause;
  return inner instanceof Error ? inner.message : String(inner);
};

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
    await onServer(postgres.url, async (server) => {
      for (const name of names) await server.query(`drop database if exists ${name} with (force)`, []);
    });
  } catch (error) {
    const why = sqlStateOf(error) === insufficientPrivilege ? 'not allowed' : String(error);
    log(`These databases stay on ${shown(postgres.url)} (${why}): ${names.join(' ')}`);
  }
}
