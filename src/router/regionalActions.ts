/** Actions that the region answers, beside those on what an account has made. All of them go one way. */
import type { KnownAction } from '#wire/types.ts';

/** Collections that are empty here (`src/region/absent`). */
const absentCollections = [
  'DescribeAddressTransfers',
  'DescribeCarrierGateways',
  'DescribeCoipPools',
  'DescribeCustomerGateways',
  'DescribeEgressOnlyInternetGateways',
  'DescribeFastSnapshotRestores',
  'DescribeFleets',
  'DescribeFlowLogs',
  'DescribeHostReservations',
  'DescribeImportImageTasks',
  'DescribeImportSnapshotTasks',
  'DescribeInstanceConnectEndpoints',
  'DescribeIpv6Pools',
  'DescribeLocalGateways',
  'DescribeManagedPrefixLists',
  'DescribeMovingAddresses',
  'DescribeNatGateways',
  'DescribeNetworkInterfacePermissions',
  'DescribePrefixLists',
  'DescribePublicIpv4Pools',
  'DescribeReplaceRootVolumeTasks',
  'DescribeReservedInstances',
  'DescribeReservedInstancesOfferings',
  'DescribeSecurityGroupVpcAssociations',
  'DescribeSnapshotAttribute',
  'DescribeSnapshots',
  'DescribeSpotInstanceRequests',
  'DescribeSpotPriceHistory',
  'DescribeTransitGatewayAttachments',
  'DescribeTransitGatewayRouteTables',
  'DescribeTransitGatewayVpcAttachments',
  'DescribeTransitGateways',
  'DescribeVolumesModifications',
  'DescribeVpcEndpointConnections',
  'DescribeVpcEndpointServiceConfigurations',
  'DescribeVpcEndpointServices',
  'DescribeVpcEndpoints',
  'DescribeVpcPeeringConnections',
  'DescribeVpnConnections',
  'DescribeVpnGateways',
  'GetManagedPrefixListEntries',
] as const satisfies readonly KnownAction[];

/** Sets of DHCP options. */
const dhcpOptions = [
  'AssociateDhcpOptions',
  'CreateDhcpOptions',
  'DeleteDhcpOptions',
] as const satisfies readonly KnownAction[];

const launchTemplates = [
  'CreateLaunchTemplate',
  'CreateLaunchTemplateVersion',
  'DeleteLaunchTemplate',
  'DeleteLaunchTemplateVersions',
  'DescribeLaunchTemplates',
  'DescribeLaunchTemplateVersions',
  'ModifyLaunchTemplate',
] as const satisfies readonly KnownAction[];

const placementGroups = [
  'CreatePlacementGroup',
  'DeletePlacementGroup',
  'DescribePlacementGroups',
] as const satisfies readonly KnownAction[];

const eventWindows = [
  'AssociateInstanceEventWindow',
  'CreateInstanceEventWindow',
  'DeleteInstanceEventWindow',
  'DescribeInstanceEventWindows',
  'DisassociateInstanceEventWindow',
  'ModifyInstanceEventWindow',
] as const satisfies readonly KnownAction[];

/** Settings of an account, and reports on what it has. */
const settingsAndReports = [
  'DescribeImageAttribute',
  'DescribeSecurityGroupReferences',
  'DescribeStaleSecurityGroups',
  'DescribeVpcBlockPublicAccessOptions',
  'DescribeVpcClassicLink',
  'DescribeVpcClassicLinkDnsSupport',
  'DisableEbsEncryptionByDefault',
  'DisableSerialConsoleAccess',
  'GetAllowedImagesSettings',
  'GetEbsDefaultKmsKeyId',
  'GetEbsEncryptionByDefault',
  'GetImageBlockPublicAccessState',
  'GetSecurityGroupsForVpc',
  'GetSerialConsoleAccessStatus',
  'GetSnapshotBlockPublicAccessState',
  'GetSubnetCidrReservations',
  'ModifyEbsDefaultKmsKeyId',
  'ResetEbsDefaultKmsKeyId',
] as const satisfies readonly KnownAction[];

export const moreRegionalActions: readonly KnownAction[] = [
  ...absentCollections,
  ...dhcpOptions,
  ...eventWindows,
  ...launchTemplates,
  ...placementGroups,
  ...settingsAndReports,
];
