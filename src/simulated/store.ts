/**
 * The PostgreSQL of a simulated region: one server with a database for the region and one for each cell. To be up within seconds it begins
 * as a copy of a prepared one: made once, with the schema in it, and kept in the cache under a digest of what it was made of.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import { ensureDatabase } from '#base/postgres/create.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { migrate, type SchemaStep } from '#base/postgres/migrate.ts';
import { cellSchema } from '#cell/store/schema.ts';
import { clusterOf } from '#lab/simulatedRun.ts';
import { codeDirectory } from '#node/directory.ts';
import { type RunningPostgres, startPostgres } from '#node/embedded-postgres.ts';
import { regionMigrations } from '#region/migrations.ts';

const copyTimeoutMs = 60_000;
/** Prepared stores of other versions of the code, kept beside the present one. */
const othersKeptMax = 2;
const othersMode = 0o077;

const sharedSettings = {
  shared_buffers: '32MB',
  max_wal_size: '96MB',
  min_wal_size: '32MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  autovacuum_max_workers: '1',
} as const;
/** Nothing is flushed: the state ends with the machine at the latest. What was committed survives a killed server all the same. */
const memorySettings = { fsync: 'off', full_page_writes: 'off' } as const;

export interface SimulatedStore {
  /** URL of the region's database. */
  readonly region: string;
  /** URLs of the cells' databases, in the order of their numbers. */
  readonly cells: readonly string[];
  readonly server: RunningPostgres;
}

export interface SimulatedStoreOptions {
  /** Directory of the state; the cluster and its socket lie in it. */
  readonly state: string;
  readonly persist: boolean;
  readonly cache: string;
  readonly cells: number;
  say(line: string): void;
}

const cellDatabase = (number: number): string => `cell_${number}`;
const numbers = (cells: number): number[] => Array.from({ length: cells }, (_, at) => at + 1);

export const startSimulatedStore = async (options: SimulatedStoreOptions): Promise<SimulatedStore> => {
  const { dataDir, socketDir } = clusterOf(options.state);
  if (!existsSync(join(dataDir, 'PG_VERSION'))) await beginWithCopy(options, dataDir);
  const settings = { ...sharedSettings, ...(options.persist ? {} : memorySettings) };
  const server = await startPostgres({ dataDir, socketDir, settings });
  const [region = '', ...cells] = await Promise.all(
    ['region', ...numbers(options.cells).map(cellDatabase)].map((name) => ensureDatabase(server.url, name)),
  );
  return { region, cells, server };
};

/** What cannot be prepared or copied costs a second, no more: the cluster is then made where it is to lie. */
const beginWithCopy = async (options: SimulatedStoreOptions, dataDir: string): Promise<void> => {
  const fresh = `${dataDir}.${randomUUID()}`;
  try {
    const prepared = await preparedStore(options);
    if (prepared === undefined) return;
    await exec('cp', ['-a', '--', prepared, fresh], { timeoutMs: copyTimeoutMs });
    // Only over an empty one: a cluster that lacks a file is somebody's books all the same.
    await rename(fresh, dataDir);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    options.say(`no prepared store is used: ${error instanceof Error ? error.message : String(error)}`);
  }
};

/** Changes with PostgreSQL, the schema, and the number of databases. */
const digestOf = (cells: number): string => {
  const hash = createHash('sha256').update(`${cells} ${process.arch} `);
  const packages = JSON.parse(readFileSync(join(codeDirectory, 'package.json'), 'utf8')) as object;
  hash.update(JSON.stringify('optionalDependencies' in packages ? packages.optionalDependencies : {}));
  for (const { name, up } of [...regionMigrations, ...cellSchema]) hash.update(`${name}\n${up}\n`);
  return hash.digest('hex').slice(0, 16);
};

/** The prepared cluster's directory; `undefined` where the cache is not ours alone to write. */
const preparedStore = async ({ cache, cells, say }: SimulatedStoreOptions): Promise<string | undefined> => {
  const parent = join(cache, 'simulated');
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  const { uid, mode } = statSync(parent);
  if (uid !== process.getuid?.() || (mode & othersMode) !== 0) return undefined;
  const prepared = join(parent, `store-${digestOf(cells)}`);
  if (existsSync(prepared)) return prepared;
  say('preparing a store for this and later starts');
  const made = join(parent, `.new-${randomUUID().slice(0, 8)}`);
  try {
    await prepare(made, cells);
    // Another start may have been first: its store is the same.
    await rename(join(made, 'pg'), prepared).catch((error: NodeJS.ErrnoException) => {
      if (!existsSync(prepared)) throw error;
    });
  } finally {
    await rm(made, { recursive: true, force: true });
  }
  dropOthers(parent, prepared);
  return prepared;
};

const prepare = async (directory: string, cells: number): Promise<void> => {
  const server = await startPostgres({
    dataDir: join(directory, 'pg'),
    socketDir: join(directory, 's'),
    settings: { ...sharedSettings, ...memorySettings },
    dieWithParent: true,
  });
  try {
    await withSchema(await ensureDatabase(server.url, 'region'), regionMigrations);
    for (const number of numbers(cells))
      await withSchema(await ensureDatabase(server.url, cellDatabase(number)), cellSchema);
  } finally {
    await server.stop();
  }
  // All of it is copied later by whoever finds it: what the kernel has not written by a power cut would be a torn cluster.
  await exec('sync', ['-f', join(directory, 'pg')], { timeoutMs: copyTimeoutMs });
};

const withSchema = async (url: string, steps: readonly SchemaStep[]): Promise<void> => {
  const db = openDatabase<Record<never, never>>({ url, poolMax: 2 });
  try {
    await migrate(db, steps);
  } finally {
    await db.destroy();
  }
};

const dropOthers = (parent: string, present: string): void => {
  const others = readdirSync(parent)
    .filter((name) => name.startsWith('store-') && join(parent, name) !== present)
    .map((name) => ({ path: join(parent, name), at: statSync(join(parent, name)).mtimeMs }))
    .sort((a, b) => b.at - a.at);
  for (const { path } of others.slice(othersKeptMax)) rmSync(path, { recursive: true, force: true });
};
