import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type RunDirectory, runDirectory } from '#node/directory.ts';
import { endProcess, identify, isAlive } from '#node/processIdentity.ts';
import type { NodeSpec } from '#node/processSpec.ts';
import { logBytesMax, Supervisor } from '#node/supervisor.ts';

const waitMsMax = 60_000;

async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + waitMsMax;
  while (!condition()) {
    assert.ok(performance.now() < end, `waited too long for: ${what}`);
    await delay(20);
  }
}

/** A program that says its configuration, then listens on a free port if it is told to, until it is ended. */
const program = `
  import { readFileSync, appendFileSync } from 'node:fs';
  const config = JSON.parse(readFileSync(process.argv[process.argv.indexOf('--config') + 1], 'utf8'));
  appendFileSync(config.journal, config.name + '\\n');
  console.log('started ' + config.word);
  if (config.dies) process.exit(3);
  setInterval(() => {}, 1000);
`;

interface Bench {
  readonly directory: RunDirectory;
  readonly journal: string;
  supervisor(): Supervisor;
  spec(name: string, more?: Partial<NodeSpec> & { word?: string; dies?: boolean }): NodeSpec;
  list(...specs: NodeSpec[]): void;
  /** The same, to be followed one process at a time. */
  roll(...specs: NodeSpec[]): void;
}

function bench(t: TestContext): Bench {
  const root = mkdtempSync(join(tmpdir(), 'pando-supervisor-'));
  const directory = runDirectory(root);
  mkdirSync(directory.run, { recursive: true });
  const entry = join(root, 'program.mjs');
  writeFileSync(entry, program);
  const journal = join(root, 'journal');
  writeFileSync(journal, '');
  const made: Supervisor[] = [];
  t.after(async () => {
    for (const supervisor of made) supervisor.release();
    await made.at(-1)?.stop();
    rmSync(root, { recursive: true, force: true });
  });
  return {
    directory,
    journal,
    supervisor: () => {
      const supervisor = new Supervisor(directory, () => undefined);
      made.push(supervisor);
      return supervisor;
    },
    spec: (name, { word = 'first', dies = false, ...more } = {}) => ({
      kind: 'node',
      name,
      after: [],
      entry,
      configPath: directory.config(name),
      config: { name, word, journal, dies },
      ready: { kind: 'alive' },
      ...more,
    }),
    list: (...processes) => writeFileSync(directory.processList, JSON.stringify({ tls, processes })),
    roll: (...processes) =>
      writeFileSync(directory.processList, JSON.stringify({ tls, rolling: true, processes })),
  };
}

const tls = { ca: '', cert: '', key: '' };

const allReady = (supervisor: Supervisor): boolean =>
  supervisor.status.length > 0 && supervisor.status.every((each) => each.state === 'ready');

const pidOf = (supervisor: Supervisor, name: string): number =>
  supervisor.status.find((each) => each.name === name)?.pid ?? 0;

test('processes start after those that they need', async (t) => {
  const { supervisor: make, spec, list, journal } = bench(t);
  list(spec('last', { after: ['middle'] }), spec('middle', { after: ['first'] }), spec('first'));
  const supervisor = make();
  await supervisor.load();
  await until('all ready', () => allReady(supervisor));
  await until('all spoke', () => readFileSync(journal, 'utf8').split('\n').length === 4);
  assert.deepEqual(
    supervisor.status.map((each) => each.name),
    ['first', 'middle', 'last'],
  );
});

test('a process that is killed is started again, the others are left alone', async (t) => {
  const { supervisor: make, spec, list } = bench(t);
  list(spec('one'), spec('other'));
  const supervisor = make();
  await supervisor.load();
  await until('all ready', () => allReady(supervisor));
  const [one, other] = [pidOf(supervisor, 'one'), pidOf(supervisor, 'other')];
  process.kill(one, 'SIGKILL');
  await until('a new process', () => allReady(supervisor) && pidOf(supervisor, 'one') !== one);
  assert.equal(pidOf(supervisor, 'other'), other);
  assert.equal(supervisor.status.find((each) => each.name === 'one')?.restarts, 1);
});

test('a process that dies at once waits longer each time, and the reason is told', async (t) => {
  const { supervisor: make, spec, list } = bench(t);
  list(spec('sick', { dies: true }));
  const supervisor = make();
  await supervisor.load();
  await until('some restarts', () => (supervisor.status[0]?.restarts ?? 0) >= 3);
  await until('a reason', () => supervisor.status[0]?.reason === 'exit code 3');
});

test('a new supervisor adopts what a former one started, also when the former one was just gone', async (t) => {
  const { supervisor: make, spec, list } = bench(t);
  list(spec('one'), spec('two'));
  const former = make();
  await former.load();
  await until('all ready', () => allReady(former));
  former.release();
  const next = make();
  await next.load();
  await until('all ready again', () => allReady(next));
  assert.equal(pidOf(next, 'one'), pidOf(former, 'one'));
  assert.equal(pidOf(next, 'two'), pidOf(former, 'two'));
});

test('a changed configuration replaces its process only, and one that left the list is ended', async (t) => {
  const { supervisor: make, spec, list, directory } = bench(t);
  list(spec('same'), spec('changed'), spec('gone'));
  const former = make();
  await former.load();
  await until('all ready', () => allReady(former));
  const gone = identify(pidOf(former, 'gone'));
  assert.ok(gone);
  list(spec('same'), spec('changed', { word: 'second' }));
  await former.load();
  await until('all ready again', () => allReady(former));
  assert.equal(isAlive(gone), false);
  await until('the new word', () =>
    readFileSync(directory.logFile('changed'), 'utf8').includes('started second'),
  );
  assert.equal(readFileSync(directory.logFile('same'), 'utf8').match(/started/g)?.length, 1);
});

/** Of a supervisor that looks after them, or of one that finds them. */
for (const follower of ['the same supervisor', 'the next supervisor'] as const)
  test(`a roll replaces what has changed one at a time, in the order of the list: ${follower}`, async (t) => {
    const { supervisor: make, spec, list, roll, journal } = bench(t);
    const names = ['one', 'two', 'three'];
    list(...names.map((name) => spec(name)), spec('same'));
    const former = make();
    await former.load();
    await until('all spoke', () => readFileSync(journal, 'utf8').split('\n').length === 5);
    const pids = new Map(names.map((name) => [name, pidOf(former, name)]));
    const same = pidOf(former, 'same');
    writeFileSync(journal, '');
    roll(
      spec('same'),
      spec('two', { code: 'new' }),
      spec('one', { code: 'new', after: ['three'] }),
      spec('three', { code: 'new' }),
    );
    if (follower === 'the next supervisor') former.release();
    const supervisor = follower === 'the next supervisor' ? make() : former;
    await supervisor.load();
    const replaced = (): string[] => names.filter((name) => pidOf(supervisor, name) !== pids.get(name));
    assert.deepEqual(replaced(), [], 'all go on at first');
    let most = 0;
    await until('all replaced', () => {
      const starting = supervisor.status.filter((each) => each.state !== 'ready' && !each.outdated);
      most = Math.max(most, starting.length);
      return allReady(supervisor) && supervisor.status.every((each) => !each.outdated);
    });
    assert.ok(most <= 1, `${most} were away at a time`);
    assert.deepEqual(replaced(), names);
    await until('all spoke', () => readFileSync(journal, 'utf8').split('\n').length === 4);
    // By when they were started: which of them comes to write first is the machine's.
    const started = (name: string): number => Number(identify(pidOf(supervisor, name))?.startTime);
    assert.deepEqual(
      names.toSorted((a, b) => started(a) - started(b)),
      ['two', 'one', 'three'],
    );
    assert.deepEqual(readFileSync(journal, 'utf8').trim().split('\n').toSorted(), names.toSorted());
    assert.equal(pidOf(supervisor, 'same'), same);
  });

test('code that does not come up is not given to the others', async (t) => {
  const { supervisor: make, spec, list, roll } = bench(t);
  list(spec('one'), spec('two'));
  const supervisor = make();
  await supervisor.load();
  await until('all ready', () => allReady(supervisor));
  const two = pidOf(supervisor, 'two');
  const one = pidOf(supervisor, 'one');
  const never = { kind: 'listening', port: 1 } as const;
  roll(spec('one', { code: 'new', ready: never }), spec('two', { code: 'new' }));
  await supervisor.load();
  await until('a new one that is not ready', () => {
    const status = supervisor.status[0];
    return status?.pid !== undefined && status.pid !== one && status.reason !== undefined;
  });
  process.kill(pidOf(supervisor, 'one'), 'SIGKILL');
  await until('another one', () => supervisor.status[0]?.restarts === 1 && pidOf(supervisor, 'one') > 0);
  assert.equal(pidOf(supervisor, 'two'), two);
  assert.equal(supervisor.status[1]?.outdated, true);
  // Mended: it goes on from there.
  roll(spec('one', { code: 'newer' }), spec('two', { code: 'newer' }));
  await supervisor.load();
  await until('all replaced', () => allReady(supervisor) && pidOf(supervisor, 'two') !== two);
});

test('a process that is ready no longer says what it lacks, and is ready again by itself', async (t) => {
  const { supervisor: make, spec, list } = bench(t);
  let live = true;
  const router = createServer((_request, response) =>
    response.end(JSON.stringify({ ready: true, region: true, cells: [{ cellId: 'cell-a', live }] })),
  );
  await new Promise<void>((resolve) => router.listen(0, '127.0.0.1', resolve));
  t.after(() => router.close());
  const { port } = router.address() as AddressInfo;
  list(spec('one', { ready: { kind: 'router', port } }), spec('two', { after: ['one'] }));
  const supervisor = make();
  await supervisor.load();
  await until('all ready', () => allReady(supervisor));
  const pids = ['one', 'two'].map((name) => pidOf(supervisor, name));
  live = false;
  await until('a reason', () => supervisor.status[0]?.reason === 'not connected to cell-a');
  assert.equal(supervisor.status[0]?.state, 'starting');
  live = true;
  await until('all ready again', () => allReady(supervisor));
  assert.deepEqual(
    ['one', 'two'].map((name) => pidOf(supervisor, name)),
    pids,
  );
});

test('stop ends every process', async (t) => {
  const { supervisor: make, spec, list } = bench(t);
  list(spec('one'), spec('two'));
  const supervisor = make();
  await supervisor.load();
  await until('all ready', () => allReady(supervisor));
  const identities = ['one', 'two'].map((name) => identify(pidOf(supervisor, name)));
  await supervisor.stop();
  for (const identity of identities) assert.ok(identity !== undefined && !isAlive(identity));
});

test('a log that grew too long is set aside while its process goes on writing', async (t) => {
  const { supervisor: make, spec, list, directory } = bench(t);
  list(spec('one'));
  const supervisor = make();
  await supervisor.load();
  await until('ready', () => allReady(supervisor));
  await until('its line', () => readFileSync(directory.logFile('one'), 'utf8').includes('started'));
  writeFileSync(directory.logFile('one'), Buffer.alloc(logBytesMax + 1, 0x61));
  await until('cut', () => statSync(directory.logFile('one')).size === 0);
  assert.equal(statSync(`${directory.logFile('one')}.1`).size, logBytesMax + 1);
});

test('a circle in the list is refused', async (t) => {
  const { supervisor: make, spec, list } = bench(t);
  list(spec('one', { after: ['two'] }), spec('two', { after: ['one'] }));
  await assert.rejects(make().load(), /wait for each other: one → two → one/);
});

test('a pid that another process has by now is not taken for ours', async () => {
  const mine = identify(process.pid);
  assert.ok(mine);
  const earlier = { ...mine, startTime: '1' };
  assert.equal(isAlive(earlier), false);
  await endProcess(earlier, 10);
  assert.equal(isAlive(mine), true);
});
