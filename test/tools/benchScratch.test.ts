import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const helper = join(import.meta.dirname, '../../bench/support/scratch.ts');
/** Says that its directory is there, and stays. */
const program = `
  import { useScratch } from ${JSON.stringify(helper)};
  useScratch();
  console.log(process.env.TMPDIR);
  setInterval(() => undefined, 1000);`;

test('a bench leaves nothing: interrupted it removes its files itself, killed the next one does', async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'pando-scratch-'));
  const begun: ChildProcess[] = [];
  t.after(() => {
    for (const child of begun) child.kill('SIGKILL');
    rmSync(parent, { recursive: true, force: true });
  });
  const begin = async (): Promise<ChildProcess> => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, TMPDIR: parent },
    });
    begun.push(child);
    await once(child.stdout, 'data');
    return child;
  };
  const end = async (child: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  };
  // Made by somebody else: not of a bench's process.
  mkdirSync(join(parent, 'pando-bench-x1'));

  await end(await begin(), 'SIGTERM');
  assert.deepEqual(readdirSync(parent), ['pando-bench-x1']);
  const killed = await begin();
  await end(killed, 'SIGKILL');
  assert.deepEqual(
    readdirSync(parent).toSorted(),
    [`pando-bench-${killed.pid}`, 'pando-bench-x1'].toSorted(),
  );
  const [next, beside] = [await begin(), await begin()];
  assert.deepEqual(
    readdirSync(parent).toSorted(),
    [next, beside]
      .map(({ pid }) => `pando-bench-${pid}`)
      .concat('pando-bench-x1')
      .toSorted(),
    'what the dead one left is gone, what a living one has is not',
  );
});
