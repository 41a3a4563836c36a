/** The store is not trusted to destroy: what no row accounts for runs on until an operator decides, and removals have proof and a budget. */
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { HostReconciler } from '#cell/hosts/reconcile.ts';
import { removalsPerHostMax } from '#cell/limits.ts';
import { claimIdOf, migrationHostOf, releaseClaim, reservedOf, setClaim } from '#cell/store/claims.ts';
import { findInstance, insertInstance, purgeTerminated } from '#cell/store/instances.ts';
import { PandoError } from '#contracts/errors.ts';
import { newCellId } from '#contracts/ids.ts';
import { SimCaller } from '#simhost/caller.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { SimVm } from '#simhost/vm.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';
import { describe, launch, reaches } from './support/instances.ts';

let setup: TestCell;
let processor: TestProcessor;
let first: SimHost;
let second: SimHost;

before(async () => {
  setup = await TestCell.start();
  first = setup.addHost();
  second = setup.addHost();
  processor = await setup.addProcessor();
});
after(() => setup.stop());
afterEach(async () => {
  await db().query('delete from removals');
});

const db = () => processor.cell.services.db;
const operator = () => processor.cell.operator;
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => PandoError.from(error).code,
  );
const running = async (): Promise<{ id: string; host: SimHost; vm: SimVm }> => {
  const id = await launch(processor.cell, setup.region);
  await reaches(processor.cell, id, 'running');
  const host = setup.hosts.find((each) => each.vms.has(id));
  const vm = host?.vms.get(id);
  assert.ok(host && vm);
  return { id, host, vm };
};
const terminate = async (id: string): Promise<void> => {
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'terminated');
};
/** As after a failover that lost the last commits: nothing in the store speaks of the instance. */
const loseRow = async (id: string): Promise<void> => {
  await db().transaction(async (tx) => {
    await tx.query('delete from instances where id = $1', [id]);
    await releaseClaim(tx, claimIdOf('instance', id));
  });
};
const quarantined = async (id: string): Promise<string | undefined> =>
  (await operator()['operator.quarantined']({})).vms.find((vm) => vm.instanceId === id)?.reason;
const reported = async (host: SimHost, times = 3): Promise<void> => {
  // Each report is a whole comparison when something is different in it.
  for (let turn = 0; turn < times; turn++) {
    const stranger = new SimVm(newCellId('instance', 9), host.hostId, setup.world);
    host.vms.set(stranger.instanceId, stranger);
    await until('compared', () => quarantined(stranger.instanceId));
    host.vms.delete(stranger.instanceId);
    await until('compared again', async () => (await quarantined(stranger.instanceId)) === undefined);
  }
};

test('a VM whose row was lost runs on in quarantine, is adopted with its address, and is an instance again', async () => {
  const { id, host, vm } = await running();
  const { ip } = setup.region.interfaces.get(id) ?? {};
  await loseRow(id);
  await reported(host, 1);
  assert.equal(await until('it is in quarantine', () => quarantined(id)), 'no-row');
  assert.ok(processor.cell.reports.quarantined > 0, 'the processor says so');
  await reported(host);
  assert.equal(host.vms.get(id), vm);
  assert.equal(vm.state, 'running');
  assert.equal(host.calls.get('vm.destroy'), undefined, 'nothing was removed for want of a row');
  const adopted = await operator()['operator.adoptVm']({ instanceId: id });
  assert.deepEqual([adopted.hostId, adopted.state], [host.hostId, 'running']);
  const instance = await describe(processor.cell, id);
  assert.deepEqual(
    [instance.State?.Name, instance.PrivateIpAddress, instance.InstanceType],
    ['running', ip, 'p1.nano'],
  );
  assert.equal(await quarantined(id), undefined);
  assert.equal(await codeOf(operator()['operator.adoptVm']({ instanceId: id })), 'NotFound');
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'stopped');
  await ec2(processor.cell, 'StartInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'running');
  assert.deepEqual(setup.world.violations, []);
  await terminate(id);
  assert.ok(setup.hosts.every((each) => each.vms.size === 0 && each.card.ports.size === 0));
});

test('an operator removes what is nobody’s: VM, disk and interface', async () => {
  const { id, host } = await running();
  await loseRow(id);
  await reported(host, 1);
  await until('it is in quarantine', () => quarantined(id));
  assert.deepEqual(await operator()['operator.removeVm']({ instanceId: id }), { hostId: host.hostId });
  assert.equal(host.vms.has(id), false);
  assert.equal(setup.region.interfaces.has(id), false);
  assert.equal(await quarantined(id), undefined);
});

test('a report that is older than a quarantine does not end it; its host, which has nothing any more, does', async () => {
  const { id, host, vm } = await running();
  await loseRow(id);
  await reported(host, 1);
  await until('it is in quarantine', () => quarantined(id));
  const begun = () => undefined;
  const reconciler = new HostReconciler({ services: processor.cell.services, owner: 'late', begun });
  const { quarantine } = reconciler;
  const others = [...host.vms.values()].filter((each) => each !== vm).map((each) => each.report());
  await reconciler.reconcile(host.hostId, others);
  assert.deepEqual([await quarantined(id), quarantine.size], ['no-row', 1]);
  host.vms.delete(id);
  await reconciler.reconcile(host.hostId, others);
  assert.deepEqual([await quarantined(id), quarantine.size], [undefined, 0]);
});

/** A reconciler that meets something right before, or after, a statement on the records of quarantine. */
const meeting = (
  statement: string,
  met: { readonly before?: () => Promise<unknown>; readonly after?: () => Promise<unknown> },
): HostReconciler => {
  const { services } = processor.cell;
  const query: typeof services.db.query = async (text, values) => {
    const meets = text.startsWith(statement);
    if (meets) await met.before?.();
    const rows = await services.db.query<never>(text, values);
    if (meets) await met.after?.();
    return rows;
  };
  const db = { ...services.db, query, transaction: services.db.transaction.bind(services.db) };
  return new HostReconciler({ services: { ...services, db }, owner: 'late', begun: () => undefined });
};

test('a VM that is adopted while a report is compared is out of quarantine with the next one', async () => {
  const { id, host } = await running();
  await loseRow(id);
  await reported(host, 1);
  await until('it is in quarantine', () => quarantined(id));
  const reports = [...host.vms.values()].map((vm) => vm.report());
  const late = meeting('insert into quarantined_vms', {
    before: () => operator()['operator.adoptVm']({ instanceId: id }),
  });
  assert.equal(await late.reconcile(host.hostId, reports), false, 'the next report is compared too');
  const { services } = processor.cell;
  const next = new HostReconciler({ services, owner: 'late', begun: () => undefined });
  await next.reconcile(host.hostId, reports);
  assert.equal(await quarantined(id), undefined);
  await terminate(id);
});

test('a quarantine that another processor has ended meanwhile is not counted', async () => {
  const { id, host } = await running();
  await loseRow(id);
  await reported(host, 1);
  await until('it is in quarantine', () => quarantined(id));
  const reports = [...host.vms.values()].map((vm) => vm.report());
  const late = meeting('select instance_id, host_id, last_seen', {
    after: async () => {
      if (!host.vms.has(id)) await db().query('delete from quarantined_vms where instance_id = $1', [id]);
    },
  });
  await late.reconcile(host.hostId, reports);
  assert.equal(late.quarantine.size, 1);
  processor.cut(host);
  host.vms.delete(id);
  await late.reconcile(host.hostId, []);
  assert.equal(late.quarantine.size, 0);
  await processor.dial(host);
});

test('what the region forgot too is not adopted: its address may be another’s', async () => {
  const { id, host } = await running();
  await loseRow(id);
  await reported(host, 1);
  await until('it is in quarantine', () => quarantined(id));
  await setup.region.call('region.releaseInterface', { instanceId: id });
  assert.equal(await codeOf(operator()['operator.adoptVm']({ instanceId: id })), 'IncorrectState');
  await operator()['operator.removeVm']({ instanceId: id });
});

test('a VM of another cell is never touched, not even by an operator of this one', async () => {
  const vm = new SimVm(newCellId('instance', 2), first.hostId, setup.world);
  vm.become('running');
  first.vms.set(vm.instanceId, vm);
  assert.equal(await until('it is in quarantine', () => quarantined(vm.instanceId)), 'other-cell');
  for (const order of ['operator.adoptVm', 'operator.removeVm'] as const)
    assert.equal(await codeOf(operator()[order]({ instanceId: vm.instanceId })), 'IncorrectState');
  assert.equal(vm.state, 'running');
  vm.become('absent');
  first.vms.delete(vm.instanceId);
  await until('it is forgotten', async () => (await quarantined(vm.instanceId)) === undefined);
});

test('a row that names another host is no proof: a restored store kept the place of before a migration', async () => {
  const { id, host, vm } = await running();
  const other = host === first ? second : first;
  const held = (await findInstance(db(), id))?.host_id;
  // No workflow, no VM on the host that the row names: as the store was before the instance moved.
  await db().transaction(async (tx) => {
    const amount = await reservedOf(tx, id);
    assert.ok(amount);
    await releaseClaim(tx, claimIdOf('instance', id));
    assert.ok(await setClaim(tx, other.hostId, { purpose: 'instance', holder: id, amount }));
    await tx.query('update instances set host_id = $2, version = version + 1 where id = $1', [
      id,
      other.hostId,
    ]);
  });
  await reported(host, 1);
  assert.equal(await until('it is in quarantine', () => quarantined(id)), 'elsewhere');
  assert.equal(vm.state, 'running');
  await reported(other, 1);
  // Its row's host has nothing of it, so the instance stops; the VM that exists is adopted under the old row.
  await reaches(processor.cell, id, 'stopped');
  await operator()['operator.adoptVm']({ instanceId: id });
  const row = await findInstance(db(), id);
  assert.deepEqual([row?.host_id, row?.state], [held, 'running']);
  assert.deepEqual((await reservedOf(db(), id))?.memoryMib, row?.memory_mib);
  const port = setup.region.interfaces.get(id);
  assert.deepEqual([port?.vtep, port?.epoch], [host.card.vtep, row?.place_epoch], 'packets go where it runs');
  await terminate(id);
});

test('a copy that moved away goes once the instance’s own host shows the guest, and stays while it does not', async () => {
  const { id, host } = await running();
  const other = host === first ? second : first;
  const copy = new SimVm(id, other.hostId, setup.world);
  copy.requirement = { vcpus: 0.25, memoryMib: 64, rootDiskMib: 256 };
  copy.become('paused');
  const leave = (): Promise<unknown> =>
    db().transaction(async (tx) => {
      const amount = await reservedOf(tx, id);
      assert.ok(amount);
      assert.ok(await setClaim(tx, other.hostId, { purpose: 'migration', holder: id, amount }));
      await tx.query('update instances set version = version + 1 where id = $1', [id]);
    });
  // The instance's own host does not answer for it: a belief is all there is.
  host.faults.order('vm.describe', { kind: 'fail' }, 1_000);
  other.vms.set(id, copy);
  await leave();
  await reported(other, 1);
  assert.equal(other.vms.get(id), copy);
  host.faults.clear();
  await until('the copy goes', () => !other.vms.has(id));
  assert.equal(host.vms.get(id)?.state, 'running');
  await until('its capacity comes back', async () => (await migrationHostOf(db(), id)) === undefined);
  await terminate(id);
});

test('what cannot be removed now keeps no other VM of its host from being told of', async () => {
  const { id } = await running();
  const row = await findInstance(db(), id);
  assert.ok(row);
  await terminate(id);
  const [ended, stranger] = [1, 1].map(
    (cell) => new SimVm(newCellId('instance', cell), first.hostId, setup.world),
  );
  assert.ok(ended && stranger);
  for (const vm of [ended, stranger]) vm.become('stopped');
  await insertInstance(db(), {
    ...row,
    ...{
      id: ended.instanceId,
      state: 'terminated',
      host_id: null,
      workflow_id: null,
      terminated_at: new Date(),
    },
  });
  first.faults.order('vm.destroy', { kind: 'fail' }, 1_000);
  for (const vm of [ended, stranger]) first.vms.set(vm.instanceId, vm);
  assert.equal(await until('it is told of', () => quarantined(stranger.instanceId)), 'no-row');
  assert.ok(first.vms.has(ended.instanceId));
  first.faults.clear();
  await until('the other goes then', () => !first.vms.has(ended.instanceId));
  first.vms.delete(stranger.instanceId);
  await until('it is forgotten', async () => (await quarantined(stranger.instanceId)) === undefined);
});

test('a copy is asked what it is by now: a report that is older than its commissioning removes no guest that runs', async () => {
  const { id, host } = await running();
  const other = host === first ? second : first;
  const copy = new SimVm(id, other.hostId, setup.world);
  copy.requirement = { vcpus: 0.25, memoryMib: 64, rootDiskMib: 256 };
  copy.become('stopped');
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'stopped');
  // Not in its reports: what it is comes from the one below alone.
  const late = { instanceId: id, state: 'incoming', requirement: copy.requirement } as const;
  const { services } = processor.cell;
  const reconciler = new HostReconciler({ services, owner: 'test', begun: () => undefined });
  other.vms.set(id, copy);
  await reconciler.reconcile(other.hostId, [late]);
  assert.equal(other.vms.get(id), copy, 'it is stopped by now, so it had a guest');
  other.vms.delete(id);
  await reported(other, 1);
  assert.equal(await quarantined(id), undefined);
  await terminate(id);
});

test('removals by reconciliation have a budget: a store that calls everything terminated is held up', async () => {
  const { id } = await running();
  const row = await findInstance(db(), id);
  assert.ok(row);
  await terminate(id);
  const many = removalsPerHostMax + 15;
  const before = first.calls.get('vm.destroy') ?? 0;
  for (let made = 0; made < many; made++) {
    const gone = new SimVm(newCellId('instance', 1), first.hostId, setup.world);
    gone.become('stopped');
    const terminated_at = new Date();
    await insertInstance(db(), {
      ...row,
      ...{
        id: gone.instanceId,
        state: 'terminated',
        host_id: null,
        workflow_id: null,
        terminated_at,
      },
    });
    first.vms.set(gone.instanceId, gone);
  }
  await until(
    'the budget is used',
    () => (first.calls.get('vm.destroy') ?? 0) - before === removalsPerHostMax,
  );
  await reported(first);
  assert.equal((first.calls.get('vm.destroy') ?? 0) - before, removalsPerHostMax, 'and not passed');
  assert.equal(first.vms.size, many - removalsPerHostMax);
  // As if the window had passed.
  await db().query('delete from removals');
  await until('the rest goes, terminated as it is', () => first.vms.size === 0);
});

test('an ended row stays while a host that is away may have a copy: without it the copy would be a stranger', async () => {
  const { id, host } = await running();
  const amount = await reservedOf(db(), id);
  assert.ok(amount);
  await terminate(id);
  const undone = new Error('undone');
  const work = db().transaction(async (tx) => {
    assert.ok(await setClaim(tx, host.hostId, { purpose: 'migration', holder: id, amount }));
    await purgeTerminated(tx, new Date(Date.now() + 60_000));
    assert.ok(await findInstance(tx, id));
    await releaseClaim(tx, claimIdOf('migration', id));
    await purgeTerminated(tx, new Date(Date.now() + 60_000));
    assert.equal(await findInstance(tx, id), undefined);
    throw undone;
  });
  await assert.rejects(work, (error) => error === undone);
});

test('a host that is pinned to another cell is refused before anything is written of it', async () => {
  const { cell } = processor;
  const hello = { ...first.hello(), hostId: 'h-other', pinnedTo: { cellId: 'cell-2' } };
  assert.equal(await codeOf(cell.reports.hello(hello, new SimCaller(first))), 'Conflict');
  assert.equal(cell.services.hosts.has('h-other'), false);
  assert.deepEqual(await db().query(`select id from hosts where id = 'h-other'`), []);
  const elsewhere = { ...hello, pinnedTo: { cellId: 'cell-1', region: 'another' } };
  assert.equal(await codeOf(cell.reports.hello(elsewhere, new SimCaller(first))), 'Conflict');
});
