import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import fc from 'fast-check';
import { KeptShell } from '#base/keptShell.ts';

const timeoutMs = 10_000;

describe('a shell that stays', () => {
  let shell: KeptShell;
  before(() => {
    shell = new KeptShell('sh', []);
  });
  after(() => shell.close());

  it('runs scripts one after another, in one process, each from a clean state', async () => {
    const [first, second] = await Promise.all([
      shell.run('x=1; cd /; echo $PPID $x', timeoutMs),
      shell.run('echo $PPID "$x"', timeoutMs),
    ]);
    assert.match(first, /^\d+ 1\n$/);
    assert.equal(second, first.replace(' 1', ' '));
  });

  it('gives back exactly what was printed', () =>
    fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 200 }), async (text) => {
        const plain = text.replaceAll('\0', '').replaceAll('\r', '');
        const printed = await shell.run(`printf %s '${plain.replaceAll("'", "'\\''")}'`, timeoutMs);
        assert.equal(printed, plain);
      }),
      { numRuns: 50 },
    ));

  it('stops at the first command that fails, says what it said, and goes on with the next script', async () => {
    await assert.rejects(shell.run('echo no >&2; false; echo never', timeoutMs), (error: Error) => {
      assert.match(error.message, /exit 1\): no$/);
      return true;
    });
    assert.equal(await shell.run('echo on', timeoutMs), 'on\n');
  });

  it('does not let a command read the scripts after it', async () => {
    const [read, next] = await Promise.all([shell.run('cat', timeoutMs), shell.run('echo next', timeoutMs)]);
    assert.deepEqual([read, next], ['', 'next\n']);
    assert.equal(await shell.run("cat <<'END'\nheredoc\nEND", timeoutMs), 'heredoc\n');
  });

  it('carries more than a pipe holds, both ways', async () => {
    const lines = 'x'.repeat(99).concat('\n').repeat(5_000);
    assert.equal(await shell.run(`cat <<'END'\n${lines}END`, timeoutMs), lines);
  });

  it('gives up a script that takes too long, with its commands, and fails those that wait', async () => {
    const own = new KeptShell('sh', []);
    const pid = Number(await own.run("sh -c 'echo $PPID'", timeoutMs));
    const [late, waiting] = await Promise.allSettled([
      own.run('sleep 60', 100),
      own.run('echo never', timeoutMs),
    ]);
    assert.match(String((late as PromiseRejectedResult).reason), /not done in 100 ms/);
    assert.equal(waiting.status, 'rejected');
    assert.ok(own.ended);
    await own.close();
    assert.ok(!existsSync(`/proc/${pid}`));
  });

  it('says why there is none: a program that is not there, a script that is no shell', async () => {
    const missing = new KeptShell('/nowhere/sh', []);
    await assert.rejects(missing.run('true', timeoutMs), /ENOENT/);
    const broken = new KeptShell('sh', []);
    await assert.rejects(broken.run(') then', timeoutMs), /[Ss]yntax/);
    assert.ok(broken.ended);
  });

  it('ends when its parent is killed', async () => {
    const { spawn } = await import('node:child_process');
    const script = `import { KeptShell } from '#base/keptShell.ts';
      const shell = new KeptShell('sh', []);
      console.log((await shell.run('sh -c "echo \\\\$PPID"', 5000)).trim());
      setInterval(() => undefined, 1000);`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      cwd: process.cwd(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const pid = await new Promise<number>((resolve) => parent.stdout.once('data', (t) => resolve(Number(t))));
    assert.ok(pid > 1 && existsSync(`/proc/${pid}`));
    parent.kill('SIGKILL');
    const until = Date.now() + 30_000;
    while (existsSync(`/proc/${pid}`) && Date.now() < until) await pause(20);
    assert.ok(!existsSync(`/proc/${pid}`));
  });
});
