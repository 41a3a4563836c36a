/** A throw-away PostgreSQL for tests: one server per test process, a fresh database per call. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensureDatabase } from '#base/postgres/create.ts';
import { type RunningPostgres, startPostgres } from '#node/embedded-postgres.ts';
import { newCluster } from '../../support/cluster.ts';

export interface TestDatabase {
  /** A new, empty database. */
  readonly url: string;
  /** Stops the server when the last database of this process is given back, and removes its files. */
  stop(): Promise<void>;
}

interface Server {
  readonly postgres: RunningPostgres;
  readonly dir: string;
}

let server: Promise<Server> | undefined;
let users = 0;

const startServer = async (): Promise<Server> => {
  const dir = await mkdtemp(path.join(tmpdir(), 'pando-pg-'));
  const dataDir = path.join(dir, 'data');
  await newCluster(dataDir);
  const postgres = await startPostgres({
    dataDir,
    socketDir: path.join(dir, 's'),
    dieWithParent: true,
    settings: { fsync: 'off', shared_buffers: '16MB', max_connections: '120' },
  });
  return { postgres, dir };
};

/** Starts (or shares, within one process) a throw-away server and makes a fresh database in it. Call `stop()` in `after`. */
export const startTestDatabase = async (): Promise<TestDatabase> => {
  server ??= startServer();
  users += 1;
  const { postgres, dir } = await server;
  const url = await ensureDatabase(postgres.url, `t_${randomBytes(6).toString('hex')}`);
  let stopped = false;
  return {
    url,
    stop: async () => {
      if (stopped) return;
      stopped = true;
      users -= 1;
      if (users > 0) return;
      server = undefined;
      await postgres.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
};
