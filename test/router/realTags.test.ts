/** Tags of everything that has some: given at the making or later, shown, filtered by, taken away; through the real router, region and cell. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Filter, ResourceType, Tag } from '@aws-sdk/client-ec2';
import { type RealClient, type RealCloud, startRealCloud } from './realCloud.ts';

interface Thing {
  readonly id: string | undefined;
  readonly tags: Tag[] | undefined;
}

/** Tags as `TagSpecifications` gives them to the type that an action makes. */
type Given = { ResourceType: ResourceType; Tags: Tag[] }[];

interface Kind {
  /** Makes one and answers its id. Absent: it is there already, by `found`. */
  readonly make?: (given: Given) => Promise<string | undefined>;
  readonly found?: () => Promise<string | undefined>;
  readonly shown: (filters: Filter[]) => Promise<Thing[]>;
  /** Whether EC2 shows an empty list of tags where there are none: as in the examples of `aws ec2 describe-… help`, and what Ansible reads. */
  readonly emptyList?: true;
}

describe('tags of every kind of resource', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  let vpcId = '';
  let groupId = '';
  before(async () => {
    cloud = await startRealCloud();
    alice = await cloud.account();
    vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.9.0.0/16' })).Vpc?.VpcId ?? '';
    const group = { GroupName: 'rules', Description: 'of rules', VpcId: vpcId };
    groupId = (await alice.call('CreateSecurityGroup', group)).GroupId ?? '';
  });
  after(() => cloud?.close());

  const launched = async (given: Given) => {
    const [made] = await alice.run({ TagSpecifications: given });
    return alice.reaches(made?.InstanceId ?? '', 'running');
  };

  const kinds: Readonly<Record<string, Kind>> = {
    vpc: {
      make: async (TagSpecifications) =>
        (await alice.call('CreateVpc', { CidrBlock: '10.8.0.0/16', TagSpecifications })).Vpc?.VpcId,
      shown: async (Filters) =>
        ((await alice.call('DescribeVpcs', { Filters })).Vpcs ?? []).map((one) => ({
          ...{ id: one.VpcId, tags: one.Tags },
        })),
    },
    subnet: {
      make: async (TagSpecifications) => {
        const input = { VpcId: vpcId, CidrBlock: '10.9.1.0/24', TagSpecifications };
        return (await alice.call('CreateSubnet', input)).Subnet?.SubnetId;
      },
      shown: async (Filters) =>
        ((await alice.call('DescribeSubnets', { Filters })).Subnets ?? []).map((one) => ({
          ...{ id: one.SubnetId, tags: one.Tags },
        })),
    },
    'internet-gateway': {
      emptyList: true,
      make: async (TagSpecifications) => {
        const { InternetGateway } = await alice.call('CreateInternetGateway', { TagSpecifications });
        return InternetGateway?.InternetGatewayId;
      },
      shown: async (Filters) =>
        ((await alice.call('DescribeInternetGateways', { Filters })).InternetGateways ?? []).map((one) => ({
          ...{ id: one.InternetGatewayId, tags: one.Tags },
        })),
    },
    'route-table': {
      emptyList: true,
      make: async (TagSpecifications) =>
        (await alice.call('CreateRouteTable', { VpcId: vpcId, TagSpecifications })).RouteTable?.RouteTableId,
      shown: async (Filters) =>
        ((await alice.call('DescribeRouteTables', { Filters })).RouteTables ?? []).map((one) => ({
          ...{ id: one.RouteTableId, tags: one.Tags },
        })),
    },
    'security-group': {
      make: async (TagSpecifications) => {
        const group = { GroupName: 'tagged', Description: 'tagged', VpcId: vpcId, TagSpecifications };
        return (await alice.call('CreateSecurityGroup', group)).GroupId;
      },
      shown: async (Filters) =>
        ((await alice.call('DescribeSecurityGroups', { Filters })).SecurityGroups ?? []).map((one) => ({
          ...{ id: one.GroupId, tags: one.Tags },
        })),
    },
    'security-group-rule': {
      emptyList: true,
      make: async (TagSpecifications) => {
        const IpPermissions = [
          { IpProtocol: 'tcp', FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: '10.0.0.0/8' }] },
        ];
        const input = { GroupId: groupId, IpPermissions, TagSpecifications };
        const { SecurityGroupRules } = await alice.call('AuthorizeSecurityGroupIngress', input);
        return SecurityGroupRules?.[0]?.SecurityGroupRuleId;
      },
      shown: async (Filters) =>
        ((await alice.call('DescribeSecurityGroupRules', { Filters })).SecurityGroupRules ?? []).map(
          (one) => ({ id: one.SecurityGroupRuleId, tags: one.Tags }),
        ),
    },
    'network-acl': {
      emptyList: true,
      found: async () => {
        const Filters = [{ Name: 'vpc-id', Values: [vpcId] }];
        return (await alice.call('DescribeNetworkAcls', { Filters })).NetworkAcls?.[0]?.NetworkAclId;
      },
      shown: async (Filters) =>
        ((await alice.call('DescribeNetworkAcls', { Filters })).NetworkAcls ?? []).map((one) => ({
          ...{ id: one.NetworkAclId, tags: one.Tags },
        })),
    },
    'dhcp-options': {
      emptyList: true,
      make: async (TagSpecifications) => {
        const DhcpConfigurations = [{ Key: 'domain-name', Values: ['a.example'] }];
        const made = await alice.call('CreateDhcpOptions', { DhcpConfigurations, TagSpecifications });
        return made.DhcpOptions?.DhcpOptionsId;
      },
      shown: async (Filters) =>
        ((await alice.call('DescribeDhcpOptions', { Filters })).DhcpOptions ?? []).map((one) => ({
          ...{ id: one.DhcpOptionsId, tags: one.Tags },
        })),
    },
    'launch-template': {
      make: async (TagSpecifications) => {
        const LaunchTemplateData = { InstanceType: 'p1.nano' as 't2.nano' };
        const input = { LaunchTemplateName: 'tagged', LaunchTemplateData, TagSpecifications };
        return (await alice.call('CreateLaunchTemplate', input)).LaunchTemplate?.LaunchTemplateId;
      },
      shown: async (Filters) =>
        ((await alice.call('DescribeLaunchTemplates', { Filters })).LaunchTemplates ?? []).map((one) => ({
          ...{ id: one.LaunchTemplateId, tags: one.Tags },
        })),
    },
    'placement-group': {
      make: async (TagSpecifications) => {
        const input = { GroupName: 'tagged', Strategy: 'spread' as const, TagSpecifications };
        return (await alice.call('CreatePlacementGroup', input)).PlacementGroup?.GroupId;
      },
      shown: async (Filters) =>
        ((await alice.call('DescribePlacementGroups', { Filters })).PlacementGroups ?? []).map((one) => ({
          ...{ id: one.GroupId, tags: one.Tags },
        })),
    },
    'elastic-ip': {
      make: async (TagSpecifications) =>
        (await alice.call('AllocateAddress', { Domain: 'vpc', TagSpecifications })).AllocationId,
      shown: async (Filters) =>
        ((await alice.call('DescribeAddresses', { Filters })).Addresses ?? []).map((one) => ({
          ...{ id: one.AllocationId, tags: one.Tags },
        })),
    },
    'key-pair': {
      emptyList: true,
      make: async (TagSpecifications) =>
        (await alice.call('CreateKeyPair', { KeyName: 'tagged', TagSpecifications })).KeyPairId,
      shown: async (Filters) =>
        ((await alice.call('DescribeKeyPairs', { Filters })).KeyPairs ?? []).map((one) => ({
          ...{ id: one.KeyPairId, tags: one.Tags },
        })),
    },
    image: {
      found: async () => cloud.imageId,
      shown: async (Filters) =>
        ((await alice.call('DescribeImages', { Filters })).Images ?? []).map((one) => ({
          ...{ id: one.ImageId, tags: one.Tags },
        })),
    },
    instance: {
      make: async (given) => (await launched(given)).InstanceId,
      shown: async (Filters) =>
        ((await alice.call('DescribeInstances', { Filters })).Reservations ?? [])
          .flatMap(({ Instances = [] }) => Instances)
          .map((one) => ({ id: one.InstanceId, tags: one.Tags })),
    },
    volume: {
      make: async (given) => (await launched(given)).BlockDeviceMappings?.[0]?.Ebs?.VolumeId,
      shown: async (Filters) =>
        ((await alice.call('DescribeVolumes', { Filters })).Volumes ?? []).map((one) => ({
          ...{ id: one.VolumeId, tags: one.Tags },
        })),
    },
    'network-interface': {
      emptyList: true,
      make: async (given) => (await launched(given)).NetworkInterfaces?.[0]?.NetworkInterfaceId,
      shown: async (Filters) =>
        ((await alice.call('DescribeNetworkInterfaces', { Filters })).NetworkInterfaces ?? []).map((one) => ({
          ...{ id: one.NetworkInterfaceId, tags: one.TagSet },
        })),
    },
  };

  const keysOf = (tags: Tag[] | undefined) => tags?.map(({ Key }) => Key).sort();

  for (const [type, kind] of Object.entries(kinds))
    it(type, async () => {
      const first = { Key: 'made for', Value: type };
      const ResourceType = type as ResourceType;
      const id = (await (kind.make?.([{ ResourceType, Tags: [first] }]) ?? kind.found?.())) ?? '';
      assert.notEqual(id, '');
      if (kind.make === undefined) await alice.call('CreateTags', { Resources: [id], Tags: [first] });
      const byFirst = [{ Name: 'tag:made for', Values: [type] }];
      assert.deepEqual(await kind.shown(byFirst), [{ id, tags: [first] }]);

      await alice.call('CreateTags', { Resources: [id], Tags: [{ Key: 'later', Value: '' }] });
      const [now] = await kind.shown([{ Name: 'tag-key', Values: ['later'] }]);
      assert.deepEqual([now?.id, keysOf(now?.tags)], [id, ['later', 'made for']]);
      const { Tags: listed = [] } = await alice.call('DescribeTags', {
        Filters: [
          { Name: 'resource-type', Values: [type] },
          { Name: 'resource-id', Values: [id] },
        ],
      });
      assert.deepEqual(
        listed.map((tag) => [tag.ResourceId, tag.ResourceType, tag.Key, tag.Value]),
        [
          [id, type, 'later', ''],
          [id, type, 'made for', type],
        ],
      );

      await alice.call('DeleteTags', { Resources: [id], Tags: [{ Key: 'made for' }] });
      assert.deepEqual(await kind.shown(byFirst), []);
      await alice.call('DeleteTags', { Resources: [id] });
      const bare = (await kind.shown([])).find((one) => one.id === id);
      assert.deepEqual(bare, { id, tags: kind.emptyList ? [] : undefined });
      const { Tags: none } = await alice.call('DescribeTags', {
        Filters: [{ Name: 'resource-id', Values: [id] }],
      });
      assert.deepEqual(none, []);
    });
});
