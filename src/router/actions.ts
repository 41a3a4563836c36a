/**
 * Which action goes where: the router's table of contents. An action that EC2 has and this table has not is
 * `UnsupportedOperation`.
 *
 * Adding an action: build its handler in the region or in the cell, then name its route here.
 */
import type { ErrorCode } from '#contracts/errorCatalogue.ts';
import type { KnownAction, WireInput } from '#wire/types.ts';
import { moreRegionalActions } from './regionalActions.ts';

/** The kinds of ids that name their cell (S3.4). */
export type CellIdKind =
  | 'instance'
  | 'volume'
  | 'instanceProfileAssociation'
  | 'capacityReservation'
  | 'host';

/** A parameter with ids (a list) or an id, of things that cells own. */
export interface IdParameter {
  readonly name: string;
  readonly kind: CellIdKind;
}

/** Where an action goes. */
export type Route =
  /** The region. */
  | { readonly to: 'region' }
  /** A cell that is chosen by the demand (S3.1). */
  | { readonly to: 'launch' }
  /** A cell of the zone that has the room; `refusal` says that it has not, `describe` finds what an earlier request made. */
  | {
      readonly to: 'reserve';
      readonly refusal: ErrorCode;
      readonly describe: KnownAction;
      readonly filters: string;
      readonly list: string;
    }
  /** The cells that the ids name; `list` of the answers is joined, and so is `more`. */
  | { readonly to: 'ids'; readonly ids: IdParameter; readonly list?: string; readonly more?: string }
  /** Every cell, or those that the ids name if there are any (S3.10). */
  | {
      readonly to: 'gather';
      readonly list: string;
      readonly ids?: IdParameter;
      /** Whether the region has its share of the answer. */
      readonly region?: true;
      /** A MaxResults above the maximum is the maximum. */
      readonly capped?: true;
    }
  /** Tags of many resources at once: each goes to its owner. */
  | { readonly to: 'tags' }
  /** Facts that every cell knows. */
  | { readonly to: 'anyCell' }
  /** The router itself. */
  | { readonly to: 'local'; readonly answer: (caller: Caller) => WireInput };

/** Who a signature proved the client to be. */
export interface Caller {
  readonly accountId: string;
  readonly arn: string;
  readonly userId: string;
  readonly accessKeyId?: string;
}

const region: Route = { to: 'region' };
const oneInstance: Route = { to: 'ids', ids: { name: 'InstanceId', kind: 'instance' } };
const association: Route = {
  to: 'ids',
  ids: { name: 'AssociationId', kind: 'instanceProfileAssociation' },
};
const reservation: Route = {
  to: 'ids',
  ids: { name: 'CapacityReservationId', kind: 'capacityReservation' },
};
const hostIds: IdParameter = { name: 'HostIds', kind: 'host' };
const instanceIds: IdParameter = { name: 'InstanceIds', kind: 'instance' };

const instances = {
  RunInstances: { to: 'launch' },
  StartInstances: { to: 'ids', ids: instanceIds, list: 'StartingInstances' },
  StopInstances: { to: 'ids', ids: instanceIds, list: 'StoppingInstances' },
  TerminateInstances: { to: 'ids', ids: instanceIds, list: 'TerminatingInstances' },
  RebootInstances: { to: 'ids', ids: instanceIds },
  GetConsoleOutput: oneInstance,
  GetLaunchTemplateData: oneInstance,
  DescribeInstanceAttribute: oneInstance,
  ModifyInstanceAttribute: oneInstance,
  ModifyInstanceEventStartTime: oneInstance,
  ModifyInstanceMaintenanceOptions: oneInstance,
  ModifyInstanceMetadataOptions: oneInstance,
  ModifyInstancePlacement: oneInstance,
  DescribeInstances: { to: 'gather', list: 'Reservations', ids: instanceIds },
  DescribeInstanceStatus: { to: 'gather', list: 'InstanceStatuses', ids: instanceIds },
  DescribeInstanceCreditSpecifications: {
    to: 'gather',
    list: 'InstanceCreditSpecifications',
    ids: instanceIds,
  },
  DescribeVolumes: { to: 'gather', list: 'Volumes', ids: { name: 'VolumeIds', kind: 'volume' } },
  DescribeVolumeStatus: { to: 'gather', list: 'VolumeStatuses', ids: { name: 'VolumeIds', kind: 'volume' } },
  AssociateIamInstanceProfile: oneInstance,
  DisassociateIamInstanceProfile: association,
  ReplaceIamInstanceProfileAssociation: association,
  DescribeIamInstanceProfileAssociations: {
    to: 'gather',
    list: 'IamInstanceProfileAssociations',
    ids: { name: 'AssociationIds', kind: 'instanceProfileAssociation' },
  },
  DescribeInstanceTypes: { to: 'anyCell' },
  DescribeInstanceTypeOfferings: { to: 'anyCell' },
} satisfies Partial<Record<KnownAction, Route>>;

const reserved = {
  CreateCapacityReservation: {
    ...{ to: 'reserve', refusal: 'InsufficientInstanceCapacity', filters: 'Filters' },
    ...{ describe: 'DescribeCapacityReservations', list: 'CapacityReservations' },
  },
  DescribeCapacityReservations: {
    to: 'gather',
    list: 'CapacityReservations',
    ids: { name: 'CapacityReservationIds', kind: 'capacityReservation' },
  },
  ModifyCapacityReservation: reservation,
  CancelCapacityReservation: reservation,
  ModifyInstanceCapacityReservationAttributes: oneInstance,
  AllocateHosts: {
    ...{ to: 'reserve', refusal: 'InsufficientHostCapacity', filters: 'Filter' },
    ...{ describe: 'DescribeHosts', list: 'Hosts' },
  },
  DescribeHosts: { to: 'gather', list: 'Hosts', ids: hostIds },
  ModifyHosts: { to: 'ids', ids: hostIds, list: 'Successful', more: 'Unsuccessful' },
  ReleaseHosts: { to: 'ids', ids: hostIds, list: 'Successful', more: 'Unsuccessful' },
} satisfies Partial<Record<KnownAction, Route>>;

const regional = {
  DescribeRegions: region,
  DescribeAvailabilityZones: region,
  DescribeAccountAttributes: region,
  CreateKeyPair: region,
  ImportKeyPair: region,
  DescribeKeyPairs: region,
  DeleteKeyPair: region,
  DescribeImages: region,
  RegisterImage: region,
  DeregisterImage: region,
  GetInstanceMetadataDefaults: region,
  ModifyInstanceMetadataDefaults: region,
} satisfies Partial<Record<KnownAction, Route>>;

const network = {
  CreateVpc: region,
  DescribeVpcs: region,
  DeleteVpc: region,
  ModifyVpcAttribute: region,
  DescribeVpcAttribute: region,
  AssociateVpcCidrBlock: region,
  DisassociateVpcCidrBlock: region,
  CreateSubnet: region,
  DescribeSubnets: region,
  DeleteSubnet: region,
  ModifySubnetAttribute: region,
  CreateInternetGateway: region,
  DescribeInternetGateways: region,
  AttachInternetGateway: region,
  DetachInternetGateway: region,
  DeleteInternetGateway: region,
  CreateRouteTable: region,
  DescribeRouteTables: region,
  DeleteRouteTable: region,
  AssociateRouteTable: region,
  DisassociateRouteTable: region,
  ReplaceRouteTableAssociation: region,
  CreateRoute: region,
  DeleteRoute: region,
  ReplaceRoute: region,
  CreateSecurityGroup: region,
  DescribeSecurityGroups: region,
  DescribeSecurityGroupRules: region,
  DeleteSecurityGroup: region,
  AuthorizeSecurityGroupIngress: region,
  AuthorizeSecurityGroupEgress: region,
  RevokeSecurityGroupIngress: region,
  RevokeSecurityGroupEgress: region,
  DescribeNetworkAcls: region,
  DescribeNetworkInterfaces: region,
  DescribeNetworkInterfaceAttribute: region,
  ModifyNetworkInterfaceAttribute: region,
  DescribeDhcpOptions: region,
  AllocateAddress: region,
  AssociateAddress: region,
  DescribeAddresses: region,
  DescribeAddressesAttribute: region,
  DisassociateAddress: region,
  ReleaseAddress: region,
} satisfies Partial<Record<KnownAction, Route>>;

const shared = {
  CreateTags: { to: 'tags' },
  DeleteTags: { to: 'tags' },
  DescribeTags: { to: 'gather', list: 'Tags', region: true, capped: true },
  GetCallerIdentity: {
    to: 'local',
    answer: ({ accountId, arn, userId }) => ({ Account: accountId, Arn: arn, UserId: userId }),
  },
} satisfies Partial<Record<KnownAction, Route>>;

const more: Readonly<Partial<Record<KnownAction, Route>>> = Object.fromEntries(
  moreRegionalActions.map((action) => [action, region]),
);

const table: Readonly<Partial<Record<KnownAction, Route>>> = {
  ...instances,
  ...reserved,
  ...regional,
  ...network,
  ...more,
  ...shared,
};

/** Where an action goes; `undefined` if it is not built. */
export const routeOf = (action: KnownAction): Route | undefined =>
  Object.hasOwn(table, action) ? table[action] : undefined;

/** The actions that the router forwards or answers. */
export const routedActions: readonly string[] = Object.keys(table);

/** Whether a repetition of an action changes nothing: such calls may be asked of another processor. */
export const isSafe = (action: KnownAction): boolean => /^(Describe|Get|List)/.test(action);
