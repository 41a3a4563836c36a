/** A cell's store that came back without its last second may not know that an instance was terminated, whose interface is gone for good. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ec2, TestCell, type TestProcessor } from './support/harness.ts';
import { describe, launch, reaches } from './support/instances.ts';

let setup: TestCell;
let processor: TestProcessor;

before(async () => {
  setup = await TestCell.start();
  setup.addHost();
  processor = await setup.addProcessor();
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
