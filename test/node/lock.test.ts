import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { LockHeld, withLock, withLockWaiting } from '#node/lock.ts';
import { identify } from '#node/processIdentity.ts';

const processes = 3;
const rounds = 300;
const patienceMs = 60_000;

const lockFile = (t: TestContext): string => {
  const directory = mkdtempSync(join(tmpdir(), 'pando-lock-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'lock');
};

/** A process that was there and is gone. */
const deadProcess = async (): Promise<string> => {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  await once(child, 'spawn');
  const identity = JSON.stringify(identify(child.pid ?? 0));
  child.kill('SIGKILL');
  await once(child, 'exit');
  return identity;
};

test('of several processes one at a time has the lock, also of one that died with it', async (t) => {
  const path = lockFile(t);
  const program = join(import.meta.dirname, 'support', 'locker.ts');
  const args = ['--disable-warning=ExperimentalWarning', program, path, String(rounds), await deadProcess()];
  const codes = await Promise.all(
    Array.from({ length: processes }, async () => {
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
      const [code] = await once(child, 'exit');
      return code;
    }),
  );
  assert.deepEqual(codes, Array(processes).fill(0));
  rmSync(path, { force: true });
  assert.deepEqual(readdirSync(join(path, '..')), [], 'nothing is left beside it');
});

test('who waits has it when the other is done, and is told once who that is', async (t) => {
  const path = lockFile(t);
  const told: number[] = [];
  const order: string[] = [];
  const done = Promise.withResolvers<void>();
  const first = withLock(path, async () => {
    await done.promise;
    order.push('first');
  });
  const wait = {
    waitMsMax: patienceMs,
    onWait: (pid: number) => {
      told.push(pid);
      done.resolve();
    },
  };
  await withLockWaiting(path, wait, async () => void order.push('second'));
  await first;
  assert.deepEqual({ order, told }, { order: ['first', 'second'], told: [process.pid] });
});

test('who waits for too long is told who has it, and what the work itself throws is not waited for', async (t) => {
  const path = lockFile(t);
  await withLock(path, async () => {
    await assert.rejects(
      withLockWaiting(path, { waitMsMax: 0 }, async () => undefined),
      LockHeld,
    );
  });
  let tries = 0;
  const failing = withLockWaiting(path, { waitMsMax: patienceMs }, async () => {
    tries++;
    throw new LockHeld(1);
  });
  await assert.rejects(failing, LockHeld);
  assert.equal(tries, 1);
});
