/** Drains and pools move VMs inside the event windows of their accounts (S5.6), on simulated hosts. */
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { systemClock } from '#cell/clock.ts';
import { PandoError } from '#contracts/errors.ts';
import { hoursPerWeek } from '#contracts/event-windows.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { accountId, ec2, TestCell, type TestProcessor, until } from '../support/harness.ts';
import { reaches } from '../support/instances.ts';

let server: TestDatabase;
let setup: TestCell;
let processor: TestProcessor;
before(async () => {
  server = await startTestDatabase();
});
afterEach(() => setup.reset());
after(() => server.stop());

const start = async (hosts = 3): Promise<void> => {
  setup = await TestCell.start({ url: server.url, stop: async () => undefined });
  for (let made = 0; made < hosts; made++)
    setup.addHost({ capacity: { vcpus: 4, memoryMib: 1_024, diskMib: 65_536 } });
  processor = await setup.addProcessor({ timing: { duePollMs: 50, parkMsMin: 20, parkMsMax: 100 } });
};
const operator = () => processor.cell.operator;
const db = () => processor.cell.services.db;
const launch = async (count: number, more: object = {}): Promise<string[]> => {
  const { Instances } = (await ec2(processor.cell, 'RunInstances', {
    ...{ ImageId: setup.region.imageId, InstanceType: 'p1.nano', MinCount: count, MaxCount: count },
    ...more,
  })) as { Instances: { InstanceId: string }[] };
  const ids = Instances.map(({ InstanceId }) => InstanceId);
  // By its row, which is written last.
  for (const id of ids) await reaches(processor.cell, id, 'running');
  return ids;
};
const hostOf = (id: string): string => [...setup.world.runningOn(id)][0] ?? '';

/** Hours of the week: the one that it is now, or one far from it. */
const nowHour = (): number => {
  const now = new Date(systemClock.now());
  return now.getUTCDay() * 24 + now.getUTCHours();
};
const open = () => [{ from: nowHour(), to: nowHour() + 4 }];
const closed = () => {
  const from = (nowHour() + 80) % hoursPerWeek;
  return [{ from, to: from + 4 }];
};
const setWindow = (
  target: Parameters<TestCell['region']['addEventWindow']>[1],
  hours: ReturnType<typeof open>,
) => setup.region.addEventWindow(accountId, target, hours);
/** A drain looks again when a window opens; what is changed by hand is seen within a minute. */
const lookNow = () => db().query("update workflows set wake_at = now() where state = 'waiting'");
const eventsOf = async (id: string) => {
  const { InstanceStatuses } = (await ec2(processor.cell, 'DescribeInstanceStatus', {
    InstanceIds: [id],
  })) as {
    InstanceStatuses: {
      Events: { Code: string; Description: string; NotBefore: string; NotAfter: string }[];
    }[];
  };
  return InstanceStatuses[0]?.Events ?? [];
};
const waits = (hostId: string, words: RegExp) =>
  until('it waits, and says for what', async () => {
    const { phaseReason } = await operator()['operator.host']({ hostId });
    return words.test(phaseReason) && phaseReason;
  });
const drained = (hostId: string) =>
  until('it is drained', async () => {
    await lookNow();
    const { workflowId, phaseReason } = await operator()['operator.host']({ hostId });
    return workflowId === undefined && phaseReason;
  });

test('a drain moves those without a window, waits for the others’, shows their moves, and goes on when it opens', async () => {
  await start();
  const TagSpecifications = [{ ResourceType: 'instance', Tags: [{ Key: 'team', Value: 'a' }] }];
  const ids = await launch(6, { TagSpecifications });
  const hostId = hostOf(ids[0] ?? '');
  const there = ids.filter((id) => hostOf(id) === hostId);
  const [held = '', ...others] = there;
  const windowId = setWindow({ kind: 'instance', id: held }, closed());
  await operator()['operator.drainHost']({ hostId });
  await waits(hostId, new RegExp(`${held} waits for its event window ${windowId}, which opens at 20`));
  await until('the others have gone', () => others.every((id) => hostOf(id) !== hostId));
  assert.equal(hostOf(held), hostId);
  const [event, ...more] = await eventsOf(held);
  assert.deepEqual(more, []);
  assert.equal(event?.Code, 'system-maintenance');
  assert.ok(Date.parse(event?.NotBefore ?? '') > systemClock.now());
  assert.equal(Date.parse(event?.NotAfter ?? '') - Date.parse(event?.NotBefore ?? ''), 4 * 3_600_000);
  const filtered = (await ec2(processor.cell, 'DescribeInstanceStatus', {
    Filters: [{ Name: 'event.code', Values: ['system-maintenance'] }],
  })) as { InstanceStatuses: { InstanceId: string }[] };
  assert.deepEqual(
    filtered.InstanceStatuses.map(({ InstanceId }) => InstanceId),
    [held],
  );
  const window = setup.region.eventWindows.get(windowId);
  assert.ok(window);
  window.hours = open();
  assert.equal(await drained(hostId), 'drained: it is empty');
  assert.notEqual(hostOf(held), hostId);
  assert.match((await eventsOf(held))[0]?.Description ?? '', /^\[Completed\] /);
  assert.deepEqual(setup.world.violations, []);
});

test('windows by tag hold VMs as well; --ignore-windows waits for none', async () => {
  await start();
  const TagSpecifications = [{ ResourceType: 'instance', Tags: [{ Key: 'team', Value: 'a' }] }];
  const [id = ''] = await launch(1, { TagSpecifications });
  const hostId = hostOf(id);
  setWindow({ kind: 'tag', key: 'team', value: 'a' }, closed());
  const { workflowId = '' } = await operator()['operator.drainHost']({ hostId });
  await waits(hostId, /event window/);
  await operator()['operator.cancelWorkflow']({ workflowId });
  assert.match(await drained(hostId), /ended before all had left/);
  assert.match((await eventsOf(id))[0]?.Description ?? '', /^\[Canceled\] /);
  assert.equal(hostOf(id), hostId);
  await operator()['operator.drainHost']({ hostId, ignoreWindows: true });
  assert.equal(await drained(hostId), 'drained: it is empty');
  assert.notEqual(hostOf(id), hostId);
});

test('a window that never suffices: after eight days the drain ends, and an operator is told what stayed', async () => {
  await start();
  const [id = ''] = await launch(1);
  const hostId = hostOf(id);
  const windowId = setWindow({ kind: 'instance', id }, closed());
  const { workflowId = '' } = await operator()['operator.drainHost']({ hostId });
  await waits(hostId, /event window/);
  const waited = (days: number) =>
    db().query('update workflows set wait_began_at = now() - make_interval(days => $2) where id = $1', [
      workflowId,
      days,
    ]);
  await waited(7);
  await lookNow();
  await until('it has looked and waits on', async () => {
    const rows = await db().query(
      "select 1 from workflows where id = $1 and wake_at > now() + interval '5 seconds'",
      [workflowId],
    );
    return rows.length > 0;
  });
  assert.equal((await operator()['operator.host']({ hostId })).workflowId, workflowId);
  await waited(9);
  assert.match(await drained(hostId), new RegExp(`but for: ${id} waits for its event window ${windowId}`));
  assert.equal(hostOf(id), hostId, 'it runs where it ran');
});

test('a region that does not answer may know of windows: nothing moves; one of the last release has none', async () => {
  await start();
  const [id = ''] = await launch(1);
  const hostId = hostOf(id);
  let error = new PandoError('HostUnreachable', 'The region is away.');
  setup.region.before = (method) => {
    if (method === 'region.eventWindows') throw error;
  };
  await operator()['operator.drainHost']({ hostId });
  await waits(hostId, /the region does not answer/);
  assert.equal(hostOf(id), hostId);
  assert.deepEqual(await eventsOf(id), [], 'nobody can say when');
  for (const code of ['Unavailable', 'InternalError'] as const) {
    error = new PandoError(code, 'The region is in trouble.');
    const [before] = await db().query<{ updated_at: Date }>(
      'select updated_at from workflows where subject = $1',
      [hostId],
    );
    await lookNow();
    await until('it has looked again', async () => {
      const [row] = await db().query<{ updated_at: Date; state: string }>(
        'select updated_at, state from workflows where subject = $1',
        [hostId],
      );
      return row?.state === 'waiting' && row.updated_at > (before?.updated_at ?? 0);
    });
    assert.equal(hostOf(id), hostId, code);
  }
  error = new PandoError('UnsupportedOperation', 'region.eventWindows is not served here.');
  assert.equal(await drained(hostId), 'drained: it is empty');
});

test('a pool takes a donor whose VMs may be moved, and none while all are outside their windows', async () => {
  await start(4);
  await db().query('update hosts set rests_until = null');
  const all = setup.hosts.map(({ hostId }) => hostId);
  const pool = (name: string, slotType: string, low: number, target: number, hosts?: string[]) =>
    operator()['operator.setPool']({
      ...{ name, slotType, low, target, layout: { types: [slotType] } },
      ...(hosts === undefined ? {} : { hosts }),
    });
  await pool('small', 'p1.nano', 1, 2, all);
  await pool('big', 'p1.small', 0, 0);
  await processor.cell.services.capacity.refresh();
  const ids = await launch(16);
  const empty = all.filter((hostId) => !ids.some((id) => hostOf(id) === hostId));
  assert.deepEqual(empty, [], 'every host has VMs');
  const windows = ids.map((id) => setWindow({ kind: 'instance', id }, closed()));
  await pool('big', 'p1.small', 1, 1);
  const closedView = await operator()['operator.pools']({});
  assert.deepEqual(closedView.changes, []);
  const big = closedView.pools.find(({ name }) => name === 'big');
  assert.match(big?.unmet ?? '', /cannot be emptied: i-\w+ waits for its event window iew-/);
  await processor.cell.pools.turn();
  assert.equal((await db().query('select 1 from hosts where rebuild_id is not null')).length, 0);
  const [since] = await db().query<{ windows_since: Date | null }>(
    "select windows_since from pools where name = 'big'",
  );
  assert.ok(since?.windows_since, 'since when it waits is on record');
  // One host's VMs may be moved now.
  const donor = all[2] ?? '';
  for (const [at, id] of ids.entries()) {
    const window = setup.region.eventWindows.get(windows[at] ?? '');
    if (window !== undefined && hostOf(id) === donor) window.hours = open();
  }
  const fresh = await setup.addProcessor({ timing: { duePollMs: 50, parkMsMin: 20, parkMsMax: 100 } });
  const { changes } = await fresh.cell.operator['operator.pools']({});
  assert.deepEqual(
    changes.map(({ hostId, to }) => [hostId, to]),
    [[donor, 'big']],
  );
});

test('a processor that is killed while a drain waits: another one goes on when the window opens', async () => {
  await start();
  const [id = ''] = await launch(1);
  const hostId = hostOf(id);
  const windowId = setWindow({ kind: 'instance', id }, closed());
  await operator()['operator.drainHost']({ hostId });
  await waits(hostId, /event window/);
  const survivor = await setup.addProcessor({ timing: { duePollMs: 50, parkMsMin: 20, parkMsMax: 100 } });
  processor.kill();
  processor = survivor;
  const window = setup.region.eventWindows.get(windowId);
  assert.ok(window);
  window.hours = open();
  assert.equal(await drained(hostId), 'drained: it is empty');
  assert.notEqual(hostOf(id), hostId);
  const events = await db().query('select 1 from instance_events');
  assert.equal(events.length, 1, 'one move was planned');
});

test('a window that closes before a pool’s donor is empty gives the host back, and it serves on', async () => {
  await start(3);
  await db().query('update hosts set rests_until = null');
  const all = setup.hosts.map(({ hostId }) => hostId);
  const types = (type: string) => ({ slotType: type, layout: { types: [type] } });
  await operator()['operator.setPool']({
    ...{ name: 'small', low: 1, target: 2, ...types('p1.nano') },
    hosts: all,
  });
  await processor.cell.services.capacity.refresh();
  const ids = await launch(9);
  const windows = ids.map((id) => setWindow({ kind: 'instance', id }, open()));
  await operator()['operator.setPool']({ ...{ name: 'big', low: 1, target: 1, ...types('p1.small') } });
  const donor = (await operator()['operator.pools']({})).changes[0]?.hostId ?? '';
  const there = ids.filter((id) => hostOf(id) === donor);
  assert.ok(there.length > 0);
  // What the pool has heard is of a moment ago.
  for (const [at, id] of ids.entries()) {
    const window = setup.region.eventWindows.get(windows[at] ?? '');
    if (window !== undefined && id === there.at(-1)) window.hours = closed();
  }
  await processor.cell.pools.turn();
  const { state, phaseReason } = await until('it is given back', async () => {
    const shown = await operator()['operator.host']({ hostId: donor });
    return shown.workflowId === undefined && shown;
  });
  assert.equal(state, 'active');
  assert.match(phaseReason, /not empty: .* waits for its event window/);
  assert.equal(hostOf(there.at(-1) ?? ''), donor);
  assert.ok(!setup.hosts.some(({ rebuild }) => rebuild.steps.includes('isolate')), 'nothing was begun with');
});
