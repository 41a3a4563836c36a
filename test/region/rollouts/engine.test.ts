/** The engine on its tables: waves, records, take-over by another process, devices that return. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import { RolloutBench } from './bench.ts';
import { SimFleet } from './sim-fleet.ts';

/** Until a test moves the clock ahead, however long it takes to get there. */
const bakeMs = 600_000;
const waves = [{ percent: 20 }, { rest: true as const }];

const eventually = async (what: string, check: () => boolean | Promise<boolean>): Promise<void> => {
  const deadline = monotonicMs() + 60_000;
  while (!(await check())) {
    if (monotonicMs() > deadline) assert.fail(what);
    await delay(10);
  }
};

const refused = async (name: string, work: unknown): Promise<void> => {
  await assert.rejects(
    async () => work,
    (error: unknown) => error instanceof PandoError && error.details?.refusal === name,
    name,
  );
};

/** A rollout of an MTU under a new policy; answers its id. */
const startMtu = async (
  bench: RolloutBench,
  mtu: number,
  spec: Parameters<RolloutBench['mtuPolicy']>[1] = { waves },
): Promise<string> => {
  await bench.mtuPolicy('p', spec);
  const { rolloutId } = await bench.as('alice').start('p', { mtu });
  assert.ok(rolloutId);
  return rolloutId;
};

test('S8.3 a change goes through its waves to every device, and what each should have is written down', async () => {
  await using bench = await RolloutBench.create(new SimFleet(10));
  bench.start();
  const id = await startMtu(bench, 1400);
  await bench.until(id, 'done');
  assert.deepEqual(bench.fleet.mtus(), Array(10).fill(1400));
  const view = await bench.as('alice').show(id);
  assert.deepEqual(view.waves, [
    { size: 2, states: { confirmed: 2 } },
    { size: 8, states: { confirmed: 8 } },
  ]);
  assert.deepEqual(view.transitions[0]?.diff, ['+ mtu 1400']);
  const { rows } = await sql<{
    n: number;
  }>`select count(*)::int as n from rollout_desired where not owed`.execute(bench.db);
  assert.equal(rows[0]?.n, 10);
});

test('S8.5 a record for each transition of each device; nobody changes or removes one', async () => {
  await using bench = await RolloutBench.create(new SimFleet(2));
  bench.start();
  const id = await startMtu(bench, 1400, { waves: [{ rest: true }] });
  await bench.until(id, 'done');
  const records = await bench.as('alice').audit(id);
  const first = records.filter(({ deviceId }) => deviceId === bench.fleet.at(0).deviceId);
  assert.deepEqual(
    first.map(({ from, to }) => `${from} → ${to}`),
    ['planned → commanded', 'commanded → applied', 'applied → confirmed'],
  );
  assert.match(first[0]?.objects ?? '', /^fleet\/fleet none → [0-9a-f]{8}$/);
  assert.match(first[0]?.who ?? '', /^engine\/test-/);
  for (const attempt of [
    sql`update rollout_audit set who = 'x'`,
    sql`delete from rollout_audit`,
    sql`truncate rollout_audit`,
  ])
    await assert.rejects(attempt.execute(bench.db), /records of rollouts are not changed/);
});

test('S8.5 an engine that is killed in mid-wave: another goes on at the same wave', async () => {
  await using bench = await RolloutBench.create(new SimFleet(20));
  for (const device of bench.fleet.all.values()) device.latencyMs = 20;
  const first = bench.start();
  const id = await startMtu(bench, 1400, { waves, concurrency: 2 });
  await eventually(
    'the second wave is under way',
    () => bench.fleet.mtus().filter((mtu) => mtu === 1400).length > 6,
  );
  await first.kill();
  const before = bench.fleet.mtus().filter((mtu) => mtu === 1400).length;
  assert.ok(before < 20, 'it was killed in mid-wave');
  bench.start();
  await bench.until(id, 'done');
  assert.deepEqual(bench.fleet.mtus(), Array(20).fill(1400));
  const records = await bench.as('alice').audit(id);
  const wavesBegun = records.filter(({ what, to }) => what === 'phase' && to === 'applying');
  assert.equal(wavesBegun.length, 2, 'no wave began twice');
});

test('S8.3 an engine that is killed in mid-rollback: another brings every touched device back', async () => {
  await using bench = await RolloutBench.create(new SimFleet(20));
  const first = bench.start();
  const before = await startMtu(bench, 1500);
  await bench.until(before, 'done');
  for (const device of bench.fleet.all.values()) device.latencyMs = 20;
  const id = await startMtu(bench, 1400, { waves, concurrency: 2 });
  await eventually(
    'the second wave is under way',
    () => bench.fleet.mtus().filter((mtu) => mtu === 1400).length > 8,
  );
  await bench.as('alice').control(id, 'abort');
  await eventually('some are back', async () =>
    (await bench.as('alice').audit(id)).some(({ to }) => to === 'reverted'),
  );
  await first.kill();
  assert.ok(bench.fleet.mtus().includes(1400), 'it was killed in mid-rollback');
  bench.start();
  await bench.until(id, 'rolled-back');
  assert.deepEqual(bench.fleet.mtus(), Array(20).fill(1500));
});

test('S8.5 two engines at once: one acts; the one that was frozen is refused by store and devices', async () => {
  await using bench = await RolloutBench.create(new SimFleet(6));
  bench.start();
  const id = await startMtu(bench, 1400, { waves: [{ rest: true }], bakeMs });
  await bench.until(id, 'baking');
  // Another process takes the lease as if the first had been silent for long, while the first goes on.
  bench.start();
  await sql`update rollout_engine set holder = null`.execute(bench.db);
  await eventually('it changed hands', async () => {
    const { rows } = await sql<{ epoch: number }>`select epoch::int from rollout_engine`.execute(bench.db);
    return (rows[0]?.epoch ?? 0) >= 2;
  });
  bench.aheadMs += bakeMs;
  await bench.until(id, 'done');
  const stale = bench.fleet.at(0).transact({ objects: [], places: [], fence: { epoch: 0, number: 9 } });
  await assert.rejects(stale, (error: unknown) => error instanceof PandoError && error.code === 'StaleEpoch');
});

test('S8.5 a device that was away throughout gets what it should have by now, not what it missed', async () => {
  await using bench = await RolloutBench.create(new SimFleet(5));
  bench.start();
  const away = bench.fleet.at(4);
  away.reachable = false;
  for (const mtu of [1400, 1380]) await bench.until(await startMtu(bench, mtu), 'done');
  assert.deepEqual(bench.fleet.mtus(), [1380, 1380, 1380, 1380, undefined]);
  away.reachable = true;
  await eventually('it is brought to the newest', () => bench.fleet.mtus()[4] === 1380);
  assert.equal(away.transactions, 1, 'at once, not by way of what it missed');
});

test('S8.3 a device that is cut off by the change is detected, goes back by itself, and so does the rollout', async () => {
  await using bench = await RolloutBench.create(new SimFleet(5));
  bench.start();
  await bench.until(await startMtu(bench, 1400), 'done');
  for (const device of bench.fleet.all.values())
    device.cutBy = (body) => JSON.stringify(body).includes('1300');
  const id = await startMtu(bench, 1300);
  await bench.until(id, 'rolled-back');
  assert.deepEqual(bench.fleet.mtus(), Array(5).fill(1400));
  const { failure, waves: shown } = await bench.as('alice').show(id);
  assert.equal(failure?.kind, 'errors');
  assert.deepEqual(shown[1]?.states, { planned: 4 }, 'no more than the first wave was touched');
});

test('S8.2 drift: a device that has another state refuses, is reported with what it has, and is left alone', async () => {
  await using bench = await RolloutBench.create(new SimFleet(3));
  bench.start();
  await bench.until(await startMtu(bench, 1400), 'done');
  const drifted = bench.fleet.at(0);
  const byHand = {
    kind: 'fleet',
    id: 'fleet',
    version: 99,
    digest: 'f'.repeat(32),
    body: { mtu: 9000 },
  } as const;
  drifted.has.set('fleet/fleet', byHand);
  const id = await startMtu(bench, 1300, { waves: [{ devices: [drifted.deviceId] }, { rest: true }] });
  await bench.until(id, 'rolled-back');
  const view = await bench.as('alice').show(id);
  const shown = view.devices.find(({ deviceId }) => deviceId === drifted.deviceId);
  assert.equal(shown?.state, 'drifted');
  assert.match(shown?.detail ?? '', /f{32}/);
  assert.deepEqual(bench.fleet.mtus(), [9000, 1400, 1400]);
});

test('S8.2 a device that answers nonsense is refused by name, and its rollout goes back', async () => {
  await using bench = await RolloutBench.create(new SimFleet(3));
  bench.start();
  await bench.until(await startMtu(bench, 1400), 'done');
  bench.fleet.at(0).lie = (answer) => ({
    ...answer,
    objects: answer.objects.map((each) => ({ ...each, current: { version: 1, digest: '0'.repeat(32) } })),
  });
  const id = await startMtu(bench, 1300, { waves: [{ rest: true }], concurrency: 1 });
  await eventually('it is refused', async () => {
    const { failure } = await bench.as('alice').show(id);
    return failure?.detail.includes('NonsenseAnswer') ?? false;
  });
  bench.fleet.at(0).lie = undefined;
  await bench.until(id, 'rolled-back');
  assert.deepEqual(bench.fleet.mtus(), [1400, 1400, 1400]);
});

test('S8.5 overlapping changes: the second waits for the first, device by device, and begins from its second state', async () => {
  await using bench = await RolloutBench.create(new SimFleet(4));
  bench.start();
  const first = await startMtu(bench, 1400, { waves: [{ rest: true }], bakeMs });
  await bench.until(first, 'baking');
  const second = await bench.as('alice').start('p', { mtu: 1300 }, { from: 1 });
  assert.ok(second.rolloutId);
  const waiting = await bench.as('alice').show(second.rolloutId);
  assert.match(waiting.waitsFor ?? '', /an earlier rollout that has card/);
  bench.aheadMs += bakeMs;
  await bench.until(first, 'done');
  await bench.until(second.rolloutId, 'baking');
  bench.aheadMs += bakeMs;
  await bench.until(second.rolloutId, 'done');
  assert.deepEqual(bench.fleet.mtus(), Array(4).fill(1300));
});

test('S8.1, S8.2 bad input is refused by name, and nothing is half-applied', async () => {
  await using bench = await RolloutBench.create(new SimFleet(4));
  bench.start();
  const alice = bench.as('alice');
  await bench.mtuPolicy('p', { waves });
  await refused('VersionGone', alice.start('p', { mtu: 1400 }, { from: 7 }));
  await bench.until(await startMtu(bench, 1400), 'done');
  await bench.until(await startMtu(bench, 1300), 'done');
  await refused('VersionGone', alice.start('p', { mtu: 1200 }, { from: 1 }));
  await refused('EmptyChange', alice.start('p', { mtu: 1300 }));
  await assert.rejects(async () => alice.start('p', { mtu: 3 }), /mtu/);
  await assert.rejects(async () => alice.start('nobody', { mtu: 1200 }), /There is no policy nobody/);
  await bench.mtuPolicy('absent', { waves: [{ devices: ['card/1.2.3.4'] }] });
  await refused('UnknownDevice', alice.start('absent', { mtu: 1200 }));
  assert.equal((await alice.list(false)).rollouts.length, 0);
  assert.deepEqual(bench.fleet.mtus(), Array(4).fill(1300));
  const { rows } = await sql<{ n: number }>`select count(*)::int as n from rollout_object`.execute(bench.db);
  assert.equal(rows[0]?.n, 2, 'no version is kept of what was refused');
});

test('S8.1 an approval counts from who may give it alone', async () => {
  await using bench = await RolloutBench.create(new SimFleet(4));
  bench.start();
  const id = await startMtu(bench, 1400, { waves, approval: { before: 'second', by: ['bob'] } });
  await eventually('it waits', async () =>
    /approval of wave 2 by bob/.test((await bench.as('alice').show(id)).waitsFor ?? ''),
  );
  await refused('NotAnApprover', bench.as('mallory').control(id, 'approve'));
  assert.equal(bench.fleet.mtus().filter((mtu) => mtu === 1400).length, 1);
  await bench.as('bob').control(id, 'approve');
  await bench.until(id, 'done');
  const approval = (await bench.as('alice').audit(id)).find(({ what }) => what === 'approve wave 2');
  assert.equal(approval?.who, 'operator/bob');
});

test('S8.5 paused, resumed, aborted', async () => {
  await using bench = await RolloutBench.create(new SimFleet(10));
  for (const device of bench.fleet.all.values()) device.latencyMs = 10;
  bench.start();
  await bench.until(await startMtu(bench, 1500), 'done');
  const id = await startMtu(bench, 1400, { waves, bakeMs });
  await bench.until(id, 'baking');
  await bench.as('alice').control(id, 'pause');
  bench.aheadMs += bakeMs;
  await delay(800);
  assert.equal(bench.fleet.mtus().filter((mtu) => mtu === 1400).length, 2, 'nothing new begins');
  await refused(
    'WrongPhase',
    (async () => {
      await bench.as('alice').control(id, 'resume');
      await bench.as('alice').control(id, 'resume');
    })(),
  );
  await bench.as('alice').control(id, 'abort');
  await bench.until(id, 'rolled-back');
  assert.deepEqual(bench.fleet.mtus(), Array(10).fill(1500));
  await refused('WrongPhase', bench.as('alice').control(id, 'pause'));
});

test('a client token that was used answers the rollout that it made; a dry run keeps nothing', async () => {
  await using bench = await RolloutBench.create(new SimFleet(4));
  await bench.mtuPolicy('p', { waves });
  const alice = bench.as('alice');
  const dry = await alice.start('p', { mtu: 1400 }, { dryRun: true });
  assert.deepEqual([dry.rolloutId, dry.waves.map((wave) => wave.length)], [undefined, [1, 3]]);
  const first = await alice.start('p', { mtu: 1400 }, { clientToken: 't' });
  const again = await alice.start('p', { mtu: 1400 }, { clientToken: 't' });
  assert.equal(again.rolloutId, first.rolloutId);
  assert.equal((await alice.list(true)).rollouts.length, 1);
});
