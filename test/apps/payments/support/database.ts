/** A PostgreSQL of a test file's own, and databases in it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { ensureDatabase } from '#base/postgres/create.ts';
import { type RunningPostgres, startPostgres } from '#node/embedded-postgres.ts';
import { migrate } from '#payments/store/migrate.ts';
import { openPool, type Pool } from '#payments/store/pool.ts';
import { schema } from '#payments/store/schema.ts';
import { newCluster } from '../../../support/cluster.ts';

let running: Promise<{ server: RunningPostgres; dir: string }> | undefined;
let databases = 0;

/** What the file opened, ended in the opposite order after its tests. Register at any time. */
const endings: (() => Promise<unknown>)[] = [];
export const atEnd = (ending: () => Promise<unknown>): void => void endings.unshift(ending);
after(async () => {
  for (const ending of endings) await ending();
});

/** The file's server; ended and removed after its tests. */
export function server(): Promise<{ server: RunningPostgres; dir: string }> {
  running ??= start();
  return running;
}

async function start(): Promise<{ server: RunningPostgres; dir: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'pay-'));
  const dataDir = join(dir, 'd');
  await newCluster(dataDir);
  const started = await startPostgres({
    dataDir,
    socketDir: join(dir, 's'),
    dieWithParent: true,
    settings: { fsync: 'off', full_page_writes: 'off' },
  });
  atEnd(async () => {
    await started.stop();
    await rm(dir, { recursive: true, force: true });
  });
  return { server: started, dir };
}

export interface TestDatabase {
  readonly pool: Pool;
  readonly url: string;
}

/** An empty database with the application's schema; its pool is closed after the file's tests. */
export async function testDatabase(poolMax = 16): Promise<TestDatabase> {
  const { server: running } = await server();
  databases += 1;
  const url = await ensureDatabase(running.url, `t${databases}`);
  const pool = openPool({ url, poolMax });
  atEnd(() => pool.end());
  await migrate(pool, schema);
  return { pool, url };
}
