import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { claimIndex, claims, isClaimed, otherHolder } from '#lab/claims.ts';
import { planLab } from '#lab/plan.ts';
import { writeRun } from '#lab/runRecord.ts';
import { removeAbandonedRuns, takeDown } from '#lab/teardown.ts';
import { ensureTopology, topologyLeft } from '#lab/topology.ts';
import { type RunDirectory, runDirectory } from '#node/directory.ts';
import { withLock } from '#node/lock.ts';
import { identify, isAlive, type ProcessIdentity } from '#node/processIdentity.ts';
import { ensureSupervisor, waitReady } from '#node/supervisorProcess.ts';

interface Run {
  readonly directory: RunDirectory;
  readonly index: number;
}

const silent = (): void => undefined;

/** Of this process, unless it is of another: what is left of one that was killed, the next run of the tests removes. */
async function ownRun(t: TestContext, owner = identify(process.pid), preferred?: number): Promise<Run> {
  const directory = runDirectory(mkdtempSync(join(tmpdir(), 'pando-down-')));
  const index = await claimIndex({ directory: directory.root, owner }, preferred);
  writeRun(directory, {
    format: 1,
    index,
    cells: 1,
    hostsPerCell: 1,
    port: 14_000 + index,
    regionName: 'pando-1',
  });
  t.after(async () => {
    // Once it is given back, it may be another test's.
    if (isClaimed(index, directory.root)) await takeDown(directory, index, silent);
    rmSync(directory.root, { recursive: true, force: true });
  });
  return { directory, index };
}

/** A supervised process that ignores polite requests to end. */
function listStubborn({ directory }: Run): void {
  mkdirSync(directory.run, { recursive: true });
  const entry = join(directory.root, 'stubborn.mjs');
  writeFileSync(entry, "process.on('SIGINT', () => {}); setInterval(() => {}, 1000);");
  const spec = {
    kind: 'node',
    name: 'stubborn',
    after: [],
    entry,
    configPath: directory.config('stubborn'),
    config: {},
    ready: { kind: 'alive' },
  };
  writeFileSync(
    directory.processList,
    JSON.stringify({ tls: { ca: '', cert: '', key: '' }, processes: [spec] }),
  );
}

const started = (t: TestContext, child: ChildProcess): ProcessIdentity => {
  t.after(() => child.kill('SIGKILL'));
  const identity = identify(child.pid ?? 0);
  assert.ok(identity);
  return identity;
};

async function supervisedPid(run: Run): Promise<ProcessIdentity> {
  const [state] = await waitReady(run.directory);
  const identity = identify(state?.pid ?? 0);
  assert.ok(identity);
  return identity;
}

test('a run that is up: processes, wiring, files and claim are gone, another process in its way is not', async (t) => {
  const run = await ownRun(t);
  await ensureTopology(planLab({ index: run.index, cells: 1, hostsPerCell: 1 }), silent);
  listStubborn(run);
  assert.equal(await ensureSupervisor(run.directory), true);
  assert.equal(await ensureSupervisor(run.directory), false);
  const supervised = await supervisedPid(run);
  // Somebody who looks at a log of the run is none of its processes.
  const reader = started(t, spawn('tail', ['-f', run.directory.logFile('stubborn')], { stdio: 'ignore' }));
  await takeDown(run.directory, run.index, silent);
  assert.equal(isAlive(supervised), false);
  assert.equal(isAlive(reader), true);
  const left = await topologyLeft(planLab({ index: run.index, cells: 1, hostsPerCell: 1 }).prefix);
  // Another test's, where one has got the index meanwhile.
  if (!claims().has(run.index)) assert.deepEqual(left, []);
  assert.equal(existsSync(run.directory.root), false);
  assert.equal(isClaimed(run.index, run.directory.root), false);
  const next = await ownRun(t, undefined, run.index);
  await ensureTopology(planLab({ index: next.index, cells: 1, hostsPerCell: 1 }), silent);
  await takeDown(run.directory, run.index, silent);
  assert.ok(
    (await topologyLeft(planLab({ index: next.index, cells: 1, hostsPerCell: 1 }).prefix)).length > 0,
    'once it is ended, whoever has its index by now is left alone',
  );
});

test('a run whose supervisor was killed: its processes are found by their records, and without them by their arguments', async (t) => {
  for (const forget of [false, true]) {
    const run = await ownRun(t);
    listStubborn(run);
    await ensureSupervisor(run.directory);
    const supervised = await supervisedPid(run);
    const supervisor = JSON.parse(
      readFileSync(run.directory.pidFile('supervisor'), 'utf8'),
    ) as ProcessIdentity;
    process.kill(supervisor.pid, 'SIGKILL');
    while (isAlive(supervisor)) await delay(10);
    assert.equal(isAlive(supervised), true, 'a process outlives its supervisor');
    if (forget) rmSync(run.directory.pidFile('stubborn'));
    await takeDown(run.directory, run.index, silent);
    assert.equal(isAlive(supervised), false);
  }
});

test('a process inside the run’s namespaces ends with it', async (t) => {
  const run = await ownRun(t);
  const plan = planLab({ index: run.index, cells: 1, hostsPerCell: 1 });
  await ensureTopology(plan, silent);
  const inside = started(
    t,
    spawn('ip', ['netns', 'exec', plan.gatewayNetns, 'sleep', '600'], { stdio: 'ignore' }),
  );
  while (!readFileSync(`/proc/${inside.pid}/cmdline`, 'utf8').startsWith('sleep')) await delay(10);
  await takeDown(run.directory, run.index, silent);
  assert.equal(isAlive(inside), false);
});

test('a copy of a run’s directory ends nothing: the index that it names is the other run’s', async (t) => {
  const run = await ownRun(t);
  const plan = planLab({ index: run.index, cells: 1, hostsPerCell: 1 });
  await ensureTopology(plan, silent);
  const copy = runDirectory(mkdtempSync(join(tmpdir(), 'pando-copy-')));
  t.after(() => rmSync(copy.root, { recursive: true, force: true }));
  cpSync(run.directory.root, copy.root, { recursive: true });
  const before = await topologyLeft(plan.prefix);
  await assert.rejects(takeDown(copy, run.index, silent), /is a copy/);
  assert.deepEqual(await topologyLeft(plan.prefix), before);
  assert.ok(existsSync(copy.runFile));
  // By another name it is the same directory, and a directory that was moved has taken its run along.
  const link = `${run.directory.root}.link`;
  symlinkSync(run.directory.root, link);
  t.after(() => rmSync(link, { force: true }));
  assert.equal(otherHolder(run.index, link), undefined);
  const moved = `${run.directory.root}.moved`;
  renameSync(run.directory.root, moved);
  assert.equal(otherHolder(run.index, moved), undefined);
  renameSync(moved, run.directory.root);
});

test('a directory that is not a run’s is not removed', async (t) => {
  const run = await ownRun(t);
  rmSync(run.directory.runFile);
  writeFileSync(join(run.directory.root, 'precious'), 'x');
  await takeDown(run.directory, run.index, silent);
  assert.equal(existsSync(join(run.directory.root, 'precious')), true);
});

test('what a dead test left is removed, what a living one has is not', async (t) => {
  const dead = started(t, spawn('sleep', ['600'], { stdio: 'ignore' }));
  const [left, kept] = [await ownRun(t, dead), await ownRun(t, identify(process.pid))];
  process.kill(dead.pid, 'SIGKILL');
  while (isAlive(dead)) await delay(10);
  await removeAbandonedRuns(silent);
  assert.equal(existsSync(left.directory.root), false);
  assert.equal(existsSync(kept.directory.root), true);
});

test('the lock admits one at a time, names its holder, and survives its death', async (t) => {
  const run = await ownRun(t);
  const path = run.directory.lockFile;
  await withLock(path, async () => {
    await assert.rejects(
      withLock(path, async () => undefined),
      new RegExp(`pid ${process.pid}`),
    );
  });
  const dead = started(t, spawn('sleep', ['600'], { stdio: 'ignore' }));
  writeFileSync(path, JSON.stringify(dead));
  await assert.rejects(
    withLock(path, async () => undefined),
    new RegExp(`pid ${dead.pid}`),
  );
  process.kill(dead.pid, 'SIGKILL');
  while (isAlive(dead)) await delay(10);
  assert.equal(await withLock(path, async () => 'mine'), 'mine');
  assert.equal(existsSync(path), false);
});
