/** Code that is compiled beforehand: found by every user, judged by its source, and what a role's processes load at their start. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { exec } from '#base/exec.ts';
import { compileCode, nodeFlags } from '#node/compiledCode.ts';
import { confined } from '#node/confine.ts';
import { codeDirectory } from '#node/directory.ts';
import type { ProcessSpec } from '#node/processSpec.ts';
import { type User, userOf } from '#node/users.ts';

/** What Node loads to strip types. */
const stripper = 'amaro';
const timeoutMs = 120_000;
const user = userOf(97, { role: 'router' });

const directory = (t: TestContext): string => {
  const made = mkdtempSync(join(tmpdir(), 'pando-compiled-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  chmodSync(made, 0o755);
  return made;
};

const specOf = (room: string, as?: User): ProcessSpec => ({
  ...{ kind: 'node', name: room, after: [], configPath: '', config: {}, ready: { kind: 'alive' } },
  entry: join(codeDirectory, 'src', room, 'main.ts'),
  ...(as === undefined ? {} : { user: as }),
});

/** Built-in modules of a process that has imported `module`. */
const loadedBy = async (compiled: string, module: string, as?: User): Promise<string> => {
  const script = `await import(process.argv[1]); console.log(process.moduleLoadList.join('\\n')); process.exit(0);`;
  const node = [process.execPath, ...nodeFlags, '--input-type=module', '--eval', script, module];
  const [command = '', ...args] = confined({ user: as, reaches: [compiled] }, node);
  const env = { PATH: process.env.PATH, NODE_COMPILE_CACHE: compiled };
  return (await exec(command, args, { env, timeoutMs, cwd: codeDirectory })).stdout;
};
const inSource = (path: string): string => join(codeDirectory, 'src', path);

test('a process finds its code compiled, whoever runs it, and needs no stripper of types', async (t) => {
  const compiled = join(directory(t), 'compiled');
  const empty = directory(t);
  assert.ok((await loadedBy(empty, inSource('router/router.ts'))).includes(stripper), 'as without it');
  await compileCode(compiled, [specOf('router', user)]);
  for (const as of [undefined, user])
    assert.ok(
      !(await loadedBy(compiled, inSource('router/router.ts'), as)).includes(stripper),
      `${as?.uid ?? 'root'}`,
    );
  for (const name of readdirSync(compiled)) {
    const { uid, mode } = statSync(join(compiled, name));
    assert.deepEqual([uid, mode & 0o022], [process.getuid?.(), 0], `${name}: others write nothing there`);
  }
});

test('code that has changed is run as it is now', async (t) => {
  const [compiled, own] = [directory(t), directory(t)];
  const path = join(own, 'changes.mts');
  const says = async (text: string): Promise<string> => {
    writeFileSync(path, `const said: string = '${text}'; console.log(said);`);
    // Neither the time nor the length of the file tells of the change.
    utimesSync(path, 1, 1);
    const env = { PATH: process.env.PATH, NODE_COMPILE_CACHE: compiled };
    return (await exec(process.execPath, [...nodeFlags, path], { env, timeoutMs })).stdout.trim();
  };
  assert.equal(await says('one'), 'one');
  assert.equal(await says('two'), 'two');
});

test('it is compiled once, anew for other code, and a new process’s user finds what is there', async (t) => {
  const compiled = join(directory(t), 'compiled');
  await compileCode(compiled, [specOf('ca')]);
  const kept = join(compiled, 'kept');
  writeFileSync(kept, '');
  await compileCode(compiled, [specOf('ca', user)]);
  assert.ok(readdirSync(compiled).includes('kept'), 'nothing was compiled again');
  assert.ok(!(await loadedBy(compiled, inSource('ca/server.ts'), user)).includes(stripper));
  await compileCode(compiled, [specOf('ca', user), specOf('webhooks', user)]);
  assert.ok(!readdirSync(compiled).includes('kept'), 'what is left of the former code went');
});
