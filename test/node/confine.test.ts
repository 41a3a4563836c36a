import assert from 'node:assert/strict';
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { exec } from '#base/exec.ts';
import { agentCapabilities, namesOf } from '#node/capabilities.ts';
import { type Confinement, confined, environment, hiddenBy } from '#node/confine.ts';
import { codeDirectory } from '#node/directory.ts';
import { startPostgres } from '#node/embedded-postgres.ts';
import { give } from '#node/ownership.ts';
import { userOf } from '#node/users.ts';

const user = userOf(97, { role: 'region' });
const stranger = userOf(97, { role: 'router' });

const directory = (t: TestContext): string => {
  const made = mkdtempSync(join(tmpdir(), 'pando-confine-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
};

const run = (confinement: Confinement, ...command: string[]) => {
  const [program = '', ...args] = confined(confinement, command);
  return exec(program, args);
};

const statusOf = async (confinement: Confinement): Promise<(name: string) => string | undefined> => {
  const { stdout } = await run(confinement, 'cat', '/proc/self/status');
  return (name) => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(stdout)?.[1];
};

test('a process has its own user, no group besides, no capability, and gains none', async () => {
  const field = await statusOf({ user });
  assert.equal(field('Uid'), Array(4).fill(user.uid).join('\t'));
  assert.equal(field('Gid'), Array(4).fill(user.gid).join('\t'));
  assert.equal(field('Groups')?.trim(), '');
  assert.equal(field('NoNewPrivs'), '1');
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    assert.equal(Number(`0x${field(set)}`), 0, set);
});

test('it leaves no core', async () => {
  for (const confinement of [{ user }, {}]) {
    const { stdout } = await run(confinement, 'cat', '/proc/self/limits');
    assert.match(stdout, /^Max core file size +0 +0 /m);
  }
});

test('the one capability that it is given is the one that it has', async () => {
  const field = await statusOf({ user, capabilities: ['net_bind_service'] });
  for (const set of ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    assert.equal(Number(`0x${field(set)}`), 1 << 10, set);
});

test('root keeps what is listed, and what it starts can gain no more', async () => {
  const capabilities = namesOf(agentCapabilities);
  const { stdout } = await run({ capabilities }, 'sh', '-c', 'setpriv --dump; cat /proc/self/status');
  const bounding = /Capability bounding set: (.*)/.exec(stdout)?.[1]?.split(',').sort();
  assert.deepEqual(bounding, capabilities);
  assert.match(stdout, /^NoNewPrivs:\s+1$/m);
  await assert.rejects(run({ capabilities }, 'chroot', '/', 'true'), /Operation not permitted/);
});

test('a process gets settings from who starts the region, and none of his secrets', () => {
  const from = {
    ...{ PATH: '/bin', LC_ALL: 'C', PANDO_LOG: 'debug', NODE_OPTIONS: '' },
    ...{
      PANDO_POSTGRES: 'postgresql://u:p@h/',
      AWS_SECRET_ACCESS_KEY: 's',
      HOME: '/root',
      SSH_AUTH_SOCK: '/s',
    },
  };
  assert.deepEqual(Object.keys(environment(from)).sort(), ['LC_ALL', 'NODE_OPTIONS', 'PANDO_LOG', 'PATH']);
});

test('the outermost directory that is closed to others is the one that hides a path', () => {
  const modes: Record<string, number> = { '/': 0o755, '/home': 0o755, '/home/a': 0o750, '/home/a/b': 0o700 };
  assert.equal(
    hiddenBy('/home/a/b/pando', (at) => modes[at] ?? 0),
    '/home/a',
  );
  assert.equal(
    hiddenBy('/home/pando', (at) => modes[at] ?? 0),
    undefined,
  );
});

test('what lies in a closed home is shown to the process, and nothing beside it', async (t) => {
  const home = join(directory(t), 'home');
  const shown = join(home, 'a b', "region's");
  mkdirSync(shown, { recursive: true });
  writeFileSync(join(shown, 'file'), 'shown');
  writeFileSync(join(home, 'diary'), 'private');
  for (const [path, mode] of [
    [dirname(home), 0o755],
    [home, 0o750],
    [shown, 0o755],
  ] as const)
    chmodSync(path, mode);
  assert.equal((await run({ user, reaches: [shown] }, 'cat', join(shown, 'file'))).stdout, 'shown');
  await assert.rejects(run({ user, reaches: [shown] }, 'cat', join(home, 'diary')));
  await assert.rejects(run({ user, reaches: [] }, 'cat', join(shown, 'file')), /Permission denied/);
  // Mounts of the process's own: nothing of it is seen outside.
  assert.equal(readFileSync(join(home, 'diary'), 'utf8'), 'private');
  assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(home));
});

test('a tree is handed over whole, but for what has a second name; links are not followed', (t) => {
  const root = directory(t);
  const tree = join(root, 'tree');
  mkdirSync(join(tree, 'deep'), { recursive: true });
  writeFileSync(join(root, 'shared'), '');
  writeFileSync(join(root, 'other'), '');
  linkSync(join(root, 'shared'), join(tree, 'deep', 'shared'));
  symlinkSync(join(root, 'other'), join(tree, 'link'));
  writeFileSync(join(tree, 'deep', 'own'), '');
  give(tree, user);
  for (const path of [tree, join(tree, 'deep'), join(tree, 'deep', 'own'), join(tree, 'link')])
    assert.equal(lstatSync(path).uid, user.uid, path);
  for (const path of [join(root, 'shared'), join(root, 'other')]) assert.equal(lstatSync(path).uid, 0, path);
  // What root wrote since, as on the way back to a release whose processes are root's.
  writeFileSync(join(tree, 'deep', 'later'), '');
  give(tree, user);
  assert.equal(lstatSync(join(tree, 'deep', 'later')).uid, user.uid);
  give(join(root, 'new'), user);
  assert.equal(lstatSync(join(root, 'new')).mode & 0o777, 0o700);
});

test('a PostgreSQL of the last release is handed over with its data, and only its group reaches it', async (t) => {
  const root = directory(t);
  chmodSync(root, 0o711);
  const [dataDir, socketDir] = [join(root, 'data'), join(root, 's')];
  const query = (as: { uid: number; gid: number }, sql: string): Promise<{ stdout: string }> => {
    const program = `import pg from 'pg';
      const client = new pg.Client({ host: process.argv[1], user: 'pando', database: 'postgres' });
      await client.connect();
      console.log(JSON.stringify((await client.query(process.argv[2])).rows));
      await client.end();`;
    const node = [process.execPath, '--input-type=module', '-e', program, socketDir, sql];
    const [command = '', ...args] = confined({ user: as }, node);
    return exec(command, args, { cwd: codeDirectory });
  };
  const settings = { fsync: 'off', shared_buffers: '16MB' };
  const former = await startPostgres({ dataDir, socketDir, dieWithParent: true, settings });
  t.after(() => former.stop());
  const client = new pg.Client({ connectionString: former.url });
  client.on('error', () => undefined);
  await client.connect();
  await client.query('create table kept as select 7 as seven');
  await client.end();
  // Not stopped: a server that runs as another user is not adopted.
  const store = userOf(97, { role: 'region-store' });
  const own = await startPostgres({ dataDir, socketDir, user: store, dieWithParent: true, settings });
  t.after(() => own.stop());
  assert.equal(own.adopted, false);
  assert.match(readFileSync(`/proc/${own.pid}/status`, 'utf8'), new RegExp(`^Uid:\\s+${store.uid}\\s`, 'm'));
  assert.match((await query(user, 'select seven from kept')).stdout, /"seven":7/);
  await assert.rejects(query(stranger, 'select 1'), /EACCES/);
  await assert.rejects(query(userOf(97, { role: 'cell-store', cell: 1 }), 'select 1'), /EACCES/);
  // What root loads at its next start of a server is in no hands but root's.
  const libraries = /LD_LIBRARY_PATH=([^\0]+)/.exec(readFileSync(`/proc/${own.pid}/environ`, 'utf8'))?.[1];
  for (const at of libraries?.split(':') ?? []) assert.equal(lstatSync(at).uid, 0, at);
  const again = await startPostgres({ dataDir, socketDir, user: store, settings });
  assert.equal(again.adopted, true);
});
