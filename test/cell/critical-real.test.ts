/** Both processors are killed at each part of the critical phase, over real agents, cards and VMMs: the guest answers, in one place. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { findInstance } from '#cell/store/instances.ts';
import { newId } from '#contracts/ids.ts';
import { ec2, type TestProcessor, until } from './support/harness.ts';
import { OrderedFaults } from './support/ordered-faults.ts';
import { type RealHost, TwoRealHosts } from './support/two-real-hosts.ts';

/** What peers wait at most (S7.4). */
const answersMsMax = 2_000;
const settleMsMax = 60_000;

let ground: TwoRealHosts;
before(async () => {
  ground = await TwoRealHosts.start();
});
after(() => ground.stop());

const launched = async (by: TestProcessor): Promise<string> => {
  const output = await ec2(by.cell, 'RunInstances', {
    ImageId: ground.cell.region.imageId,
    InstanceType: 'custom.2000m.48',
    MinCount: 1,
    MaxCount: 1,
    ClientToken: newId('workflow'),
  });
  const [instance] = output.Instances as { InstanceId: string }[];
  assert.ok(instance);
  return instance.InstanceId;
};
const settled = (id: string, by: TestProcessor, state: string) =>
  until(
    `${id} ${state}`,
    async () => {
      const row = await findInstance(by.cell.services.db, id);
      return row?.state === state && row.workflow_id === null && row;
    },
    settleMsMax,
  );

const parts = ['queue', 'flush', 'switch', 'commission', 'confirm', 'direct'] as const;
for (const part of parts)
  test(`both processors are killed after ${part}`, async (t) => {
    const faults = new OrderedFaults();
    const processors = [await ground.processor(0, { faults }), await ground.processor(1, { faults })];
    t.after(() => {
      for (const each of processors) each.kill();
    });
    const [first] = processors;
    assert.ok(first);
    const point = `migrate.critical.${part}.after`;
    let killedAt = 0;
    faults.crashAt(point, () => {
      killedAt = performance.now();
      for (const each of processors) each.kill();
    });
    const id = await launched(first);
    await settled(id, first, 'running');
    const [source] = await ground.runningOn(id);
    const port = ground.cell.region.interfaces.get(id);
    assert.ok(source && port);
    await until('the guest runs', async () => (await source.agent.round(id)) > 2, settleMsMax);
    const neighbour = await ground.neighbour(source);
    void first.cell.operator['operator.migrate']({ instanceId: id });
    await until(point, () => faults.reached.has(point), settleMsMax);

    const place = await until('its packets come to the one place where it runs', async () => {
      const [only, ...more]: RealHost[] = await ground.runningOn(id);
      if (only === undefined || more.length > 0) return undefined;
      return (await ground.arrivesAt(neighbour, id, port.ip)) === only && only;
    });
    const took = performance.now() - killedAt;
    t.diagnostic(`${part}: seen to answer ${took.toFixed(0)} ms after the kill`);
    assert.ok(took < answersMsMax, `${took} ms`);
    assert.equal(place === source, part === 'queue' || part === 'flush', 'handed over: forward, else: back');
    const round = await place.agent.round(id);
    await until('it counts on', async () => (await place.agent.round(id)) > round);

    const next = await ground.processor(0);
    t.after(() => next.stop());
    const row = await settled(id, next, 'running');
    const [now, ...more] = await ground.runningOn(id);
    assert.deepEqual([now?.agent.config.hostId, more], [row.host_id, []]);
    await ec2(next.cell, 'TerminateInstances', { InstanceIds: [id] });
    await settled(id, next, 'terminated');
    await source.card.client.call('card.detachPort', { eniId: neighbour.port.eniId });
  });
