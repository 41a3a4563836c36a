/** The life and the attributes of instances, by AWS's own SDK through the real router, region and cell. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { VpcState } from '#contracts/network.ts';
import { type RealClient, type RealCloud, startRealCloud, zone } from './realCloud.ts';

describe('instances', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  let mallory: RealClient;
  before(async () => {
    cloud = await startRealCloud();
    alice = await cloud.account();
    mallory = await cloud.account();
  });
  after(() => cloud.close());

  const launched = async (input: Parameters<RealClient['run']>[0] = {}): Promise<string> => {
    const [made] = await alice.run(input);
    const id = made?.InstanceId ?? '';
    await alice.reaches(id, 'running');
    return id;
  };
  const stopped = async (id: string): Promise<void> => {
    await alice.call('StopInstances', { InstanceIds: [id] });
    await alice.reaches(id, 'stopped');
  };
  const newGroup = async (GroupName: string, VpcId?: string): Promise<string> =>
    (await alice.call('CreateSecurityGroup', { GroupName, Description: 'test', VpcId })).GroupId ?? '';
  /** What the card of the instance's host was told of its VPC. */
  const toldOf = (instanceId: string, vpcId: string): VpcState | undefined =>
    cloud.hosts.find((host) => host.vms.has(instanceId))?.card.vpcs.get(vpcId);
  const attribute = async (InstanceId: string, Attribute: string) =>
    alice.call('DescribeInstanceAttribute', { InstanceId, Attribute: Attribute as 'userData' });

  it('changes the security groups of a running instance on its card, its interface and everywhere it is shown', async () => {
    const id = await launched();
    const web = await newGroup('web');
    const ssh = await newGroup('ssh');
    await alice.call('ModifyInstanceAttribute', { InstanceId: id, Groups: [web, ssh] });
    const both = [web, ssh].sort();
    const instance = await alice.instance(id);
    const [nic] = instance.NetworkInterfaces ?? [];
    const [port] = (toldOf(id, instance.VpcId ?? '')?.ports ?? []).filter((one) => one.instanceId === id);
    assert.deepEqual([...(port?.groupIds ?? [])].sort(), both, 'the card knows before the call returns');
    assert.deepEqual(instance.SecurityGroups?.map((group) => group.GroupId).sort(), both);
    assert.deepEqual(nic?.Groups?.map((group) => group.GroupName).sort(), ['ssh', 'web']);
    const shown = await attribute(id, 'groupSet');
    assert.deepEqual(shown.Groups?.map((group) => group.GroupId).sort(), both);
    const byFilter = await alice.call('DescribeInstances', {
      Filters: [{ Name: 'instance.group-name', Values: ['web'] }],
    });
    assert.equal(byFilter.Reservations?.[0]?.Instances?.[0]?.InstanceId, id);
    await assert.rejects(alice.call('DeleteSecurityGroup', { GroupId: web }), {
      name: 'DependencyViolation',
    });

    const { NetworkInterfaceId } = nic ?? {};
    await alice.call('ModifyNetworkInterfaceAttribute', { NetworkInterfaceId, Groups: [ssh] });
    assert.deepEqual(
      (await alice.instance(id)).SecurityGroups?.map((group) => group.GroupId),
      [ssh],
      'a change of the interface shows at the instance',
    );
    await alice.call('DeleteSecurityGroup', { GroupId: web });
    await stopped(id);
    await alice.call('StartInstances', { InstanceIds: [id] });
    const again = await alice.reaches(id, 'running');
    assert.deepEqual(
      again.SecurityGroups?.map((group) => group.GroupId),
      [ssh],
    );
  });

  it('refuses groups that are unknown, of another network or of another account, and changes nothing', async () => {
    const id = await launched();
    const { VpcId: otherVpc } = (await alice.call('CreateVpc', { CidrBlock: '10.9.0.0/16' })).Vpc ?? {};
    const foreign = await newGroup('foreign', otherVpc);
    const { GroupId: stolen = '' } = await mallory.call('CreateSecurityGroup', {
      GroupName: 'stolen',
      Description: 'x',
    });
    const before = await cloud.fingerprint();
    const modify = (Groups: string[]) => alice.call('ModifyInstanceAttribute', { InstanceId: id, Groups });
    await assert.rejects(modify(['sg-0123456789abcdef0']), { name: 'InvalidGroup.NotFound' });
    await assert.rejects(modify([stolen]), { name: 'InvalidGroup.NotFound' });
    await assert.rejects(modify([foreign]), { name: 'InvalidParameter' });
    await assert.rejects(modify(['web']), { name: 'InvalidGroupId.Malformed' });
    await assert.rejects(mallory.call('ModifyInstanceAttribute', { InstanceId: id, Groups: [stolen] }), {
      name: 'InvalidInstanceID.NotFound',
    });
    const own = await newGroupIds(6);
    await assert.rejects(modify(own), { name: 'SecurityGroupsPerInterfaceLimitExceeded' });
    await assert.rejects(
      alice.call('ModifyInstanceAttribute', { InstanceId: id, Groups: own.slice(0, 1), DryRun: true }),
      { name: 'DryRunOperation' },
    );
    const empty = await alice.act('ModifyInstanceAttribute', { InstanceId: id, GroupId: '' });
    assert.match(empty.body, /<Code>InvalidParameterValue<\/Code>/);
    for (const GroupId of own) await alice.call('DeleteSecurityGroup', { GroupId });
    assert.equal(withoutVersions(await cloud.fingerprint()), withoutVersions(before));
  });
  const newGroupIds = (count: number) =>
    Promise.all(Array.from({ length: count }, (_, at) => newGroup(`g-${at}`)));
  /** Groups were made and deleted in between: the VPC's version tells, and the record of changes. */
  const withoutVersions = (text: string): string =>
    text
      .split('\n')
      .filter((line) => !/"vpc(_change)?"/.test(line))
      .join('\n');

  it('changes the source/destination check on the card, and shows it on instance and interface', async () => {
    const id = await launched();
    assert.equal((await attribute(id, 'sourceDestCheck')).SourceDestCheck?.Value, true);
    await alice.call('ModifyInstanceAttribute', { InstanceId: id, SourceDestCheck: { Value: false } });
    const instance = await alice.instance(id);
    assert.equal(instance.SourceDestCheck, false);
    assert.equal(instance.NetworkInterfaces?.[0]?.SourceDestCheck, false);
    assert.equal((await attribute(id, 'sourceDestCheck')).SourceDestCheck?.Value, false);
    const port = toldOf(id, instance.VpcId ?? '')?.ports.find((one) => one.instanceId === id);
    assert.equal(port?.sourceDestCheck, false);
    // The old form of the same call.
    const reply = await alice.act('ModifyInstanceAttribute', {
      InstanceId: id,
      Attribute: 'sourceDestCheck',
      Value: 'true',
    });
    assert.equal(reply.status, 200, reply.body);
    assert.equal((await alice.instance(id)).SourceDestCheck, true);
    const eni = await alice.call('DescribeNetworkInterfaceAttribute', {
      NetworkInterfaceId: instance.NetworkInterfaces?.[0]?.NetworkInterfaceId ?? '',
      Attribute: 'sourceDestCheck',
    });
    assert.equal(eni.SourceDestCheck?.Value, true);
  });

  it('protects from termination and from stopping for as long as it is told to', async () => {
    const id = await launched({ DisableApiTermination: true });
    const refused = { name: 'OperationNotPermitted' };
    assert.equal((await attribute(id, 'disableApiTermination')).DisableApiTermination?.Value, true);
    await assert.rejects(alice.call('TerminateInstances', { InstanceIds: [id] }), refused);
    await alice.call('ModifyInstanceAttribute', { InstanceId: id, DisableApiStop: { Value: true } });
    assert.equal((await attribute(id, 'disableApiStop')).DisableApiStop?.Value, true);
    await assert.rejects(alice.call('StopInstances', { InstanceIds: [id] }), refused);
    await alice.call('ModifyInstanceAttribute', { InstanceId: id, DisableApiStop: { Value: false } });
    await alice.call('ModifyInstanceAttribute', { InstanceId: id, DisableApiTermination: { Value: false } });
    await alice.call('TerminateInstances', { InstanceIds: [id] });
    await alice.reaches(id, 'terminated');
    await assert.rejects(
      alice.call('ModifyInstanceAttribute', { InstanceId: id, DisableApiTermination: { Value: true } }),
      { name: 'IncorrectInstanceState' },
    );
    await assert.rejects(
      alice.call('ModifyInstanceAttribute', { InstanceId: id, SourceDestCheck: { Value: false } }),
      { name: 'IncorrectInstanceState' },
    );
  });

  it('changes type and user data of stopped instances only; the host gets the new size and the guest the new data', async () => {
    const id = await launched({ UserData: Buffer.from('#!/bin/sh\necho one').toString('base64') });
    const text = async () =>
      Buffer.from((await attribute(id, 'userData')).UserData?.Value ?? '', 'base64').toString();
    assert.equal(await text(), '#!/bin/sh\necho one');
    const bigger = { InstanceId: id, InstanceType: { Value: 'p1.medium' } };
    const other = { InstanceId: id, UserData: { Value: Buffer.from('two') } };
    await assert.rejects(alice.call('ModifyInstanceAttribute', bigger), { name: 'IncorrectInstanceState' });
    await assert.rejects(alice.call('ModifyInstanceAttribute', other), { name: 'IncorrectInstanceState' });
    await stopped(id);
    await alice.call('ModifyInstanceAttribute', bigger);
    await alice.call('ModifyInstanceAttribute', other);
    for (const Value of ['m1.humongous', 'custom.250m.48'])
      await assert.rejects(
        alice.call('ModifyInstanceAttribute', { InstanceId: id, InstanceType: { Value } }),
        { name: 'InvalidInstanceAttributeValue' },
      );
    assert.equal(await text(), 'two');
    assert.equal((await attribute(id, 'instanceType')).InstanceType?.Value, 'p1.medium');
    await alice.call('StartInstances', { InstanceIds: [id] });
    const running = await alice.reaches(id, 'running');
    assert.equal(running.InstanceType, 'p1.medium');
    const vm = cloud.hosts.flatMap((host) => host.vms.get(id) ?? [])[0];
    assert.equal(vm?.requirement?.memoryMib, 512);
    await alice.call('TerminateInstances', { InstanceIds: [id] });
    await alice.reaches(id, 'terminated');
  });

  it('takes one attribute a call, and shows every attribute there is', async () => {
    const id = await launched();
    const combination = { name: 'InvalidParameterCombination' };
    await assert.rejects(alice.call('ModifyInstanceAttribute', { InstanceId: id }), combination);
    await assert.rejects(
      alice.call('ModifyInstanceAttribute', {
        InstanceId: id,
        DisableApiStop: { Value: true },
        SourceDestCheck: { Value: false },
      }),
      combination,
    );
    await alice.call('ModifyInstanceAttribute', {
      InstanceId: id,
      InstanceInitiatedShutdownBehavior: { Value: 'terminate' },
    });
    await assert.rejects(
      alice.call('ModifyInstanceAttribute', {
        InstanceId: id,
        InstanceInitiatedShutdownBehavior: { Value: 'hibernate' },
      }),
      { name: 'InvalidParameterValue' },
    );
    await assert.rejects(
      alice.call('ModifyInstanceAttribute', { InstanceId: id, EnaSupport: { Value: false } }),
      { name: 'UnsupportedOperation' },
    );
    const shutdown = await attribute(id, 'instanceInitiatedShutdownBehavior');
    assert.equal(shutdown.InstanceInitiatedShutdownBehavior?.Value, 'terminate');
    assert.equal((await attribute(id, 'rootDeviceName')).RootDeviceName?.Value, '/dev/vda');
    assert.equal(
      (await attribute(id, 'blockDeviceMapping')).BlockDeviceMappings?.[0]?.DeviceName,
      '/dev/vda',
    );
    assert.equal((await attribute(id, 'enclaveOptions')).EnclaveOptions?.Enabled, false);
    for (const name of ['kernel', 'ramdisk', 'productCodes', 'ebsOptimized', 'enaSupport', 'sriovNetSupport'])
      assert.equal((await attribute(id, name)).InstanceId, id, name);
    await assert.rejects(attribute(id, 'nonsense'), { name: 'InvalidParameterValue' });
  });

  it('tags instance, volume and interface at the launch, and shows them wherever tags are shown', async () => {
    const tagged = (ResourceType: 'instance' | 'volume' | 'network-interface') => ({
      ResourceType,
      Tags: [{ Key: 'of', Value: ResourceType }],
    });
    const { SubnetId } = (await alice.call('DescribeSubnets', {})).Subnets?.[0] ?? {};
    const id = await launched({
      TagSpecifications: [tagged('instance'), tagged('volume'), tagged('network-interface')],
      NetworkInterfaces: [
        { DeviceIndex: 0, SubnetId, Description: 'the first', AssociatePublicIpAddress: false },
      ],
    });
    const instance = await alice.instance(id);
    assert.equal(instance.PublicIpAddress, undefined);
    const eniId = instance.NetworkInterfaces?.[0]?.NetworkInterfaceId ?? '';
    assert.equal(instance.NetworkInterfaces?.[0]?.Description, 'the first');
    const { NetworkInterfaces: [eni] = [] } = await alice.call('DescribeNetworkInterfaces', {
      Filters: [{ Name: 'tag:of', Values: ['network-*'] }],
    });
    assert.deepEqual([eni?.NetworkInterfaceId, eni?.Description], [eniId, 'the first']);
    assert.deepEqual(eni?.TagSet, [{ Key: 'of', Value: 'network-interface' }]);
    const volumeId = instance.BlockDeviceMappings?.[0]?.Ebs?.VolumeId;
    const { Volumes: [volume] = [] } = await alice.call('DescribeVolumes', {
      Filters: [{ Name: 'tag:of', Values: ['volume'] }],
    });
    assert.equal(volume?.VolumeId, volumeId);
    const { Tags: tags = [] } = await alice.call('DescribeTags', {
      Filters: [{ Name: 'key', Values: ['of'] }],
    });
    assert.deepEqual(tags.map((tag) => [tag.ResourceType, tag.ResourceId, tag.Value]).sort(), [
      ['instance', id, 'instance'],
      ['network-interface', eniId, 'network-interface'],
      ['volume', volumeId, 'volume'],
    ]);
    await alice.call('DeleteTags', { Resources: [id, eniId, volumeId ?? ''], Tags: [{ Key: 'of' }] });
    const left = await alice.call('DescribeTags', { Filters: [{ Name: 'key', Values: ['of'] }] });
    assert.deepEqual(left.Tags, []);
  });

  it('names instances as the DNS attributes of their VPC say', async () => {
    const { VpcId = '' } = (await alice.call('CreateVpc', { CidrBlock: '10.7.0.0/16' })).Vpc ?? {};
    const { SubnetId } = (await alice.call('CreateSubnet', { VpcId, CidrBlock: '10.7.1.0/24' })).Subnet ?? {};
    const id = await launched({
      NetworkInterfaces: [{ DeviceIndex: 0, SubnetId, AssociatePublicIpAddress: true }],
    });
    const names = async () => {
      const { PrivateDnsName, PublicDnsName, NetworkInterfaces: [nic] = [] } = await alice.instance(id);
      return [PrivateDnsName, PublicDnsName, nic?.PrivateDnsName, nic?.Association?.PublicDnsName];
    };
    const ip = (await alice.instance(id)).PublicIpAddress ?? '';
    const privateName = 'ip-10-7-1-4.lab-1.compute.internal';
    const publicName = `ec2-${ip.replaceAll('.', '-')}.lab-1.compute.pando.internal`;
    assert.match(ip, /^203\.0\.113\.\d+$/);
    assert.deepEqual(await names(), [privateName, '', undefined, '']);
    await alice.call('ModifyVpcAttribute', { VpcId, EnableDnsHostnames: { Value: true } });
    assert.deepEqual(await names(), [privateName, publicName, privateName, publicName]);
    const found = await alice.call('DescribeInstances', {
      Filters: [{ Name: 'dns-name', Values: [publicName] }],
    });
    assert.equal(found.Reservations?.[0]?.Instances?.[0]?.InstanceId, id);
    const { NetworkInterfaces: [eni] = [] } = await alice.call('DescribeNetworkInterfaces', {
      Filters: [{ Name: 'association.public-dns-name', Values: [publicName] }],
    });
    assert.equal(eni?.Attachment?.InstanceId, id);
    await alice.call('ModifyVpcAttribute', { VpcId, EnableDnsHostnames: { Value: false } });
    await alice.call('ModifyVpcAttribute', { VpcId, EnableDnsSupport: { Value: false } });
    assert.deepEqual(await names(), [privateName, '', undefined, '']);
    const bare = await alice.act('DescribeInstances', { 'InstanceId.1': id });
    assert.match(bare.body, /<dnsName\/>/);
  });

  it('says why it stopped or ended, shows what ended for an hour, and then no more', async () => {
    const id = await launched();
    const before = await alice.instance(id);
    assert.equal(before.StateTransitionReason, '');
    assert.equal(before.StateReason, undefined);
    await stopped(id);
    const at = await alice.instance(id);
    assert.match(at.StateTransitionReason ?? '', /^User initiated \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d GMT\)$/);
    assert.equal(at.StateReason?.Code, 'Client.UserInitiatedShutdown');
    assert.equal(at.PrivateIpAddress, before.PrivateIpAddress, 'the address stays');
    const { TerminatingInstances: [change] = [] } = await alice.call('TerminateInstances', {
      InstanceIds: [id],
    });
    assert.deepEqual(
      [change?.PreviousState, change?.CurrentState?.Code, change?.CurrentState?.Name],
      [{ Code: 80, Name: 'stopped' }, 32, 'shutting-down'],
    );
    const ended = await alice.reaches(id, 'terminated');
    assert.deepEqual(
      [ended.State, ended.NetworkInterfaces, ended.BlockDeviceMappings, ended.SecurityGroups],
      [{ Code: 48, Name: 'terminated' }, [], [], []],
    );
    for (const name of ['PrivateIpAddress', 'PublicIpAddress', 'VpcId', 'SubnetId'] as const)
      assert.equal(ended[name], undefined, name);
    assert.deepEqual([ended.PrivateDnsName, ended.PublicDnsName], ['', '']);
    assert.equal(ended.StateReason?.Code, 'Client.UserInitiatedShutdown');
    assert.match(ended.StateTransitionReason ?? '', /^User initiated/);
    const again = await alice.call('TerminateInstances', { InstanceIds: [id] });
    assert.equal(again.TerminatingInstances?.[0]?.CurrentState?.Name, 'terminated');
    await assert.rejects(alice.call('StartInstances', { InstanceIds: [id] }), {
      name: 'IncorrectInstanceState',
    });
    const hourMs = 3_600_000;
    cloud.clock.aheadMs = hourMs + 60_000;
    try {
      await assert.rejects(alice.instance(id), { name: 'InvalidInstanceID.NotFound' });
      await assert.rejects(alice.call('TerminateInstances', { InstanceIds: [id] }), {
        name: 'InvalidInstanceID.NotFound',
      });
    } finally {
      cloud.clock.aheadMs = 0;
    }
  });

  it('gives the same instances for a client token, whatever the order of parameters, and refuses other parameters', async () => {
    const input = { ClientToken: 'token-1', KeyName: undefined, MinCount: 2, MaxCount: 2 };
    const first = (await alice.run(input)).map((one) => one.InstanceId);
    const second = (await alice.run({ MaxCount: 2, MinCount: 2, ClientToken: 'token-1' })).map(
      (one) => one.InstanceId,
    );
    assert.equal(first.length, 2);
    assert.deepEqual(second, first);
    for (const other of [{ MaxCount: 3 }, { UserData: 'eA==' }, { EbsOptimized: true }])
      await assert.rejects(alice.run({ ...input, ...other }), { name: 'IdempotentParameterMismatch' });
    await assert.rejects(alice.run({ ClientToken: 'x'.repeat(65) }), { name: 'InvalidParameterValue' });
    const [theirs] = await mallory.run({ ...input, MinCount: 1, MaxCount: 1 });
    assert.ok(
      theirs?.InstanceId !== undefined && !first.includes(theirs.InstanceId),
      'tokens are per account',
    );
    const shown = await alice.call('DescribeInstances', {
      Filters: [{ Name: 'client-token', Values: ['token-1'] }],
    });
    assert.equal(shown.Reservations?.length, 1, 'one reservation a launch');
    assert.equal(shown.Reservations?.[0]?.Instances?.length, 2);
  });

  it('launches as many as fit between minimum and maximum: capacity of hosts, addresses of the subnet', async () => {
    await cloud.quiet();
    const { VpcId = '' } = (await alice.call('CreateVpc', { CidrBlock: '10.8.0.0/16' })).Vpc ?? {};
    const { SubnetId } = (await alice.call('CreateSubnet', { VpcId, CidrBlock: '10.8.0.0/28' })).Subnet ?? {};
    const before = await cloud.fingerprint();
    await assert.rejects(alice.run({ SubnetId, MinCount: 12, MaxCount: 12 }), {
      name: 'InsufficientFreeAddressesInSubnet',
    });
    await assert.rejects(alice.run({ MinCount: 33, MaxCount: 50, InstanceType: 'p1.medium' as 't3.nano' }), {
      name: 'InsufficientInstanceCapacity',
      $fault: 'server',
    });
    assert.equal(await cloud.fingerprint(), before, 'all or nothing below the minimum');
    const made = await alice.run({ SubnetId, MinCount: 3, MaxCount: 20 });
    assert.equal(made.length, 11);
    assert.deepEqual(
      made.map((one) => one.AmiLaunchIndex),
      made.map((_, at) => at),
    );
    for (const one of made) await alice.reaches(one.InstanceId ?? '', 'running');
    await assert.rejects(alice.run({ SubnetId, PrivateIpAddress: '10.8.0.4' }), {
      name: 'InvalidIPAddress.InUse',
    });
    await assert.rejects(alice.run({ SubnetId, PrivateIpAddress: '10.9.0.4' }), {
      name: 'InvalidParameterValue',
    });
    await assert.rejects(alice.run({ MinCount: 0 }), { name: 'InvalidParameterValue' });
    await assert.rejects(alice.run({ MinCount: 3, MaxCount: 2 }), { name: 'InvalidParameterValue' });
    await assert.rejects(alice.run({ MaxCount: 101 }), { name: 'InstanceLimitExceeded' });
    await alice.call('TerminateInstances', { InstanceIds: made.map((one) => one.InstanceId ?? '') });
    await cloud.quiet();
  });

  it('demands version 2 of the metadata service where the image says so and the launch nothing else', async () => {
    const optionsOf = async (input: Parameters<RealClient['run']>[0]) => {
      const [made] = await alice.run(input);
      const { HttpTokens, HttpPutResponseHopLimit } = made?.MetadataOptions ?? {};
      return [HttpTokens, HttpPutResponseHopLimit];
    };
    const [image] = (await alice.call('DescribeImages', { ImageIds: [cloud.imageId] })).Images ?? [];
    assert.equal(image?.ImdsSupport, 'v2.0');
    assert.deepEqual(await optionsOf({}), ['required', 2]);
    assert.deepEqual(await optionsOf({ MetadataOptions: { HttpPutResponseHopLimit: 1 } }), ['required', 1]);
    assert.deepEqual(await optionsOf({ MetadataOptions: { HttpTokens: 'optional' } }), ['optional', 2]);
    // What the account has set stands above the image, and below the launch.
    await alice.call('ModifyInstanceMetadataDefaults', {
      HttpTokens: 'optional',
      HttpPutResponseHopLimit: 7,
    });
    assert.deepEqual((await alice.call('GetInstanceMetadataDefaults', {})).AccountLevel, {
      ...{ HttpTokens: 'optional', HttpPutResponseHopLimit: 7 },
    });
    assert.deepEqual(await optionsOf({}), ['optional', 7]);
    assert.deepEqual(await optionsOf({ MetadataOptions: { HttpTokens: 'required' } }), ['required', 7]);
    await assert.rejects(
      alice.call('ModifyInstanceMetadataDefaults', { HttpTokens: 'maybe' as 'optional' }),
      {
        name: 'InvalidParameterValue',
      },
    );
    await alice.call('ModifyInstanceMetadataDefaults', {
      ...{ HttpTokens: 'no-preference' as const, HttpPutResponseHopLimit: -1 },
    });
    assert.deepEqual((await alice.call('GetInstanceMetadataDefaults', {})).AccountLevel ?? {}, {});
    assert.deepEqual(await optionsOf({}), ['required', 2]);
    await cloud.quiet();
  });

  it('refuses by name what it does not have, before anything is made', async () => {
    const before = await cloud.fingerprint();
    const unsupported: Parameters<RealClient['run']>[0][] = [
      { KernelId: 'aki-1' },
      { PrivateDnsNameOptions: { HostnameType: 'resource-name' } },
      { HibernationOptions: { Configured: true } },
      { BlockDeviceMappings: [{ DeviceName: '/dev/vda', Ebs: { DeleteOnTermination: false } }] },
      { BlockDeviceMappings: [{ DeviceName: '/dev/vda', Ebs: { Encrypted: true } }] },
      { BlockDeviceMappings: [{ DeviceName: '/dev/vda', Ebs: { Iops: 9_000 } }] },
      { NetworkInterfaces: [{ DeviceIndex: 0, DeleteOnTermination: false }] },
      { NetworkInterfaces: [{ DeviceIndex: 0, SecondaryPrivateIpAddressCount: 1 }] },
      { NetworkInterfaces: [{ DeviceIndex: 0, InterfaceType: 'efa' }] },
      { NetworkInterfaces: [{ DeviceIndex: 0 }, { DeviceIndex: 1 }] },
    ];
    for (const input of unsupported)
      await assert.rejects(alice.run(input), { name: 'UnsupportedOperation' }, JSON.stringify(input));
    const invalid: Parameters<RealClient['run']>[0][] = [
      { CpuOptions: { CoreCount: 4, ThreadsPerCore: 2 } },
      { InstanceInitiatedShutdownBehavior: 'explode' as 'stop' },
      { MetadataOptions: { HttpTokens: 'maybe' as 'optional' } },
      { MetadataOptions: { HttpPutResponseHopLimit: 65 } },
      { CreditSpecification: { CpuCredits: 'plenty' } },
      { InstanceType: 'm1.humongous' as 't3.nano' },
      { Placement: { AvailabilityZone: 'nowhere-1a' } },
      { TagSpecifications: [{ ResourceType: 'vpc', Tags: [{ Key: 'a', Value: 'b' }] }] },
    ];
    for (const input of invalid)
      await assert.rejects(alice.run(input), { name: 'InvalidParameterValue' }, JSON.stringify(input));
    // What every instance has may be asked for.
    await assert.rejects(
      alice.run({
        DryRun: true,
        CpuOptions: { CoreCount: 1, ThreadsPerCore: 1 },
        Placement: { AvailabilityZone: zone, Tenancy: 'default' },
        MaintenanceOptions: { AutoRecovery: 'default' },
        CapacityReservationSpecification: { CapacityReservationPreference: 'open' },
        EnclaveOptions: { Enabled: false },
        BlockDeviceMappings: [
          {
            DeviceName: '/dev/vda',
            Ebs: { VolumeType: 'gp3', Iops: 3_000, Throughput: 125, DeleteOnTermination: true },
          },
        ],
        NetworkInterfaces: [
          {
            DeviceIndex: 0,
            DeleteOnTermination: true,
            PrivateIpAddresses: [{ Primary: true, PrivateIpAddress: '172.31.9.9' }],
          },
        ],
      }),
      { name: 'DryRunOperation' },
    );
    assert.equal(await cloud.fingerprint(), before);
  });
});
