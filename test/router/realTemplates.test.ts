/** Launches from launch templates and into placement groups, by AWS's own SDK through the real router, region and cell. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type RealClient, type RealCloud, startRealCloud, zone } from './realCloud.ts';

describe('launches from templates', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  let mallory: RealClient;
  let made = 0;
  before(async () => {
    cloud = await startRealCloud();
    alice = await cloud.account();
    mallory = await cloud.account();
  });
  after(() => cloud.close());

  const template = async (LaunchTemplateData: object): Promise<string> => {
    made += 1;
    const { LaunchTemplate: one } = await alice.call('CreateLaunchTemplate', {
      LaunchTemplateName: `template-${made}`,
      LaunchTemplateData,
    });
    return one?.LaunchTemplateId ?? '';
  };
  const launch = async (input: object, client = alice) =>
    (await client.call('RunInstances', { MinCount: 1, MaxCount: 1, ...input })).Instances ?? [];
  const tagsOf = (tags: readonly { Key?: string; Value?: string }[] | undefined) =>
    Object.fromEntries((tags ?? []).map(({ Key, Value }) => [Key, Value]));

  it('have what the template says, and say which version they are from', async () => {
    const { VpcId = '' } = (await alice.call('CreateVpc', { CidrBlock: '10.7.0.0/16' })).Vpc ?? {};
    const { SubnetId = '' } =
      (await alice.call('CreateSubnet', { VpcId, CidrBlock: '10.7.0.0/24' })).Subnet ?? {};
    const { GroupId = '' } = await alice.call('CreateSecurityGroup', {
      GroupName: 'web',
      Description: 'web',
      VpcId,
    });
    await alice.call('CreateKeyPair', { KeyName: 'templated', KeyType: 'ed25519' });
    const UserData = Buffer.from('#!/bin/sh\necho templated').toString('base64');
    const LaunchTemplateId = await template({
      ImageId: cloud.imageId,
      InstanceType: 'p1.micro',
      KeyName: 'templated',
      UserData,
      DisableApiTermination: false,
      Monitoring: { Enabled: true },
      MetadataOptions: { HttpTokens: 'required', HttpPutResponseHopLimit: 3 },
      NetworkInterfaces: [{ DeviceIndex: 0, SubnetId, Groups: [GroupId], AssociatePublicIpAddress: false }],
      TagSpecifications: [
        { ResourceType: 'instance', Tags: [{ Key: 'from', Value: 'template' }] },
        { ResourceType: 'volume', Tags: [{ Key: 'disk', Value: 'template' }] },
      ],
    });
    const [one] = await launch({ LaunchTemplate: { LaunchTemplateId } });
    assert.deepEqual(
      [one?.ImageId, one?.InstanceType, one?.KeyName, one?.SubnetId, one?.Monitoring?.State],
      [cloud.imageId, 'p1.micro', 'templated', SubnetId, 'enabled'],
    );
    assert.deepEqual(one?.SecurityGroups, [{ GroupId, GroupName: 'web' }]);
    assert.deepEqual(
      [one?.MetadataOptions?.HttpTokens, one?.MetadataOptions?.HttpPutResponseHopLimit],
      ['required', 3],
    );
    assert.deepEqual(tagsOf(one?.Tags), {
      from: 'template',
      'aws:ec2launchtemplate:id': LaunchTemplateId,
      'aws:ec2launchtemplate:version': '1',
    });
    const InstanceId = one?.InstanceId ?? '';
    const attribute = await alice.call('DescribeInstanceAttribute', { InstanceId, Attribute: 'userData' });
    assert.equal(attribute.UserData?.Value, UserData);
    const byTag = await alice.call('DescribeInstances', {
      Filters: [{ Name: 'tag:aws:ec2launchtemplate:id', Values: [LaunchTemplateId] }],
    });
    assert.equal(byTag.Reservations?.[0]?.Instances?.[0]?.InstanceId, InstanceId);
    // The request overrides what it names, and keeps the rest.
    const [other] = await launch({
      LaunchTemplate: { LaunchTemplateName: `template-${made}`, Version: '$Latest' },
      InstanceType: 'p1.nano',
      MetadataOptions: { HttpPutResponseHopLimit: 1 },
      TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'from', Value: 'request' }] }],
    });
    assert.deepEqual(
      [other?.InstanceType, other?.KeyName, other?.MetadataOptions?.HttpTokens, tagsOf(other?.Tags).from],
      ['p1.nano', 'templated', 'required', 'request'],
    );
    assert.equal(other?.MetadataOptions?.HttpPutResponseHopLimit, 1);
    await assert.rejects(launch({ LaunchTemplate: { LaunchTemplateId }, SubnetId }), {
      name: 'InvalidParameterCombination',
    });
  });

  it('take the version that is asked for: a number, the latest, the default', async () => {
    const LaunchTemplateId = await template({ ImageId: cloud.imageId, InstanceType: 'p1.nano' });
    await alice.call('CreateLaunchTemplateVersion', {
      LaunchTemplateId,
      SourceVersion: '1',
      LaunchTemplateData: { InstanceType: 'p1.micro' as 't3.micro' },
    });
    const typeOf = async (Version?: string) =>
      (await launch({ LaunchTemplate: { LaunchTemplateId, Version } }))[0]?.InstanceType;
    assert.deepEqual(await Promise.all([typeOf(), typeOf('$Default'), typeOf('$Latest'), typeOf('1')]), [
      'p1.nano',
      'p1.nano',
      'p1.micro',
      'p1.nano',
    ]);
    await alice.call('ModifyLaunchTemplate', { LaunchTemplateId, DefaultVersion: '2' });
    assert.equal(await typeOf(), 'p1.micro');
    const [open] = await launch({ LaunchTemplate: { LaunchTemplateId } });
    assert.equal(open?.Placement?.AvailabilityZone, zone);
  });

  it('answer a token with what it made, whatever became of the template', async () => {
    const LaunchTemplateId = await template({ ImageId: cloud.imageId, InstanceType: 'p1.nano' });
    await alice.call('CreateLaunchTemplateVersion', {
      LaunchTemplateId,
      LaunchTemplateData: { ImageId: cloud.imageId, InstanceType: 'p1.micro' as 't3.micro' },
    });
    const again = { LaunchTemplate: { LaunchTemplateId }, ClientToken: 'template-token' };
    const [first] = await launch(again);
    await alice.call('ModifyLaunchTemplate', { LaunchTemplateId, DefaultVersion: '2' });
    const [second] = await launch(again);
    assert.deepEqual([second?.InstanceId, second?.InstanceType], [first?.InstanceId, 'p1.nano']);
    await alice.call('DeleteLaunchTemplate', { LaunchTemplateId });
    const [third] = await launch(again);
    assert.equal(third?.InstanceId, first?.InstanceId);
    await assert.rejects(launch({ ...again, InstanceType: 'p1.micro' }), { name: /Idempotent|NotFound/ });
    await assert.rejects(launch({ LaunchTemplate: { LaunchTemplateId } }), {
      name: 'InvalidLaunchTemplateId.NotFound',
    });
    await assert.rejects(launch({ LaunchTemplate: { LaunchTemplateId }, ClientToken: 'another' }), {
      name: 'InvalidLaunchTemplateId.NotFound',
    });
  });

  it('are refused with EC2’s codes, and change nothing then', async () => {
    const LaunchTemplateId = await template({ InstanceType: 'p1.nano' });
    await cloud.quiet();
    const before = await cloud.fingerprint();
    const wrong: readonly (readonly [object, string])[] = [
      [{ LaunchTemplate: { LaunchTemplateId } }, 'MissingParameter'],
      [{ LaunchTemplate: { LaunchTemplateId, Version: '9' } }, 'InvalidLaunchTemplateId.VersionNotFound'],
      [{ LaunchTemplate: { LaunchTemplateId, Version: 'x' } }, 'InvalidParameterValue'],
      [{ LaunchTemplate: { LaunchTemplateId: 'lt-12345678' } }, 'InvalidLaunchTemplateId.NotFound'],
      [{ LaunchTemplate: { LaunchTemplateId: 'ami-1' } }, 'InvalidLaunchTemplateId.Malformed'],
      [{ LaunchTemplate: { LaunchTemplateName: 'absent' } }, 'InvalidLaunchTemplateName.NotFoundException'],
      [{ LaunchTemplate: {} }, 'MissingParameter'],
      [{ LaunchTemplate: { LaunchTemplateId, LaunchTemplateName: 'x' } }, 'InvalidParameterCombination'],
    ];
    for (const [input, name] of wrong) await assert.rejects(launch(input), { name }, JSON.stringify(input));
    const own = { LaunchTemplate: { LaunchTemplateId }, ImageId: cloud.imageId };
    await assert.rejects(launch(own, mallory), { name: 'InvalidLaunchTemplateId.NotFound' });
    await assert.rejects(launch({ ...own, DryRun: true }), { name: 'DryRunOperation' });
    assert.equal(await cloud.fingerprint(), before);
    assert.equal((await launch(own)).length, 1);
  });

  it('what a template names of another account is not there for its launches', async () => {
    const { Subnets: [subnet] = [] } = await alice.call('DescribeSubnets', {});
    const { SecurityGroups: [group] = [] } = await alice.call('DescribeSecurityGroups', {});
    const base = { ImageId: cloud.imageId, InstanceType: 'p1.nano' as 't3.nano' };
    const foreign: readonly (readonly [object, string])[] = [
      [{ NetworkInterfaces: [{ DeviceIndex: 0, SubnetId: subnet?.SubnetId }] }, 'InvalidSubnetID.NotFound'],
      [{ SecurityGroupIds: [group?.GroupId ?? ''] }, 'InvalidGroup.NotFound'],
      [{ KeyName: 'templated' }, 'InvalidKeyPair.NotFound'],
      [{ Placement: { GroupName: 'apart' } }, 'InvalidPlacementGroup.Unknown'],
    ];
    for (const [at, [data, name]] of foreign.entries()) {
      const LaunchTemplateName = `foreign-${at}`;
      await mallory.call('CreateLaunchTemplate', {
        LaunchTemplateName,
        LaunchTemplateData: { ...base, ...data },
      });
      await assert.rejects(launch({ LaunchTemplate: { LaunchTemplateName } }, mallory), { name }, name);
    }
  });

  it('a member that launches refuse is refused from a template too', async () => {
    const LaunchTemplateId = await template({
      ImageId: cloud.imageId,
      InstanceType: 'p1.nano',
      InstanceMarketOptions: { MarketType: 'spot' },
    });
    await assert.rejects(launch({ LaunchTemplate: { LaunchTemplateId } }), { name: 'UnsupportedOperation' });
  });

  it('GetLaunchTemplateData: what a template needs to launch an instance’s like', async () => {
    const LaunchTemplateId = await template({
      ImageId: cloud.imageId,
      InstanceType: 'p1.micro',
      UserData: 'eA==',
      TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'a', Value: 'b' }] }],
    });
    const [one] = await launch({ LaunchTemplate: { LaunchTemplateId } });
    const InstanceId = one?.InstanceId ?? '';
    await alice.reaches(InstanceId, 'running');
    const { LaunchTemplateData: data = {} } = await alice.call('GetLaunchTemplateData', { InstanceId });
    const copy = await template({ ...data });
    const [twin] = await launch({ LaunchTemplate: { LaunchTemplateId: copy } });
    assert.deepEqual(
      [twin?.InstanceType, twin?.ImageId, twin?.SubnetId, tagsOf(twin?.Tags).a],
      ['p1.micro', cloud.imageId, one?.SubnetId, 'b'],
    );
    await assert.rejects(mallory.call('GetLaunchTemplateData', { InstanceId }), {
      name: 'InvalidInstanceID.NotFound',
    });
  });

  it('placement groups take instances, show them, and go when the last of them has gone', async () => {
    const { PlacementGroup: group } = await alice.call('CreatePlacementGroup', {
      GroupName: 'apart',
      Strategy: 'spread',
    });
    const [one] = await alice.run({ Placement: { GroupName: 'apart' } });
    const [two] = await alice.run({ Placement: { GroupId: group?.GroupId } });
    const ids = [one?.InstanceId ?? '', two?.InstanceId ?? ''];
    for (const id of ids) {
      const { Placement } = await alice.reaches(id, 'running');
      assert.deepEqual([Placement?.GroupName, Placement?.GroupId], ['apart', group?.GroupId]);
    }
    const found = await alice.call('DescribeInstances', {
      Filters: [{ Name: 'placement-group-name', Values: ['apart'] }],
    });
    assert.equal(found.Reservations?.length, 2);
    await assert.rejects(alice.run({ Placement: { GroupName: 'absent' } }), {
      name: 'InvalidPlacementGroup.Unknown',
    });
    await assert.rejects(mallory.run({ Placement: { GroupName: 'apart' } }), {
      name: 'InvalidPlacementGroup.Unknown',
    });
    await assert.rejects(alice.run({ Placement: { GroupName: 'apart' }, MinCount: 6, MaxCount: 6 }), {
      name: 'InstanceLimitExceeded',
    });
    await assert.rejects(alice.call('DeletePlacementGroup', { GroupName: 'apart' }), {
      name: 'InvalidPlacementGroup.InUse',
    });
    await alice.call('TerminateInstances', { InstanceIds: ids });
    for (const id of ids) await alice.reaches(id, 'terminated');
    await cloud.quiet();
    await alice.call('DeletePlacementGroup', { GroupName: 'apart' });
  });
});
