/**
 * A store that came back without its last second goes on with changes that hosts know to be over: they have heard of later ones, and
 * refuse. No such workflow stands still, and none ends a VM that lives on by a later change than the store knows.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { generationOf } from '#cell/generation.ts';
import { HostReconciler } from '#cell/hosts/reconcile.ts';
import { instanceFates } from '#cell/instance-fates.ts';
import { findInstance } from '#cell/store/instances.ts';
import { PandoError } from '#contracts/errors.ts';
import { SimCaller } from '#simhost/caller.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { doomedLease, kill } from './support/fault-matrix.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';
import { describe, launch, reaches } from './support/instances.ts';
import { OrderedFaults } from './support/ordered-faults.ts';

let setup: TestCell;
let processor: TestProcessor;
let first: SimHost;
const faults = new OrderedFaults();

before(async () => {
  setup = await TestCell.start();
  first = setup.addHost();
  processor = await setup.addProcessor({ faults });
});
after(() => setup.stop());
afterEach(() => {
  faults.clear();
  assert.deepEqual(setup.world.violations, []);
});

const lost = 7;
/** What another history of the store, which is lost, had the host do to the instance. */
const elsewhen = (
  method: 'vm.destroy' | 'vm.stop',
  instanceId: string,
  { host = first, generation = lost } = {},
): Promise<unknown> => {
  const command = { workflowId: `lost-${generation}-${instanceId}`, step: method, epoch: 1, generation };
  const caller = new SimCaller(host);
  return method === 'vm.stop'
    ? caller.call('vm.stop', { command, instanceId, force: true, graceMs: 0 })
    : caller.call('vm.destroy', { command, instanceId });
};
const failLaunch = (): void => faults.failAt('launch.launchVm.after', Number.POSITIVE_INFINITY);
/** Right before the first undo that reaches the host. */
const beforeUndo = (work: (id: string) => Promise<unknown>, id: () => string): void =>
  faults.doAt('launch.prepareNetwork.undo.before', async () => {
    await work(id());
  });
const db = () => processor.cell.services.db;
const claimsOf = (id: string) => db().query('select id from claims where holder = $1', [id]);
const quarantined = async (id: string): Promise<string | undefined> =>
  (await processor.cell.operator['operator.quarantined']({})).vms.find((vm) => vm.instanceId === id)?.reason;
const fateOf = async (id: string) => (await instanceFates(processor.cell.services, [id])).instances[0]?.fate;
const change = (action: string, id: string) => ec2(processor.cell, action, { InstanceIds: [id] });
const unended = () => db().query(`select kind, state from workflows where state not in ('done', 'undone')`);
const running = async (): Promise<string> => {
  const id = await launch(processor.cell, setup.region);
  await reaches(processor.cell, id, 'running');
  return id;
};

test('the undo of a launch ends where the host knows of its termination', async () => {
  let id = '';
  failLaunch();
  beforeUndo(
    (it) => elsewhen('vm.destroy', it),
    () => id,
  );
  id = await launch(processor.cell, setup.region);
  await reaches(processor.cell, id, 'terminated');
  assert.deepEqual([first.vms.size, await claimsOf(id), await unended()], [0, [], []]);
  assert.equal(setup.region.interfaces.has(id), false, 'nothing of it is left');
  assert.equal(await fateOf(id), 'ended');
});

test('the undo of a launch leaves a VM that lives on by a later change: in quarantine, with its address, until it is adopted', async () => {
  let id = '';
  failLaunch();
  beforeUndo(
    (it) => elsewhen('vm.stop', it),
    () => id,
  );
  id = await launch(processor.cell, setup.region);
  await reaches(processor.cell, id, 'terminated');
  const vm = first.vms.get(id);
  assert.equal(vm?.state, 'stopped');
  const destroyed = first.calls.get('vm.destroy');
  assert.deepEqual([await quarantined(id), await claimsOf(id), await unended()], ['newer', [], []]);
  assert.equal(await fateOf(id), 'present', 'its interface is not swept');
  await until('the next report is compared, and keeps it', async () => {
    const [row] = await db().query<{ again: boolean }>(
      'select last_seen > first_seen as again from quarantined_vms where instance_id = $1',
      [id],
    );
    return row?.again;
  });
  assert.equal(first.vms.get(id), vm);
  assert.equal(first.calls.get('vm.destroy'), destroyed, 'nothing was removed on a belief');
  const { ip } = setup.region.interfaces.get(id) ?? {};
  assert.equal((await processor.cell.operator['operator.adoptVm']({ instanceId: id })).state, 'stopped');
  faults.clear();
  await change('StartInstances', id);
  const instance = await reaches(processor.cell, id, 'running');
  assert.equal(instance.PrivateIpAddress, ip);
  await change('TerminateInstances', id);
  await reaches(processor.cell, id, 'terminated');
  assert.deepEqual([first.vms.size, await claimsOf(id)], [0, []]);
});

for (const when of ['while it is refused', 'before another processor takes it over'] as const)
  test(`the undo of a launch leaves a VM that lives on, also where a report raises the row ${when}`, async () => {
    const own = new OrderedFaults();
    const doomed = await setup.addProcessor({ ...doomedLease, faults: own });
    const { services } = processor.cell;
    const reconciler = new HostReconciler({ services, owner: 'other', begun: () => undefined });
    const reconcile = () => reconciler.reconcile(first.hostId, first.reports());
    own.failAt('launch.launchVm.after', Number.POSITIVE_INFINITY);
    own.doAt('launch.prepareNetwork.undo.before', async () => {
      const [it = ''] = first.vms.keys();
      await elsewhen('vm.stop', it);
      await reconcile();
      assert.ok(generationOf((await findInstance(db(), it))?.place_epoch ?? 0) > lost, 'it was raised');
      if (when === 'while it is refused') return;
      kill(doomed, processor);
      await new Promise(() => undefined);
    });
    const id = await launch(doomed.cell, setup.region);
    await reaches(processor.cell, id, 'terminated');
    const vm = first.vms.get(id);
    for (let report = 0; report < 2; report++) await reconcile();
    const left = [vm?.state, first.vms.get(id), await quarantined(id)];
    assert.deepEqual(left, ['stopped', vm, 'newer'], 'nothing was removed on a belief');
    await processor.cell.operator['operator.removeVm']({ instanceId: id });
    assert.equal(first.vms.size, 0);
    await doomed.stop();
  });

test('an operator removes what a launch left: VM and interface', async () => {
  let id = '';
  failLaunch();
  beforeUndo(
    (it) => elsewhen('vm.stop', it),
    () => id,
  );
  id = await launch(processor.cell, setup.region);
  await reaches(processor.cell, id, 'terminated');
  await processor.cell.operator['operator.removeVm']({ instanceId: id });
  assert.deepEqual([first.vms.size, setup.region.interfaces.has(id), await fateOf(id)], [0, false, 'ended']);
});

test('what its owner has asked to end is ended, whatever the host has heard', async () => {
  for (const generation of [lost, 2]) {
    const id = await running();
    await elsewhen('vm.stop', id, { generation });
    await change('TerminateInstances', id);
    await reaches(processor.cell, id, 'terminated', 40_000);
    await until('it is gone', () => !first.vms.has(id));
    assert.deepEqual([setup.region.interfaces.has(id), await claimsOf(id), await unended()], [false, [], []]);
  }
});

test('a stop ends where the host has heard newer: of a VM that is there, and of one that is gone', async () => {
  for (const method of ['vm.stop', 'vm.destroy'] as const) {
    const id = await running();
    await elsewhen(method, id, { generation: 2 });
    if (method === 'vm.destroy') await elsewhen(method, id, { generation: 3 });
    await change('StopInstances', id);
    await reaches(processor.cell, id, 'stopped', 40_000);
    await until('its workflow ends', async () => (await unended()).length === 0);
    await change('TerminateInstances', id);
    await reaches(processor.cell, id, 'terminated', 40_000);
    assert.equal(first.vms.has(id), false);
  }
});

test('the undo of a start ends where host and region have heard newer, and its instance is stopped', async () => {
  const id = await running();
  await change('StopInstances', id);
  await reaches(processor.cell, id, 'stopped');
  faults.failAt('start.launchVm.after', Number.POSITIVE_INFINITY);
  faults.doAt('start.launchVm.undo.before', async () => {
    await elsewhen('vm.stop', id);
    await setup.region.call('region.releaseInterface', { instanceId: id });
  });
  await change('StartInstances', id);
  await reaches(processor.cell, id, 'stopped');
  await until('its workflow ends', async () => (await unended()).length === 0);
  assert.equal((await describe(processor.cell, id)).State?.Name, 'stopped');
  assert.ok(first.vms.get(id)?.hasDisk);
  await change('TerminateInstances', id);
  await reaches(processor.cell, id, 'terminated', 40_000);
});

test('the undo of a migration leaves a target that has heard newer, and its room stays taken', async () => {
  const target = setup.addHost();
  await processor.dial(target);
  const id = await running();
  const seen = await findInstance(db(), id);
  const [source, other] = seen?.host_id === first.hostId ? [first, target] : [target, first];
  faults.failAt('migrate.converge.after', Number.POSITIVE_INFINITY);
  faults.doAt('migrate.prepareNetwork.undo.before', async () => {
    await elsewhen('vm.stop', id, { host: other });
  });
  await processor.cell.operator['operator.migrate']({ instanceId: id, targetHostId: other.hostId });
  await until('its workflow ends', async () => (await unended()).length === 0);
  assert.equal(source.vms.get(id)?.state, 'running');
  // Its own host shows the guest: that is the proof by which the copy goes.
  await until('the copy goes', () => !other.vms.has(id));
  await change('TerminateInstances', id);
  await reaches(processor.cell, id, 'terminated', 40_000);
});

test('who has no lease, or has lost the workflow, is refused as before', async () => {
  const id = await running();
  const { services } = processor.cell;
  const failure = new PandoError('StaleEpoch', 'refused');
  const { seenWhereRefused } = await import('#cell/workflows/steps/overtaken.ts');
  const context = {
    ...{ services, subject: id, workflowId: 'w-none' },
    command: { workflowId: 'w-none', step: 's', epoch: 1, generation: 1 },
  } as never;
  for (const error of [
    failure,
    new PandoError('StaleEpoch', 'no lease', { details: { lease: 'lapsed' } }),
    new PandoError('NotFound', 'another'),
  ])
    await assert.rejects(seenWhereRefused(context, first.hostId, error), (thrown) => thrown === error);
  await change('TerminateInstances', id);
  await reaches(processor.cell, id, 'terminated');
});
