/** Generations in the cell's store: what a lost commit leaves, what a reconciler takes, what a processor without a lease may do. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CommandLease, leasedRegion } from '#cell/command-lease.ts';
import { epochAfter, generationOf, generationOfInput, placeEpochOf } from '#cell/generation.ts';
import { takeGeneration } from '#cell/hosts/generations.ts';
import { HostReconciler } from '#cell/hosts/reconcile.ts';
import { HostSessions } from '#cell/hosts/sessions.ts';
import { instanceFates } from '#cell/instance-fates.ts';
import { findInstance, type InstanceRow } from '#cell/store/instances.ts';
import { commandAfterLapseMsMax } from '#contracts/fences.ts';
import { newCellId } from '#contracts/ids.ts';
import { FakeRegion } from './support/fake-region.ts';
import { ec2, TestCell, type TestProcessor, until, zone } from './support/harness.ts';

let setup: TestCell;
let processor: TestProcessor;
before(async () => {
  setup = await TestCell.start();
  setup.addHost();
  processor = await setup.addProcessor();
});
after(() => setup.stop());

const row = async (id: string): Promise<InstanceRow> => {
  const found = await findInstance(processor.cell.services.db, id);
  assert.ok(found);
  return found;
};

const settled = (id: string, state: string): Promise<InstanceRow> =>
  until(`${id} is ${state}`, async () => {
    const found = await row(id);
    return found.state === state && found.workflow_id === null && found;
  });

const running = async (): Promise<string> => {
  const image = { ImageId: setup.region.imageId, InstanceType: 'p1.nano' };
  const output = await ec2(processor.cell, 'RunInstances', { ...image, MinCount: 1, MaxCount: 1 });
  const id = (output.Instances as { InstanceId: string }[])[0]?.InstanceId ?? '';
  await settled(id, 'running');
  return id;
};

const change = (action: string, id: string) => ec2(processor.cell, action, { InstanceIds: [id] });
const heard = (id: string): number | undefined =>
  setup.hosts[0]?.reports().find(({ instanceId }) => instanceId === id)?.generation;

test('each change of life is one generation, which the host hears; a reboot is none', async () => {
  const id = await running();
  assert.deepEqual([generationOf((await row(id)).place_epoch), heard(id)], [1, 1]);
  await change('RebootInstances', id);
  await change('StopInstances', id);
  await settled(id, 'stopped');
  assert.deepEqual([generationOf((await row(id)).place_epoch), heard(id)], [2, 2]);
  await change('StartInstances', id);
  await settled(id, 'running');
  assert.deepEqual([generationOf((await row(id)).place_epoch), heard(id)], [3, 3]);
  await change('TerminateInstances', id);
  await settled(id, 'terminated');
});

test('a store that has lost its newest commits is raised to what the host has heard, and goes on', async () => {
  const id = await running();
  for (const [action, state] of [
    ['StopInstances', 'stopped'],
    ['StartInstances', 'running'],
  ] as const) {
    await change(action, id);
    await settled(id, state);
  }
  // As after a failover: the instance runs, and the row does not know of the last two changes.
  await processor.cell.services.db.query(
    'update instances set place_epoch = 2, version = version + 1 where id = $1',
    [id],
  );
  const [host] = setup.hosts;
  assert.ok(host);
  const { cell } = processor;
  const reconciler = new HostReconciler({
    services: cell.services,
    owner: cell.owner,
    begun: () => undefined,
  });
  await reconciler.reconcile(host.hostId, host.reports());
  assert.ok(generationOf((await row(id)).place_epoch) > 3);
  assert.equal(host.vms.get(id)?.state, 'running', 'nothing was done to the VM');
  await change('StopInstances', id);
  await settled(id, 'stopped');
  assert.equal(host.vms.get(id)?.state, 'stopped');
  await change('TerminateInstances', id);
  await settled(id, 'terminated');
  assert.equal(host.vms.size, 0);
});

test('a reconciler takes a generation only of the row that it saw', async () => {
  const id = await running();
  const seen = await row(id);
  const { db } = processor.cell.services;
  const taken = await takeGeneration(db, seen);
  assert.deepEqual(
    [generationOf(taken?.place_epoch ?? 0), taken?.version],
    [generationOf(seen.place_epoch) + 1, seen.version + 1],
  );
  assert.equal(await takeGeneration(db, seen), undefined, 'of the same look there is no second');
  await change('TerminateInstances', id);
  const terminated = await settled(id, 'terminated');
  const unknown = newCellId('instance', 1);
  const other = await running();
  const { cellId, instances } = await instanceFates(processor.cell.services, [id, unknown, other]);
  assert.equal(cellId, 'cell-1');
  assert.deepEqual(
    instances.map(({ fate }) => fate),
    ['ended', 'unknown', 'present'],
  );
  assert.equal(terminated.host_id, null);
  await change('TerminateInstances', other);
  await settled(other, 'terminated');
});

test('a processor that has long had no lease commands neither hosts nor the region', async () => {
  let now = 0;
  const lease = new CommandLease(() => now);
  const sessions = new HostSessions(lease);
  const region = leasedRegion(new FakeRegion({ zone }), lease);
  lease.renewed(lease.now(), 3_000);
  const command = { workflowId: 'w', step: 's', epoch: 1, generation: 1 };
  const instanceId = newCellId('instance', 1);
  const codes = async (): Promise<string[]> => {
    const calls = [
      sessions.call('h', 'vm.destroy', { command, instanceId }),
      sessions.card('h', 'card.activatePort', { eniId: 'e' }, { command, instanceId }),
      sessions.call('h', 'vm.describe', { instanceId }),
      region.call('region.releaseInterface', { instanceId }),
    ];
    return Promise.all(
      calls.map((call) =>
        call.then(
          () => 'ok',
          (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : ''),
        ),
      ),
    );
  };
  now = 3_000 + commandAfterLapseMsMax - 1;
  assert.deepEqual(await codes(), ['HostUnreachable', 'HostUnreachable', 'HostUnreachable', 'ok']);
  now += 1;
  assert.deepEqual(await codes(), ['StaleEpoch', 'StaleEpoch', 'HostUnreachable', 'StaleEpoch']);
  lease.renewed(lease.now(), 3_000);
  assert.deepEqual(await codes(), ['HostUnreachable', 'HostUnreachable', 'HostUnreachable', 'ok']);
});

test('a lease that is back counts once it is known what others took meanwhile, also where the machine was suspended', async () => {
  let now = 0;
  const lease = new CommandLease(() => now);
  const taken = { workflowId: 'taken', epoch: 1 };
  const own = { workflowId: 'own', epoch: 3 };
  const renew = async (awayMs: number | undefined, lost: () => Promise<(typeof taken)[]>): Promise<void> => {
    await lease.settleDoubt(awayMs, lost);
    lease.renewed(now, 3_000);
  };
  const nobody = (): Promise<never> => Promise.reject(new Error('it is not asked'));
  await renew(1_000, nobody);
  // Its clock stood still as well: only the store's tells.
  await assert.rejects(renew(7 * 3_600_000, () => Promise.reject(new Error('the store is away'))));
  assert.deepEqual([lease.allows(taken), lease.allows(own)], [false, false]);
  await renew(1_000, async () => [taken]);
  assert.deepEqual([lease.allows(taken), lease.allows(own)], [false, true]);
  assert.equal(lease.allows({ ...taken, epoch: 2 }), true, 'it has taken it again');
  now = 2 * commandAfterLapseMsMax;
  assert.equal(lease.allows(own), false);
  await renew(1_000, async () => [own]);
  assert.equal(lease.allows(own), false);
  await renew(1_000, nobody);
});

test('what goes on in a processor that was suspended for hours sends nothing for what another has taken', async (t) => {
  const gate = Promise.withResolvers<void>();
  let isAt = false;
  const hit = (point: string): Promise<void> | undefined => {
    if (point !== 'launch.allocateInterface.after') return undefined;
    isAt = true;
    return gate.promise;
  };
  const zombie = await setup.addProcessor({ faults: { hit, repeats: () => false } });
  const { owner, services } = zombie.cell;
  const image = { ImageId: setup.region.imageId, InstanceType: 'p1.nano', MinCount: 1, MaxCount: 1 };
  const asked = ec2(zombie.cell, 'RunInstances', image).catch(() => undefined);
  await until('it is in the step', () => isAt);
  // As after hours: another has taken its work, and hosts need not know any more whom they must refuse.
  await services.db.transaction(async (tx) => {
    await tx.query(
      `update workflows set owner = 'another', epoch = epoch + 1, taken_over = true where owner = $1 and state = 'running'`,
      [owner],
    );
    await tx.query(`update processors set renewed_at = renewed_at - interval '7 hours' where owner = $1`, [
      owner,
    ]);
  });
  const [host] = setup.hosts;
  const id = await until('another has taken it', () => host?.vms.keys().next().value);
  await settled(id, 'running');
  const renewals = new Set<string>();
  await until('it has renewed its lease, and gone on from there', async () => {
    const [found] = await services.db.query<{ at: string }>(
      `select renewed_at::text as at from processors where owner = $1 and renewed_at > now() - interval '1 hour'`,
      [owner],
    );
    if (found !== undefined) renewals.add(found.at);
    return renewals.size > 1;
  });
  const sent = zombie.callers.map((caller) => t.mock.method(caller, 'call').mock);
  gate.resolve();
  await zombie.cell.engine.idle();
  const commands = sent.flatMap(({ calls }) =>
    calls.filter(({ arguments: [, params] }) => 'command' in params),
  );
  assert.deepEqual(commands, []);
  await asked;
  await change('TerminateInstances', id);
  await settled(id, 'terminated');
  await zombie.stop();
});

test('generation and epoch are one number; inputs of the last release have none where they had no epoch', () => {
  for (let generation = 1; generation < 100; generation++) {
    const epoch = placeEpochOf(generation);
    assert.deepEqual(
      [generationOf(epoch), generationOf(epoch + 1), generationOf(epochAfter(epoch))],
      [generation, generation, generation + 1],
    );
  }
  assert.equal(generationOfInput({ hostId: 'h', epoch: 6 }), 3);
  for (const input of [{ hostId: 'h' }, null, 7, { epoch: 'x' }])
    assert.equal(generationOfInput(input), undefined);
});
