import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { exec } from '#base/exec.ts';
import { startPostgres } from '#node/embedded-postgres.ts';
import { postgresPackage } from '#node/postgres-package.ts';

const modulePath = new URL('../../src/node/embedded-postgres.ts', import.meta.url).href;

let dir: string;
const options = () => ({
  dataDir: path.join(dir, 'data'),
  socketDir: path.join(dir, 's'),
});

before(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'pando-epg-'));
});
after(async () => {
  await (await startPostgres(options())).stop();
  await rm(dir, { recursive: true, force: true });
});

const query = async (url: string, text: string): Promise<Record<string, unknown>[]> => {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
};

const waitFor = async (condition: () => Promise<boolean>): Promise<void> => {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, 'the condition did not come true in 60 s');
    await new Promise((wake) => setTimeout(wake, 20));
  }
};

const gone = (pid: number): Promise<void> =>
  waitFor(async () => (await readlink(`/proc/${pid}/exe`).catch(() => '')) === '');

/** Starts a PostgreSQL from another process, which is then killed. */
const startFromDoomedParent = async (dieWithParent: boolean): Promise<number> => {
  const program = `
    const { startPostgres } = await import(${JSON.stringify(modulePath)});
    const { pid } = await startPostgres({ ...${JSON.stringify(options())}, dieWithParent: ${dieWithParent} });
    process.stdout.write(String(pid) + '\\n');
    setInterval(() => undefined, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const pid = await new Promise<number>((resolve, reject) => {
    parent.stdout.once('data', (chunk: Buffer) => resolve(Number(chunk.toString())));
    parent.once('exit', () => reject(new Error('the parent ended')));
  });
  parent.kill('SIGKILL');
  return pid;
};

test('starts from nothing on a Unix socket alone, with checksums and the built-in locale; stop is clean', async () => {
  const postgres = await startPostgres(options());
  const [row] = await query(
    postgres.url,
    `select current_setting('listen_addresses') as listen, current_setting('data_checksums') as checksums,
       (select datlocprovider::text || datlocale from pg_database where datname = current_database()) as locale,
       current_setting('server_version_num')::int / 10000 as major`,
  );
  assert.deepEqual(row, { listen: '', checksums: 'on', locale: 'bC.UTF-8', major: 18 });
  await postgres.stop();
  await postgres.stop();
  await gone(postgres.pid);
});

test('a server that was told to end is not adopted: another one is started after it', async () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const former = await startPostgres(options());
    // A smart shutdown (SIGTERM) waits for this client, a fast one (SIGINT) sends it away.
    const client = new pg.Client({ connectionString: former.url });
    client.on('error', () => undefined);
    await client.connect();
    process.kill(former.pid, signal);
    const next = await startPostgres(options());
    assert.equal(next.adopted, false, signal);
    assert.notEqual(next.pid, former.pid);
    assert.deepEqual(await query(next.url, 'select 1 as one'), [{ one: 1 }]);
    await client.end().catch(() => undefined);
    await next.stop();
  }
});

test('comes up on a machine where nobody has made an ordinary user', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('as an ordinary user, PostgreSQL runs as that one');
  const home = await mkdtemp(path.join(tmpdir(), 'pando-epg-users-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  const users = path.join(home, 'passwd');
  await writeFile(
    users,
    'root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n',
  );
  const where = { dataDir: path.join(home, 'data'), socketDir: path.join(home, 's') };
  const program = `
    const { startPostgres } = await import(${JSON.stringify(modulePath)});
    const postgres = await startPostgres({ ...${JSON.stringify(where)}, dieWithParent: true });
    await postgres.stop();`;
  await exec('unshare', [
    '--mount',
    'sh',
    '-c',
    'mount --bind "$1" /etc/passwd && exec "$2" --input-type=module -e "$3"',
    'sh',
    users,
    process.execPath,
    program,
  ]);
});

test('outlives a killed parent and is adopted; the same server answers', async () => {
  const pid = await startFromDoomedParent(false);
  const adopted = await startPostgres(options());
  assert.equal(adopted.pid, pid);
  assert.equal(adopted.adopted, true);
  await query(adopted.url, 'create table kept (n int); insert into kept values (7)');
});

test('kill -9 of the server: the next start recovers what was committed', async () => {
  const running = await startPostgres(options());
  await query(running.url, 'insert into kept values (8)');
  const orphan = assert.rejects(
    query(running.url, `do $$ declare n int := 0; begin loop n := (n + 1) % 1000; end loop; end $$`),
    'the busy backend, orphaned by the kill, is ended',
  );
  await waitFor(
    async () =>
      (await query(running.url, `select 1 from pg_stat_activity where query like 'do %'`)).length > 0,
  );
  process.kill(running.pid, 'SIGKILL');
  await gone(running.pid);
  const again = await startPostgres(options());
  assert.notEqual(again.pid, running.pid);
  await orphan;
  assert.deepEqual(await query(again.url, 'select n from kept order by n'), [{ n: 7 }, { n: 8 }]);
});

test('one that listens elsewhere is stopped, not adopted', async () => {
  const first = await startPostgres(options());
  const moved = await startPostgres({ ...options(), socketDir: path.join(dir, 's2') });
  assert.notEqual(moved.pid, first.pid);
  await gone(first.pid);
  assert.equal((await query(moved.url, 'select 1 as one')).length, 1);
  await moved.stop();
});

test('with dieWithParent, a killed parent takes the server along', async () => {
  await gone(await startFromDoomedParent(true));
});

test('a postmaster.pid whose number belongs to another process is not trusted', async () => {
  await writeFile(
    path.join(dir, 'data', 'postmaster.pid'),
    `${process.pid}\n${dir}/data\n0\n5432\n${dir}/s\n\n\nready\n`,
  );
  const postgres = await startPostgres(options());
  assert.equal(postgres.adopted, false);
  await postgres.stop();
});

test('FIFOs in the place of its files hold no start up', async () => {
  const { dataDir, socketDir } = options();
  const planted = [path.join(dataDir, 'postmaster.pid'), path.join(socketDir, '.s.PGSQL.5432.lock')];
  for (const at of planted) await exec('mkfifo', [at]);
  // Whoever waits for one is let go, so that this test ends. A start alone takes seconds on a machine that does other things too.
  const heldMs = 60_000;
  const held = setInterval(() => {
    for (const at of planted) closeSync(openSync(at, constants.O_RDWR | constants.O_NONBLOCK));
  }, heldMs);
  const beganMs = performance.now();
  const postgres = await startPostgres(options()).finally(() => clearInterval(held));
  assert.ok(performance.now() - beganMs < heldMs);
  await postgres.stop();
});

test('a package without its symlinks runs by a link directory of ours', async () => {
  const real = path.dirname(path.dirname((await postgresPackage(path.join(dir, 'unused'))).postgres));
  const copy = path.join(dir, 'package', 'native');
  await mkdir(path.join(copy, 'lib'), { recursive: true });
  await symlink(path.join(real, 'pg-symlinks.json'), path.join(copy, 'pg-symlinks.json'));
  const links = path.join(dir, 'links');
  const found = await postgresPackage(links, copy);
  assert.equal(found.libraryPath?.split(':')[0], links);
  assert.ok((await readdir(links)).includes('libpq.so.5'));
  await postgresPackage(links, copy);
});

test('a socket directory that is too long is refused with words', async () => {
  await assert.rejects(
    startPostgres({ ...options(), socketDir: path.join(dir, 'x'.repeat(100)) }),
    /shorter/,
  );
});
