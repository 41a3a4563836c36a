/** What the describing actions answer, by AWS's own SDK through the real router, region and cell. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { routedActions } from '#router/actions.ts';
import { operationOf } from '#wire/actions.ts';
import type { ActionName, KnownAction } from '#wire/types.ts';
import { codeOf, textsOf } from './cloud.ts';
import {
  type RealClient,
  type RealCloud,
  regionName,
  startFurnishedCloud,
  until,
  zone,
} from './realCloud.ts';

const invalid = { name: 'InvalidParameterValue' };
const describing = routedActions.filter((name) => /^Describe/.test(name)) as KnownAction[];

describe('describing', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  let mallory: RealClient;
  let ids: string[];
  before(async () => {
    ({ cloud, alice, mallory, ids } = await startFurnishedCloud());
  });
  after(() => cloud.close());

  it('answers an empty account with empty sets, never without them', async () => {
    const fresh = await cloud.account();
    const attributes: Readonly<Record<string, string>> = {
      DescribeInstanceAttribute: '',
      DescribeVpcAttribute: '',
      DescribeNetworkInterfaceAttribute: '',
      DescribeImageAttribute: '',
      DescribeLaunchTemplateVersions: '',
      DescribeSnapshotAttribute: '',
      DescribeStaleSecurityGroups: '',
      DescribeSecurityGroupReferences: '',
      DescribeVpcBlockPublicAccessOptions: '',
    };
    for (const action of describing.filter((name) => !Object.hasOwn(attributes, name))) {
      const reply = await fresh.act(action);
      assert.equal(reply.status, 200, `${action}: ${reply.body}`);
      const [list] = operationOf(action).output?.members.filter(({ shape }) => shape.kind === 'list') ?? [];
      assert.ok(list !== undefined && reply.body.includes(`<${list.xmlName}`), `${action}: ${reply.body}`);
      assert.equal(textsOf(reply, 'requestId').length, 1);
    }
    const { body } = await alice.act('DescribeInstances', { 'InstanceId.1': ids[11] ?? '' });
    for (const empty of ['productCodes', 'ipv6AddressesSet', 'groupSet'])
      assert.match(body, new RegExp(`<${empty}/>`), empty);
    for (const present of [
      'blockDeviceMapping',
      'cpuOptions',
      'capacityReservationSpecification',
      'hibernationOptions',
      'metadataOptions',
      'enclaveOptions',
      'maintenanceOptions',
      'privateDnsNameOptions',
      'monitoring',
      'placement',
      'networkInterfaceSet',
      'association',
      'attachment',
    ])
      assert.match(body, new RegExp(`<${present}>`), present);
  });

  it('DescribeInstanceStatus: running ones alone unless all are asked for, initializing and then ok', async () => {
    const [fresh] = await alice.run();
    const id = fresh?.InstanceId ?? '';
    await alice.reaches(id, 'running');
    const of = async (IncludeAllInstances?: boolean) =>
      (await alice.call('DescribeInstanceStatus', { InstanceIds: [id], IncludeAllInstances }))
        .InstanceStatuses?.[0];
    const first = await of();
    assert.deepEqual(first?.InstanceState, { Code: 16, Name: 'running' });
    assert.deepEqual(first?.SystemStatus, {
      Status: 'initializing',
      Details: [{ Name: 'reachability', Status: 'initializing' }],
    });
    assert.deepEqual([first?.Events, first?.AvailabilityZone], [[], zone]);
    cloud.clock.aheadMs = 60_000;
    try {
      // Its host's next report says that the guest has been heard of.
      const second = await until('it is ok', async () => {
        const now = await of();
        return now?.InstanceStatus?.Status === 'ok' && now;
      });
      assert.deepEqual(second?.InstanceStatus, {
        Status: 'ok',
        Details: [{ Name: 'reachability', Status: 'passed' }],
      });
      assert.equal(second?.SystemStatus?.Status, 'ok');
      const ok = await alice.call('DescribeInstanceStatus', {
        Filters: [
          { Name: 'instance-status.reachability', Values: ['passed'] },
          { Name: 'system-status.status', Values: ['ok'] },
        ],
      });
      assert.equal(ok.InstanceStatuses?.length, ids.length + 1);
    } finally {
      cloud.clock.aheadMs = 0;
    }
    await alice.call('StopInstances', { InstanceIds: [id] });
    await alice.reaches(id, 'stopped');
    assert.equal(await of(), undefined);
    const stopped = await of(true);
    assert.deepEqual(
      [stopped?.InstanceState?.Name, stopped?.SystemStatus?.Status],
      ['stopped', 'not-applicable'],
    );
    await alice.call('TerminateInstances', { InstanceIds: [id] });
    await alice.reaches(id, 'terminated');
    assert.equal((await of(true))?.InstanceState?.Name, 'terminated');
    const pages: (number | undefined)[] = [];
    let NextToken: string | undefined;
    do {
      const page = await alice.call('DescribeInstanceStatus', { MaxResults: 8, NextToken });
      pages.push(page.InstanceStatuses?.length);
      NextToken = page.NextToken;
    } while (NextToken !== undefined);
    assert.deepEqual(pages, [8, 4]);
    await assert.rejects(mallory.call('DescribeInstanceStatus', { InstanceIds: [id] }), {
      name: 'InvalidInstanceID.NotFound',
    });
  });

  it('DescribeInstanceTypes: the catalogue, custom sizes by name, filters, an error of its own for unknown ones', async () => {
    const { InstanceTypes: all = [] } = await alice.call('DescribeInstanceTypes', {});
    assert.ok(all.length >= 10);
    for (const type of all) {
      assert.ok(
        (type.MemoryInfo?.SizeInMiB ?? 0) > 0 && (type.VCpuInfo?.DefaultVCpus ?? 0) > 0,
        type.InstanceType,
      );
      assert.deepEqual(type.ProcessorInfo?.SupportedArchitectures, ['x86_64']);
      assert.ok(
        type.NetworkInfo?.MaximumNetworkInterfaces === 1 && type.EbsInfo?.EbsOptimizedInfo !== undefined,
      );
    }
    const custom = 'custom.250m.192' as 't3.nano';
    const { InstanceTypes: [named] = [] } = await alice.call('DescribeInstanceTypes', {
      InstanceTypes: [custom],
    });
    assert.deepEqual([named?.InstanceType, named?.MemoryInfo?.SizeInMiB], [custom, 192]);
    for (const type of ['m1.humongous', 'custom.1m.1', '', "'; drop table x"])
      await assert.rejects(alice.call('DescribeInstanceTypes', { InstanceTypes: [type as 't3.nano'] }), {
        name: 'InvalidInstanceType',
      });
    const { InstanceTypes: small } = await alice.call('DescribeInstanceTypes', {
      Filters: [
        { Name: 'instance-type', Values: ['p1.*'] },
        { Name: 'memory-info.size-in-mib', Values: ['64', '128'] },
      ],
    });
    assert.deepEqual(small?.map((type) => String(type.InstanceType)).sort(), ['p1.micro', 'p1.nano']);
    const page = await alice.call('DescribeInstanceTypes', { MaxResults: 20 });
    const next = await alice.call('DescribeInstanceTypes', { MaxResults: 20, NextToken: page.NextToken });
    assert.equal((page.InstanceTypes?.length ?? 0) + (next.InstanceTypes?.length ?? 0), all.length);
    await assert.rejects(alice.call('DescribeInstanceTypes', { MaxResults: 101 }), invalid);
  });

  it('DescribeInstanceTypeOfferings: every type in the region and in each zone that has a cell', async () => {
    const { InstanceTypes: types = [] } = await alice.call('DescribeInstanceTypes', {});
    for (const [LocationType, Location] of [
      ['region', regionName],
      ['availability-zone', zone],
      ['availability-zone-id', 'l1-az1'],
    ] as const) {
      const { InstanceTypeOfferings: offerings = [] } = await alice.call('DescribeInstanceTypeOfferings', {
        LocationType,
      });
      assert.deepEqual(
        offerings.map((one) => one.InstanceType),
        types.map((one) => one.InstanceType),
      );
      assert.ok(offerings.every((one) => one.Location === Location && one.LocationType === LocationType));
    }
    const { InstanceTypeOfferings: found } = await alice.call('DescribeInstanceTypeOfferings', {
      Filters: [
        { Name: 'instance-type', Values: ['p1.nano', 'm5.24xlarge'] },
        { Name: 'location', Values: [regionName] },
      ],
    });
    assert.deepEqual(found, [{ InstanceType: 'p1.nano', LocationType: 'region', Location: regionName }]);
    const page = await alice.call('DescribeInstanceTypeOfferings', { MaxResults: 6 });
    const next = await alice.call('DescribeInstanceTypeOfferings', {
      MaxResults: 1_000,
      NextToken: page.NextToken,
    });
    assert.deepEqual(
      [page.InstanceTypeOfferings?.length, next.InstanceTypeOfferings?.length],
      [6, types.length - 6],
    );
    const { InstanceTypeOfferings: none } = await alice.call('DescribeInstanceTypeOfferings', {
      LocationType: 'outpost',
    });
    assert.deepEqual(none, []);
    await assert.rejects(
      alice.call('DescribeInstanceTypeOfferings', { LocationType: 'planet' as 'region' }),
      invalid,
    );
  });

  it('GetConsoleOutput: base64 of what the guest wrote, the last 64 KiB', async () => {
    const [id = ''] = ids;
    const host = cloud.hosts.find((one) => one.vms.has(id));
    const vm = host?.vms.get(id);
    assert.ok(vm !== undefined);
    vm.consoleText = `${'x'.repeat(70_000)}<end> & "é"\n`;
    const {
      Output = '',
      InstanceId,
      Timestamp,
    } = await alice.call('GetConsoleOutput', { InstanceId: id, Latest: true });
    const bytes = Buffer.from(Output, 'base64');
    assert.equal(bytes.length, 64 * 1024);
    assert.ok(bytes.toString().endsWith('<end> & "é"\n'));
    assert.ok(InstanceId === id && Timestamp instanceof Date);
    await assert.rejects(mallory.call('GetConsoleOutput', { InstanceId: id }), {
      name: 'InvalidInstanceID.NotFound',
    });
    await assert.rejects(alice.call('GetConsoleOutput', { InstanceId: 'i-xyz' }), {
      name: 'InvalidInstanceID.Malformed',
    });
  });

  it('DescribeVolumes: the root volume of every live instance, with what clients expect of it', async () => {
    const { Volumes: all = [] } = await alice.call('DescribeVolumes', {});
    assert.equal(all.length, ids.length);
    const { Volumes: [one] = [] } = await alice.call('DescribeVolumes', {
      Filters: [{ Name: 'attachment.instance-id', Values: ids.slice(0, 1) }],
    });
    const { CreateTime, Attachments, ...rest } = one ?? {};
    assert.ok(CreateTime instanceof Date);
    assert.deepEqual(rest, {
      VolumeId: one?.VolumeId,
      AvailabilityZone: zone,
      AvailabilityZoneId: 'l1-az1',
      Encrypted: false,
      FastRestored: false,
      Iops: 3_000,
      MultiAttachEnabled: false,
      Size: 1,
      SnapshotId: cloud.imageId.replace('ami-', 'snap-'),
      State: 'in-use',
      Throughput: 125,
      VolumeType: 'gp3',
    });
    const { AttachTime, ...attachment } = Attachments?.[0] ?? {};
    assert.ok(AttachTime instanceof Date);
    assert.deepEqual(attachment, {
      DeleteOnTermination: true,
      Device: '/dev/vda',
      InstanceId: ids[0],
      State: 'attached',
      VolumeId: one?.VolumeId,
    });
    const [a = '', b = ''] = all.map((volume) => volume.VolumeId ?? '');
    assert.equal((await alice.call('DescribeVolumes', { VolumeIds: [a, b, a] })).Volumes?.length, 2);
    await assert.rejects(mallory.call('DescribeVolumes', { VolumeIds: [a] }), {
      name: 'InvalidVolume.NotFound',
    });
    await assert.rejects(alice.call('DescribeVolumes', { VolumeIds: ['vol1'] }), {
      name: 'InvalidParameterValue',
    });
    for (const action of ['CreateVolume', 'AttachVolume', 'DetachVolume', 'DeleteVolume', 'CreateImage'])
      assert.equal(codeOf(await alice.act(action)), 'UnsupportedOperation', action);
  });

  it('DescribeVolumeStatus: of the same volumes, by id, filter and page', async () => {
    const { Volumes = [] } = await alice.call('DescribeVolumes', {});
    const volumeIds = Volumes.map(({ VolumeId = '' }) => VolumeId);
    const { VolumeStatuses: all = [] } = await alice.call('DescribeVolumeStatus', {});
    assert.deepEqual(
      all.map(({ VolumeId }) => VolumeId),
      volumeIds,
    );
    for (const { AvailabilityZone, VolumeStatus, Events, Actions } of all) {
      assert.equal(AvailabilityZone, zone);
      assert.ok(['ok', 'insufficient-data'].includes(VolumeStatus?.Status ?? ''));
      assert.deepEqual([Events, Actions], [[], []]);
    }
    const [first = ''] = volumeIds;
    const named = await alice.call('DescribeVolumeStatus', { VolumeIds: [first] });
    assert.deepEqual(named.VolumeStatuses, all.slice(0, 1));
    const { VolumeStatuses: page = [], NextToken } = await alice.call('DescribeVolumeStatus', {
      MaxResults: 5,
    });
    assert.equal(NextToken === undefined, page.length === volumeIds.length);
    await assert.rejects(mallory.call('DescribeVolumeStatus', { VolumeIds: [first] }), {
      name: 'InvalidVolume.NotFound',
    });
    await assert.rejects(
      alice.call('DescribeVolumeStatus', { Filters: [{ Name: 'status', Values: ['ok'] }] }),
      { name: 'InvalidParameterValue' },
    );
  });

  it('DescribeInstanceCreditSpecifications: of live instances, by id and filter', async () => {
    const [first = ''] = ids;
    const all = await alice.call('DescribeInstanceCreditSpecifications', {});
    assert.equal(all.InstanceCreditSpecifications?.length, ids.length);
    const named = await alice.call('DescribeInstanceCreditSpecifications', { InstanceIds: [first] });
    assert.deepEqual(named.InstanceCreditSpecifications, [{ InstanceId: first, CpuCredits: 'unlimited' }]);
    const found = await alice.call('DescribeInstanceCreditSpecifications', {
      Filters: [{ Name: 'instance-id', Values: [first] }],
    });
    assert.deepEqual(found.InstanceCreditSpecifications, named.InstanceCreditSpecifications);
    const [made] = await alice.run({ CreditSpecification: { CpuCredits: 'standard' } });
    const own = await alice.call('DescribeInstanceCreditSpecifications', {
      InstanceIds: [made?.InstanceId ?? ''],
    });
    assert.equal(own.InstanceCreditSpecifications?.[0]?.CpuCredits, 'standard');
    await alice.call('TerminateInstances', { InstanceIds: [made?.InstanceId ?? ''] });
    await cloud.quiet();
  });

  it('DescribeNetworkAcls: the default one of each VPC, associated with its subnets', async () => {
    const { VpcId = '' } = (await alice.call('CreateVpc', { CidrBlock: '10.3.0.0/16' })).Vpc ?? {};
    const { SubnetId } = (await alice.call('CreateSubnet', { VpcId, CidrBlock: '10.3.0.0/24' })).Subnet ?? {};
    const { NetworkAcls: acls = [] } = await alice.call('DescribeNetworkAcls', {
      Filters: [
        { Name: 'vpc-id', Values: [VpcId] },
        { Name: 'default', Values: ['true'] },
      ],
    });
    assert.equal(acls.length, 1);
    const [acl] = acls;
    assert.deepEqual([acl?.IsDefault, acl?.OwnerId, acl?.Tags], [true, alice.accountId, []]);
    assert.equal(acl?.Associations?.[0]?.SubnetId, SubnetId);
    assert.deepEqual(
      acl?.Entries?.map(({ Egress, RuleAction, RuleNumber, Protocol }) => [
        Egress,
        RuleAction,
        RuleNumber,
        Protocol,
      ]),
      [
        [true, 'allow', 100, '-1'],
        [true, 'deny', 32_767, '-1'],
        [false, 'allow', 100, '-1'],
        [false, 'deny', 32_767, '-1'],
      ],
    );
    const bySubnet = await alice.call('DescribeNetworkAcls', {
      Filters: [{ Name: 'association.subnet-id', Values: [SubnetId ?? ''] }],
    });
    assert.equal(bySubnet.NetworkAcls?.[0]?.NetworkAclId, acl?.NetworkAclId);
    await assert.rejects(mallory.call('DescribeNetworkAcls', { NetworkAclIds: [acl?.NetworkAclId ?? ''] }), {
      name: 'InvalidNetworkAclID.NotFound',
    });
    await alice.call('DeleteSubnet', { SubnetId });
    await alice.call('DeleteVpc', { VpcId });
    const gone = await alice.call('DescribeNetworkAcls', { Filters: [{ Name: 'vpc-id', Values: [VpcId] }] });
    assert.deepEqual(gone.NetworkAcls, []);
  });

  it('DescribeAddressesAttribute and DescribeAddresses: before, while and after an address is associated', async () => {
    const [InstanceId = ''] = ids;
    const { AllocationId = '', PublicIp } = await alice.call('AllocateAddress', { Domain: 'vpc' });
    const attributes = await alice.call('DescribeAddressesAttribute', {
      AllocationIds: [AllocationId],
      Attribute: 'domain-name',
    });
    assert.deepEqual(attributes.Addresses, [{ AllocationId, PublicIp }]);
    const { AssociationId } = await alice.call('AssociateAddress', { AllocationId, InstanceId });
    const { Addresses: [address] = [] } = await alice.call('DescribeAddresses', {
      AllocationIds: [AllocationId],
    });
    assert.deepEqual([address?.AssociationId, address?.InstanceId], [AssociationId, InstanceId]);
    const instance = await alice.instance(InstanceId);
    assert.equal(instance.PublicIpAddress, PublicIp);
    assert.equal(instance.NetworkInterfaces?.[0]?.Association?.IpOwnerId, alice.accountId);
    await alice.call('DisassociateAddress', { AssociationId });
    const { PublicIpAddress: automatic, NetworkInterfaces } = await alice.instance(InstanceId);
    assert.ok(automatic !== undefined && automatic !== PublicIp, 'its subnet gives an automatic one');
    assert.equal(NetworkInterfaces?.[0]?.Association?.IpOwnerId, 'amazon');
    await alice.call('ReleaseAddress', { AllocationId });
    const gone = { name: 'InvalidAllocationID.NotFound' };
    await assert.rejects(alice.call('DescribeAddresses', { AllocationIds: [AllocationId] }), gone);
    await assert.rejects(alice.call('DescribeAddressesAttribute', { AllocationIds: [AllocationId] }), gone);
  });

  it('DescribeIamInstanceProfileAssociations: none, of nobody', async () => {
    const none = await alice.call('DescribeIamInstanceProfileAssociations', {
      Filters: [{ Name: 'instance-id', Values: ids }],
    });
    assert.deepEqual(none.IamInstanceProfileAssociations, []);
    await assert.rejects(
      alice.call('DescribeIamInstanceProfileAssociations', {
        AssociationIds: ['iip-assoc-0123456789abcdef0'],
      }),
      { name: 'InvalidAssociationID.NotFound' },
    );
  });

  it('DescribeAccountAttributes, DescribeRegions, DescribeAvailabilityZones: what provisioners ask first', async () => {
    const { Vpcs: [vpc] = [] } = await alice.call('DescribeVpcs', {
      Filters: [{ Name: 'is-default', Values: ['true'] }],
    });
    const { AccountAttributes: all = [] } = await alice.call('DescribeAccountAttributes', {});
    const of = (name: string) =>
      all.find((one) => one.AttributeName === name)?.AttributeValues?.map((one) => one.AttributeValue);
    assert.deepEqual([of('default-vpc'), of('supported-platforms')], [[vpc?.VpcId], ['VPC']]);
    const one = await alice.call('DescribeAccountAttributes', { AttributeNames: ['default-vpc'] });
    assert.equal(one.AccountAttributes?.length, 1);
    await assert.rejects(
      alice.call('DescribeAccountAttributes', { AttributeNames: ['__proto__' as 'default-vpc'] }),
      invalid,
    );
    assert.equal((await alice.call('DescribeRegions', {})).Regions?.[0]?.RegionName, regionName);
    await assert.rejects(alice.call('DescribeRegions', { RegionNames: ['us-east-1'] }), invalid);
    const { AvailabilityZones: [shown] = [] } = await alice.call('DescribeAvailabilityZones', {
      ZoneNames: [zone],
    });
    const { GroupLongName, ...rest } = shown ?? {};
    assert.ok(GroupLongName !== undefined);
    assert.deepEqual(rest, {
      GroupName: regionName,
      Messages: [],
      NetworkBorderGroup: regionName,
      OptInStatus: 'opt-in-not-required',
      RegionName: regionName,
      State: 'available',
      ZoneId: 'l1-az1',
      ZoneName: zone,
      ZoneType: 'availability-zone',
    });
    await assert.rejects(alice.call('DescribeAvailabilityZones', { ZoneNames: ['nowhere-1a'] }), invalid);
  });

  it('every describing action answers a dry run with DryRunOperation, once all else is right', async () => {
    const [InstanceId = ''] = ids;
    const { Vpcs: [vpc] = [] } = await alice.call('DescribeVpcs', {});
    const { SecurityGroups: [group] = [] } = await alice.call('DescribeSecurityGroups', {});
    const eni = (await alice.instance(InstanceId)).NetworkInterfaces?.[0]?.NetworkInterfaceId ?? '';
    const parameters: Partial<Record<ActionName, Record<string, string>>> = {
      DescribeInstanceAttribute: { InstanceId, Attribute: 'userData' },
      DescribeVpcAttribute: { VpcId: vpc?.VpcId ?? '', Attribute: 'enableDnsSupport' },
      DescribeNetworkInterfaceAttribute: { NetworkInterfaceId: eni, Attribute: 'groupSet' },
      GetConsoleOutput: { InstanceId },
      DescribeLaunchTemplateVersions: { 'LaunchTemplateVersion.1': '$Latest' },
      DescribeStaleSecurityGroups: { VpcId: vpc?.VpcId ?? '' },
      DescribeSecurityGroupReferences: { 'GroupId.1': group?.GroupId ?? '' },
    };
    // Of a snapshot there is nothing to say, for there is none; of an image, to its owner alone.
    const untold = new Set<string>(['DescribeSnapshotAttribute', 'DescribeImageAttribute']);
    const dry = [...describing.filter((action) => !untold.has(action)), 'GetConsoleOutput' as const].filter(
      (action) => operationOf(action).input?.byName.has('DryRun'),
    );
    assert.ok(dry.length > 20);
    for (const action of dry) {
      const reply = await alice.act(action, { ...parameters[action as ActionName], DryRun: 'true' });
      assert.deepEqual([reply.status, codeOf(reply)], [412, 'DryRunOperation'], `${action}: ${reply.body}`);
    }
  });
});
