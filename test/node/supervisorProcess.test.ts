/** Which supervisor a run has: one of the code that asked for it last, wherever that lies. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { exec } from '#base/exec.ts';
import { askSupervisor } from '#node/control.ts';
import { codeDirectory, runDirectory } from '#node/directory.ts';

const waitMsMax = 60_000;

const copyOfCode = (tree: string): string => {
  mkdirSync(tree);
  for (const name of ['src', 'package.json', 'package-lock.json'])
    cpSync(join(codeDirectory, name), join(tree, name), { recursive: true });
  symlinkSync(join(codeDirectory, 'node_modules'), join(tree, 'node_modules'));
  return tree;
};

/** As `up` does, by the code in `tree`. */
const ensureBy = (tree: string, root: string): Promise<unknown> => {
  const from = (name: string): string => JSON.stringify(join(tree, 'src', 'node', name));
  const script = `
    import { ensureSupervisor } from ${from('supervisorProcess.ts')};
    import { runDirectory } from ${from('directory.ts')};
    await ensureSupervisor(runDirectory(${JSON.stringify(root)}));
  `;
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module-typescript'];
  return exec(process.execPath, [...flags, '--eval', script], { cwd: tree, timeoutMs: waitMsMax });
};

const newRun = (t: TestContext) => {
  const root = mkdtempSync(join(tmpdir(), 'pando-supervisor-'));
  const directory = runDirectory(root);
  for (const path of [directory.run, directory.log, join(root, 'sockets')])
    mkdirSync(path, { recursive: true });
  t.after(async () => {
    await askSupervisor(directory.controlSocket, { op: 'stop' }).catch(() => undefined);
    rmSync(root, { recursive: true, force: true });
  });
  const entry = join(root, 'program.mjs');
  writeFileSync(entry, 'setInterval(() => {}, 1000);');
  const own = {
    kind: 'node',
    name: 'one',
    after: [],
    entry,
    configPath: directory.config('one'),
    config: {},
  };
  const processes = [{ ...own, ready: { kind: 'alive' } }];
  const tls = { ca: '', cert: '', key: '' };
  writeFileSync(directory.processList, JSON.stringify({ tls, processes }));
  return { root, directory };
};

test('what a run’s processes start from is the code of the last up, also when that of the one before is gone', async (t) => {
  const { root, directory } = newRun(t);
  const pidOfOne = async (): Promise<number | undefined> =>
    (await askSupervisor(directory.controlSocket, { op: 'status' })).find(({ state }) => state === 'ready')
      ?.pid;
  const another = async (former: number | undefined): Promise<number> => {
    for (const end = performance.now() + waitMsMax; ; await delay(50)) {
      const pid = await pidOfOne();
      if (pid !== undefined && pid !== former) return pid;
      assert.ok(performance.now() < end, 'waited too long for another process');
    }
  };
  const former = copyOfCode(join(root, 'former'));
  const next = copyOfCode(join(root, 'next'));
  await ensureBy(former, root);
  const first = await another(undefined);
  await ensureBy(next, root);
  assert.equal(await another(undefined), first, 'it is adopted');
  rmSync(former, { recursive: true });
  process.kill(first, 'SIGKILL');
  const second = await another(first);
  await ensureBy(next, root);
  assert.equal(await another(undefined), second);
});
