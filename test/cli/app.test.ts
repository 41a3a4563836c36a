/** `pando app payments`: up, again, status, down, up with the same books, and nothing left after a purge. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { exec } from '#base/exec.ts';
import { freePort } from '../support/freePort.ts';

const main = join(import.meta.dirname, '../../src/cli/main.ts');

test('an application runs by itself in one command, and leaves nothing', { timeout: 240_000 }, async () => {
  const parent = await mkdtemp(join(tmpdir(), 'app-'));
  const dir = join(parent, 'payments');
  const port = await freePort();
  const pando = async (...args: string[]) => {
    const result = await exec(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', main, 'app', 'payments', ...args, '--dir', dir],
      { timeoutMs: 180_000, allow: [1] },
    );
    return { ...result, text: result.stdout + result.stderr };
  };
  const status = async () => JSON.parse((await pando('status', '--json')).stdout);
  try {
    assert.equal((await status()).state, 'down');
    const up = await pando('up', '--port', `${port}`);
    assert.equal(up.exitCode, 0, up.text);
    assert.match(up.stdout, /demo mode/);
    const token = /Operator's token: (\S+)/.exec(up.stdout)?.[1];
    const first = await status();
    assert.deepEqual([first.state, first.mode], ['up', 'demo']);
    const people = await (await fetch(`http://127.0.0.1:${port}/v1/demo/people`)).json();
    assert.ok((people as { people: unknown[] }).people.length >= 6);
    const again = await pando('up');
    assert.equal((await status()).pid, first.pid, 'what runs is left alone');
    assert.match(again.stdout, new RegExp(`${token}`));
    const other = await pando('up', '--port', `${await freePort()}`);
    assert.equal(other.exitCode, 1);
    assert.match(other.text, /runs already/);
    await pando('down');
    assert.equal((await status()).state, 'down');
    assert.ok(existsSync(dir), 'the books stay');
    assert.equal((await pando('up')).exitCode, 0, 'on the port that it had');
    const same = await (await fetch(`http://127.0.0.1:${port}/v1/demo/people`)).json();
    assert.deepEqual(same, people);
  } finally {
    await pando('down', '--purge');
  }
  assert.ok(!existsSync(dir));
  assert.match((await pando('down')).text, /Nothing was running/);
  await rm(parent, { recursive: true, force: true });
});
