/** Event windows: made, described, changed, associated with one kind of target each, and told to cells. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { newCellId } from '#contracts/ids.ts';
import { windowsOf } from '#region/event-windows/targets.ts';
import { releaseInterface } from '#region/interfaces.ts';
import { type Client, startTestRegion, type TestRegion } from '../test-region.ts';

const nights = {
  TimeRanges: [
    { StartWeekDay: 'monday' as const, StartHour: 2, EndWeekDay: 'wednesday' as const, EndHour: 8 },
  ],
};

describe('event windows', () => {
  let region: TestRegion;
  let alice: Client;
  let mallory: Client;
  before(async () => {
    region = await startTestRegion();
    alice = await region.account();
    mallory = await region.account();
  });
  after(() => region.stop());

  const create = async (client = alice, input: object = nights): Promise<string> =>
    (await client.call('CreateInstanceEventWindow', input)).InstanceEventWindow?.InstanceEventWindowId ?? '';
  const associate = (InstanceEventWindowId: string, AssociationTarget: object, client = alice) =>
    client.call('AssociateInstanceEventWindow', { InstanceEventWindowId, AssociationTarget });
  const asked = (instanceId: string, tags: { Key: string; Value: string }[] = [], dedicatedHostId?: string) =>
    windowsOf(region.region.db, [
      { instanceId, accountId: alice.accountId, tags, ...(dedicatedHostId && { dedicatedHostId }) },
    ]);

  it('are described as they were made, by id, tag and every filter', async () => {
    const { InstanceEventWindow: made } = await alice.call('CreateInstanceEventWindow', {
      ...nights,
      Name: 'nights',
      TagSpecifications: [{ ResourceType: 'instance-event-window', Tags: [{ Key: 'k', Value: 'v' }] }],
    });
    assert.deepEqual(made, {
      InstanceEventWindowId: made?.InstanceEventWindowId,
      TimeRanges: nights.TimeRanges,
      Name: 'nights',
      AssociationTarget: { InstanceIds: [], Tags: [], DedicatedHostIds: [] },
      State: 'active',
      Tags: [{ Key: 'k', Value: 'v' }],
    });
    const id = made?.InstanceEventWindowId ?? '';
    const { instanceId } = await alice.launch();
    await associate(id, { InstanceIds: [instanceId] });
    for (const [Name, value] of [
      ['event-window-name', 'nig*'],
      ['instance-id', instanceId],
      ['tag:k', 'v'],
      ['tag-key', 'k'],
    ] as const) {
      const { InstanceEventWindows: found } = await alice.call('DescribeInstanceEventWindows', {
        Filters: [{ Name, Values: [value] }],
      });
      assert.deepEqual(
        found?.map((each) => each.InstanceEventWindowId),
        [id],
        Name,
      );
    }
    const none = await alice.call('DescribeInstanceEventWindows', {
      Filters: [{ Name: 'instance-tag-key', Values: ['k'] }],
    });
    assert.deepEqual(none.InstanceEventWindows, []);
    await alice.call('CreateTags', { Resources: [id], Tags: [{ Key: 'k2', Value: 'v2' }] });
    const again = await alice.call('DescribeInstanceEventWindows', { InstanceEventWindowIds: [id] });
    assert.equal(again.InstanceEventWindows?.[0]?.Tags?.length, 2);
    assert.deepEqual((await mallory.call('DescribeInstanceEventWindows', {})).InstanceEventWindows, []);
    for (const [ids, code] of [
      [[id, 'iew-0123456789abcdef0'], 'InvalidInstanceEventWindowId.NotFound'],
      [['window'], 'InvalidInstanceEventWindowId.Malformed'],
    ] as const)
      await assert.rejects(alice.call('DescribeInstanceEventWindows', { InstanceEventWindowIds: [...ids] }), {
        code,
      });
  });

  it('a change replaces the hours, whichever way they are given; bad ones change nothing', async () => {
    const id = await create();
    const change = async (input: object) =>
      (await alice.call('ModifyInstanceEventWindow', { InstanceEventWindowId: id, ...input }))
        .InstanceEventWindow;
    const cron = await change({ CronExpression: '* 0-4 * * MON', Name: 'mondays' });
    assert.deepEqual(
      [cron?.CronExpression, cron?.TimeRanges, cron?.Name],
      ['* 0-4 * * MON', undefined, 'mondays'],
    );
    const ranges = await change(nights);
    assert.deepEqual([ranges?.CronExpression, ranges?.TimeRanges], [undefined, nights.TimeRanges]);
    assert.equal(ranges?.Name, 'mondays', 'what is not named stays');
    for (const [input, code] of [
      [{ ...nights, CronExpression: '* 0-4 * * 1' }, 'InvalidParameterCombination'],
      [{ CronExpression: '* 0-1 * * 1' }, 'InvalidParameterValue'],
      [{ Name: 'x'.repeat(256) }, 'InvalidParameterValue'],
      [{}, 'MissingParameter'],
    ] as const)
      await assert.rejects(change(input), { code });
    await assert.rejects(create(alice, {}), { code: 'MissingParameter' });
    await assert.rejects(
      mallory.call('ModifyInstanceEventWindow', { InstanceEventWindowId: id, Name: 'mine' }),
      { code: 'InvalidInstanceEventWindowId.NotFound' },
    );
    const [kept] = (await alice.call('DescribeInstanceEventWindows', { InstanceEventWindowIds: [id] }))
      .InstanceEventWindows ?? [undefined];
    assert.deepEqual([kept?.Name, kept?.TimeRanges], ['mondays', nights.TimeRanges]);
  });

  it('a target is in one window only, and a window has one kind of targets', async () => {
    const [one, two] = [await create(), await create()];
    const { instanceId } = await alice.launch();
    await associate(one, { InstanceIds: [instanceId] });
    await associate(one, { InstanceIds: [instanceId] });
    await assert.rejects(associate(two, { InstanceIds: [instanceId] }), {
      code: 'Resource.AlreadyAssociated',
      message: new RegExp(one),
    });
    const tag = { InstanceTags: [{ Key: 'team', Value: 'a' }] };
    for (const [target, code] of [
      [tag, 'InvalidParameterCombination'],
      [{ InstanceIds: [instanceId], ...tag }, 'InvalidParameterCombination'],
      [{}, 'MissingParameter'],
      [{ InstanceIds: ['i-0123456789abcdef0'] }, 'InvalidInstanceID.NotFound'],
      [{ InstanceIds: ['instance'] }, 'InvalidInstanceID.Malformed'],
      [{ DedicatedHostIds: ['h-0123456789abcdef0'] }, 'InvalidHostID.NotFound'],
      [{ InstanceTags: [{ Value: 'a' }] }, 'InvalidParameterValue'],
    ] as const)
      await assert.rejects(associate(one, target), { code }, JSON.stringify(target));
    const other = await mallory.launch();
    await assert.rejects(associate(one, { InstanceIds: [other.instanceId] }), {
      code: 'InvalidInstanceID.NotFound',
    });
    await associate(two, tag);
    const { InstanceEventWindow: left } = await alice.call('DisassociateInstanceEventWindow', {
      ...{ InstanceEventWindowId: two, AssociationTarget: tag },
    });
    assert.deepEqual(left?.AssociationTarget?.Tags, []);
    await assert.rejects(
      alice.call('DisassociateInstanceEventWindow', { InstanceEventWindowId: two, AssociationTarget: tag }),
      { code: 'InvalidParameterValue', message: /not associated/ },
    );
    await associate(two, { InstanceTags: [{ Key: 'team', Value: 'b' }] });
    await assert.rejects(
      associate(two, {
        InstanceTags: Array.from({ length: 50 }, (_, n) => ({ Key: 'n', Value: String(n) })),
      }),
      { code: 'ResourceLimitExceeded' },
    );
  });

  it('one with targets is deleted by force alone; what it held is free for another', async () => {
    const id = await create();
    const { instanceId } = await alice.launch();
    await associate(id, { InstanceIds: [instanceId] });
    await assert.rejects(alice.call('DeleteInstanceEventWindow', { InstanceEventWindowId: id }), {
      code: 'DependencyViolation',
    });
    const gone = await alice.call('DeleteInstanceEventWindow', {
      ...{ InstanceEventWindowId: id, ForceDelete: true },
    });
    assert.equal(gone.InstanceEventWindowState?.State, 'deleted');
    await associate(await create(), { InstanceIds: [instanceId] });
  });

  it('cells are told the hours of instances by id, tag and dedicated host; of ended ones and strangers nothing', async () => {
    const [byId, byTag] = [await create(), await create(alice, { CronExpression: '* 0-4 * * 2' })];
    const { instanceId } = await alice.launch();
    await associate(byId, { InstanceIds: [instanceId] });
    await associate(byTag, { InstanceTags: [{ Key: 'team', Value: 'ops' }] });
    const hours = [{ from: 26, to: 80 }];
    assert.deepEqual(await asked(instanceId), [{ instanceId, windowId: byId, hours }]);
    const both = await asked(instanceId, [{ Key: 'team', Value: 'ops' }]);
    assert.deepEqual(both.map(({ windowId }) => windowId).sort(), [byId, byTag].sort());
    const another = newCellId('instance', 1);
    assert.deepEqual(await asked(another, [{ Key: 'team', Value: 'dev' }]), []);
    assert.deepEqual(
      (await asked(another, [{ Key: 'team', Value: 'ops' }])).map(({ windowId }) => windowId),
      [byTag],
    );
    const stranger = { instanceId: another, accountId: mallory.accountId };
    assert.deepEqual(
      await windowsOf(region.region.db, [{ ...stranger, tags: [{ Key: 'team', Value: 'ops' }] }]),
      [],
    );
    await releaseInterface(region.region, instanceId);
    assert.deepEqual(await asked(instanceId), []);
    const { InstanceEventWindows: [left] = [] } = await alice.call('DescribeInstanceEventWindows', {
      InstanceEventWindowIds: [byId],
    });
    assert.deepEqual(left?.AssociationTarget?.InstanceIds, []);
  });

  it('an account has 200 at most', async () => {
    const many = await region.account();
    for (let n = 0; n < 200; n++) await create(many);
    await assert.rejects(create(many), { code: 'ResourceLimitExceeded' });
    const first = await many.call('DescribeInstanceEventWindows', { MaxResults: 150 });
    const rest = await many.call('DescribeInstanceEventWindows', {
      MaxResults: 150,
      NextToken: first.NextToken,
    });
    assert.deepEqual([first.InstanceEventWindows?.length, rest.InstanceEventWindows?.length], [150, 50]);
  });
});
