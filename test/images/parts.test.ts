import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { rememberApt } from '../../images/lib/aptMemory.ts';
import { assembleProgram } from '../../images/lib/assemble.ts';
import { writeCpio } from '../../images/lib/cpio.ts';
import { dependsOf } from '../../images/lib/modules.ts';

test('cpio: what is written, cpio lists', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'pando-cpio-'));
  try {
    await writeFile(
      join(dir, 'archive'),
      writeCpio([
        { kind: 'directory', path: 'bin' },
        { kind: 'file', path: 'bin/odd', mode: 0o755, data: Buffer.from('12345') },
        { kind: 'symlink', path: 'bin/sh', target: 'odd' },
      ]),
    );
    await promisify(execFile)('busybox', ['cpio', '-id', '-F', 'archive'], { cwd: dir });
    assert.equal(await readFile(join(dir, 'bin/sh'), 'utf8'), '12345');
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('modules: dependencies are read from the module', () => {
  assert.deepEqual(dependsOf(Buffer.from('license=GPL\0depends=virtio,virtio_ring\0name=x\0')), [
    'virtio',
    'virtio_ring',
  ]);
  assert.deepEqual(dependsOf(Buffer.from('license=GPL\0depends=\0')), []);
  assert.deepEqual(dependsOf(Buffer.from('nothing')), []);
});

/** The word that the witness writes at the start of its memory tells its round in the upper half. */
test('the memory witness counts rounds, and counts a word that changed behind its back', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'pando-memcheck-'));
  const report = join(dir, 'report');
  await assembleProgram('memcheck', join(dir, 'memcheck'));
  const output = await open(report, 'w');
  const witness = spawn(join(dir, 'memcheck'), ['3', '20'], { stdio: ['ignore', output.fd, 'ignore'] });
  const ended = new Promise((resolve) => witness.once('exit', resolve));
  try {
    const read = async (): Promise<{ round: number; errors: number } | undefined> => {
      const [, round = '', errors = ''] =
        /^round=(.{16}) errors=(.{16})\n$/.exec(await readFile(report, 'utf8')) ?? [];
      return round === ''
        ? undefined
        : { round: Number.parseInt(round, 16), errors: Number.parseInt(errors, 16) };
    };
    const until = async (done: (now: { round: number; errors: number }) => boolean): Promise<void> => {
      for (let tries = 0; tries < 6_000; tries++) {
        const now = await read();
        if (now !== undefined && done(now)) return;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert.fail(`the report never came to it: ${await readFile(report, 'utf8')}`);
    };
    await until((now) => now.round >= 3 && now.errors === 0);
    await spoil(witness.pid ?? 0);
    await until((now) => now.errors === 1);
  } finally {
    witness.kill('SIGKILL');
    await ended;
    await output.close();
    await rm(dir, { recursive: true, force: true });
  }
});

/** Flips a bit in the witness's mapping, the one of exactly 3 MiB. */
async function spoil(pid: number): Promise<void> {
  const maps = await readFile(`/proc/${pid}/maps`, 'utf8');
  const start = maps
    .split('\n')
    .map((line) => /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line))
    .filter((match) => match !== null)
    .map(([, from = '', to = '']) => [Number.parseInt(from, 16), Number.parseInt(to, 16)] as const)
    .find(([from, to]) => to - from === 3 * 1024 ** 2)?.[0];
  assert.ok(start !== undefined, 'the mapping is there');
  const memory = await open(`/proc/${pid}/mem`, 'r+');
  try {
    await memory.write(Buffer.from([0xaa]), 0, 1, start + 0x10_0007);
  } finally {
    await memory.close();
  }
}

test('apt is asked once, and again when anything that it reads is another', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'pando-apt-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  let asked = 0;
  const ask = (question: string): Promise<{ asked: number }> =>
    rememberApt(dir, [question], async () => ({ asked: ++asked }));
  assert.equal((await ask('a')).asked, 1);
  assert.equal((await ask('a')).asked, 1);
  assert.equal((await ask('b')).asked, 2);
  const former = process.env.APT_CONFIG;
  try {
    process.env.APT_CONFIG = join(dir, 'another.conf');
    assert.equal((await ask('a')).asked, 3);
  } finally {
    if (former === undefined) delete process.env.APT_CONFIG;
    else process.env.APT_CONFIG = former;
  }
  for (const name of await readdir(join(dir, 'apt'))) await writeFile(join(dir, 'apt', name), 'torn');
  assert.equal((await ask('b')).asked, 4);
  await assert.rejects(
    rememberApt(dir, ['c'], () => Promise.reject(new Error('no network'))),
    /no network/,
  );
});
