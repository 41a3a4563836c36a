/** RunInstances as scripts write it, by AWS's own SDK through the real router, region and cell. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { HypervisorType, type Instance, InstanceTypeHypervisor } from '@aws-sdk/client-ec2';
import { instanceTypeCatalogue } from '#cell/instance-types.ts';
import { type RealClient, type RealCloud, startRealCloud, zone } from './realCloud.ts';

describe('launches', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  before(async () => {
    cloud = await startRealCloud();
    alice = await cloud.account();
  });
  after(() => cloud.close());

  const ended = async (id: string): Promise<void> => {
    await alice.call('TerminateInstances', { InstanceIds: [id] });
    await alice.reaches(id, 'terminated');
  };
  const image = async () => (await alice.call('DescribeImages', { ImageIds: [cloud.imageId] })).Images?.[0];
  const volumeOf = async (instance: Instance | undefined) => {
    const id = instance?.BlockDeviceMappings?.[0]?.Ebs?.VolumeId ?? '';
    return (await alice.call('DescribeVolumes', { VolumeIds: [id] })).Volumes?.[0];
  };

  it('knows the root by the names that scripts have for it, and by the image’s own', async () => {
    const own = (await image())?.RootDeviceName ?? '';
    for (const DeviceName of ['/dev/sda1', '/dev/xvda', own]) {
      const [made] = await alice.run({ BlockDeviceMappings: [{ DeviceName, Ebs: { VolumeSize: 8 } }] });
      assert.equal(made?.RootDeviceName, DeviceName);
      assert.equal(made?.BlockDeviceMappings?.[0]?.DeviceName, DeviceName, 'a script finds what it named');
      const volume = await volumeOf(made);
      assert.deepEqual([volume?.Size, volume?.Attachments?.[0]?.Device], [8, DeviceName]);
      await ended(made?.InstanceId ?? '');
    }
    const [plain] = await alice.run({ BlockDeviceMappings: [{ DeviceName: '/dev/sdb', NoDevice: '' }] });
    assert.equal(plain?.RootDeviceName, own);
    await ended(plain?.InstanceId ?? '');
    await assert.rejects(
      alice.run({ BlockDeviceMappings: [{ DeviceName: '/dev/sdf', Ebs: { VolumeSize: 8 } }] }),
      { name: 'InvalidBlockDeviceMapping' },
    );
    await assert.rejects(
      alice.run({ BlockDeviceMappings: [{ DeviceName: '/dev/sda1', Ebs: { DeleteOnTermination: false } }] }),
      { name: 'UnsupportedOperation', message: /DeleteOnTermination/ },
    );
  });

  it('shows the image’s snapshot wherever EC2 does, takes it back, and refuses another', async () => {
    const [mapping] = (await image())?.BlockDeviceMappings ?? [];
    assert.match(mapping?.Ebs?.SnapshotId ?? '', /^snap-[0-9a-f]{17}$/);
    const SnapshotId = mapping?.Ebs?.SnapshotId;
    const { DeviceName } = mapping ?? {};
    // As Packer and Terraform write it: the image's own mapping, changed in one place.
    const [made] = await alice.run({
      BlockDeviceMappings: [{ DeviceName, Ebs: { ...mapping?.Ebs, VolumeSize: 9 } }],
    });
    const volume = await volumeOf(made);
    assert.deepEqual([volume?.SnapshotId, volume?.Size], [SnapshotId, 9]);
    const found = await alice.call('DescribeImages', {
      Filters: [{ Name: 'block-device-mapping.snapshot-id', Values: [SnapshotId ?? ''] }],
    });
    assert.deepEqual(
      found.Images?.map((each) => each.ImageId),
      [cloud.imageId],
    );
    await assert.rejects(
      alice.run({ BlockDeviceMappings: [{ DeviceName, Ebs: { SnapshotId: 'snap-0123456789abcdef0' } }] }),
      { name: 'InvalidSnapshot.NotFound' },
    );
    await ended(made?.InstanceId ?? '');
  });

  it('says of virtualization what AWS’s own lists have, alike on image, instance and type', async () => {
    const [made] = await alice.run({ InstanceType: 't2.micro' });
    const { InstanceTypes: [type] = [] } = await alice.call('DescribeInstanceTypes', {
      InstanceTypes: ['t2.micro'],
    });
    const shown = await image();
    assert.ok(Object.values<string | undefined>(HypervisorType).includes(shown?.Hypervisor));
    assert.ok(Object.values<string | undefined>(InstanceTypeHypervisor).includes(type?.Hypervisor));
    assert.equal(made?.Hypervisor, shown?.Hypervisor);
    assert.deepEqual([shown?.EnaSupport, made?.EnaSupport], [true, true]);
    assert.equal(type?.NetworkInfo?.EnaSupport, 'supported');
    await ended(made?.InstanceId ?? '');
  });

  it('answers a launch with what DescribeInstances shows at that moment', async () => {
    const [made] = await alice.run({});
    const [nic] = made?.NetworkInterfaces ?? [];
    assert.match(nic?.Attachment?.AttachmentId ?? '', /^eni-attach-/);
    assert.deepEqual([nic?.Attachment?.DeviceIndex, nic?.Attachment?.Status], [0, 'attached']);
    const later = await alice.instance(made?.InstanceId ?? '');
    // Its state may have moved on; nothing else has.
    const still = ({ State, StateReason, MetadataOptions, ...rest }: Instance): unknown => rest;
    assert.deepEqual(made === undefined ? undefined : still(made), still(later));
    await ended(made?.InstanceId ?? '');
  });

  it('leaves tagSet out where there are no tags, of whatever is described, and has it where there are', async () => {
    const [made] = await alice.run({});
    const { VpcId, SubnetId } = made ?? {};
    const bodies = [
      await alice.act('RunInstances', {
        ...{ ImageId: cloud.imageId, MinCount: '1', MaxCount: '1', InstanceType: 'p1.nano' },
      }),
      ...(await Promise.all(
        ['Instances', 'Images', 'Vpcs', 'Subnets', 'Volumes', 'SecurityGroups'].map((what) =>
          alice.act(`Describe${what}`),
        ),
      )),
    ];
    for (const { status, body } of bodies) {
      assert.equal(status, 200, body);
      assert.doesNotMatch(body, /tagSet/);
    }
    await alice.call('CreateTags', { Resources: [VpcId ?? ''], Tags: [{ Key: 'a', Value: '' }] });
    assert.match((await alice.act('DescribeVpcs')).body, /<tagSet><item><key>a<\/key><value\/>/);
    assert.ok(SubnetId);
  });

  it('has an empty tagSet on what EC2 has it on: Ansible reads it of every one', async () => {
    await alice.run({});
    await alice.call('CreateKeyPair', { KeyName: 'untagged' });
    await alice.call('CreateInternetGateway', {});
    await alice.call('CreateDhcpOptions', {
      DhcpConfigurations: [{ Key: 'domain-name', Values: ['a.example'] }],
    });
    for (const what of ['RouteTables', 'NetworkInterfaces', 'InternetGateways', 'DhcpOptions', 'KeyPairs'])
      assert.match((await alice.act(`Describe${what}`)).body, /<tagSet\/>/, what);
  });

  it('goes to the zone that is named by its id', async () => {
    const { AvailabilityZones: [known] = [] } = await alice.call('DescribeAvailabilityZones', {
      ZoneNames: [zone],
    });
    const AvailabilityZoneId = known?.ZoneId;
    const [made] = await alice.run({ Placement: { AvailabilityZoneId } });
    assert.deepEqual(
      [made?.Placement?.AvailabilityZone, made?.Placement?.AvailabilityZoneId],
      [zone, AvailabilityZoneId],
    );
    const [inSubnet] = await alice.run({ SubnetId: made?.SubnetId, Placement: { AvailabilityZoneId } });
    assert.equal(inSubnet?.Placement?.AvailabilityZone, zone);
    for (const SubnetId of [undefined, made?.SubnetId])
      await assert.rejects(alice.run({ SubnetId, Placement: { AvailabilityZoneId: 'nowhere-az9' } }), {
        name: 'InvalidParameterValue',
      });
    for (const one of [made, inSubnet]) await ended(one?.InstanceId ?? '');
  });

  it('has the types that scripts name, in this region’s sizes, and says of others what EC2 says', async () => {
    const names = instanceTypeCatalogue.map(({ name }) => name);
    for (const family of ['t2', 't3', 't3a', 'm5', 'c5'])
      assert.ok(names.includes(`${family}.large`) && names.includes(`${family}.xlarge`), family);
    assert.equal(new Set(names).size, names.length);
    for (const [InstanceType, credits] of [
      ['t2.micro', 'standard'],
      ['t3.micro', 'unlimited'],
    ] as const) {
      const [made] = await alice.run({ InstanceType });
      const id = made?.InstanceId ?? '';
      const { InstanceCreditSpecifications: [spec] = [] } = await alice.call(
        'DescribeInstanceCreditSpecifications',
        { InstanceIds: [id] },
      );
      assert.equal(spec?.CpuCredits, credits);
      await ended(id);
    }
    await assert.rejects(alice.run({ InstanceType: 'm1.humongous' as 't3.nano' }), {
      name: 'InvalidParameterValue',
      message: "Invalid value 'm1.humongous' for InstanceType.",
    });
    await assert.rejects(
      alice.call('DescribeInstanceTypes', {
        InstanceTypes: ['a.b' as 't3.nano', 't3.nano', 'c.d' as 't3.nano'],
      }),
      {
        name: 'InvalidInstanceType',
        message: 'The following supplied instance types do not exist: [a.b, c.d]',
      },
    );
  });

  it('shows a dedicated tenancy wherever EC2 does, and finds by it', async () => {
    const [made] = await alice.run({ Placement: { Tenancy: 'dedicated' } });
    const id = made?.InstanceId ?? '';
    await alice.reaches(id, 'running');
    assert.equal((await alice.instance(id)).Placement?.Tenancy, 'dedicated');
    const { Reservations = [] } = await alice.call('DescribeInstances', {
      Filters: [{ Name: 'tenancy', Values: ['dedicated'] }],
    });
    assert.deepEqual(
      Reservations.flatMap(({ Instances = [] }) => Instances.map(({ InstanceId }) => InstanceId)),
      [id],
    );
    const { LaunchTemplateData } = await alice.call('GetLaunchTemplateData', { InstanceId: id });
    assert.equal(LaunchTemplateData?.Placement?.Tenancy, 'dedicated');
    await alice.call('TerminateInstances', { InstanceIds: [id] });
    await alice.reaches(id, 'terminated');
  });

  it('shows what a launch said of capacity reservations', async () => {
    for (const CapacityReservationPreference of ['open', 'none'] as const) {
      const [made] = await alice.run({
        CapacityReservationSpecification: { CapacityReservationPreference },
      });
      assert.equal(
        made?.CapacityReservationSpecification?.CapacityReservationPreference,
        CapacityReservationPreference,
      );
      await ended(made?.InstanceId ?? '');
    }
  });

  it('answers the token of a launch that is over with IdempotentInstanceTerminated, never with nothing', async () => {
    const input = { ClientToken: 'once', MinCount: 2, MaxCount: 2 };
    const made = await alice.run(input);
    const [first = '', second = ''] = made.map(({ InstanceId }) => InstanceId ?? '');
    await ended(first);
    const again = await alice.run(input);
    assert.deepEqual(
      again.map(({ InstanceId, State }) => [InstanceId, State?.Name === 'terminated']),
      [
        [first, true],
        [second, false],
      ],
      'one of them lives: the launch is answered with both, as they are',
    );
    await ended(second);
    await assert.rejects(alice.run(input), { name: 'IdempotentInstanceTerminated' });
    // Also where the instances are shown no more, and no longer kept.
    cloud.clock.aheadMs = 3_700_000;
    try {
      await assert.rejects(alice.run(input), { name: 'IdempotentInstanceTerminated' });
    } finally {
      cloud.clock.aheadMs = 0;
    }
    await assert.rejects(alice.run({ ...input, MaxCount: 3 }), { name: 'IdempotentParameterMismatch' });
    const { Reservations } = await alice.call('DescribeInstances', {
      Filters: [{ Name: 'client-token', Values: ['once'] }],
    });
    assert.equal(Reservations?.flatMap(({ Instances = [] }) => Instances).length, 2);
  });
});
