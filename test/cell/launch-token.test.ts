/** What a launch claims in the region under its client token, and when it gives that back. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PandoError } from '#contracts/errors.ts';
import { accountId, ec2, TestCell, type TestProcessor } from './support/harness.ts';
import { launchInput } from './support/store-faults.ts';

let setup: TestCell;
let processor: TestProcessor;

before(async () => {
  setup = await TestCell.start();
  setup.addHost({ capacity: { vcpus: 2, memoryMib: 2_048, diskMib: 1_048_576 } });
  processor = await setup.addProcessor();
});
after(() => setup.stop());

/** The cell that has a token, as another cell that asks for it hears. */
const holderOf = async (token: string): Promise<string> => {
  const asked = { accountId, imageId: setup.region.imageId, groupIds: [], groupNames: [] };
  try {
    await setup.region.call('region.resolveLaunch', { ...asked, claim: { cellId: 'cell-9', token } });
  } catch (error) {
    return PandoError.from(error).details?.tokenCellId ?? 'nobody, and it was refused';
  }
  await setup.region.call('region.releaseToken', { accountId, cellId: 'cell-9', token });
  return 'nobody';
};
const run = (token: string, more: object = {}): Promise<unknown> =>
  ec2(processor.cell, 'RunInstances', { ...launchInput(setup, token), ...more });

test('an accepted launch keeps its token, and so does one that is repeated', async () => {
  await run('kept');
  await run('kept');
  assert.equal(await holderOf('kept'), 'cell-1');
});

test('of launches that are refused, for any reason, none keeps its token', async () => {
  await assert.rejects(run('full', { MinCount: 90, MaxCount: 90 }), { code: 'InsufficientInstanceCapacity' });
  await assert.rejects(run('image', { ImageId: 'ami-0123456789abcdef0' }), { code: 'InvalidAMIID.NotFound' });
  await assert.rejects(run('dry', { DryRun: true }), { code: 'DryRunOperation' });
  const Ebs = { VolumeSize: 0.01 };
  await assert.rejects(run('small', { BlockDeviceMappings: [{ DeviceName: '/dev/sdq', Ebs }] }));
  for (const token of ['full', 'image', 'dry', 'small']) assert.equal(await holderOf(token), 'nobody', token);
});

test('a token that the router made of the request’s id is not claimed: nobody sends it again', async () => {
  await run('r');
  assert.equal(await holderOf('r'), 'nobody');
});

test('a token that another cell has is not launched here, and the answer names that cell', async () => {
  const asked = { accountId, imageId: setup.region.imageId, groupIds: [], groupNames: [] };
  await setup.region.call('region.resolveLaunch', { ...asked, claim: { cellId: 'cell-9', token: 'theirs' } });
  await assert.rejects(run('theirs'), (error) => {
    const { code, details } = PandoError.from(error);
    return code === 'Unavailable' && details?.tokenCellId === 'cell-9';
  });
  const [row] = await processor.cell.services.db.query<{ n: number }>(
    `select count(*)::int as n from client_tokens where token = 'theirs'`,
  );
  assert.equal(row?.n, 0);
});

test('a claim that could not be given back stays: the refusal is answered all the same', async () => {
  setup.region.before = (method) => {
    if (method === 'region.releaseToken') throw new PandoError('HostUnreachable', 'The region is away.');
  };
  await assert.rejects(run('left', { MinCount: 90, MaxCount: 90 }), { code: 'InsufficientInstanceCapacity' });
  setup.region.before = undefined;
  assert.equal(await holderOf('left'), 'cell-1');
});
