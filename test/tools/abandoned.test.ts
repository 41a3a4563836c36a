import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { identify, isAlive } from '#node/processIdentity.ts';
import { removeScratch } from '../support/abandoned.ts';

const sleeper = async (t: TestContext, shared: string): Promise<ChildProcess> => {
  const child = spawn('sleep', ['600'], {
    stdio: 'ignore',
    env: { ...process.env, PANDO_TEST_SHARED: shared },
  });
  t.after(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  return child;
};
const lives = ({ pid = 0 }: ChildProcess): boolean => {
  const identity = identify(pid);
  return identity !== undefined && isAlive(identity);
};

test('a test file whose runner was killed ends with the run’s directory, another run’s does not', async (t) => {
  const [mine, theirs] = [1, 2].map(() => mkdtempSync(join(tmpdir(), 'pando-abandoned-'))) as [
    string,
    string,
  ];
  mkdirSync(join(mine, 'shared'));
  const left = await sleeper(t, join(mine, 'shared'));
  const others = await sleeper(t, join(theirs, 'shared'));
  // A name that only begins like it is another directory.
  const namesake = await sleeper(t, join(`${mine}x`, 'shared'));
  await removeScratch(mine);
  assert.deepEqual([left, others, namesake].map(lives), [false, true, true]);
  assert.deepEqual([mine, theirs].map(existsSync), [false, true]);
  await removeScratch(theirs);
});
