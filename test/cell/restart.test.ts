/** What launches need goes away and comes back: the region, all processors at once, hosts. No launch fails for it. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Reservation } from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';

const launchCount = 50;
let setup: TestCell;

beforeEach(async () => {
  setup = await TestCell.start();
});
afterEach(() => setup.stop());

const launch = async (by: TestProcessor, count = 1): Promise<string[]> => {
  const output = (await ec2(by.cell, 'RunInstances', {
    ImageId: setup.region.imageId,
    InstanceType: 'p1.nano',
    MinCount: count,
    MaxCount: count,
  })) as Reservation;
  return (output.Instances ?? []).map((each) => each.InstanceId ?? '');
};

const launchMany = async (by: TestProcessor): Promise<string[]> =>
  (await Promise.all(Array.from({ length: launchCount }, () => launch(by)))).flat();

const states = async (by: TestProcessor): Promise<Record<string, number>> => {
  const rows = await by.cell.services.db.query<{ state: string }>('select state from instances');
  const counts: Record<string, number> = {};
  for (const { state } of rows) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
};

const allRun = async (by: TestProcessor, ids: readonly string[]): Promise<void> => {
  await until('all run', async () => (await states(by)).running === ids.length);
  for (const id of ids) assert.equal(setup.world.runningOn(id).length, 1);
  assert.deepEqual(setup.world.violations, []);
  assert.ok([...setup.region.allocations.values()].every((each) => each === 1));
};

test('the region goes away with fifty launches in flight, longer than any retry in memory, and comes back: none fails', async () => {
  for (let at = 0; at < 4; at++) setup.addHost();
  const one = await setup.addProcessor();
  let away = false;
  let calls = 0;
  setup.region.before = async (method) => {
    if (method === 'region.resolveLaunch') return;
    // In the middle: some have their address, none is placed.
    if (++calls > launchCount / 2) away = true;
    if (away || method === 'region.placeInterface')
      throw new PandoError('HostUnreachable', 'The region is away.');
  };
  const ids = await launchMany(one);
  await until('all wait as rows', () => one.cell.engine.load === 0 && calls > launchCount);
  await delay(4_000);
  assert.deepEqual(await states(one), { pending: launchCount });
  setup.region.before = undefined;
  one.cell.engine.reached('region');
  await allRun(one, ids);
});

test('all processors die with fifty launches in flight, and hosts dial the new ones late: none fails', async () => {
  for (let at = 0; at < 4; at++) setup.addHost({ latencyMs: () => 20 });
  const old = [await setup.addProcessor(), await setup.addProcessor()];
  const [first] = old;
  assert.ok(first);
  const ids = await launchMany(first);
  for (const each of old) each.kill();
  const fresh = [
    await setup.addProcessor({ hosts: [], adoptionGraceMs: 60_000 }),
    await setup.addProcessor({ hosts: [], adoptionGraceMs: 60_000 }),
  ];
  const [one, two] = fresh;
  assert.ok(one && two);
  await delay(1_000);
  assert.equal(
    one.cell.engine.load + two.cell.engine.load,
    0,
    'nothing is taken over before the hosts are there',
  );
  for (const host of setup.hosts) for (const each of fresh) await each.dial(host);
  await allRun(one, ids);
});

test('where the grace is over first, what needs a host waits for it as a row, and goes on at whichever processor it dials', async () => {
  for (let at = 0; at < 4; at++) setup.addHost({ latencyMs: () => 20 });
  const old = await setup.addProcessor();
  const ids = await launchMany(old);
  old.kill();
  const one = await setup.addProcessor({ hosts: [], adoptionGraceMs: 100 });
  const two = await setup.addProcessor({ hosts: [], adoptionGraceMs: 100 });
  // The dead one may have committed until the server noticed: both are counted at one time.
  const settled = (): Promise<{ n: number }[]> =>
    one.cell.services.db.query(`select (select count(*) from workflows where state = 'waiting')::int
      + (select count(*) from instances where state = 'running')::int as n`);
  await until('all wait', async () => (await settled())[0]?.n === launchCount);
  for (const host of setup.hosts) await two.dial(host);
  await allRun(one, ids);
});

test('a launch whose host is away stays pending, and a termination ends it', async () => {
  const host = setup.addHost();
  const one = await setup.addProcessor({ hosts: [] });
  await one.dial(host);
  one.cut(host);
  const [id = ''] = await launch(one);
  const { db } = one.cell.services;
  const waits = await until('it waits', async () => {
    const [row] = await db.query<{ state: string; last_error: { code: string } }>(
      "select state, last_error from workflows where subject = $1 and state = 'waiting'",
      [id],
    );
    return row;
  });
  assert.equal(waits.last_error.code, 'HostUnreachable');
  assert.deepEqual(await states(one), { pending: 1 });
  await ec2(one.cell, 'TerminateInstances', { InstanceIds: [id] });
  // Nothing was begun on the host: it need not come back.
  await until('terminated', async () => (await states(one)).terminated === 1);
  assert.equal(setup.region.interfaces.size, 0);
  assert.equal(host.vms.size, 0);
});

test('terminations of more VMs than there are slots, on a host that vanished, do not hold up launches elsewhere', async () => {
  const vanishing = setup.addHost({ capacity: { vcpus: 400, memoryMib: 400_000, diskMib: 4_000_000 } });
  const one = await setup.addProcessor();
  const ids: string[] = [];
  while (ids.length < 300) ids.push(...(await launch(one, 100)));
  await allRun(one, ids);
  const other = setup.addHost();
  await one.dial(other);
  one.cut(vanishing);
  for (let at = 0; at < ids.length; at += 100)
    await ec2(one.cell, 'TerminateInstances', { InstanceIds: ids.slice(at, at + 100) });
  const [elsewhere = ''] = await launch(one);
  await until('it runs', async () => (await states(one)).running === 1);
  assert.deepEqual([...setup.world.runningOn(elsewhere)], [other.hostId]);
  await until('those terminations wait as rows', () => one.cell.engine.load === 0);
});

test('a launch costs two transactions', async () => {
  setup.addHost();
  const one = await setup.addProcessor({ timing: { duePollMs: 3_600_000 } });
  await until('it has looked', () => one.cell.engine.looks > 0);
  const [warm = ''] = await launch(one);
  await until('it runs', () => setup.world.runningOn(warm).length === 1);
  await one.cell.engine.idle();
  const costs: number[] = [];
  for (let made = 0; made < 5; made++) {
    const before = one.counts.transactions;
    const [id = ''] = await launch(one);
    await one.cell.engine.idle();
    await until('it runs', () => setup.world.runningOn(id).length === 1);
    costs.push(one.counts.transactions - before);
  }
  // What the processor does now and then may come in between, and adds to one of them.
  assert.equal(Math.min(...costs), 2, costs.join());
});
