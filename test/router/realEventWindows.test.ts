/** Event windows through AWS's own SDK, over the real router, region and cell: what customers set is what a drain waits for (S5.6). */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type RealClient, type RealCloud, startRealCloud, until, zone } from './realCloud.ts';

let cloud: RealCloud;
let alice: RealClient;
let bob: RealClient;
before(async () => {
  cloud = await startRealCloud({ hosts: 3 });
  [alice, bob] = [await cloud.account(), await cloud.account()];
});
after(() => cloud.close());

const days = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;
/** Read once: a day may end while a test runs. */
const today = new Date().getUTCDay();
/** Two days, from the one on that is so many from today. */
const onDay = (from: number) => {
  const day = days[(today + from) % 7];
  const end = days[(today + from + 2) % 7];
  return { TimeRanges: [{ StartWeekDay: day, StartHour: 0, EndWeekDay: end, EndHour: 0 }] };
};
const create = async (client: RealClient, input: object): Promise<string> =>
  (await client.call('CreateInstanceEventWindow', input)).InstanceEventWindow?.InstanceEventWindowId ?? '';
const refuses = (work: Promise<unknown>, code: string): Promise<void> =>
  assert.rejects(work, (error: Error) => {
    assert.equal(error.name, code, `${error.name}: ${error.message}`);
    return true;
  });

test('a drain waits for the window, the instance’s status shows its move, and a wider window lets it go', async () => {
  const [made] = await alice.run({
    TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'team', Value: 'ops' }] }],
  });
  const id = made?.InstanceId ?? '';
  await alice.reaches(id, 'running');
  const window = await create(alice, { ...onDay(3), Name: 'later' });
  await alice.call('AssociateInstanceEventWindow', {
    InstanceEventWindowId: window,
    AssociationTarget: { InstanceTags: [{ Key: 'team', Value: 'ops' }] },
  });
  const host = cloud.hosts.find((one) => one.vms.has(id));
  assert.ok(host);
  const { operator, services } = cloud.cell;
  await operator['operator.drainHost']({ hostId: host.hostId });
  const eventsOf = async () =>
    (await alice.call('DescribeInstanceStatus', { InstanceIds: [id] })).InstanceStatuses?.[0]?.Events ?? [];
  const [event] = await until('its move is planned', async () => {
    const events = await eventsOf();
    return events.length > 0 && events;
  });
  assert.equal(event?.Code, 'system-maintenance');
  assert.equal(event?.NotBefore?.getUTCDay(), (today + 3) % 7);
  assert.equal(event?.NotBefore?.getUTCHours(), 0);
  const { phaseReason } = await operator['operator.host']({ hostId: host.hostId });
  assert.match(phaseReason, new RegExp(`${id} waits for its event window ${window}`));
  assert.ok(host.vms.has(id));
  await alice.call('ModifyInstanceEventWindow', { InstanceEventWindowId: window, ...onDay(0) });
  const drained = await until('it has left', async () => {
    // It looks again within a minute.
    await services.db.query("update workflows set wake_at = now() where state = 'waiting'");
    const shown = await operator['operator.host']({ hostId: host.hostId });
    return shown.workflowId === undefined && shown.phaseReason;
  });
  assert.equal(drained, 'drained: it is empty');
  assert.equal((await alice.instance(id)).State?.Name, 'running');
  assert.match((await eventsOf())[0]?.Description ?? '', /^\[Completed\]/);
  await operator['operator.drainHost']({ hostId: host.hostId, undo: true });
});

test('its owner chooses when an instance is moved, within EC2’s limits; windows neither hold it nor hasten it then', async () => {
  const [made] = await alice.run({});
  const id = made?.InstanceId ?? '';
  await alice.reaches(id, 'running');
  const window = await create(alice, onDay(3));
  const target = { AssociationTarget: { InstanceIds: [id] } };
  await alice.call('AssociateInstanceEventWindow', { InstanceEventWindowId: window, ...target });
  const host = cloud.hosts.find((one) => one.vms.has(id));
  assert.ok(host);
  const { operator, services } = cloud.cell;
  const eventOf = async (instanceId = id) =>
    (await alice.call('DescribeInstanceStatus', { InstanceIds: [instanceId] })).InstanceStatuses?.[0]
      ?.Events?.[0];
  const lookedAgain = async () => {
    const of =
      "from workflows where subject = $1 and state = 'waiting' and wake_at > now() + interval '5 seconds'";
    const looked = async () =>
      (await services.db.query<{ updated_at: Date }>(`select updated_at ${of}`, [host.hostId]))[0]
        ?.updated_at;
    const before = await until('it waits', async () => (await looked()) ?? false);
    await services.db.query("update workflows set wake_at = now() where state = 'waiting'");
    await until('it has looked again', async () => Number(await looked()) > Number(before));
  };
  await operator['operator.drainHost']({ hostId: host.hostId });
  const planned = await until('its move is planned', async () => (await eventOf()) ?? false);
  assert.ok(planned?.NotBefore && planned.NotAfter && planned.NotBeforeDeadline);
  const deadline = planned.NotBeforeDeadline.getTime();
  assert.ok(deadline > planned.NotBefore.getTime());
  const minutes = (count: number) => new Date(Date.now() + count * 60_000);
  const choose = (NotBefore: Date, more: object = {}) =>
    alice.call('ModifyInstanceEventStartTime', {
      ...{ InstanceId: id, InstanceEventId: planned.InstanceEventId, NotBefore, ...more },
    });
  for (const wrong of [minutes(59), minutes(-1), new Date(deadline + 1_000)])
    await refuses(choose(wrong), 'InstanceEventStartTimeCannotChange');
  for (const InstanceEventId of ['instance-event-0123456789abcdef0', 'x'])
    await refuses(choose(minutes(120), { InstanceEventId }), 'InvalidInstanceEventIDNotFound');
  const [other] = await alice.run({});
  await refuses(
    choose(minutes(120), { InstanceId: other?.InstanceId ?? '' }),
    'InvalidInstanceEventIDNotFound',
  );
  const strangers = { InstanceId: id, InstanceEventId: planned.InstanceEventId, NotBefore: minutes(120) };
  await refuses(bob.call('ModifyInstanceEventStartTime', strangers), 'InvalidInstanceID.NotFound');
  await refuses(choose(minutes(120), { DryRun: true }), 'DryRunOperation');
  assert.deepEqual(await eventOf(), planned, 'nothing of that changed it');

  const wanted = new Date(Math.floor(minutes(90).getTime() / 1_000) * 1_000);
  const { Event: chosen } = await choose(wanted);
  assert.deepEqual(chosen?.NotBefore, wanted);
  assert.equal(
    Number(chosen.NotAfter) - Number(chosen.NotBefore),
    Number(planned.NotAfter) - Number(planned.NotBefore),
  );
  assert.deepEqual(chosen.NotBeforeDeadline, planned.NotBeforeDeadline);
  assert.deepEqual(await eventOf(), chosen);

  await alice.call('ModifyInstanceEventWindow', { InstanceEventWindowId: window, ...onDay(0) });
  await lookedAgain();
  assert.ok(host.vms.has(id), 'its window is open, and its owner said later');
  assert.deepEqual(await eventOf(), chosen, 'the drain leaves what was chosen');
  const { phaseReason } = await operator['operator.host']({ hostId: host.hostId });
  assert.match(phaseReason, new RegExp(`${id} is to be moved from ${wanted.toISOString()} on`));

  await alice.call('ModifyInstanceEventWindow', { InstanceEventWindowId: window, ...onDay(3) });
  const startsIn = (interval: string) =>
    services.db.query(
      `update instance_events set not_before = now() + $2::interval where id = $1 and chosen`,
      [planned.InstanceEventId, interval],
    );
  await startsIn('4 minutes');
  await refuses(choose(minutes(120)), 'InstanceEventStartTimeCannotChange');
  await startsIn('-1 second');
  await refuses(choose(minutes(120)), 'InstanceEventStartTimeCannotChange');
  const drained = await until('it has left, outside of its window', async () => {
    await services.db.query("update workflows set wake_at = now() where state = 'waiting'");
    const shown = await operator['operator.host']({ hostId: host.hostId });
    return shown.workflowId === undefined && shown.phaseReason;
  });
  assert.equal(drained, 'drained: it is empty');
  assert.match((await eventOf())?.Description ?? '', /^\[Completed\]/);
  await refuses(choose(minutes(120)), 'InstanceEventStartTimeCannotChange');
  await operator['operator.drainHost']({ hostId: host.hostId, undo: true });
});

test('dedicated hosts are asked of their cells: the account’s own can be associated, a stranger’s are not there', async () => {
  const { HostIds: [hostId = ''] = [] } = await bob.call('AllocateHosts', {
    ...{ InstanceType: 'p1.nano', AvailabilityZone: zone, Quantity: 1 },
  });
  const target = { AssociationTarget: { DedicatedHostIds: [hostId] } };
  const mine = await create(alice, onDay(1));
  await refuses(
    alice.call('AssociateInstanceEventWindow', { InstanceEventWindowId: mine, ...target }),
    'InvalidHostID.NotFound',
  );
  const window = await create(bob, onDay(1));
  const { InstanceEventWindow: shown } = await bob.call('AssociateInstanceEventWindow', {
    ...{ InstanceEventWindowId: window, ...target },
  });
  assert.deepEqual(shown?.AssociationTarget?.DedicatedHostIds, [hostId]);
  const found = await bob.call('DescribeInstanceEventWindows', {
    Filters: [{ Name: 'dedicated-host-id', Values: [hostId] }],
  });
  assert.equal(found.InstanceEventWindows?.length, 1);
  await bob.call('ReleaseHosts', { HostIds: [hostId] });
  // What is gone can still be taken out.
  await bob.call('DisassociateInstanceEventWindow', { InstanceEventWindowId: window, ...target });
  await bob.call('DeleteInstanceEventWindow', { InstanceEventWindowId: window });
});
