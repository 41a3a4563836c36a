import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { formatLine } from '#cli/commands/logs.ts';
import { since } from '#cli/commands/status.ts';
import { Ec2Error } from '#cli/ec2Client.ts';
import { failureOf } from '#cli/failure.ts';
import { instanceOf } from '#cli/operator.ts';
import { UserError } from '#cli/output.ts';
import { assertPortFree } from '#cli/port.ts';
import { PandoError } from '#contracts/errors.ts';
import { type RunRecord, writeRun } from '#lab/runRecord.ts';
import { runDirectory } from '#node/directory.ts';
import { identify } from '#node/processIdentity.ts';

const main = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts');

interface Bench {
  readonly root: string;
  pando(...args: string[]): SpawnSyncReturns<string>;
}

const record: RunRecord = {
  format: 1,
  index: 98,
  cells: 1,
  hostsPerCell: 1,
  port: 1,
  regionName: 'pando-1',
};

/** A directory in which a region was started and nothing of it runs. */
function bench(t: TestContext, run?: RunRecord): Bench {
  const root = mkdtempSync(join(tmpdir(), 'pando-cli-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  if (run !== undefined) writeRun(runDirectory(root), run);
  const env = { ...process.env, PANDO_DIR: root, PANDO_CACHE: join(root, 'cache') };
  return {
    root,
    pando: (...args) =>
      spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
        env,
        encoding: 'utf8',
      }),
  };
}

test('a quota that is none, or no number, is refused with what there is', (t) => {
  const { pando } = bench(t, record);
  const names = pando('quota', 'set', '123456789012', 'rules', '100');
  assert.match(names.stderr, /There is no quota rules\. There are: .*rules-per-security-group/);
  const value = pando('quota', 'set', '123456789012', 'rules-per-security-group', 'many');
  assert.match(value.stderr, /a whole number or the word default, not many/);
  for (const { status } of [names, value]) assert.equal(status, 1);
});

test('without a region every command says how to start one, and prints no stack', (t) => {
  const { root, pando } = bench(t);
  const instance = 'i-00100000000000000';
  for (const command of [
    ['status'],
    ['logs'],
    ['restart', 'region'],
    ['quota', 'list', '123456789012'],
    ['quota', 'set', '123456789012', 'rules-per-security-group', '100'],
    ['console', instance],
    ['ssh', instance],
    ['migrate', instance],
    ['vm', 'list'],
    ['cell', 'list'],
    ['cell', 'create'],
    ['cell', 'drain', 'cell-b'],
    ['cell', 'retire', 'cell-b'],
    ['host', 'drain', '1'],
    ['host', 'rehome', '1', '--to', '2'],
    ['vm', 'adopt', instance],
    ['vm', 'remove', instance, '--yes'],
    ['workflow', 'list'],
    ['workflow', 'show', 'wf-00100000000000000'],
    ['aws', 'ec2', 'describe-instances'],
  ]) {
    const { status, stderr } = pando(...command);
    assert.equal(status, 1, command[0]);
    assert.equal(
      stderr,
      `pando: There is no region in ${root}. Start one: pando up --dir ${root} (or pando up --simulated --dir ${root}, without root and without VMs)\n`,
    );
  }
});

test('what cannot be brought back is asked for by name: vm remove needs --yes, and says what else there is', (t) => {
  const { pando } = bench(t, record);
  const instance = 'i-00100000000000000';
  const { status, stderr } = pando('vm', 'remove', instance);
  assert.equal(status, 1);
  assert.match(stderr, /deletes its disk/);
  assert.match(stderr, /pando vm adopt i-00100000000000000/);
  assert.match(pando('vm', 'adopt', 'i-nonsense').stderr, /no instance's id/);
  assert.match(pando('vm', '--help').stdout, /runs on, in quarantine, until you decide/);
});

test('a region of which nothing runs: status says so soon, and every command what to do', (t) => {
  const account = { accountId: '1', accessKeyId: 'AKIAEXAMPLE', secret: 'x' };
  const { pando } = bench(t, { ...record, account });
  const status = pando('status');
  assert.equal(status.status, 0, status.stderr);
  assert.match(status.stdout, /No supervisor .* pando up/);
  assert.match(status.stdout, /No processor of cell-a answers/);
  assert.doesNotMatch(status.stdout + status.stderr, /undefined|ECONN/);
  for (const command of [
    ['restart', 'region'],
    ['console', 'i-00100000000000000'],
    ['migrate', 'i-00100000000000000'],
    ['workflow', 'retry', 'wf-00100000000000000'],
  ]) {
    const { status: code, stderr } = pando(...command);
    assert.equal(code, 1);
    assert.match(stderr, /^pando: .*pando up/, command[0]);
    assert.doesNotMatch(stderr, /PANDO_DEBUG|ECONN/);
  }
});

test('what is asked wrongly is refused with the right way', (t) => {
  const { root, pando } = bench(t, { ...record, account: { accountId: '1', accessKeyId: 'A', secret: 'x' } });
  const refused = (args: string[], expected: RegExp): void => {
    const { status, stderr } = pando(...args);
    assert.equal(status, 1, args.join(' '));
    assert.match(stderr, expected);
    assert.doesNotMatch(stderr, /PANDO_DEBUG|^\s+at /m);
  };
  refused(['nonsense'], /unknown command.*\n\(pando --help/);
  refused(['status', 'extra'], /too many arguments/);
  refused(['migrate'], /missing required argument/);
  refused(['up', '--cells', '30'], /whole number from 1 to 8/);
  refused(['up', '--cells', '2'], /started with --cells 1/);
  refused(['console', 'bla'], /bla is no instance's id: those look like i-/);
  refused(['ssh', 'i-00900000000000000'], /There is no instance i-0090/);
  refused(['migrate', 'i-00100000000000000', '--to', 'host-9'], /There is no host host-9. There are: host-1/);
  refused(['workflow', 'show', 'wf-00900000000000000'], /There is no workflow wf-0090.* pando workflow list/);
  refused(['workflow', 'cancel', 'nonsense'], /There is no workflow nonsense/);
  refused(['workflow', 'list', '--state', 'odd'], /Allowed choices are running, undoing, waiting/);
  refused(['logs', 'router'], /Nothing has been logged yet/);
  mkdirSync(join(root, 'log'));
  writeFileSync(join(root, 'log', 'region.log'), 'one line\n');
  refused(['logs', 'router'], /There is no log of router. There are: region/);
  refused(['image', 'build', 'nonsense'], /There are: default, debian/);
});

test('logs: a request that nothing names is said; PostgreSQL has its log too', (t) => {
  const { root, pando } = bench(t, record);
  mkdirSync(join(root, 'log'));
  mkdirSync(join(root, 'postgres'));
  writeFileSync(
    join(root, 'log', 'region.log'),
    '{"level":30,"time":"2026-01-01T00:00:02.000Z","requestId":"r-7","msg":"told"}\n',
  );
  writeFileSync(join(root, 'postgres', 'region.log'), '2026-01-01 00:00:01.000 UTC [1] LOG:  ready\n');
  assert.match(pando('logs').stdout, /^postgres-region .*ready\n.*region info told requestId=r-7\n$/);
  assert.match(pando('logs', 'postgres-region').stdout, /ready/);
  assert.match(pando('logs', '--request', 'r-7').stdout, /^\S+ region info told requestId=r-7\n$/);
  const none = pando('logs', '--request', 'r-8');
  assert.equal(none.stdout, '');
  assert.match(none.stderr, /No line names r-8/);
});

test('a second command that changes the region is refused with the pid of the first', async (t) => {
  const { root, pando } = bench(t, record);
  const holder = spawn('sleep', ['600'], { stdio: 'ignore' });
  t.after(() => holder.kill('SIGKILL'));
  t.after(() => rmSync(`${root}.lock`, { force: true }));
  writeFileSync(`${root}.lock`, JSON.stringify(identify(holder.pid ?? 0)));
  const { status, stderr } = pando('up');
  assert.equal(status, 1);
  assert.match(stderr, new RegExp(`^pando: Another pando \\(pid ${holder.pid}\\) is at work`));
});

test('a port that another program has is named before anything is started', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const directory = runDirectory(bench(t).root);
  await assert.rejects(assertPortFree(directory, address.port), /is taken by another program/);
  await new Promise((resolve) => server.close(resolve));
  await assertPortFree(directory, address.port);
});

test('failures: the user’s own are plain, ours ask for a look at the stack', () => {
  const of = (error: unknown) => failureOf(error);
  assert.deepEqual(of(new UserError('do this')), { message: 'do this', expected: true });
  const absent = new Ec2Error('DescribeInstances', 400, 'InvalidInstanceID.NotFound', 'No such.', 'r-1');
  assert.match(of(absent).message, /No such. pando status/);
  assert.equal(of(absent).expected, true);
  const broken = new Ec2Error('RunInstances', 500, 'InternalError', 'Oh', 'r-2');
  assert.match(of(broken).message, /pando logs --request r-2/);
  assert.match(of(new PandoError('HostUnreachable', 'Away')).message, /Away\. pando status/);
  assert.match(of(PandoError.from(new TypeError('x'))).message, /broke inside/);
  assert.equal(of(new TypeError('x')).expected, false);
  assert.equal(of('text').message, 'text');
});

test('small things that people read', () => {
  assert.equal(since(0, 59_000), '59 s');
  assert.equal(since(0, 3_600_000), '1 h');
  assert.equal(since(5, 0), '0 s');
  assert.equal(formatLine('p', '2026-01-01 00:00:01.000 UTC [1] LOG').time, '2026-01-01T00:00:01.000Z');
  assert.equal(instanceOf(record, 'i-00100000000000000').cell, 1);
  assert.throws(() => instanceOf(record, 'i-00200000000000000'), /no instance/);
});

test('a reader that goes away early ends the command quietly', async () => {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, '--help'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await new Promise((resolve) => child.once('close', resolve));
  assert.equal(said, '');
});

test('a directory that is named before or after a command within a command is the one that is meant', (t) => {
  const { pando } = bench(t);
  for (const args of [
    ['capacity', 'check', '--dir', '/nowhere/at/all'],
    ['capacity', '--dir', '/nowhere/at/all', 'check'],
  ])
    assert.match(pando(...args).stderr, /\/nowhere\/at\/all/, args.join(' '));
});
