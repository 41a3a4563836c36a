/** RebootInstances at any time of an instance that runs: also while it is being moved, where it is done where the guest is. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PandoError } from '#contracts/errors.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';
import { launch, reaches } from './support/instances.ts';

let setup: TestCell;
let processor: TestProcessor;
/** The method at which hosts stay, or the point at which the processor does, until they are let go: however long a test takes to get there. */
let held: string | undefined;
let gate = Promise.withResolvers<void>();
const hold = (at: string): void => {
  held = at;
  gate = Promise.withResolvers();
};
const letGo = (): void => {
  held = undefined;
  gate.resolve();
};

before(async () => {
  setup = await TestCell.start();
  for (let n = 0; n < 2; n++)
    setup.addHost({
      ...{ copyMs: 0, latencyMs: (method) => (method === held ? 1 : 0) },
      sleep: (ms) => (ms > 0 ? gate.promise : Promise.resolve()),
    });
  processor = await setup.addProcessor({
    faults: { hit: (point) => (point === held ? gate.promise : undefined), repeats: () => false },
  });
});
after(() => {
  letGo();
  return setup.stop();
});

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
  hold('migrate.converge.after');
  const { sourceHostId, targetHostId } = await processor.cell.operator['operator.migrate']({
    instanceId: id,
  });
  const source = hostOf(sourceHostId);
  await until('it is being copied', () => hostOf(targetHostId)?.vms.get(id)?.state === 'incoming');
  await reboot(id);
  await until('it was reset there', () => resets(source, id) === 1);
  letGo();
  await until('it has moved', () => setup.world.runningOn(id)[0] === targetHostId);
  await rebooted();
  assert.equal(resets(hostOf(targetHostId), id), 0, 'once is enough');
  assert.deepEqual(setup.world.violations, []);
  await terminate(id);
});

test('in the critical phase it is accepted, waits, and is done where the guest went', async () => {
  const id = await running();
  hold('migrate.switch');
  const { targetHostId } = await processor.cell.operator['operator.migrate']({ instanceId: id });
  await lockedRow(id, true);
  await reboot(id);
  letGo();
  await until('it has moved', () => setup.world.runningOn(id)[0] === targetHostId);
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
  hold('card.openQueue');
  for (const host of setup.hosts)
    host.faults.order('migrate.switch', { kind: 'fail', error: new PandoError('IncorrectState', 'ordered') });
  const moved = await processor.cell.operator['operator.migrate']({ instanceId: id });
  await lockedRow(id, true);
  await reboot(id);
  letGo();
  await lockedRow(id, false);
  for (const host of setup.hosts) host.faults.clear();
  return moved;
};

test('of an instance that is stopped or terminated meanwhile nothing is left to do', async () => {
  const id = await running();
  hold('vm.reboot');
  await reboot(id);
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [id], Force: true });
  letGo();
  await reaches(processor.cell, id, 'stopped');
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
