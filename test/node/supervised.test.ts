/** One process under supervision: whatever comes while a former one still ends, the record on disk names the process that runs. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { runDirectory } from '#node/directory.ts';
import { identify, isAlive, type ProcessIdentity } from '#node/processIdentity.ts';
import type { NodeSpec } from '#node/processSpec.ts';
import { Supervised } from '#node/supervised.ts';
import { until } from '../e2e/support/until.ts';

/** It ends only by force, and says once that is so. */
const program = `
  import { writeFileSync } from 'node:fs';
  process.on('SIGTERM', () => {});
  writeFileSync(import.meta.dirname + '/ready-' + process.pid, '');
  setInterval(() => {}, 1000);
`;

const bench = (t: TestContext) => {
  const root = mkdtempSync(join(tmpdir(), 'pando-supervised-'));
  const directory = runDirectory(root);
  mkdirSync(directory.run, { recursive: true });
  mkdirSync(directory.log, { recursive: true });
  const entry = join(root, 'program.mjs');
  writeFileSync(entry, program);
  const configPath = directory.config('one');
  const spec: NodeSpec = {
    ...{ kind: 'node', name: 'one', after: [], entry, overlaps: true },
    ...{ configPath, config: {}, ready: { kind: 'router', port: 1 } },
  };
  const started: ProcessIdentity[] = [];
  const supervised = new Supervised(
    spec,
    directory,
    async (_spec, pid) => (existsSync(join(root, `ready-${pid}`)) ? undefined : 'its file'),
    () => undefined,
  );
  const identity = (): ProcessIdentity | undefined => identify(supervised.status.pid ?? 0);
  t.after(async () => {
    for (const each of started) if (isAlive(each)) process.kill(each.pid, 'SIGKILL');
    await supervised.stop();
    rmSync(root, { recursive: true, force: true });
  });
  return {
    ...{ supervised, directory, entry },
    recordedPid: (): number => JSON.parse(readFileSync(directory.pidFile('one'), 'utf8')).pid,
    /** The process that runs now, once it is ready. */
    ready: async (): Promise<ProcessIdentity> => {
      await until('ready', async () => {
        await supervised.tick(true);
        return supervised.ready;
      });
      const now = identity();
      assert.ok(now);
      started.push(now);
      return now;
    },
  };
};

test('a process starts from compiled code, and can collect what loading left', async (t) => {
  const { ready, directory, entry } = bench(t);
  const told = join(directory.root, 'told');
  writeFileSync(
    entry,
    `${program} writeFileSync('${told}', [process.env.NODE_COMPILE_CACHE, typeof gc].join());`,
  );
  await ready();
  await until('its word', () => existsSync(told));
  await until('all of it', () => readFileSync(told, 'utf8') === `${directory.compiled},function`);
});

test('replaced again in the moment in which the former one is gone: the record stays that of the newest', async (t) => {
  const { supervised, ready, recordedPid } = bench(t);
  const first = await ready();
  await supervised.replace();
  const second = await ready();
  assert.ok(isAlive(first), 'the former one has its grace');
  // Gone, before the look that waits for its end has seen it.
  process.kill(first.pid, 'SIGKILL');
  while (isAlive(first)) await turn();
  await supervised.replace();
  const third = await ready();
  assert.equal(recordedPid(), third.pid);
  process.kill(second.pid, 'SIGKILL');
  await until('the second to be gone', () => !isAlive(second));
  await until('the look at the second to have ended', async () => {
    await supervised.tick(false);
    return supervised.ready;
  });
  assert.equal(recordedPid(), third.pid);
});

test('stopped while a former one ends: no process and no record is left', async (t) => {
  const { supervised, ready, recordedPid } = bench(t);
  const first = await ready();
  await supervised.replace();
  const second = await ready();
  const stopped = supervised.stop();
  process.kill(first.pid, 'SIGKILL');
  await stopped;
  assert.deepEqual([first, second].filter(isAlive), []);
  assert.throws(recordedPid, /ENOENT/);
});
