/** A PostgreSQL that somebody else runs: this run has a database for the region on it, and one for each cell. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import { parseStoreUrl, shownUrl, withDatabase } from '#base/postgres/addresses.ts';
import type { StoreConnection } from '#base/postgres/connection.ts';
import { ensureDatabase, onServer } from '#base/postgres/create.ts';
import { sqlStateOf } from '#base/postgres/transaction.ts';
import { confined } from '#node/confine.ts';
import { codeDirectory } from '#node/directory.ts';
import { userOf } from '#node/users.ts';
import { cellName, layoutOf } from './plan.ts';
import type { RunRecord } from './runRecord.ts';

const versionMin = 15;
const insufficientPrivilege = '42501';
const objectInUse = '55006';
/** Each takes the server's own five seconds. */
const dropTriesMax = 2;
const probe = join(codeDirectory, 'src', 'lab', 'storeProbe.ts');
const probeTimeoutMs = 60_000;
/** The probe's own word that it was not let in; any other exit is a failure of the probe. */
const refusedExit = 3;

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

/** Where the store of the region or of a cell is; undefined: on a server of the run's own. */
export const externalOf = (run: RunRecord, cell?: { readonly postgres?: External | undefined }) =>
  cell?.postgres ?? run.postgres;

/** Every database of the run on somebody else's server, those of retired cells too. */
const databasesOf = (run: RunRecord): { external: External; name: string }[] => {
  const ofCells = layoutOf(run).cells.map((cell) => ({
    external: externalOf(run, cell),
    owner: cellName(cell.number),
  }));
  return [{ external: run.postgres, owner: 'region' }, ...ofCells].flatMap(({ external, owner }) =>
    external === undefined ? [] : [{ external, name: databaseName(external, owner) }],
  );
};

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
    const found = await onServer(url, async (server) => {
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
    return found ?? (await objectionOfUsers(url));
  } catch (error) {
    return `${shown(url)} cannot be used: ${wordsOf(error)}`;
  }
}

/** The words of the innermost error: what the server or the network said. */
export const wordsOf = (error: unknown): string => {
  let inner = error;
  while (inner instanceof Error && inner.cause !== undefined) inner = inner.cause;
  return inner instanceof Error ? inner.message : String(inner);
};

/** Region and cells have users of their own: a Unix socket, or `peer` in pg_hba.conf, may let root in and not them. */
const objectionOfUsers = async (url: string): Promise<string | undefined> => {
  if (!parseStoreUrl(url).addresses.some((address) => isSocket(address.url))) return undefined;
  // Any run's users are as strange to the server as another's.
  for (const user of [userOf(0, { role: 'region' }), userOf(0, { role: 'processor', cell: 1, replica: 1 })]) {
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', probe];
    const [command = process.execPath, ...args] = confined({ user }, node);
    const options = { input: url, timeoutMs: probeTimeoutMs, allow: [refusedExit] };
    const { stdout, exitCode } = await exec(command, args, options);
    if (exitCode === refusedExit)
      return `${shown(url)} lets root in, but not the users that the region and its cells run as (${user.uid}): ${stdout}. Open the socket and the directories above it to them (unix_socket_permissions = 0777, chmod o+x), let pg_hba.conf trust or ask for a password on it instead of "peer", or name the server by TCP.`;
  }
  return undefined;
};

const isSocket = (url: string): boolean => {
  const host = new URLSearchParams(url.split('?')[1] ?? '').get('host');
  return host?.startsWith('/') === true;
};

/** Makes the databases that are missing. */
export async function ensureDatabases(run: RunRecord): Promise<void> {
  for (const { external, name } of databasesOf(run)) await ensureDatabase(external.url, name, 'C');
}

/**
 * Removes the databases, but for those that somebody is still connected to: this run's processes have ended by now, so that one is another
 * run, whose directory this one's was copied from. A server that is away keeps them too; the caller is told their names.
 */
export async function dropDatabases(run: RunRecord, log: (line: string) => void): Promise<void> {
  for (const [url, databases] of Map.groupBy(databasesOf(run), ({ external }) => external.url)) {
    const names = databases.map(({ name }) => name);
    const stay = (why: string, which: readonly string[]): void =>
      log(`These databases stay on ${shown(url)} (${why}): ${which.join(' ')}`);
    try {
      const used = await onServer(url, (server) => dropUnused(server, names));
      if (used.length > 0) stay('somebody else is connected to them', used);
    } catch (error) {
      stay(sqlStateOf(error) === insufficientPrivilege ? 'not allowed' : String(error), names);
    }
  }
}

/** Answers those that are in use. One that is in use keeps all: they are one run's. */
const dropUnused = async (
  server: Pick<StoreConnection, 'query'>,
  names: readonly string[],
): Promise<readonly string[]> => {
  for (const [at, name] of names.entries()) if (!(await dropOne(server, name))) return names.slice(at);
  return [];
};

/** The server itself waits some seconds for sessions to end; those of a process that was killed end with what they are at. */
const dropOne = async (server: Pick<StoreConnection, 'query'>, name: string): Promise<boolean> => {
  for (let tries = 1; ; tries++)
    try {
      await server.query(`drop database if exists ${name}`, []);
      return true;
    } catch (error) {
      if (sqlStateOf(error) !== objectInUse) throw error;
      if (tries >= dropTriesMax) return false;
    }
};
