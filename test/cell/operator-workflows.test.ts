/** What an operator sees of workflows, and does with them, at a cell with simulated hosts. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Reservation } from '@aws-sdk/client-ec2';
import { describe, rowOf } from '#cli/commands/workflow.ts';
import { cellOperatorContract } from '#contracts/cell-operator.ts';
import { PandoError } from '#contracts/errors.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';

let setup: TestCell;
let one: TestProcessor;
let host: SimHost;

before(async () => {
  setup = await TestCell.start();
  host = setup.addHost();
  one = await setup.addProcessor({
    timing: { parkMsMin: 30, parkMsMax: 60, retryInMemoryMs: 10, duePollMs: 40 },
  });
});
after(() => setup.stop());

const launch = async (): Promise<string> => {
  const input = { ImageId: setup.region.imageId, InstanceType: 'p1.nano', MinCount: 1, MaxCount: 1 };
  const output = (await ec2(one.cell, 'RunInstances', input)) as Reservation;
  return output.Instances?.[0]?.InstanceId ?? '';
};

const list = async (params: Parameters<TestProcessor['cell']['operator']['operator.workflows']>[0] = {}) =>
  cellOperatorContract['operator.workflows'].result.parse(
    await one.cell.operator['operator.workflows'](params),
  );
const show = async (workflowId: string) =>
  cellOperatorContract['operator.workflow'].result.parse(
    await one.cell.operator['operator.workflow']({ workflowId }),
  );
const code = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => PandoError.from(error).code,
  );
const stateOf = async (id: string): Promise<string | undefined> =>
  (await one.cell.services.db.query<{ state: string }>('select state from instances where id = $1', [id]))[0]
    ?.state;

test('a launch whose host is away is listed as waiting for it, and cancelled', async () => {
  one.cut(host);
  const id = await launch();
  const waiting = await until('it waits', async () => {
    const { workflows } = await list({ states: ['waiting'], subject: id });
    return workflows[0];
  });
  assert.deepEqual(waiting.waitsFor, [`host/${host.hostId}`]);
  assert.equal(waiting.error?.code, 'HostUnreachable');
  assert.equal(waiting.resume, 'running');
  const line = rowOf(waiting);
  assert.equal(line[3], 'waiting');
  assert.match(line[6] ?? '', /^host\/h-1 \(\d+ s at most\)$/);
  // Now and then it is taken up to look whether the host is back.
  const text = await until('it waits still', async () => {
    const shown = await show(waiting.workflowId);
    return shown.state === 'waiting' && describe(shown);
  });
  for (const part of [
    /launch/,
    /waits for +host\/h-1/,
    /HostUnreachable at allocateInterface/,
    /… allocateInterface|✔ allocateInterface/,
  ])
    assert.match(text, part);
  assert.equal(
    await code(one.cell.operator['operator.cancelWorkflow']({ workflowId: waiting.workflowId })),
    'ok',
  );
  await until('undone', async () => (await stateOf(id)) === 'terminated');
  assert.deepEqual((await list()).workflows, []);
  const ended = (await list({ ended: true, kind: 'launch' })).workflows;
  assert.deepEqual(
    ended.map((each) => each.state),
    ['undone'],
  );
  assert.equal(
    await code(one.cell.operator['operator.retryWorkflow']({ workflowId: waiting.workflowId })),
    'IncorrectState',
  );
  assert.equal(
    await code(one.cell.operator['operator.cancelWorkflow']({ workflowId: waiting.workflowId })),
    'IncorrectState',
  );
  assert.equal(
    await code(one.cell.operator['operator.workflow']({ workflowId: 'wf-00100000000000000' })),
    'NotFound',
  );
  await one.dial(host);
});

test('a termination that fails for a fault ends stuck, comes first in the list, cannot be cancelled, and is tried again', async () => {
  const id = await launch();
  await until('it runs', async () => (await stateOf(id)) === 'running');
  host.faults.order(
    'vm.destroy',
    { kind: 'fail', error: new PandoError('InternalError', 'the disk is on fire') },
    1_000,
  );
  await ec2(one.cell, 'TerminateInstances', { InstanceIds: [id] });
  const stuck = await until('stuck', async () => (await list({ states: ['stuck'] })).workflows[0], 20_000);
  assert.equal(stuck.step, 'destroyVm');
  assert.equal(stuck.error?.message, 'the disk is on fire');
  assert.ok(stuck.attempts > 0);
  assert.ok(rowOf(stuck)[0]?.startsWith('! '));
  assert.equal((await list()).counts.find((each) => each.state === 'stuck')?.n, 1);
  assert.equal(
    await code(one.cell.operator['operator.cancelWorkflow']({ workflowId: stuck.workflowId })),
    'IncorrectState',
  );
  host.faults.clear();
  await one.cell.operator['operator.retryWorkflow']({ workflowId: stuck.workflowId });
  await until('terminated', async () => (await stateOf(id)) === 'terminated');
  const shown = await show(stuck.workflowId);
  assert.equal(shown.state, 'done');
  assert.ok(shown.steps.every((step) => step.done && step.ms !== undefined));
  assert.equal(host.vms.size, 0);
});

test('a workflow that this release cannot go on with says so, and is not taken for one that broke', async () => {
  const { db } = one.cell.services;
  const insert = (id: string, version: number, step: string): Promise<unknown> =>
    db.query(
      `insert into workflows (id, kind, version, subject, input, state, resume_state, step, step_cursor, owner, wake_at)
       values ($1, 'reboot', $2, 'i-00100000000000001', '{}', 'waiting', 'running', $3, 0, 'gone', now())`,
      [id, version, step],
    );
  const [next, broken] = ['wf-00100000000000001', 'wf-00100000000000002'];
  await insert(next, 2, 'askGuest');
  await insert(broken, 1, 'askGuest');
  await until('stuck', async () => (await show(broken)).state === 'stuck');
  const shown = await show(next);
  assert.deepEqual(shown.waitsFor, ['a processor that has reboot version 2']);
  assert.equal(rowOf(shown)[6], 'a processor that has reboot version 2');
  for (const workflowId of [next, broken])
    assert.equal(await code(one.cell.operator['operator.cancelWorkflow']({ workflowId })), 'IncorrectState');
  await db.query('delete from workflows where id = any($1)', [[next, broken]]);
});
