/** What each of the region's actions does with its members. What is not listed is refused (`wire/members.ts`). */
import { operationOf } from '#wire/actions.ts';
import type { MemberTable } from '#wire/members.ts';
import type { KnownAction } from '#wire/types.ts';
import { absentHandlers } from '../absent/index.ts';

const page = ['Filters', 'MaxResults', 'NextToken', 'DryRun'];

/** The region has none of what these ask to be shown as well. */
const nothingMore = [true, false];

const permissions = [
  'IpPermissions.IpProtocol',
  'IpPermissions.FromPort',
  'IpPermissions.ToPort',
  'IpPermissions.IpRanges',
  'IpPermissions.Ipv6Ranges',
  'IpPermissions.PrefixListIds',
  'IpPermissions.UserIdGroupPairs',
  'IpProtocol',
  'FromPort',
  'ToPort',
  'CidrIp',
  'SourceSecurityGroupName',
  'SourceSecurityGroupOwnerId',
  'DryRun',
];

/** Of the members of permissions. */
const notes = {
  'IpPermissions.Ipv6Ranges':
    'kept and described; no packet can match it, since no IPv6 packet passes from or to an instance in this region',
  'IpPermissions.PrefixListIds':
    'kept and described; no packet can match it, since this region has no prefix lists',
};

const route = [
  'RouteTableId',
  'DestinationCidrBlock',
  'GatewayId',
  'InstanceId',
  'NetworkInterfaceId',
  'DryRun',
];

const listing = ['Filters', 'Filter', 'MaxResults', 'NextToken', 'DryRun'];

/** Collections that are empty: they are asked for by ids, filtered and paged; what else narrows them has its effect. */
const absentMembers: MemberTable = Object.fromEntries(
  Object.keys(absentHandlers).map((action) => {
    const { input } = operationOf(action as KnownAction);
    return [action, { effect: listing.filter((name) => input?.byName.has(name)), always: '*' }];
  }),
);

export const regionMembers: MemberTable = {
  ...absentMembers,

  DescribeRegions: { effect: ['RegionNames', 'Filters', 'DryRun'], always: { AllRegions: nothingMore } },
  DescribeAvailabilityZones: {
    effect: ['ZoneNames', 'ZoneIds', 'Filters', 'DryRun'],
    always: { AllAvailabilityZones: nothingMore },
  },
  DescribeAccountAttributes: { effect: ['AttributeNames', 'DryRun'] },
  DescribeIamInstanceProfileAssociations: {
    effect: ['AssociationIds', 'Filters', 'MaxResults', 'NextToken'],
  },

  CreateKeyPair: { effect: ['KeyName', 'KeyType', 'KeyFormat', 'TagSpecifications', 'DryRun'] },
  ImportKeyPair: { effect: ['KeyName', 'PublicKeyMaterial', 'TagSpecifications', 'DryRun'] },
  DescribeKeyPairs: { effect: ['KeyNames', 'KeyPairIds', 'IncludePublicKey', 'Filters', 'DryRun'] },
  DeleteKeyPair: { effect: ['KeyName', 'KeyPairId', 'DryRun'] },

  RegisterImage: {
    effect: [
      'Name',
      'Description',
      'ImageLocation',
      'Architecture',
      'BootMode',
      'ImdsSupport',
      'RootDeviceName',
      'TagSpecifications',
      'DryRun',
    ],
    always: { VirtualizationType: ['hvm'], EnaSupport: [true] },
  },
  DescribeImages: {
    effect: ['ImageIds', 'Owners', 'ExecutableUsers', ...page],
    always: { IncludeDeprecated: nothingMore, IncludeDisabled: nothingMore },
  },
  // An image has no snapshots that could be deleted with it.
  DeregisterImage: { effect: ['ImageId', 'DryRun'], always: { DeleteAssociatedSnapshots: nothingMore } },
  GetInstanceMetadataDefaults: { effect: ['DryRun'] },
  ModifyInstanceMetadataDefaults: {
    effect: ['HttpTokens', 'HttpEndpoint', 'HttpPutResponseHopLimit', 'InstanceMetadataTags', 'DryRun'],
    always: { HttpTokensEnforced: ['disabled', 'no-preference'] },
  },

  CreateVpc: {
    effect: ['CidrBlock', 'InstanceTenancy', 'TagSpecifications', 'DryRun'],
  },
  DescribeVpcs: { effect: ['VpcIds', ...page] },
  DeleteVpc: { effect: ['VpcId', 'DryRun'] },
  ModifyVpcAttribute: {
    effect: ['VpcId', 'EnableDnsSupport', 'EnableDnsHostnames', 'EnableNetworkAddressUsageMetrics'],
  },
  DescribeVpcAttribute: { effect: ['VpcId', 'Attribute', 'DryRun'] },
  AssociateVpcCidrBlock: { effect: ['VpcId', 'CidrBlock'] },
  DisassociateVpcCidrBlock: { effect: ['AssociationId'] },

  CreateSubnet: {
    effect: ['VpcId', 'CidrBlock', 'AvailabilityZone', 'AvailabilityZoneId', 'TagSpecifications', 'DryRun'],
  },
  DescribeSubnets: { effect: ['SubnetIds', ...page] },
  DeleteSubnet: { effect: ['SubnetId', 'DryRun'] },
  ModifySubnetAttribute: { effect: '*' },

  CreateInternetGateway: { effect: ['TagSpecifications', 'DryRun'] },
  DescribeInternetGateways: { effect: ['InternetGatewayIds', ...page] },
  AttachInternetGateway: { effect: ['InternetGatewayId', 'VpcId', 'DryRun'] },
  DetachInternetGateway: { effect: ['InternetGatewayId', 'VpcId', 'DryRun'] },
  DeleteInternetGateway: { effect: ['InternetGatewayId', 'DryRun'] },

  CreateRouteTable: { effect: ['VpcId', 'TagSpecifications', 'ClientToken', 'DryRun'] },
  DescribeRouteTables: { effect: ['RouteTableIds', ...page] },
  DeleteRouteTable: { effect: ['RouteTableId', 'DryRun'] },
  AssociateRouteTable: { effect: ['RouteTableId', 'SubnetId', 'GatewayId', 'DryRun'] },
  DisassociateRouteTable: { effect: ['AssociationId', 'DryRun'] },
  ReplaceRouteTableAssociation: { effect: ['AssociationId', 'RouteTableId', 'DryRun'] },
  CreateRoute: { effect: route },
  ReplaceRoute: { effect: [...route, 'LocalTarget'] },
  DeleteRoute: { effect: ['RouteTableId', 'DestinationCidrBlock', 'DryRun'] },

  CreateSecurityGroup: { effect: ['GroupName', 'Description', 'VpcId', 'TagSpecifications', 'DryRun'] },
  DescribeSecurityGroups: { effect: ['GroupIds', 'GroupNames', ...page] },
  DescribeSecurityGroupRules: { effect: ['SecurityGroupRuleIds', ...page] },
  DeleteSecurityGroup: { effect: ['GroupId', 'GroupName', 'DryRun'] },
  AuthorizeSecurityGroupIngress: {
    effect: ['GroupId', 'GroupName', 'TagSpecifications', ...permissions],
    notes,
  },
  AuthorizeSecurityGroupEgress: { effect: ['GroupId', 'TagSpecifications', ...permissions], notes },
  RevokeSecurityGroupIngress: {
    effect: ['GroupId', 'GroupName', 'SecurityGroupRuleIds', ...permissions],
    notes,
  },
  RevokeSecurityGroupEgress: { effect: ['GroupId', 'SecurityGroupRuleIds', ...permissions], notes },

  DescribeNetworkAcls: { effect: ['NetworkAclIds', ...page] },
  DescribeNetworkInterfaces: {
    effect: ['NetworkInterfaceIds', ...page],
    always: { IncludeManagedResources: nothingMore },
  },
  DescribeNetworkInterfaceAttribute: { effect: ['NetworkInterfaceId', 'Attribute', 'DryRun'] },
  ModifyNetworkInterfaceAttribute: {
    effect: ['NetworkInterfaceId', 'Description', 'Groups', 'SourceDestCheck', 'DryRun'],
  },
  CreateDhcpOptions: { effect: ['DhcpConfigurations', 'TagSpecifications', 'DryRun'] },
  AssociateDhcpOptions: { effect: ['DhcpOptionsId', 'VpcId', 'DryRun'] },
  DeleteDhcpOptions: { effect: ['DhcpOptionsId', 'DryRun'] },
  DescribeDhcpOptions: { effect: ['DhcpOptionsIds', ...page] },

  AllocateAddress: {
    effect: ['Address', 'NetworkBorderGroup', 'PublicIpv4Pool', 'Domain', 'TagSpecifications', 'DryRun'],
  },
  AssociateAddress: {
    effect: [
      'AllocationId',
      'PublicIp',
      'InstanceId',
      'NetworkInterfaceId',
      'PrivateIpAddress',
      'AllowReassociation',
      'DryRun',
    ],
  },
  DescribeAddresses: { effect: ['AllocationIds', 'PublicIps', 'Filters', 'DryRun'] },
  DescribeAddressesAttribute: {
    effect: ['AllocationIds', 'Attribute', 'MaxResults', 'NextToken', 'DryRun'],
  },
  DisassociateAddress: { effect: ['AssociationId', 'PublicIp', 'DryRun'] },
  ReleaseAddress: { effect: ['AllocationId', 'PublicIp', 'NetworkBorderGroup', 'DryRun'] },

  CreateTags: { effect: ['Resources', 'Tags', 'DryRun'] },
  DeleteTags: { effect: ['Resources', 'Tags', 'DryRun'] },
  DescribeTags: { effect: page },

  CreateLaunchTemplate: {
    effect: [
      'ClientToken',
      'LaunchTemplateName',
      'VersionDescription',
      'LaunchTemplateData',
      'Operator',
      'TagSpecifications',
      'DryRun',
    ],
  },
  CreateLaunchTemplateVersion: {
    effect: [
      'ClientToken',
      'LaunchTemplateId',
      'LaunchTemplateName',
      'SourceVersion',
      'VersionDescription',
      'LaunchTemplateData',
      'DryRun',
    ],
  },
  DeleteLaunchTemplate: { effect: ['LaunchTemplateId', 'LaunchTemplateName', 'DryRun'] },
  DeleteLaunchTemplateVersions: { effect: ['LaunchTemplateId', 'LaunchTemplateName', 'Versions', 'DryRun'] },
  DescribeLaunchTemplates: { effect: ['LaunchTemplateIds', 'LaunchTemplateNames', ...page] },
  DescribeLaunchTemplateVersions: {
    effect: ['LaunchTemplateId', 'LaunchTemplateName', 'Versions', 'MinVersion', 'MaxVersion', ...page],
  },
  ModifyLaunchTemplate: {
    effect: ['ClientToken', 'LaunchTemplateId', 'LaunchTemplateName', 'DefaultVersion', 'DryRun'],
  },

  CreatePlacementGroup: {
    effect: ['GroupName', 'Strategy', 'PartitionCount', 'SpreadLevel', 'TagSpecifications', 'DryRun'],
  },
  DescribePlacementGroups: { effect: ['GroupIds', 'GroupNames', 'Filters', 'DryRun'] },
  DeletePlacementGroup: { effect: ['GroupName', 'DryRun'] },

  CreateInstanceEventWindow: {
    effect: ['Name', 'TimeRanges', 'CronExpression', 'TagSpecifications', 'DryRun'],
  },
  DescribeInstanceEventWindows: { effect: ['InstanceEventWindowIds', ...page] },
  ModifyInstanceEventWindow: {
    effect: ['InstanceEventWindowId', 'Name', 'TimeRanges', 'CronExpression', 'DryRun'],
  },
  DeleteInstanceEventWindow: { effect: ['InstanceEventWindowId', 'ForceDelete', 'DryRun'] },
  AssociateInstanceEventWindow: { effect: ['InstanceEventWindowId', 'AssociationTarget', 'DryRun'] },
  DisassociateInstanceEventWindow: { effect: ['InstanceEventWindowId', 'AssociationTarget', 'DryRun'] },

  DescribeImageAttribute: { effect: ['ImageId', 'Attribute', 'DryRun'] },
  DescribeVpcClassicLink: { effect: ['VpcIds', 'Filters', 'DryRun'] },
  DescribeVpcClassicLinkDnsSupport: { effect: ['VpcIds', 'MaxResults', 'NextToken'] },
  DescribeStaleSecurityGroups: { effect: ['VpcId', 'MaxResults', 'NextToken', 'DryRun'] },
  DescribeSecurityGroupReferences: { effect: ['GroupId', 'DryRun'] },
  GetSecurityGroupsForVpc: { effect: ['VpcId', ...page] },
  GetSubnetCidrReservations: { effect: ['SubnetId', ...page] },

  GetEbsEncryptionByDefault: { effect: ['DryRun'] },
  DisableEbsEncryptionByDefault: { effect: ['DryRun'] },
  GetEbsDefaultKmsKeyId: { effect: ['DryRun'] },
  ResetEbsDefaultKmsKeyId: { effect: ['DryRun'] },
  ModifyEbsDefaultKmsKeyId: { effect: ['KmsKeyId', 'DryRun'] },
  GetSerialConsoleAccessStatus: { effect: ['DryRun'] },
  DisableSerialConsoleAccess: { effect: ['DryRun'] },
  GetSnapshotBlockPublicAccessState: { effect: ['DryRun'] },
  GetImageBlockPublicAccessState: { effect: ['DryRun'] },
  GetAllowedImagesSettings: { effect: ['DryRun'] },
  DescribeVpcBlockPublicAccessOptions: { effect: ['DryRun'] },
};
