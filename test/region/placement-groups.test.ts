/** Placement groups: made, described, in use while an interface of one of their instances is there. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { newCellId } from '#contracts/ids.ts';
import { allocateInterface, releaseInterface } from '#region/interfaces.ts';
import { resolveLaunch } from '#region/launch.ts';
import { type Client, cellNumber, startTestRegion, type TestRegion } from './test-region.ts';

describe('placement groups', () => {
  let region: TestRegion;
  let alice: Client;
  let mallory: Client;
  let imageId: string;
  let subnetId: string;
  before(async () => {
    region = await startTestRegion();
    alice = await region.account();
    mallory = await region.account();
    imageId = 'ami-0123456789abcdef0';
    const row = {
      ...{ image_id: imageId, account_id: alice.accountId, name: 'own', description: null, digest: 'd' },
      ...{ location: 'l', is_public: false, architecture: 'x86_64', boot_mode: 'bios', min_memory_mib: 64 },
      ...{ disk_virtual_mib: 100, root_device_name: '/dev/vda', imds_support: null },
    };
    await region.region.db.insertInto('image').values(row).execute();
    subnetId = (await alice.call('DescribeSubnets', {})).Subnets?.[0]?.SubnetId ?? '';
  });
  after(() => region.stop());

  const resolve = (placementGroup: { id?: string; name?: string }, count = 1) =>
    resolveLaunch(region.region, {
      ...{ accountId: alice.accountId, imageId, subnetId, groupIds: [], groupNames: [], count },
      placementGroup,
    });
  const join = async (placementGroupId: string, client = alice): Promise<string> => {
    const instanceId = newCellId('instance', cellNumber);
    await allocateInterface(region.region, {
      ...{ accountId: client.accountId, instanceId, subnetId, groupIds: [], publicIp: false },
      placementGroupId,
    });
    return instanceId;
  };

  it('are described as they were made, by id, name, tag and every filter', async () => {
    const { PlacementGroup: spread } = await alice.call('CreatePlacementGroup', {
      GroupName: 'apart',
      Strategy: 'spread',
      TagSpecifications: [{ ResourceType: 'placement-group', Tags: [{ Key: 'Name', Value: 'x' }] }],
    });
    assert.deepEqual(spread, {
      GroupId: spread?.GroupId,
      GroupName: 'apart',
      GroupArn: `arn:aws:ec2:test-1:${alice.accountId}:placement-group/apart`,
      State: 'available',
      Strategy: 'spread',
      SpreadLevel: 'rack',
      Tags: [{ Key: 'Name', Value: 'x' }],
    });
    const { PlacementGroup: parts } = await alice.call('CreatePlacementGroup', {
      GroupName: 'parts',
      Strategy: 'partition',
      PartitionCount: 3,
    });
    assert.equal(parts?.PartitionCount, 3);
    for (const input of [
      { GroupIds: [spread?.GroupId ?? ''] },
      { GroupNames: ['apart'] },
      { Filters: [{ Name: 'strategy', Values: ['spread'] }] },
      { Filters: [{ Name: 'spread-level', Values: ['rack'] }] },
      { Filters: [{ Name: 'group-arn', Values: [spread?.GroupArn ?? ''] }] },
      { Filters: [{ Name: 'tag:Name', Values: ['x'] }] },
      {
        Filters: [
          { Name: 'state', Values: ['available'] },
          { Name: 'group-name', Values: ['ap*'] },
        ],
      },
    ])
      assert.deepEqual((await alice.call('DescribePlacementGroups', input)).PlacementGroups, [spread]);
    const missing = { code: 'InvalidPlacementGroup.Unknown' };
    await assert.rejects(alice.call('DescribePlacementGroups', { GroupNames: ['absent'] }), missing);
    await assert.rejects(alice.call('DescribePlacementGroups', { GroupIds: ['pg-12345678'] }), missing);
    await assert.rejects(mallory.call('DescribePlacementGroups', { GroupNames: ['apart'] }), missing);
    await assert.rejects(alice.call('DescribePlacementGroups', { GroupIds: ['sg-1'] }), {
      code: 'InvalidPlacementGroupId.Malformed',
    });
    await alice.call('CreateTags', { Resources: [parts?.GroupId ?? ''], Tags: [{ Key: 'k', Value: 'v' }] });
    const { PlacementGroups: [now] = [] } = await alice.call('DescribePlacementGroups', {
      GroupNames: ['parts'],
    });
    assert.deepEqual(now?.Tags, [{ Key: 'k', Value: 'v' }]);
    await alice.call('DeletePlacementGroup', { GroupName: 'parts' });
    await assert.rejects(alice.call('DeletePlacementGroup', { GroupName: 'parts' }), missing);
    await assert.rejects(mallory.call('DeletePlacementGroup', { GroupName: 'apart' }), missing);
  });

  it('refuse what EC2 refuses', async () => {
    const make = (input: object) => alice.call('CreatePlacementGroup', { GroupName: 'wrong', ...input });
    await make({ GroupName: 'taken' });
    await assert.rejects(make({ GroupName: 'taken' }), { code: 'InvalidPlacementGroup.Duplicate' });
    await assert.rejects(alice.call('CreatePlacementGroup', {}), { code: 'MissingParameter' });
    const wrong: readonly (readonly [object, string])[] = [
      [{ Strategy: 'close' }, 'InvalidParameterValue'],
      [{ Strategy: 'partition', PartitionCount: 8 }, 'InvalidParameterValue'],
      [{ Strategy: 'partition', PartitionCount: 0 }, 'InvalidParameterValue'],
      [{ Strategy: 'spread', PartitionCount: 2 }, 'InvalidParameterCombination'],
      [{ Strategy: 'spread', SpreadLevel: 'host' }, 'InvalidParameterValue'],
      [{ Strategy: 'cluster', SpreadLevel: 'rack' }, 'InvalidParameterCombination'],
      [{ GroupName: 'x'.repeat(256) }, 'InvalidParameterValue'],
      [{ GroupName: 'é' }, 'InvalidParameterValue'],
      [{ ParentGroupId: 'pg-1' }, 'UnsupportedOperation'],
    ];
    for (const [input, code] of wrong) await assert.rejects(make(input), { code }, JSON.stringify(input));
  });

  it('are named by launches, by name or id; are in use until the last instance has gone', async () => {
    const { PlacementGroup: group } = await alice.call('CreatePlacementGroup', { GroupName: 'used' });
    const GroupId = group?.GroupId ?? '';
    const expected = { groupId: GroupId, groupName: 'used', strategy: 'cluster' };
    assert.deepEqual((await resolve({ name: 'used' })).placementGroup, expected);
    assert.deepEqual((await resolve({ id: GroupId })).placementGroup, expected);
    for (const named of [{ name: 'absent' }, { id: 'pg-12345678' }, {}])
      await assert.rejects(resolve(named), { code: 'InvalidPlacementGroup.Unknown' });
    await assert.rejects(resolve({ name: 'used', id: GroupId }), { code: 'InvalidParameterCombination' });
    const instances = [await join(GroupId), await join(GroupId)];
    for (const instanceId of instances) {
      await assert.rejects(alice.call('DeletePlacementGroup', { GroupName: 'used' }), {
        code: 'InvalidPlacementGroup.InUse',
      });
      await releaseInterface(region.region, instanceId);
    }
    await alice.call('DeletePlacementGroup', { GroupName: 'used' });
    const before = await region.region.db.selectFrom('eni').select('eni_id').execute();
    await assert.rejects(join(GroupId), { code: 'InvalidPlacementGroup.Unknown' });
    assert.deepEqual(await region.region.db.selectFrom('eni').select('eni_id').execute(), before);
  });

  it('of other accounts take no instance', async () => {
    const { PlacementGroup: foreign } = await mallory.call('CreatePlacementGroup', { GroupName: 'foreign' });
    await assert.rejects(resolve({ id: foreign?.GroupId ?? '' }), { code: 'InvalidPlacementGroup.Unknown' });
    await assert.rejects(join(foreign?.GroupId ?? ''), { code: 'InvalidPlacementGroup.Unknown' });
  });

  it('a spread group has seven instances in a zone at most', async () => {
    const { PlacementGroup: group } = await alice.call('CreatePlacementGroup', {
      GroupName: 'seven',
      Strategy: 'spread',
    });
    for (let at = 0; at < 6; at += 1) await join(group?.GroupId ?? '');
    await resolve({ name: 'seven' }, 1);
    await assert.rejects(resolve({ name: 'seven' }, 2), { code: 'InstanceLimitExceeded' });
    // Cells that ask at once are both told that there is room: who joins first has it.
    const joined = await Promise.allSettled([join(group?.GroupId ?? ''), join(group?.GroupId ?? '')]);
    assert.deepEqual(joined.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    const refused = joined.find((each) => each.status === 'rejected');
    assert.equal(refused?.reason.code, 'InstanceLimitExceeded');
  });

  it('a cluster group is in one cell alone: another one is told which', async () => {
    const { PlacementGroup: group } = await alice.call('CreatePlacementGroup', { GroupName: 'one-cell' });
    const groupId = group?.GroupId ?? '';
    const cell = { number: cellNumber, zone: 'test-1a', state: 'active' as const, processors: [] };
    await region.region.db
      .insertInto('cell')
      .values({ cell_id: 'cell-own', ...cell })
      .onConflict((c) => c.doNothing())
      .execute();
    const [own] = await region.region.db
      .selectFrom('cell')
      .select('cell_id')
      .where('number', '=', cellNumber)
      .execute();
    const ask = (cellId: string) =>
      resolveLaunch(region.region, {
        ...{ accountId: alice.accountId, imageId, subnetId, groupIds: [], groupNames: [], cellId },
        placementGroup: { id: groupId },
      });
    await ask('cell-other');
    await join(groupId);
    await ask(own?.cell_id ?? '');
    await assert.rejects(ask('cell-other'), { code: 'Unavailable', details: { tokenCellId: own?.cell_id } });
    // Two cells that began at once: the second one's instance does not join.
    const instanceId = newCellId('instance', cellNumber + 1);
    const request = { accountId: alice.accountId, instanceId, subnetId, groupIds: [], publicIp: false };
    await assert.rejects(allocateInterface(region.region, { ...request, placementGroupId: groupId }), {
      code: 'InsufficientInstanceCapacity',
    });
  });

  it('a cluster group is in one zone alone', async () => {
    const { PlacementGroup: group } = await alice.call('CreatePlacementGroup', { GroupName: 'one-zone' });
    const groupId = group?.GroupId ?? '';
    await join(groupId);
    const other = (await alice.call('DescribeSubnets', {})).Subnets?.find(
      (subnet) => subnet.SubnetId !== subnetId,
    );
    assert.ok(other?.SubnetId !== undefined && other.SubnetId !== '', 'the region has two zones');
    const away = {
      accountId: alice.accountId,
      imageId,
      subnetId: other.SubnetId,
      groupIds: [],
      groupNames: [],
    };
    await assert.rejects(resolveLaunch(region.region, { ...away, placementGroup: { id: groupId } }), {
      code: 'InvalidParameterValue',
    });
  });

  it('are deleted or joined, whichever is first, when both happen at once', async () => {
    for (let round = 0; round < 8; round += 1) {
      const { PlacementGroup: group } = await alice.call('CreatePlacementGroup', { GroupName: 'raced' });
      const [joined, deleted] = await Promise.allSettled([
        join(group?.GroupId ?? ''),
        alice.call('DeletePlacementGroup', { GroupName: 'raced' }),
      ]);
      assert.notEqual(joined.status, deleted.status);
      if (joined.status === 'rejected') {
        assert.equal(joined.reason.code, 'InvalidPlacementGroup.Unknown');
        continue;
      }
      assert.equal(deleted.status === 'rejected' && deleted.reason.code, 'InvalidPlacementGroup.InUse');
      await releaseInterface(region.region, joined.value);
      await alice.call('DeletePlacementGroup', { GroupName: 'raced' });
    }
  });
});
