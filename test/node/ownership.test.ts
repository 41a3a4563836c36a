/** Root hands directories over while a process of their user's, which has been taken over, does with them what it can. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { exec } from '#base/exec.ts';
import { give, readUnfollowed } from '#node/ownership.ts';
import { userOf } from '#node/users.ts';

const user = userOf(98, { role: 'router' });
const triedForMs = 2_000;

const directory = (t: TestContext): string => {
  const made = mkdtempSync(join(tmpdir(), 'pando-own-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
};

/** Lets a name stand for a directory and for a link by turns, for some microseconds each. */
const swapper = async (tree: string): Promise<ChildProcess> => {
  const program = `const { renameSync } = require('node:fs');
    const [at, own, link] = process.argv.slice(1);
    const wait = () => { for (let n = 0; n < 20_000; n += 1); };
    process.stdout.write('x');
    for (;;) {
      renameSync(at, own); renameSync(link, at); wait();
      renameSync(at, link); renameSync(own, at); wait();
    }`;
  const paths = ['at', 'own', 'link'].map((name) => join(tree, name));
  const child = spawn(process.execPath, ['-e', program, ...paths], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(child.stdout, 'data');
  return child;
};

test('nothing outside of a tree is given away, whatever takes a directory’s place meanwhile', async (t) => {
  const root = directory(t);
  const [tree, outside] = [join(root, 'tree'), join(root, 'outside')];
  mkdirSync(join(tree, 'at'), { recursive: true });
  mkdirSync(outside);
  writeFileSync(join(outside, 'shadow'), 'root’s');
  symlinkSync(outside, join(tree, 'link'));
  const child = await swapper(tree);
  try {
    const until = performance.now() + triedForMs;
    while (performance.now() < until && lstatSync(join(outside, 'shadow')).uid === 0) give(tree, user);
    assert.equal(child.exitCode, null, 'the other process went on');
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  assert.equal(lstatSync(join(outside, 'shadow')).uid, 0);
});

test('a link or a FIFO in the place of a file is not read, and not waited for', async (t) => {
  const root = directory(t);
  writeFileSync(join(root, 'file'), 'text');
  symlinkSync(join(root, 'file'), join(root, 'link'));
  await exec('mkfifo', [join(root, 'fifo')]);
  assert.equal(readUnfollowed(join(root, 'file')), 'text');
  for (const name of ['link', 'fifo', 'none', '.']) assert.equal(readUnfollowed(join(root, name)), undefined);
});
