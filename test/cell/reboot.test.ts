/** RebootInstances at any time of an instance that runs: also while it is being moved, where it is done where the guest is. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PandoError } from '#contracts/errors.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';
import { launch, reaches } from './support/instances.ts';

let setup: TestCell;
let processor: TestProcessor;
/** How long each host takes for a method. */
const slow = new Map<string, number>();

before(async () => {
  setup = await TestCell.start();
  for (let n = 0; n < 2; n++) setup.addHost({ copyMs: 0, latencyMs: (method) => slow.get(method) ?? 0 });
  processor = await setup.addProcessor();
});
after(() => setup.stop());

const running = async (): Promise<string> => {
  const id = await launch(processor.cell, setup.region);
  await reaches(processor.cell, id, 'running');
  return id;
};
const reboot = (id: string) => ec2(processor.cell, 'RebootInstances', { InstanceIds: [id] });
const resets = (host: SimHost | undefined, id: string): number =>
  host?.vms.get(id)?.consoleText.match(/\[sim\] reboot/g)?.length ?? 0;
const rebooted = () =>
  until('no reboot is left', async () => {
    const rows = await processor.cell.services.db.query<{ state: string }>(
      `select state from workflows where kind = 'reboot' and state not in ('done', 'undone')`,
    );
    return rows.length === 0;
  });
const states = async (): Promise<string[]> =>
  (
    await processor.cell.services.db.query<{ state: string }>(
      `select state from workflows where kind = 'reboot' order by created_at`,
    )
  ).map(({ state }) => state);
const lockedRow = (id: string, locked: boolean) =>
  until(`locked: ${locked}`, async () => {
    const [row] = await processor.cell.services.db.query<{ locked: boolean }>(
      'select locked from instances where id = $1',
      [id],
    );
    return row?.locked === locked;
  });
const hostOf = (hostId: string): SimHost | undefined => setup.hosts.find((each) => each.hostId === hostId);
const terminate = async (id: string): Promise<void> => {
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'terminated');
};

test('while a migration copies, the guest is reset on its source, and the migration goes on', async () => {
  const id = await running();
  slow.set('migrate.start', 600);
  const { sourceHostId, targetHostId } = await processor.cell.operator['operator.migrate']({
    instanceId: id,
  });
  const source = hostOf(sourceHostId);
  await until('it is being copied', () => hostOf(targetHostId)?.vms.get(id)?.state === 'incoming');
  await reboot(id);
  await until('it was reset there', () => resets(source, id) === 1);
  slow.clear();
  await until('it has moved', () => setup.world.runningOn(id)[0] === targetHostId);
  await rebooted();
  assert.equal(resets(hostOf(targetHostId), id), 0, 'once is enough');
  assert.deepEqual(setup.world.violations, []);
  await terminate(id);
});

test('in the critical phase it is accepted, waits, and is done where the guest went', async () => {
  const id = await running();
  slow.set('migrate.switch', 700);
  const { targetHostId } = await processor.cell.operator['operator.migrate']({ instanceId: id });
  await lockedRow(id, true);
  await reboot(id);
  await until('it has moved', () => setup.world.runningOn(id)[0] === targetHostId);
  slow.clear();
  await until('it was reset there', () => resets(hostOf(targetHostId), id) === 1);
  await rebooted();
  await terminate(id);
});

test('in a critical phase that is taken back it is done on the source', async () => {
  const id = await running();
  const { sourceHostId } = await migrateAndFail(id);
  await until('it was reset there', () => resets(hostOf(sourceHostId), id) === 1);
  await rebooted();
  assert.deepEqual(setup.world.runningOn(id), [sourceHostId]);
  await terminate(id);
});

const migrateAndFail = async (id: string) => {
  slow.set('card.openQueue', 500);
  for (const host of setup.hosts)
    host.faults.order('migrate.switch', { kind: 'fail', error: new PandoError('IncorrectState', 'ordered') });
  const moved = await processor.cell.operator['operator.migrate']({ instanceId: id });
  await lockedRow(id, true);
  await reboot(id);
  slow.clear();
  await lockedRow(id, false);
  for (const host of setup.hosts) host.faults.clear();
  return moved;
};

test('of an instance that is stopped or terminated meanwhile nothing is left to do', async () => {
  const id = await running();
  slow.set('vm.reboot', 400);
  await reboot(id);
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [id], Force: true });
  await reaches(processor.cell, id, 'stopped');
  slow.clear();
  await rebooted();
  await terminate(id);
  assert.ok((await states()).every((state) => state === 'done' || state === 'undone'));
});

test('an instance that does not run is not rebooted', async () => {
  const id = await running();
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'stopped');
  await assert.rejects(reboot(id), { code: 'IncorrectInstanceState' });
  await terminate(id);
});
