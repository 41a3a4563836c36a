/** `pando request` and `pando host` against a simulated region, as their users have them (S10.1, S10.3). */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import * as sdk from '@aws-sdk/client-ec2';
import type { EventView, RequestView } from '#contracts/capacity.ts';
import { readRun } from '#lab/runRecord.ts';
import { codeDirectory, runDirectory } from '#node/directory.ts';

const run = promisify(execFile);
const main = join(codeDirectory, 'src', 'cli', 'main.ts');
const waitMsMax = 60_000;
const region = 'us-east-1';
const home = mkdtempSync(join(tmpdir(), 'pando-requests-'));
const directory = join(home, 'r');

const pando = async (...args: string[]): Promise<string> => {
  const { PANDO_DIR: _, AWS_PROFILE: __, ...env } = process.env;
  const all = ['--disable-warning=ExperimentalWarning', main, ...args, '--dir', directory];
  const { stdout } = await run(process.execPath, all, { env: { ...env, HOME: home }, cwd: '/' });
  return stdout;
};
const refused = async (...args: string[]): Promise<string> => {
  const error: unknown = await pando(...args).catch((thrown: unknown) => thrown);
  assert.ok(
    typeof error === 'object' && error !== null && 'stderr' in error,
    `${args.join(' ')} was not refused`,
  );
  return String(error.stderr);
};
const shown = async (id: string): Promise<RequestView> =>
  JSON.parse(await pando('request', 'show', id, '--json')) as RequestView;
const until = async <T>(what: string, condition: () => Promise<T | false>): Promise<T> => {
  const end = Date.now() + waitMsMax;
  for (;;) {
    const value = await condition();
    if (value !== false) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${waitMsMax} ms`);
    await delay(50);
  }
};
const reaches = (id: string, state: string): Promise<RequestView> =>
  until(`${id} is ${state}`, async () => {
    const request = await shown(id);
    return request.state === state && request;
  });

before(() =>
  pando(
    ...['up', '--simulated', '--region', region, '--instant'],
    ...['--cells', '1', '--hosts-per-cell', '1'],
  ),
);
after(async () => {
  await pando('down', '--purge').catch(() => undefined);
  rmSync(home, { recursive: true, force: true });
});

/** A launch with an offer, by AWS's SDK and a middleware of a few lines. */
const launchWith = async (offerId: string, type: string): Promise<string | undefined> => {
  const record = readRun(runDirectory(directory));
  assert.ok(record?.account && record.simulated);
  const client = new sdk.EC2Client({
    endpoint: `http://127.0.0.1:${record.port}`,
    region,
    credentials: { accessKeyId: record.account.accessKeyId, secretAccessKey: record.account.secret },
  });
  client.middlewareStack.add(
    (next) => (args) => {
      (args.request as { headers: Record<string, string> }).headers['x-pando-hold'] = offerId;
      return next(args);
    },
    { step: 'build' },
  );
  const { imageId } = record.simulated;
  const launch = { ImageId: imageId, InstanceType: type as sdk._InstanceType, MinCount: 1, MaxCount: 1 };
  const made = await client.send(new sdk.RunInstancesCommand(launch));
  client.destroy();
  return made.Instances?.[0]?.InstanceId;
};

test('a request waits while no host takes VMs, is offered room when one does, and its launch has it', async () => {
  const hosts = JSON.parse(await pando('host', 'list', '--json')) as {
    cells: { hosts: { hostId: string }[] }[];
  };
  const hostId = hosts.cells[0]?.hosts[0]?.hostId ?? '';
  assert.match(await pando('host', 'drain', hostId, '--ignore-windows'), /drained: it is empty/);
  assert.match(await pando('request', 'list'), /No request waits for capacity/);
  const made = JSON.parse(
    await pando(...['request', 'create', '--type', 'p1.small', '--alternative', 'p1.nano*2', '--json']),
  ) as RequestView;
  const { requestId } = made;
  assert.equal(made.state, 'waiting');
  assert.deepEqual(
    made.alternatives.map(({ instanceType, count }) => [instanceType, count]),
    [['p1.nano', 2]],
  );
  const again = await pando('request', 'create', '--type', 'p1.small', '--token', 'mine', '--json');
  const same = await pando('request', 'create', '--type', 'p1.small', '--token', 'mine', '--json');
  const second = (JSON.parse(again) as RequestView).requestId;
  assert.equal((JSON.parse(same) as RequestView).requestId, second);
  const listed = await pando('request', 'list');
  assert.match(listed, new RegExp(`${requestId}\\s+waiting\\s+1 × p1.small\\s+0`));
  assert.match(listed, new RegExp(`${second}\\s+waiting\\s+1 × p1.small\\s+1`), 'one is ahead of it');
  await pando('request', 'cancel', second);
  assert.match(await pando('request', 'cancel', second), /is cancelled/, 'again the same');

  assert.match(await pando('host', 'drain', hostId, '--undo'), /takes VMs again/);
  const { offers } = await reaches(requestId, 'offered');
  const offerId = offers[0]?.offerId ?? '';
  assert.match(
    await pando('request', 'show', requestId),
    new RegExp(`Launch p1.small with the header x-pando-hold: ${offerId}`),
  );
  assert.match((await launchWith(offerId, 'p1.small')) ?? '', /^i-/);
  await reaches(requestId, 'fulfilled');
  const events = (await pando('request', 'events', '--json'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as EventView);
  assert.deepEqual(
    events.map((event) => [event.requestId === requestId, event.kind]),
    [
      [false, 'request.cancelled'],
      [true, 'capacity.offered'],
      [true, 'capacity.claimed'],
    ],
  );
  assert.equal(new Set(events.map(({ eventId }) => eventId)).size, 3);
});

test('what is wrong is told in a line that helps', async () => {
  assert.match(await refused('request', 'create', '--type', 'no.such'), /InstanceType|no\.such/);
  assert.match(await refused('request', 'show', 'pr-0010123456789abcd'), /does not exist/);
  const callback = ['--callback', 'http://169.254.169.254/latest/'];
  assert.match(await refused('request', 'create', '--type', 'p1.nano', ...callback), /callback\.url/);
  assert.match(
    await refused('request', 'create', '--type', 'p1.nano', '--alternative', 'two of them'),
    /TYPE\*COUNT/,
  );
  assert.match(await refused('host', 'drain', 'host-99'), /host-99/);
  assert.match(await pando('request', 'dead-letters'), /No webhook was given up/);
  assert.match(
    await refused('pool', 'set', 'p', '--type', 'p1.nano', '--low', '3', '--target', '2'),
    /above target/,
  );
});

test('the help teaches the whole way', async () => {
  const help = await pando('request', '--help');
  for (const word of ['create', 'list', 'show', 'cancel', 'events', 'dead-letters', 'replay', 'openapi.json'])
    assert.ok(help.includes(word), word);
  assert.match(await pando('host', '--help'), /event windows/);
});
