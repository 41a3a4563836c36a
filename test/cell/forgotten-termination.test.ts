/** A cell's store that came back without its last second may not know that an instance was terminated, whose interface is gone for good. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ec2, TestCell, type TestProcessor } from './support/harness.ts';
import { describe, launch, reaches } from './support/instances.ts';
import { OrderedFaults } from './support/ordered-faults.ts';

let setup: TestCell;
let processor: TestProcessor;
const faults = new OrderedFaults();

before(async () => {
  setup = await TestCell.start();
  setup.addHost();
  processor = await setup.addProcessor({ faults });
});
after(() => setup.stop());

test('a stop ends although the interface was released, and so does the termination after it', async () => {
  const id = await launch(processor.cell, setup.region);
  await reaches(processor.cell, id, 'running');
  await setup.region.call('region.releaseInterface', { instanceId: id });
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'stopped');
  const { State } = await describe(processor.cell, id);
  assert.equal(State?.Name, 'stopped');
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'terminated');
  assert.deepEqual(setup.world.violations, []);
});

test('a stop that is given up for a termination which the store then forgets is carried out', async () => {
  const id = await launch(processor.cell, setup.region);
  await reaches(processor.cell, id, 'running');
  const { db } = processor.cell.services;
  faults.doAt('stop.stopVm.after', async () => {
    faults.clear();
    await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] });
    // The processor has heard of it, and the store comes back without it.
    await db.query("update instances set intent = null, state = 'stopping' where id = $1", [id]);
    await db.query('update workflows set cancel = false where subject = $1', [id]);
  });
  await ec2(processor.cell, 'StopInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'stopped');
  const ends = await db.query<{ state: string }>(
    "select state from workflows where subject = $1 and kind = 'stop' order by created_at",
    [id],
  );
  assert.deepEqual(
    ends.map(({ state }) => state),
    ['undone', 'done'],
  );
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: [id] });
  await reaches(processor.cell, id, 'terminated');
  assert.deepEqual(setup.world.violations, []);
});
