/** A region over a PostgreSQL of somebody else's: one URL, a database for each store, none left afterwards. */
import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { objection } from '#lab/externalPostgres.ts';
import { type RunningPostgres, startPostgres } from '#node/embedded-postgres.ts';
import { processesOf } from './support/processes.ts';
import { startRegion } from './support/region.ts';

let server: RunningPostgres;
let dir: string;

/** Its socket is for everybody, as a distribution's is: region and cells have users of their own. */
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'pando-pg-'));
  const settings = { fsync: 'off', shared_buffers: '16MB', unix_socket_permissions: '0777' };
  const socketDir = join(dir, 's');
  server = await startPostgres({ dataDir: join(dir, 'data'), socketDir, dieWithParent: true, settings });
  for (const path of [dir, socketDir]) await chmod(path, 0o755);
});
after(async () => {
  await server.stop();
  await rm(dir, { recursive: true, force: true });
});

async function databases(): Promise<string[]> {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  try {
    const { rows } = await client.query(
      "select datname from pg_database where datname like 'pando\\_%' order by 1",
    );
    return rows.map(({ datname }) => datname);
  } finally {
    await client.end();
  }
}

test('a VM runs in a region that keeps everything there, and down removes its databases', async () => {
  {
    await using region = await startRegion({ cells: 1, hostsPerCell: 1, postgres: server.url });
    const kinds = (await processesOf(region.directory)).map(({ kind }) => kind);
    assert.ok(!kinds.includes('postgres'), 'it has no server of its own');
    assert.deepEqual(
      (await databases()).map((name) => name.replace(/^pando_[0-9a-f]{8}_/, '')),
      ['cell_a', 'region'],
    );
    const network = await region.cloud.network('10.95.0.0/16', '-1');
    const [machine] = await region.cloud.start({ network });
    assert.ok(machine);
    assert.match((await machine.guest.page('/')) ?? '', new RegExp(machine.vm.instanceId));
  }
  assert.deepEqual(await databases(), []);
});

test('a socket that root alone reaches is refused before anything is started, with what to do', async () => {
  const socketDir = join(dir, 's');
  for (const [path, closed, open] of [
    [socketDir, 0o700, 0o755],
    [join(socketDir, '.s.PGSQL.5432'), 0o700, 0o777],
  ] as const) {
    await chmod(path, closed);
    try {
      assert.match(
        (await objection(server.url)) ?? '',
        /lets root in, but not the users .*\(2100000001\): .*EACCES.*unix_socket_permissions = 0777/,
        path,
      );
    } finally {
      await chmod(path, open);
    }
  }
  assert.equal(await objection(server.url), undefined);
});

test('what cannot be used is refused with what to do, and without its password', async () => {
  assert.equal(await objection(server.url), undefined);
  assert.match((await objection('http://x/')) ?? '', /not a URL of PostgreSQL/);
  const away = (await objection('postgresql://me:secret@127.0.0.1:1/postgres')) ?? '';
  assert.match(away, /me@127\.0\.0\.1:1.* cannot be used: .*ECONNREFUSED/);
  assert.doesNotMatch(away, /secret/);
});
