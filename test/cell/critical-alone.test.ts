/** No processor is left at some point of the critical phase: hosts and cards bring the guest and its packets together by themselves. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { findInstance } from '#cell/store/instances.ts';
import { newId } from '#contracts/ids.ts';
import { lease } from './support/fault-matrix.ts';
import { ec2, TestCell, until } from './support/harness.ts';
import { OrderedFaults } from './support/ordered-faults.ts';

const vxlanPort = 4789;
/** What peers wait at most when both processors are gone (S7.4). */
const answersMsMax = 2_000;

let setup: TestCell;
before(async () => {
  setup = await TestCell.start();
  setup.addHost({ copyMs: 30 });
  setup.addHost({ copyMs: 30 });
});
after(() => setup.stop());

/** The host at whose tap packets for the interface end that are sent to the card of `entry`; undefined: they wait, or go in circles. */
const arrivesAt = (eniId: string, entry: string): string | undefined => {
  let hostId = entry;
  for (let hops = 0; hops < 4; hops++) {
    const host = setup.hosts.find((each) => each.hostId === hostId);
    const to = host?.card.ports.get(eniId)?.redirect;
    if (to === undefined) return hostId;
    const next = setup.hosts.find(({ card }) => card.vtep === to.ip);
    if (to.port === vxlanPort) return next?.hostId;
    const queue = next?.card.queues.get(eniId);
    if (queue?.mode !== 'pass') return undefined;
    if (queue.lapsedTo === undefined) return next?.hostId;
    hostId = setup.hosts.find(({ card }) => card.vtep === queue.lapsedTo)?.hostId ?? '';
  }
  return undefined;
};

const parts = ['queue', 'flush', 'switch', 'commission', 'confirm', 'direct'] as const;
for (const part of parts)
  test(`killed after ${part}: the guest answers in one place, and the next processor goes on from there`, async () => {
    const point = `migrate.critical.${part}.after`;
    const faults = new OrderedFaults();
    const only = await setup.addProcessor({ ...lease, faults });
    faults.crashAt(point, () => only.kill());
    const output = await ec2(only.cell, 'RunInstances', {
      ImageId: setup.region.imageId,
      InstanceType: 'p1.nano',
      MinCount: 1,
      MaxCount: 1,
      ClientToken: newId('workflow'),
    });
    const [instance] = output.Instances as { InstanceId: string }[];
    const id = instance?.InstanceId ?? '';
    const source = await until('it runs', () => setup.world.runningOn(id)[0]);
    const rowOf = (cell = only) => findInstance(cell.cell.services.db, id);
    await until('it is free', async () => (await rowOf())?.workflow_id === null);
    const eniId = setup.region.interfaces.get(id)?.eniId ?? '';
    void only.cell.operator['operator.migrate']({ instanceId: id });
    await until(point, () => faults.reached.has(point));

    await until(
      'the guest answers',
      () => {
        const places = setup.world.runningOn(id);
        return places.length === 1 && arrivesAt(eniId, source) === places[0];
      },
      answersMsMax,
    );
    const place = setup.world.runningOn(id)[0];
    assert.equal(place === source, part === 'queue' || part === 'flush', 'handed over: forward, else: back');
    if (place === source) {
      const target = setup.hosts.find(({ hostId }) => hostId !== source);
      await until(
        'what was held is given back',
        () => target?.card.queues.get(eniId)?.lapsedTo !== undefined,
      );
      assert.equal(arrivesAt(eniId, source), source);
    }

    const next = await setup.addProcessor(lease);
    await until('the migration ends', async () => {
      const row = await rowOf(next);
      return row?.state === 'running' && row.workflow_id === null;
    });
    assert.deepEqual(setup.world.violations, [], 'I1');
    assert.deepEqual(setup.world.runningOn(id), [(await rowOf(next))?.host_id]);
    await ec2(next.cell, 'TerminateInstances', { InstanceIds: [id] });
    await until('nothing is left', () =>
      setup.hosts.every(({ vms, card }) => vms.size + card.queues.size === 0),
    );
    await next.stop();
  });
