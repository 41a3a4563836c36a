/** What becomes of an instance whose VM ended: only a guest's own shutdown counts as one, everything else keeps the disk. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { endingOf } from '#cell/hosts/endings.ts';
import { recoveryTriesMax, recoveryWindowMs } from '#cell/limits.ts';
import type { VmEnded, VmReport } from '#contracts/host.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import type { SimVm } from '#simhost/vm.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';
import { describe, launch, reaches } from './support/instances.ts';

let setup: TestCell;
let processor: TestProcessor;
let host: SimHost;

before(async () => {
  setup = await TestCell.start();
  host = setup.addHost();
  processor = await setup.addProcessor();
});
after(() => setup.stop());

const running = async (more: object = {}): Promise<string> => {
  const id = await launch(processor.cell, setup.region, more);
  await reaches(processor.cell, id, 'running');
  return id;
};
const vmOf = (id: string): SimVm => {
  const vm = host.vms.get(id);
  assert.ok(vm, `${id} is on the host`);
  return vm;
};
const launchesOf = (): number => host.calls.get('vm.launch') ?? 0;
const terminate = async (...ids: string[]): Promise<void> => {
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: ids });
  for (const id of ids) await reaches(processor.cell, id, 'terminated');
};
const disabled = { MaintenanceOptions: { AutoRecovery: 'disabled' } };

test('a killed VM is started again on its host and disk, though it would terminate at a shutdown', async () => {
  const id = await running({ InstanceInitiatedShutdownBehavior: 'terminate' });
  const vm = vmOf(id);
  const { ip } = setup.region.interfaces.get(id) ?? {};
  host.killVmm(id);
  await until('it runs again', () => vm.state === 'running');
  assert.equal(vmOf(id), vm, 'the same VM: it was not destroyed');
  const { State, PrivateIpAddress } = await describe(processor.cell, id);
  assert.deepEqual([State?.Name, PrivateIpAddress], ['running', ip]);
  assert.deepEqual(setup.world.violations, []);
  await terminate(id);
});

test('a host that lost its power brings its VMs back; those that want no recovery are stopped, disk intact', async () => {
  const [keep, off] = [await running(), await running(disabled)];
  host.losePower();
  await until('one runs again', () => vmOf(keep).state === 'running');
  const stopped = await reaches(processor.cell, off, 'stopped');
  assert.equal(stopped.StateReason?.Code, 'Server.InternalError');
  assert.equal(stopped.MaintenanceOptions?.AutoRecovery, 'disabled');
  assert.ok(vmOf(off).hasDisk);
  await ec2(processor.cell, 'StartInstances', { InstanceIds: [off] });
  await reaches(processor.cell, off, 'running');
  await terminate(keep, off);
});

test('recovery is tried a bounded number of times, then the instance is stopped with its disk', async () => {
  const id = await running();
  const before = launchesOf();
  host.faults.order('vm.launch', { kind: 'fail' }, 1_000);
  host.killVmm(id);
  const stopped = await reaches(processor.cell, id, 'stopped', 60_000);
  host.faults.clear();
  assert.match(stopped.StateReason?.Message ?? '', /^Server\.InternalError: .*could not be recovered/);
  assert.equal(launchesOf(), before, 'ordered failures are not carried out');
  const recoveries = await processor.cell.services.db.query(
    `select id from workflows where kind = 'recover' and subject = $1`,
    [id],
  );
  assert.equal(recoveries.length, recoveryTriesMax);
  assert.ok(vmOf(id).hasDisk);
  await terminate(id);
});

test('a user who stops or terminates an instance that is being recovered gets that', async () => {
  const [stop, end] = [await running(), await running()];
  host.faults.order('vm.launch', { kind: 'hang' }, 2);
  for (const id of [stop, end]) host.killVmm(id);
  const { db } = processor.cell.services;
  await until('both are being recovered', async () => {
    const rows = await db.query(`select id from workflows where kind = 'recover' and state = 'running'`);
    return rows.length === 2;
  });
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [stop] });
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [end] });
  host.crash();
  await reaches(processor.cell, stop, 'stopped');
  await reaches(processor.cell, end, 'terminated');
  host.faults.clear();
  await terminate(stop);
});

test('an end without a cause, as a host of the last release tells it, terminates nothing and recovers nothing', async () => {
  const id = await running({ InstanceInitiatedShutdownBehavior: 'terminate' });
  vmOf(id).become('stopped', 'guest shutdown');
  const stopped = await reaches(processor.cell, id, 'stopped');
  assert.equal(stopped.StateReason?.Code, 'Server.InternalError');
  assert.ok(vmOf(id).hasDisk);
  await terminate(id);
});

test('ModifyInstanceMaintenanceOptions changes what happens at the next end', async () => {
  const id = await running();
  const change = { InstanceId: id, AutoRecovery: 'disabled' };
  assert.deepEqual(await ec2(processor.cell, 'ModifyInstanceMaintenanceOptions', change), {
    InstanceId: id,
    AutoRecovery: 'disabled',
  });
  await assert.rejects(
    ec2(processor.cell, 'ModifyInstanceMaintenanceOptions', { ...change, AutoRecovery: 'sometimes' }),
    { code: 'InvalidParameterValue' },
  );
  host.killVmm(id);
  await reaches(processor.cell, id, 'stopped');
  await terminate(id);
});

test('as a property: a VM ends in a termination only by its guest’s shutdown, and tries never pass their limit', () => {
  const causes = [
    undefined,
    'requested',
    'killed',
    'host-restarted',
    'failed-to-start',
    'guest-shutdown',
  ] as const;
  const nowMs = 10 * recoveryWindowMs;
  const at = (agoMs: number): string => new Date(nowMs - agoMs).toISOString();
  const ended = (cause: VmEnded['cause'] | undefined) =>
    cause === undefined ? undefined : { cause, at: at(0) };
  const spec = { shutdownBehavior: 'terminate' } as Parameters<typeof endingOf>[0]['spec'];
  for (const state of ['stopped', 'failed', 'absent'] as const)
    for (const cause of causes)
      for (let tries = 0; tries <= recoveryTriesMax; tries++)
        for (const agoMs of [-recoveryWindowMs, 0, 5_000, recoveryWindowMs / 2, 2 * recoveryWindowMs])
          for (const autoRecovery of [undefined, 'default', 'disabled'] as const) {
            const vm: VmReport = {
              ...{ instanceId: 'i-1', state, ended: ended(cause) },
              requirement: { vcpus: 1, memoryMib: 1, rootDiskMib: 1 },
            };
            const recovery = tries === 0 ? null : { tries, lastAt: at(agoMs) };
            const ending = endingOf({ spec: { ...spec, autoRecovery }, recovery }, vm, nowMs);
            const isGuests = cause === 'guest-shutdown' && state === 'stopped';
            assert.equal(ending.kind === 'terminate', isGuests);
            if (ending.kind === 'recover') {
              assert.notEqual(autoRecovery, 'disabled');
              assert.notEqual(state, 'absent');
              assert.ok(ending.recovery.tries <= recoveryTriesMax);
              if (agoMs < recoveryWindowMs) assert.equal(ending.recovery.tries, tries + 1);
            }
            // The clock was stepped back by more than a try takes: a VM does not stand still for that long.
            if (agoMs < 0) assert.notEqual(ending.kind, 'wait');
          }
});
