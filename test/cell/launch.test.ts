/** The life of an instance on simulated hosts: launch, describe, stop, start, reboot, terminate. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Instance, Reservation } from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';

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

const run = async (more: object = {}): Promise<Instance[]> => {
  const output = (await ec2(processor.cell, 'RunInstances', {
    ImageId: setup.region.imageId,
    InstanceType: 'p1.nano',
    MinCount: 1,
    MaxCount: 1,
    ...more,
  })) as Reservation;
  return output.Instances ?? [];
};

const describe = async (id: string): Promise<Instance> => {
  const output = await ec2(processor.cell, 'DescribeInstances', { InstanceIds: [id] });
  const instance = (output.Reservations as Reservation[])[0]?.Instances?.[0];
  assert.ok(instance);
  return instance;
};

const reaches = (id: string, state: string): Promise<Instance> =>
  until(`${id} ${state}`, async () => {
    const instance = await describe(id);
    return instance.State?.Name === state && instance;
  });

const code = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => PandoError.from(error).code,
  );

test('an instance profile is refused by a cell whose region does not know of any yet', async () => {
  await assert.rejects(run({ IamInstanceProfile: { Name: 'web' } }), {
    code: 'UnsupportedOperation',
    message: 'Instance profiles are not available until the region is upgraded.',
  });
});

test('an instance is launched, shown, stopped, started, rebooted and terminated', async () => {
  const [launched] = await run({
    TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'Name', Value: 'one' }] }],
  });
  const id = launched?.InstanceId ?? '';
  assert.equal(launched?.State?.Name, 'pending');
  assert.match(launched?.PrivateIpAddress ?? '', /^10\.0\./);
  const running = await reaches(id, 'running');
  assert.deepEqual(running.Tags, [{ Key: 'Name', Value: 'one' }]);
  assert.equal(running.NetworkInterfaces?.length, 1);
  assert.equal(setup.world.runningOn(id).length, 1);

  const stopping = await ec2(processor.cell, 'StopInstances', { InstanceIds: [id] });
  assert.deepEqual(stopping.StoppingInstances, [
    {
      InstanceId: id,
      CurrentState: { Code: 64, Name: 'stopping' },
      PreviousState: { Code: 16, Name: 'running' },
    },
  ]);
  const stopped = await reaches(id, 'stopped');
  assert.match(stopped.StateTransitionReason ?? '', /^User initiated \(.* GMT\)$/);
  assert.equal(setup.world.runningOn(id).length, 0);

  const starting = await ec2(processor.cell, 'StartInstances', { InstanceIds: [id] });
  assert.equal(
    (starting.StartingInstances as { CurrentState: { Name: string } }[])[0]?.CurrentState.Name,
    'pending',
  );
  await reaches(id, 'running');
  await ec2(processor.cell, 'RebootInstances', { InstanceIds: [id] });

  const terminating = await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] });
  assert.equal(
    (terminating.TerminatingInstances as { CurrentState: { Name: string } }[])[0]?.CurrentState.Name,
    'shutting-down',
  );
  const terminated = await reaches(id, 'terminated');
  assert.equal(terminated.NetworkInterfaces?.length, 0);
  assert.equal(terminated.PrivateIpAddress, undefined);
  assert.equal(setup.region.interfaces.size, 0);
  assert.ok(setup.hosts.every((each) => each.vms.size === 0 && each.card.ports.size === 0));
  const again = await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] });
  assert.equal(
    (again.TerminatingInstances as { CurrentState: { Name: string } }[])[0]?.CurrentState.Name,
    'terminated',
  );
});

test('a launch shows its interface as it was told with its allocation; a region of the last release is asked for it', async () => {
  for (const shows of [true, false]) {
    setup.region.showsAllocated = shows;
    const before = setup.region.interfacesAsked;
    const [launched] = await run();
    assert.equal(setup.region.interfacesAsked - before, shows ? 0 : 1);
    const [shown] = launched?.NetworkInterfaces ?? [];
    const id = launched?.InstanceId ?? '';
    assert.equal(shown?.NetworkInterfaceId, setup.region.interfaces.get(id)?.eniId);
    assert.equal(launched?.PrivateIpAddress, setup.region.interfaces.get(id)?.ip);
    await reaches(id, 'running');
    await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] });
    await reaches(id, 'terminated');
  }
});

test('a launch whose host wants the network prepared again gets it, and is not undone', async () => {
  const stale = new PandoError('IncorrectState', 'The network served an earlier VMM: prepare it again.');
  for (const each of setup.hosts) each.faults.order('vm.launch', { kind: 'fail', error: stale });
  const prepared = (): number =>
    setup.hosts.reduce((sum, each) => sum + (each.calls.get('vm.prepareNetwork') ?? 0), 0);
  const before = prepared();
  const [launched] = await run();
  const id = launched?.InstanceId ?? '';
  await reaches(id, 'running');
  assert.equal(prepared() - before, 2);
  for (const each of setup.hosts) each.faults.clear();
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [id] });
  await reaches(id, 'stopped');
  for (const each of setup.hosts) each.faults.order('vm.launch', { kind: 'fail', error: stale });
  await ec2(processor.cell, 'StartInstances', { InstanceIds: [id] });
  await reaches(id, 'running');
  for (const each of setup.hosts) each.faults.clear();
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] });
  await reaches(id, 'terminated');
});

test('a client token gives the same instances again, and refuses other parameters', async () => {
  const [[first], [second]] = await Promise.all([run({ ClientToken: 'once' }), run({ ClientToken: 'once' })]);
  assert.equal(first?.InstanceId, second?.InstanceId);
  assert.equal(
    await code(run({ ClientToken: 'once', InstanceType: 'p1.micro' })),
    'IdempotentParameterMismatch',
  );
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [first?.InstanceId] });
  await reaches(first?.InstanceId ?? '', 'terminated');
});

test('one unknown id refuses the whole request', async () => {
  const [instance] = await run();
  const id = instance?.InstanceId ?? '';
  await reaches(id, 'running');
  const other = `${id.slice(0, -4)}ffff`;
  assert.equal(
    await code(ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id, other] })),
    'InvalidInstanceID.NotFound',
  );
  assert.equal(
    await code(ec2(processor.cell, 'TerminateInstances', { InstanceIds: ['i-xyz'] })),
    'InvalidInstanceID.Malformed',
  );
  assert.equal((await describe(id)).State?.Name, 'running');
  assert.equal(await code(ec2(processor.cell, 'StartInstances', { InstanceIds: [id] })), 'ok');
  assert.equal(
    await code(ec2(processor.cell, 'StopInstances', { InstanceIds: [id], DryRun: true })),
    'DryRunOperation',
  );
  assert.equal((await describe(id)).State?.Name, 'running');
  await ec2(processor.cell, 'ModifyInstanceAttribute', {
    InstanceId: id,
    DisableApiTermination: { Value: true },
  });
  assert.equal(
    await code(ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] })),
    'OperationNotPermitted',
  );
  await ec2(processor.cell, 'ModifyInstanceAttribute', {
    InstanceId: id,
    DisableApiTermination: { Value: false },
  });
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] });
  await reaches(id, 'terminated');
});

test('no capacity: all or nothing down to the minimum', async () => {
  assert.equal(await code(run({ InstanceType: 'custom.250m.30000' })), 'InsufficientInstanceCapacity');
  // Two hosts of 16 vCPUs hold 32 of one vCPU each.
  assert.equal(
    await code(run({ InstanceType: 'p1.medium', MinCount: 33, MaxCount: 40 })),
    'InsufficientInstanceCapacity',
  );
  const many = await run({ InstanceType: 'p1.medium', MinCount: 2, MaxCount: 40 });
  assert.equal(many.length, 32);
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: many.map((each) => each.InstanceId) });
  for (const each of many) await reaches(each.InstanceId ?? '', 'terminated');
  assert.deepEqual(setup.world.violations, []);
});

test('a guest that powers itself off is stopped, or terminated if it was launched so', async () => {
  const [keep] = await run();
  const [drop] = await run({ InstanceInitiatedShutdownBehavior: 'terminate' });
  for (const each of [keep, drop]) await reaches(each?.InstanceId ?? '', 'running');
  for (const each of [keep, drop]) {
    const id = each?.InstanceId ?? '';
    setup.hosts.find((candidate) => candidate.vms.has(id))?.guestShutdown(id);
  }
  const stopped = await reaches(keep?.InstanceId ?? '', 'stopped');
  assert.equal(stopped.StateReason?.Code, 'Client.InstanceInitiatedShutdown');
  await reaches(drop?.InstanceId ?? '', 'terminated');
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [keep?.InstanceId] });
  await reaches(keep?.InstanceId ?? '', 'terminated');
  assert.ok(host.vms.size === 0);
});
