/** Placement groups and dedicated instances as clients meet them, on a cell of two processors with simulated hosts. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Instance } from '@aws-sdk/client-ec2';
import { keepGroups } from '#cell/capacity/upkeep.ts';
import { findClaim } from '#cell/store/claims.ts';
import { findInstance } from '#cell/store/instances.ts';
import { findGroup } from '#cell/store/placement-groups.ts';
import { accountId, ec2, TestCell, type TestProcessor } from './support/harness.ts';
import { describe, launch, reaches } from './support/instances.ts';

let setup: TestCell;
let one: TestProcessor;
let two: TestProcessor;

before(async () => {
  setup = await TestCell.start();
  for (let n = 0; n < 3; n++)
    setup.addHost({
      capacity: { vcpus: 8, memoryMib: 4_096, diskMib: 65_536 },
      rack: n === 0 ? 'a' : 'b',
      ...(n === 2 ? { capabilities: ['avx2'] } : {}),
    });
  one = await setup.addProcessor();
  two = await setup.addProcessor();
});
after(() => setup.stop());

const other = '444455556666';
const hostOf = async (id: string): Promise<string | null | undefined> =>
  (await findInstance(one.cell.services.db, id))?.host_id;
const inGroup = (GroupName: string, more: object = {}) => ({ Placement: { GroupName, ...more } });
const runs = async (processor: TestProcessor, more: object): Promise<Instance> => {
  const id = await launch(processor.cell, setup.region, more);
  return reaches(processor.cell, id, 'running');
};
const end = async (...ids: readonly (string | undefined)[]): Promise<void> => {
  const InstanceIds = ids.filter((id) => id !== undefined);
  await ec2(one.cell, 'TerminateInstances', { InstanceIds });
  for (const id of InstanceIds) await reaches(one.cell, id, 'terminated');
};
const noCapacity = { code: 'InsufficientInstanceCapacity' };

test('spread: each has a host of its own, the one too many is EC2’s refusal, a launch of several is whole or nothing', async () => {
  setup.region.addPlacementGroup('apart', 'spread');
  await assert.rejects(
    launch(one.cell, setup.region, { ...inGroup('apart'), MinCount: 4, MaxCount: 4 }),
    noCapacity,
  );
  const ids = await Promise.all(
    [one, two, one].map((processor) => launch(processor.cell, setup.region, inGroup('apart'))),
  );
  for (const id of ids) await reaches(one.cell, id, 'running');
  assert.equal(new Set(await Promise.all(ids.map(hostOf))).size, 3);
  await assert.rejects(launch(two.cell, setup.region, inGroup('apart')), noCapacity);
  // Room there is: only the group keeps it away.
  const free = await launch(two.cell, setup.region);
  await assert.rejects(one.cell.operator['operator.migrate']({ instanceId: ids[0] ?? '' }), noCapacity);
  await end(ids[0], free);
  await end(await launch(two.cell, setup.region, inGroup('apart')), ids[1], ids[2]);
});

test('partition: numbers are shown, asked for, told to the guest, and filtered by', async () => {
  setup.region.addPlacementGroup('parts', 'partition', 2);
  const first = await runs(one, inGroup('parts'));
  const second = await runs(two, inGroup('parts'));
  assert.deepEqual([first.Placement?.PartitionNumber, second.Placement?.PartitionNumber], [1, 2]);
  const wanted = await runs(one, inGroup('parts', { PartitionNumber: 2 }));
  assert.equal(wanted.Placement?.PartitionNumber, 2);
  const [h1, h2, h3] = await Promise.all(
    [first, second, wanted].map(({ InstanceId: id = '' }) => hostOf(id)),
  );
  assert.ok(h1 !== h2 && h1 !== h3);
  const filter = { Filters: [{ Name: 'placement-partition-number', Values: ['2'] }] };
  const found = (await ec2(one.cell, 'DescribeInstances', filter)).Reservations;
  assert.equal((found as unknown[]).length, 2);
  const host = setup.hosts.find(({ hostId }) => hostId === h1);
  assert.equal(host?.vms.get(first.InstanceId ?? '')?.metadata?.partitionNumber, 1);
  for (const [more, code] of [
    [inGroup('parts', { PartitionNumber: 3 }), 'InvalidParameterValue'],
    [inGroup('parts', { PartitionNumber: 0 }), 'InvalidParameterValue'],
    [inGroup('apart', { PartitionNumber: 1 }), 'InvalidParameterCombination'],
    [{ Placement: { PartitionNumber: 1 } }, 'InvalidParameterCombination'],
    [inGroup('absent'), 'InvalidPlacementGroup.Unknown'],
  ] as const)
    await assert.rejects(launch(one.cell, setup.region, more), { code }, JSON.stringify(more));
  await end(first.InstanceId, second.InstanceId, wanted.InstanceId);
});

test('cluster: a group is in one rack, and grows in no other', async () => {
  setup.region.addPlacementGroup('near', 'cluster');
  const big = { InstanceType: 'custom.1000m.3000', ...inGroup('near') };
  // Two of them have room together in the rack of two hosts alone.
  const id = await launch(one.cell, setup.region, { ...big, MinCount: 2, MaxCount: 2 });
  await reaches(one.cell, id, 'running');
  await assert.rejects(launch(two.cell, setup.region, big), noCapacity);
  const free = await runs(two, { InstanceType: 'custom.1000m.3000' });
  assert.equal(await hostOf(free.InstanceId ?? ''), 'h-1');
  const { Reservations } = await ec2(one.cell, 'DescribeInstances', {
    Filters: [{ Name: 'placement-group-name', Values: ['near'] }],
  });
  const all = (Reservations as { Instances: Instance[] }[]).flatMap(({ Instances }) => Instances);
  await end(free.InstanceId, ...all.map(({ InstanceId }) => InstanceId));
});

test('tenancy dedicated: no other account on the host, shown, and explained', async () => {
  const mine = await runs(one, { Placement: { Tenancy: 'dedicated' } });
  assert.equal(mine.Placement?.Tenancy, 'dedicated');
  const where = await hostOf(mine.InstanceId ?? '');
  const theirs = await Promise.all(
    [one, two, one, two].map(async ({ cell }) => {
      const input = { ImageId: setup.region.imageId, InstanceType: 'p1.nano', MinCount: 1, MaxCount: 1 };
      const { Instances } = await ec2(cell, 'RunInstances', input, other);
      return (Instances as Instance[])[0]?.InstanceId ?? '';
    }),
  );
  for (const id of theirs) assert.notEqual(await hostOf(id), where);
  const explained = await one.cell.operator['operator.explainCapacity']({
    ...{ type: 'p1.nano', diskMib: 1_024, accountId: other, hosts: 9 },
  });
  const verdict = explained.hosts.find(({ hostId }) => hostId === where);
  assert.deepEqual([verdict?.fits, verdict?.constraint], [false, 'tenancy']);
  await ec2(one.cell, 'TerminateInstances', { InstanceIds: theirs }, other);
  await end(mine.InstanceId);
});

test('a custom size with capabilities gets a host that has them; explain names what is missing', async () => {
  const InstanceType = 'custom.250m.128+avx2';
  const made = await runs(one, { InstanceType });
  assert.equal(await hostOf(made.InstanceId ?? ''), 'h-3');
  await assert.rejects(launch(two.cell, setup.region, { InstanceType: 'custom.250m.128+gpu' }), noCapacity);
  const explained = await one.cell.operator['operator.explainCapacity']({
    type: InstanceType,
    diskMib: 1_024,
  });
  assert.deepEqual(
    explained.hosts.map(({ hostId, constraint }) => [hostId, constraint]),
    [
      ['h-3', undefined],
      ['h-1', 'capability'],
      ['h-2', 'capability'],
    ],
  );
  await end(made.InstanceId);
});

test('ModifyInstancePlacement: of a stopped instance alone; row, claim, region and guest follow', async () => {
  const { groupId } = setup.region.addPlacementGroup('later', 'partition', 3);
  const { InstanceId = '' } = await runs(one, {});
  const modify = (more: object) => ec2(two.cell, 'ModifyInstancePlacement', { InstanceId, ...more });
  await assert.rejects(modify({ GroupName: 'later' }), { code: 'IncorrectInstanceState' });
  await ec2(one.cell, 'StopInstances', { InstanceIds: [InstanceId] });
  await reaches(one.cell, InstanceId, 'stopped');
  for (const [more, code] of [
    [{}, 'MissingParameter'],
    [{ GroupName: 'absent' }, 'InvalidPlacementGroup.Unknown'],
    [{ GroupName: 'later', PartitionNumber: 4 }, 'InvalidParameterValue'],
    [{ GroupName: 'apart', PartitionNumber: 1 }, 'InvalidParameterCombination'],
    [{ GroupName: 'later', GroupId: groupId }, 'InvalidParameterCombination'],
    [{ HostId: 'h-1' }, 'InvalidHostID.NotFound'],
    [{ GroupName: 'later', Tenancy: 'dedicated' }, 'InvalidParameterValue'],
  ] as const)
    await assert.rejects(modify(more), { code }, JSON.stringify(more));
  assert.equal(setup.region.groupOf.get(InstanceId), undefined, 'what was refused was taken back');
  await modify({ GroupName: 'later', PartitionNumber: 3 });
  assert.equal(setup.region.groupOf.get(InstanceId), groupId);
  const { db } = one.cell.services;
  const claim = await findClaim(db, `instance/${InstanceId}`);
  assert.deepEqual([claim?.group_id, claim?.group_partition], [groupId, 3]);
  const { Placement } = await describe(two.cell, InstanceId);
  assert.deepEqual([Placement?.GroupName, Placement?.PartitionNumber], ['later', 3]);
  await ec2(one.cell, 'StartInstances', { InstanceIds: [InstanceId] });
  await reaches(one.cell, InstanceId, 'running');
  assert.equal((await findClaim(db, `instance/${InstanceId}`))?.group_partition, 3, 'a start keeps it');
  await ec2(one.cell, 'StopInstances', { InstanceIds: [InstanceId] });
  await reaches(one.cell, InstanceId, 'stopped');
  await modify({ GroupName: '' });
  assert.equal((await describe(two.cell, InstanceId)).Placement?.GroupName, '');
  assert.equal((await findClaim(db, `instance/${InstanceId}`))?.group_id, null);
  assert.equal(setup.region.groupOf.get(InstanceId), undefined);
  await end(InstanceId);
});

test('what a group is that the cell was not told, the region says; a group without members is forgotten', async () => {
  const { groupId } = setup.region.addPlacementGroup('old', 'spread');
  const made = await runs(one, inGroup('old'));
  const { db } = one.cell.services;
  await db.query('delete from placement_groups where group_id = $1', [groupId]);
  await keepGroups(db, setup.region);
  assert.equal((await findGroup(db, groupId))?.strategy, 'spread');
  await end(made.InstanceId);
  await keepGroups(db, setup.region);
  assert.equal(await findGroup(db, groupId), undefined);
  assert.equal((await findClaim(db, `instance/${made.InstanceId}`))?.account_id ?? accountId, accountId);
});
