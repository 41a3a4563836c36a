import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { memoryParent, memoryPrefix } from '#cli/simulated/end.ts';
import { writeRun } from '#lab/runRecord.ts';
import { runDirectory } from '#node/directory.ts';
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

test('what a simulated region of the run had in memory goes with the run’s directory', async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), 'pando-abandoned-'));
  const state = mkdtempSync(join(memoryParent, memoryPrefix));
  t.after(() => rmSync(state, { recursive: true, force: true }));
  const directory = runDirectory(join(scratch, 'home', 'r1'));
  mkdirSync(directory.root, { recursive: true });
  writeRun(directory, {
    ...{ format: 1, index: 0, cells: 1, hostsPerCell: 1, port: 4_566, regionName: 'pando-1' },
    simulated: { state, persist: false, instant: true, anyRegion: false },
  });
  await removeScratch(scratch);
  assert.deepEqual([scratch, state].map(existsSync), [false, false]);
});
