/** Rebuilds and pools of a cell on simulated hosts (S5): drains, passes, escalation, feedback, demand, bad input. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PandoError } from '#contracts/errors.ts';
import { rebuildSteps } from '#reconfiguration/steps.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';
import { reaches } from './support/instances.ts';

let setup: TestCell;
let processor: TestProcessor;
before(async () => {
  setup = await TestCell.start();
  for (let made = 0; made < 4; made++)
    setup.addHost({ capacity: { vcpus: 4, memoryMib: 1_024, diskMib: 65_536 } });
  processor = await setup.addProcessor({ timing: { duePollMs: 50, parkMsMin: 20, parkMsMax: 100 } });
});
after(() => setup.stop());

const operator = () => processor.cell.operator;
const hostRow = async (hostId: string) =>
  (await operator()['operator.hosts']({})).hosts.find((host) => host.hostId === hostId);
const shown = (hostId: string) => operator()['operator.host']({ hostId });
const free = (hostId: string) =>
  until(`${hostId} is nobody's`, async () => {
    const row = await hostRow(hostId);
    return row?.workflowId === undefined && row;
  });
const rebuild = async (hostId: string, more: { full?: boolean; pool?: string } = {}) => {
  const { workflowId, strategy } = await operator()['operator.rebuildHost']({ hostId, ...more });
  const row = await free(hostId);
  return { workflowId, strategy, row };
};
const sim = (at: number): SimHost => {
  const host = setup.hosts[at];
  assert.ok(host);
  return host;
};
const launch = async (count: number, type = 'p1.nano'): Promise<string[]> => {
  const { Instances } = (await ec2(processor.cell, 'RunInstances', {
    ...{ ImageId: setup.region.imageId, InstanceType: type, MinCount: count, MaxCount: count },
  })) as { Instances: { InstanceId: string }[] };
  const ids = Instances.map(({ InstanceId }) => InstanceId);
  // By its row, which is written last.
  for (const id of ids) await reaches(processor.cell, id, 'running');
  return ids;
};
const terminate = async (ids: string[]) => {
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: ids });
  for (const id of ids) await until(`${id} is gone`, () => !setup.hosts.some((host) => host.vms.has(id)));
  await until('no claim is left', async () => {
    const rows = await processor.cell.services.db.query("select 1 from claims where purpose <> 'reserve'");
    return rows.length === 0;
  });
};

test('a full rebuild carries out every step, in order, and the host serves again', async () => {
  const host = sim(0);
  host.rebuild.machine.residue = true;
  const { row, strategy } = await rebuild(host.hostId, { full: true });
  assert.equal(strategy.level, 'full');
  assert.deepEqual(host.rebuild.steps, rebuildSteps);
  assert.deepEqual([row?.state, row?.phase], ['active', undefined]);
  assert.equal(host.rebuild.machine.residue, false);
  assert.equal(host.rebuild.isolated, false);
});

test('a clean host is rebuilt with steps left out, each for a recorded reason, and ends the same', async () => {
  const host = sim(0);
  host.rebuild.steps.length = 0;
  host.rebuild.machine.residue = true;
  const machine = { ...host.rebuild.machine };
  const { workflowId, strategy, row } = await rebuild(host.hostId);
  assert.equal(strategy.level, 'reduced');
  const left = strategy.steps.filter(({ decision }) => decision === 'skip');
  assert.ok(left.some(({ step }) => step === 'hostImage'));
  for (const { why, evidence, riskMax } of left)
    assert.ok(why !== '' && evidence !== undefined && (riskMax ?? 1) < 0.05);
  assert.ok(!host.rebuild.steps.includes('hostImage'));
  assert.deepEqual(
    host.rebuild.steps,
    rebuildSteps.filter((step) => !left.some((each) => each.step === step)),
  );
  assert.equal(row?.state, 'active');
  const { boot: _, life: __, ...end } = host.rebuild.machine;
  const { boot: ___, life: ____, ...expected } = { ...machine, residue: false };
  assert.deepEqual(end, expected);
  const { steps } = await operator()['operator.workflow']({ workflowId });
  const skipped = steps.find(({ name }) => name === 'hostImage')?.result;
  assert.ok(typeof skipped === 'object' && skipped !== null && 'why' in skipped);
});

test('what runs there moves away first; a host with a stopped instance is not emptied, and says so', async () => {
  const ids = await launch(6);
  const [source] = ids.map((id) => [...setup.world.runningOn(id)][0]).filter((id) => id !== undefined);
  assert.ok(source);
  const { row } = await rebuild(source);
  assert.equal(row?.state, 'active');
  for (const id of ids) assert.equal(setup.world.runningOn(id).length, 1);
  assert.deepEqual(setup.world.violations, []);
  const [stopped] = ids;
  assert.ok(stopped);
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [stopped] });
  const where = await until('it is stopped', () =>
    setup.hosts.find((host) => host.vms.get(stopped)?.state === 'stopped'),
  );
  await until('its row too', async () => {
    const rows = await processor.cell.services.db.query(
      "select 1 from instances where id = $1 and state = 'stopped'",
      [stopped],
    );
    return rows.length > 0;
  });
  where.rebuild.steps.length = 0;
  await rebuild(where.hostId);
  assert.deepEqual(where.rebuild.steps, ['reopen'], 'nothing of it was begun with');
  assert.ok(where.vms.has(stopped), 'its disk is where it was');
  const kept = await shown(where.hostId);
  assert.deepEqual([kept.state, kept.phase], ['active', undefined]);
  assert.match(kept.phaseReason, new RegExp(`${stopped} is stopped, and has its disk there`));
  await terminate(ids);
});

test('a drain empties a host and keeps it out of placement until it is taken back', async () => {
  const ids = await launch(4);
  const hostId = [...setup.world.runningOn(ids[0] ?? '')][0] ?? '';
  await operator()['operator.drainHost']({ hostId });
  const row = await free(hostId);
  assert.deepEqual([row?.state, row?.phase], ['draining', 'draining']);
  assert.ok(ids.every((id) => !setup.world.runningOn(id).includes(hostId)));
  await operator()['operator.drainHost']({ hostId, undo: true });
  assert.equal((await hostRow(hostId))?.state, 'active');
  await terminate(ids);
});

test('a host that was emptied is not cut off while a device still sends to it what is for its VMs (S6.6)', async () => {
  const ids = await launch(2);
  const host = setup.hosts.find(({ hostId }) => setup.world.runningOn(ids[0] ?? '').includes(hostId));
  assert.ok(host);
  host.rebuild.steps.length = 0;
  let asked = 0;
  setup.region.unreachable = ['gateway'];
  setup.region.before = (method) => {
    if (method === 'region.pushVpc') asked += 1;
  };
  try {
    await operator()['operator.rebuildHost']({ hostId: host.hostId });
    await until('the gateway is told again and again', () => asked > 4);
    assert.equal(host.rebuild.steps.length, 0, 'nothing of it was begun with');
    assert.ok(
      ids.every((id) => !setup.world.runningOn(id).includes(host.hostId)),
      'it is empty',
    );
  } finally {
    Object.assign(setup.region, { unreachable: [], before: undefined });
  }
  const row = await free(host.hostId);
  assert.equal(row?.state, 'active');
  assert.ok(host.rebuild.steps.includes('isolate'));
  await terminate(ids);
});

test('a reduced pass that fails is followed by a full one, and what its steps found is kept as outcomes', async () => {
  const host = sim(1);
  await rebuild(host.hostId, { full: true });
  const { machine } = host.rebuild;
  machine.guestsMute = true;
  host.rebuild.steps.length = 0;
  const { workflowId } = await operator()['operator.rebuildHost']({ hostId: host.hostId });
  // The guests answer again once the reduced pass has failed.
  await until('the first pass fails', async () => {
    const { state } = await operator()['operator.workflow']({ workflowId });
    if (state === 'undone') machine.guestsMute = false;
    return state === 'undone';
  });
  const row = await free(host.hostId);
  assert.equal(row?.state, 'active');
  assert.ok(host.rebuild.steps.includes('hostImage'), 'the full pass left nothing out');
  const [tally] = await processor.cell.services.db.query<{ successes: number; unseen: number }>(
    "select successes, unseen from skip_tallies where step = 'hostImage'",
  );
  assert.ok(
    (tally?.successes ?? 0) > 60 && tally?.unseen === 0,
    'there was nothing to change: its evidence was right',
  );
});

test('a host that fails for ever ends out of service, with every pass tried once; a repair brings it back', async () => {
  const host = sim(2);
  host.rebuild.machine.memoryFault = true;
  host.rebuild.steps.length = 0;
  const { row } = await rebuild(host.hostId, { full: true });
  assert.deepEqual([row?.state, row?.phase], ['draining', 'out-of-service']);
  assert.match(row?.phaseReason ?? '', /diagnostics: memory/);
  assert.equal(host.rebuild.steps.filter((step) => step === 'diagnostics').length, 2);
  assert.ok(!host.rebuild.steps.includes('scrub') && !host.rebuild.steps.includes('returnToService'));
  await assert.rejects(
    operator()['operator.drainHost']({ hostId: host.hostId, undo: true }),
    /out of service/,
  );
  host.rebuild.machine.memoryFault = false;
  const again = await rebuild(host.hostId);
  assert.equal(again.strategy.level, 'full', 'nothing on record of it counts');
  assert.equal(again.row?.state, 'active');
});

test('a scrub that fails keeps the host away (I8)', async () => {
  const host = sim(2);
  Object.assign(host.rebuild.machine, { residue: true, scrubFails: true });
  host.rebuild.steps.length = 0;
  const { row } = await rebuild(host.hostId);
  assert.equal(row?.phase, 'out-of-service');
  assert.ok(!host.rebuild.steps.includes('validationLaunch'));
  host.rebuild.machine.scrubFails = false;
  assert.equal((await rebuild(host.hostId)).row?.state, 'active');
  assert.equal(host.rebuild.machine.residue, false);
});

test('one change at a time; a host that does not exist, a pool that does not', async () => {
  const host = sim(3);
  const { hostId } = host;
  const { workflowId } = await operator()['operator.rebuildHost']({ hostId });
  // As while it starts anew: what it is told to do waits for it, and whoever asks hears what it is busy with.
  processor.cut(host);
  await assert.rejects(operator()['operator.rebuildHost']({ hostId }), { code: 'IncorrectState' });
  await assert.rejects(operator()['operator.drainHost']({ hostId }), { code: 'IncorrectState' });
  assert.equal((await shown(hostId)).workflowId, workflowId, 'it is shown without its own word');
  await processor.dial(host);
  await free(hostId);
  processor.cut(host);
  await assert.rejects(operator()['operator.rebuildHost']({ hostId }), { code: 'HostUnreachable' });
  await processor.dial(host);
  await assert.rejects(operator()['operator.rebuildHost']({ hostId: 'h-none' }), { code: 'NotFound' });
  await assert.rejects(operator()['operator.rebuildHost']({ hostId, pool: 'none' }), { code: 'NotFound' });
  const pool = { name: 'small', slotType: 'p1.nano', low: 3, target: 2, layout: {} };
  await assert.rejects(operator()['operator.setPool'](pool), /above target/);
  await assert.rejects(operator()['operator.setPool']({ ...pool, low: 1, slotType: 'p1.none' }), {
    code: 'InvalidParameterValue',
  });
});

test('a host whose agent knows no rebuilds is shown and drained all the same', async () => {
  const { hostId, faults } = sim(3);
  const error = new PandoError('UnsupportedOperation', 'rebuild.condition is not served here.');
  faults.order('rebuild.condition', { kind: 'fail', error }, 3);
  assert.equal((await shown(hostId)).strategy, undefined);
  await assert.rejects(operator()['operator.rebuildHost']({ hostId }), { code: 'UnsupportedOperation' });
  await operator()['operator.drainHost']({ hostId });
  await free(hostId);
  assert.equal((await shown(hostId)).phase, 'draining');
  await operator()['operator.drainHost']({ hostId, undo: true });
});

test('waiting demand for another type takes a host from the pool that can spare it; its slots are of that type then', async () => {
  const all = setup.hosts.map(({ hostId }) => hostId);
  await processor.cell.services.db.query('update hosts set rests_until = null');
  const types = (type: string) => ({ layout: { types: [type] } });
  await operator()['operator.setPool']({
    name: 'small',
    slotType: 'p1.nano',
    low: 1,
    target: 2,
    ...types('p1.nano'),
    hosts: all,
  });
  await operator()['operator.setPool']({
    name: 'big',
    slotType: 'p1.small',
    low: 0,
    target: 0,
    ...types('p1.small'),
  });
  await processor.cell.services.capacity.refresh();
  const ids = await launch(4);
  const wanted = { ImageId: setup.region.imageId, InstanceType: 'p1.small', MinCount: 1, MaxCount: 1 };
  await assert.rejects(ec2(processor.cell, 'RunInstances', wanted), { code: 'InsufficientInstanceCapacity' });
  // The refusal is demand.
  const { changes } = await operator()['operator.pools']({});
  assert.deepEqual(
    changes.map(({ from, to }) => [from, to]),
    [['small', 'big']],
  );
  await processor.cell.pools.turn();
  const donor = changes[0]?.hostId ?? '';
  const row = await free(donor);
  assert.deepEqual([row?.state, row?.pool], ['active', 'big']);
  const { pools } = await operator()['operator.pools']({});
  assert.deepEqual(
    pools.map(({ name, have }) => [name, have]),
    [
      ['big', 1],
      ['small', 3],
    ],
  );
  await until('the view knows', async () => {
    await processor.cell.services.capacity.refresh();
    return processor.cell.services.capacity.takes(donor, 'p1.small');
  });
  const big = await launch(1, 'p1.small');
  assert.deepEqual([...setup.world.runningOn(big[0] ?? '')], [donor]);
  for (const id of ids) assert.equal(setup.world.runningOn(id).length, 1, 'nobody was lost');
  assert.deepEqual(setup.world.violations, []);
  await processor.cell.pools.turn();
  assert.equal((await hostRow(donor))?.pool, 'big', 'it rests');
  await terminate([...ids, ...big]);
});
