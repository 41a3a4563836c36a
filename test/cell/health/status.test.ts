/** DescribeInstanceStatus over simulated hosts: what a host tells of a VM is what clients see, and stays known. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { InstanceStatus, VolumeStatusItem } from '@aws-sdk/client-ec2';
import { generationOf } from '#cell/generation.ts';
import { HealthRecorder } from '#cell/health/recorder.ts';
import { guestConfiguresMsMax, resetsMax } from '#cell/limits.ts';
import { PandoError } from '#contracts/errors.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import type { SimVm } from '#simhost/vm.ts';
import { ec2, TestCell, type TestProcessor, until } from '../support/harness.ts';
import { launch, reaches } from '../support/instances.ts';

let setup: TestCell;
let processor: TestProcessor;
let host: SimHost;

before(async () => {
  setup = await TestCell.start();
  host = setup.addHost();
  setup.addHost();
  processor = await setup.addProcessor();
});
after(() => setup.stop());

const status = async (id: string): Promise<InstanceStatus> => {
  const { InstanceStatuses } = await ec2(processor.cell, 'DescribeInstanceStatus', { InstanceIds: [id] });
  const [found] = InstanceStatuses as InstanceStatus[];
  assert.ok(found);
  return found;
};
/**
 * Older than the time for which every instance is shown as initializing. What was judged of it grows up with it, in one statement: not what
 * was judged before it was started last, which would be taken for a judgement of now.
 */
const grownUp = async (id: string): Promise<void> => {
  const { db } = processor.cell.services;
  await db.query(
    `with judged as (update instance_health set launched_at = $2 from instances
         where id = instance_id and id = $1 and launched_at = launch_time)
       update instances set launch_time = $2 where id = $1`,
    [id, new Date(Date.now() - 3_600_000)],
  );
};
/** Once its first report is written down: a write that was under way would have kept when it was launched. */
const judged = (id: string): Promise<unknown> =>
  until(`${id} is judged`, async () => {
    const { db } = processor.cell.services;
    const rows = await db.query('select 1 from instance_health where instance_id = $1', [id]);
    return rows.length > 0;
  });
const running = async (): Promise<string> => {
  const id = await launch(processor.cell, setup.region);
  await reaches(processor.cell, id, 'running');
  await judged(id);
  await grownUp(id);
  return id;
};
const vmOf = (id: string): SimVm => {
  const vm = setup.hosts.map(({ vms }) => vms.get(id)).find((each) => each?.state !== undefined);
  assert.ok(vm);
  return vm;
};
const instanceIs = (id: string, wanted: string) =>
  until(`${id} is ${wanted}`, async () => {
    const shown = await status(id);
    return shown.InstanceStatus?.Status === wanted && shown;
  });
const details = (shown: InstanceStatus, check: 'InstanceStatus' | 'SystemStatus') =>
  shown[check]?.Details?.[0];
const terminate = async (id: string): Promise<void> => {
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'terminated');
};

test('ok once its guest is heard of; never heard of: impaired since then, by its own check', async () => {
  const id = await running();
  await instanceIs(id, 'ok');
  const vm = vmOf(id);
  vm.guest = { ...vm.guest, configured: false, bootSeen: true, listenedMs: 10 };
  await instanceIs(id, 'initializing');
  vm.guest = { ...vm.guest, listenedMs: guestConfiguresMsMax };
  const impaired = await instanceIs(id, 'impaired');
  const { Name, Status, ImpairedSince } = details(impaired, 'InstanceStatus') ?? {};
  assert.deepEqual([Name, Status], ['reachability', 'failed']);
  assert.ok(ImpairedSince !== undefined && Date.now() - Date.parse(String(ImpairedSince)) < 60_000);
  assert.deepEqual(
    [impaired.SystemStatus?.Status, details(impaired, 'SystemStatus')?.ImpairedSince],
    ['ok', undefined],
  );
  vm.guest = { ...vm.guest, configured: true };
  assert.equal(details(await instanceIs(id, 'ok'), 'InstanceStatus')?.ImpairedSince, undefined);
  await terminate(id);
});

test('a host’s full disk: both checks, found by their filters, and ok again by itself', async () => {
  const id = await running();
  await instanceIs(id, 'ok');
  const vm = vmOf(id);
  vm.become('paused');
  vm.guest = { ...vm.guest, runState: 'io-error', noSpace: true };
  const impaired = await instanceIs(id, 'impaired');
  assert.deepEqual(
    [impaired.SystemStatus?.Status, impaired.AttachedEbsStatus?.Status, impaired.InstanceState?.Name],
    ['impaired', 'impaired', 'running'],
  );
  const { InstanceStatuses } = await ec2(processor.cell, 'DescribeInstanceStatus', {
    Filters: [
      { Name: 'system-status.status', Values: ['impaired'] },
      { Name: 'instance-status.reachability', Values: ['failed'] },
    ],
  });
  assert.deepEqual(
    (InstanceStatuses as InstanceStatus[]).map(({ InstanceId }) => InstanceId),
    [id],
  );
  const volumes = async (...Filters: { Name: string; Values: string[] }[]) => {
    const { VolumeStatuses } = await ec2(processor.cell, 'DescribeVolumeStatus', { Filters });
    return (VolumeStatuses as VolumeStatusItem[]).map((each) => ({
      id: each.AttachmentStatuses?.[0]?.InstanceId,
      status: each.VolumeStatus?.Status,
      enabled: each.VolumeStatus?.Details?.find(({ Name }) => Name === 'io-enabled')?.Status,
    }));
  };
  assert.deepEqual(await volumes({ Name: 'volume-status.status', Values: ['impaired'] }), [
    { id, status: 'impaired', enabled: 'failed' },
  ]);
  vm.become('running');
  vm.guest = { ...vm.guest, runState: 'running', noSpace: false };
  await instanceIs(id, 'ok');
  assert.deepEqual(await volumes(), [{ id, status: 'ok', enabled: 'passed' }]);
  await terminate(id);
  assert.deepEqual(await volumes(), [], 'it went with its instance');
});

test('paused by whomever, or in a reset loop: impaired; a reboot lets a paused one run', async () => {
  const id = await running();
  await instanceIs(id, 'ok');
  const vm = vmOf(id);
  vm.become('paused');
  const paused = await instanceIs(id, 'impaired');
  assert.equal(paused.SystemStatus?.Status, 'impaired');
  await ec2(processor.cell, 'RebootInstances', { InstanceIds: [id] });
  await instanceIs(id, 'ok');
  vm.guest = { ...vm.guest, resets: resetsMax };
  assert.equal((await instanceIs(id, 'impaired')).SystemStatus?.Status, 'ok');
  await terminate(id);
});

test('what is known of a guest moves with it, and outlives the processor', async () => {
  const id = await running();
  await instanceIs(id, 'ok');
  const source = vmOf(id);
  const seen: (string | undefined)[] = [];
  const watching = setInterval(
    () => void status(id).then((shown) => seen.push(shown.InstanceStatus?.Status)),
    5,
  );
  const { targetHostId } = await processor.cell.operator['operator.migrate']({ instanceId: id });
  const target = await until('it runs there', () => {
    const vm = setup.hosts.find(({ hostId }) => hostId === targetHostId)?.vms.get(id);
    // The target has heard nothing of it yet.
    if (vm !== undefined) vm.guest = { ...vm.guest, configured: false, listenedMs: 3 };
    return vm?.state === 'running' && vm;
  });
  await until('the source is clear', () => source.state === 'absent');
  assert.notEqual(target, source);
  const reports = setup.hosts.map((each) => each.report().sequence);
  await until('both hosts have reported since', () =>
    setup.hosts.every((each, n) => each.report().sequence > (reports[n] ?? 0) + 3),
  );
  clearInterval(watching);
  assert.deepEqual([...new Set(seen)], ['ok'], 'all the while');
  await processor.stop();
  processor = await setup.addProcessor();
  await instanceIs(id, 'ok');
  await terminate(id);
});

test('an end that a host tells of before it has heard of the present life is no alarm', async () => {
  const id = await running();
  await instanceIs(id, 'ok');
  const { services } = processor.cell;
  const at = setup.hosts.find(({ vms }) => vms.get(id) === vmOf(id));
  assert.ok(at);
  const [row] = await services.db.query<{ place_epoch: number }>(
    'select place_epoch from instances where id = $1',
    [id],
  );
  const generation = generationOf(row?.place_epoch ?? 0);
  const recorder = new HealthRecorder(services);
  const told = { ...vmOf(id).report(), generation: generation - 1 };
  await recorder.record(at.hostId, [told]);
  const { health: _, ...ended } = told;
  await recorder.record(at.hostId, [{ ...ended, state: 'stopped' }]);
  assert.equal((await status(id)).SystemStatus?.Status, 'ok');
  await recorder.record(at.hostId, [{ ...told, generation }]);
  await recorder.record(at.hostId, [{ ...ended, state: 'stopped', generation }]);
  assert.equal((await status(id)).SystemStatus?.Status, 'impaired', 'of its present life it is one');
  await terminate(id);
});

test('a VM that ended and is started again is initializing until it is heard of', async () => {
  const id = await running();
  await instanceIs(id, 'ok');
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'stopped');
  vmOf(id).guest = { ...vmOf(id).guest, configured: false, bootSeen: true, listenedMs: 1 };
  await ec2(processor.cell, 'StartInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'running');
  await grownUp(id);
  await instanceIs(id, 'initializing');
  vmOf(id).guest = { ...vmOf(id).guest, configured: true };
  await instanceIs(id, 'ok');
  await terminate(id);
});

test('a host whose file system has no room takes no launch, and starts what it has', async () => {
  const id = await running();
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'stopped');
  const roomy = setup.hosts.map((each) => each.diskCapacityMib);
  for (const each of setup.hosts) each.diskCapacityMib = 1;
  const refused = () =>
    launch(processor.cell, setup.region).then(
      async (made) => {
        await terminate(made);
        return 'ok';
      },
      (error: unknown) => PandoError.from(error).code,
    );
  await until('a launch finds no room', async () => (await refused()) === 'InsufficientInstanceCapacity');
  await ec2(processor.cell, 'StartInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'running');
  for (const [n, each] of setup.hosts.entries()) each.diskCapacityMib = roomy[n] ?? 0;
  await until('and then it does', async () => (await refused()) === 'ok');
  await terminate(id);
});

test('a healthy VM costs the store nothing: reports that say the same write nothing', async () => {
  const id = await running();
  await instanceIs(id, 'ok');
  const { db } = processor.cell.services;
  const version = () => db.query(`select xmin::text from instance_health where instance_id = $1`, [id]);
  const first = await version();
  assert.equal(first.length, 1);
  const sequence = host.report().sequence;
  await until('ten reports later', () => host.report().sequence > sequence + 20);
  assert.deepEqual(await version(), first);
  await terminate(id);
});
