/**
 * Every workflow × every step × {fail before, fail after, crash before, crash after, repeat}, by machine; then crashes in each undo and
 * in each part of the critical phase. After each case: a clear state, one place (I1), nothing oversold (I3), nothing left over.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { HostRow } from '#cell/store/hosts.ts';
import { findInstance, type InstanceRow } from '#cell/store/instances.ts';
import { workflowDefinitions } from '#cell/workflows/index.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';
import { type Mode, modes, OrderedFaults } from './support/ordered-faults.ts';

/** Long enough that a stalled machine is not taken for a dead processor, which would move the workflow away from its fault. */
const lease = { leaseTtlMs: 900, leaseRenewEveryMs: 60 };
const forever = 1_000_000;

let setup: TestCell;
/** Without faults, connected to all hosts: it finishes what the other leaves. */
let survivor: TestProcessor;
let cases = 0;

before(async () => {
  setup = await TestCell.start();
  setup.addHost({ copyMs: 30 });
  setup.addHost({ copyMs: 30 });
  survivor = await setup.addProcessor(lease);
});
after(() => setup.stop());

type Kind = 'launch' | 'start' | 'stop' | 'reboot' | 'terminate' | 'migrate';

interface Order {
  readonly kind: Kind;
  arrange(faults: OrderedFaults, kill: () => void): void;
  readonly point: string;
  /** How the workflow must end. */
  readonly ends: 'done' | 'undone';
}

const row = async (id: string): Promise<InstanceRow> => {
  const found = await findInstance(survivor.cell.services.db, id);
  assert.ok(found, `${id} has a row`);
  return found;
};

const settled = (id: string, state: string): Promise<InstanceRow> =>
  until(
    `${id} ${state}`,
    async () => {
      const found = await row(id);
      return found.state === state && found.workflow_id === null && found;
    },
    20_000,
  );

const launchInput = (token: string) => ({
  ImageId: setup.region.imageId,
  InstanceType: 'p1.nano',
  MinCount: 1,
  MaxCount: 1,
  ClientToken: token,
});

const launch = async (by: TestProcessor, token: string): Promise<string> => {
  const output = await ec2(by.cell, 'RunInstances', launchInput(token));
  const [instance] = output.Instances as { InstanceId: string }[];
  assert.ok(instance);
  return instance.InstanceId;
};

/** An instance in the state from which this workflow begins, made by the survivor. */
const prepare = async (kind: Kind, token: string): Promise<string> => {
  const id = await launch(survivor, token);
  await settled(id, 'running');
  if (kind === 'start') {
    await ec2(survivor.cell, 'StopInstances', { InstanceIds: [id] });
    await settled(id, 'stopped');
  }
  return id;
};

const begin = async (kind: Kind, by: TestProcessor, id: string): Promise<void> => {
  const input = { InstanceIds: [id] };
  if (kind === 'start') await ec2(by.cell, 'StartInstances', input);
  else if (kind === 'stop') await ec2(by.cell, 'StopInstances', input);
  else if (kind === 'reboot') await ec2(by.cell, 'RebootInstances', input);
  else if (kind === 'terminate') await ec2(by.cell, 'TerminateInstances', input);
  else await by.cell.operator['operator.migrate']({ instanceId: id });
};

const finalState: Record<Kind, Record<Order['ends'], string>> = {
  launch: { done: 'running', undone: 'terminated' },
  start: { done: 'running', undone: 'stopped' },
  stop: { done: 'stopped', undone: 'stopped' },
  reboot: { done: 'running', undone: 'running' },
  terminate: { done: 'terminated', undone: 'terminated' },
  migrate: { done: 'running', undone: 'running' },
};

/** The facts of the hosts agree with the instance's row. */
const assertPlaced = async (id: string, state: string): Promise<void> => {
  const found = await row(id);
  assert.deepEqual(setup.world.violations, [], 'I1');
  assert.deepEqual(
    [...setup.world.runningOn(id)],
    state === 'running' ? [found.host_id] : [],
    'runs where the row says',
  );
  assert.equal(found.other_host_id, null);
  assert.equal(found.locked, false);
  const holders = setup.hosts.filter((host) => host.vms.has(id)).map((host) => host.hostId);
  assert.deepEqual(holders, state === 'terminated' ? [] : [found.host_id], 'no copy is left elsewhere');
  const port = setup.region.interfaces.get(id);
  if (state === 'running') {
    const host = setup.hosts.find((each) => each.hostId === found.host_id);
    assert.equal(port?.vtep, host?.card.vtep, 'the region sends packets where it runs');
    assert.ok(
      [...(host?.card.ports.values() ?? [])].some(
        (each) => each.port.eniId === port?.eniId && each.active && each.redirect === undefined,
      ),
    );
  }
  if (state === 'stopped') assert.equal(port?.vtep, undefined);
  assert.ok((setup.region.allocations.get(id) ?? 0) <= 1, 'one interface at most');
};

const assertNothingLeft = async (): Promise<void> => {
  const hosts = await survivor.cell.services.db.query<HostRow>('select * from hosts');
  for (const host of hosts)
    assert.deepEqual(
      [host.used_vcpus_milli, host.used_memory_mib, host.used_disk_mib],
      [0, 0, 0],
      `${host.id} holds nothing`,
    );
  for (const host of setup.hosts) {
    assert.equal(host.vms.size, 0);
    assert.equal(host.card.ports.size, 0);
    assert.equal(host.card.queues.size, 0);
    assert.equal(host.card.administrative.size, 0);
  }
  assert.equal(setup.region.interfaces.size, 0);
};

/** Orders carried out by a host since `before`, of one method over all hosts. */
const carriedOut = (method: string): number =>
  setup.hosts.reduce((sum, host) => sum + (host.calls.get(method) ?? 0), 0);

const runCase = async (order: Order): Promise<void> => {
  const token = `case-${cases++}`;
  const faults = new OrderedFaults();
  const faulty = await setup.addProcessor({ ...lease, faults });
  order.arrange(faults, () => faulty.kill());
  const launched = carriedOut('vm.launch');
  let id: string | undefined;
  try {
    if (order.kind === 'launch') {
      // Its answer may never come; the same token asks again.
      await Promise.race([launch(faulty, token), until('the fault', () => faults.reached.has(order.point))]);
      id = await launch(survivor, token);
    } else {
      id = await prepare(order.kind, token);
      await Promise.race([
        begin(order.kind, faulty, id),
        until('the fault', () => faults.reached.has(order.point)),
      ]);
    }
    await until(`${order.point} is reached`, () => faults.reached.has(order.point));
    if (order.kind === 'reboot') await until('no workflow', () => workflowsGone());
    const state = finalState[order.kind][order.ends];
    await settled(id, state);
    await assertPlaced(id, state);
    if (order.kind === 'launch' && order.ends === 'done')
      assert.equal(carriedOut('vm.launch') - launched, 1, 'launched once');
    await faulty.stop();
    if (state !== 'terminated') await ec2(survivor.cell, 'TerminateInstances', { InstanceIds: [id] });
    await settled(id, 'terminated');
    await assertPlaced(id, 'terminated');
    await assertNothingLeft();
  } catch (error) {
    // So that one failing case does not make the ones after it fail.
    await faulty.stop();
    if (id !== undefined) await clearAway(id).catch(() => undefined);
    throw error;
  } finally {
    await faulty.stop();
  }
};

const clearAway = async (id: string): Promise<void> => {
  await ec2(survivor.cell, 'TerminateInstances', { InstanceIds: [id] });
  await settled(id, 'terminated');
};

const workflowsGone = async (): Promise<boolean> => {
  const rows = await survivor.cell.services.db.query(
    "select id from workflows where state in ('running', 'undoing', 'stuck')",
  );
  return rows.length === 0;
};

const orderFor = (kind: Kind, step: string, mode: Mode, forward: boolean): Order => {
  const name = `${kind}.${step}`;
  if (mode === 'repeat') return { kind, point: name, ends: 'done', arrange: (faults) => faults.repeat(name) };
  const point = `${name}.${mode.endsWith('before') ? 'before' : 'after'}`;
  if (mode.startsWith('crash'))
    return { kind, point, ends: 'done', arrange: (faults, kill) => faults.crashAt(point, kill) };
  return {
    kind,
    point,
    ends: forward ? 'done' : 'undone',
    arrange: (faults) => faults.failAt(point, forward ? 2 : forever),
  };
};

for (const definition of workflowDefinitions) {
  const kind = definition.kind as Kind;
  test(`${kind}: every step × every fault`, async (t) => {
    for (const step of definition.steps)
      for (const mode of modes)
        await t.test(`${step.name} ${mode}`, () =>
          runCase(orderFor(kind, step.name, mode, step.onFailure === 'retry')),
        );
  });
}

test('a crash before or after each undo ends undone all the same', async (t) => {
  const failing: Record<string, string> = { launch: 'commission', start: 'launchVm', migrate: 'lock' };
  for (const definition of workflowDefinitions) {
    const last = failing[definition.kind];
    if (last === undefined) continue;
    for (const step of definition.steps) {
      if (typeof step.undo !== 'function') continue;
      for (const side of ['before', 'after'])
        await t.test(`${definition.kind} ${step.name}.undo ${side}`, () => {
          const point = `${definition.kind}.${step.name}.undo.${side}`;
          return runCase({
            kind: definition.kind as Kind,
            point,
            ends: 'undone',
            arrange: (faults, kill) => {
              faults.failAt(`${definition.kind}.${last}.after`, forever);
              faults.crashAt(point, kill);
            },
          });
        });
    }
  }
});

test('a crash in each part of the critical phase ends on the target, with one owner', async (t) => {
  for (const part of ['hold', 'redirect', 'switch', 'activate', 'commission']) {
    const point = `migrate.critical.${part}.after`;
    await t.test(part, () =>
      runCase({
        kind: 'migrate',
        point,
        ends: 'done',
        arrange: (faults, kill) => faults.crashAt(point, kill),
      }),
    );
  }
});

test('a failure before the switch gives the guest back to the source', async (t) => {
  for (const part of ['hold', 'redirect']) {
    const point = `migrate.critical.${part}.after`;
    await t.test(part, () =>
      runCase({ kind: 'migrate', point, ends: 'undone', arrange: (faults) => faults.failAt(point, forever) }),
    );
  }
});
