/**
 * The loop on simulated hosts (S5, S10.6): no host gives slots of a type → a request waits → its pool takes a donor, whose VMs move away
 * live → the donor is rebuilt → its slots are offered → the offer is claimed by a launch.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TestCell, type TestProcessor, until } from '../support/harness.ts';
import { createRequest, launch, reaches, running } from './support.ts';

let setup: TestCell;
let processor: TestProcessor;
before(async () => {
  setup = await TestCell.start();
  for (let made = 0; made < 4; made++)
    setup.addHost({ capacity: { vcpus: 4, memoryMib: 1_024, diskMib: 65_536 } });
  processor = await setup.addProcessor({ timing: { duePollMs: 50, parkMsMin: 20, parkMsMax: 100 } });
});
after(() => setup.stop());

test('who waits has a host taken from another pool, is offered its slot, and launches there', async () => {
  const { operator, services, pools } = processor.cell;
  await services.db.query('update hosts set rests_until = null');
  const pool = (name: string, slotType: string, low: number, target: number, hosts?: string[]) =>
    operator['operator.setPool']({
      ...{ name, slotType, low, target, layout: { types: [slotType] } },
      ...(hosts === undefined ? {} : { hosts }),
    });
  const hosts = setup.hosts.map(({ hostId }) => hostId);
  await pool('small', 'p1.nano', 1, 2, hosts);
  await pool('big', 'p1.small', 0, 0);
  await services.capacity.refresh();
  const small = await launch(setup, processor, { count: 4 });
  await running(processor, small);
  const { requestId } = await createRequest(processor, { instanceType: 'p1.small' });
  // Nobody was refused: what waits is demand by itself.
  const { changes } = await until('a donor is chosen', async () => {
    const shown = await operator['operator.pools']({});
    return shown.changes.length > 0 && shown;
  });
  assert.deepEqual(
    changes.map(({ from, to }) => [from, to]),
    [['small', 'big']],
  );
  const donor = changes[0]?.hostId ?? '';
  await pools.turn();
  const { offers } = await reaches(processor, requestId, 'offered');
  for (const id of small)
    assert.ok(
      [...setup.world.runningOn(id)].length === 1 && !setup.world.runningOn(id).includes(donor),
      `${id} runs elsewhere`,
    );
  const [offer] = offers;
  const [big = ''] = await launch(setup, processor, {
    offerId: offer?.offerId ?? '',
    more: { InstanceType: 'p1.small' },
  });
  await running(processor, [big]);
  assert.deepEqual([...setup.world.runningOn(big)], [donor]);
  assert.equal((await reaches(processor, requestId, 'fulfilled')).offers[0]?.state, 'claimed');
  const { drifts, misfits } = await operator['operator.checkClaims']({});
  assert.deepEqual({ drifts, misfits }, { drifts: [], misfits: [] });
});
