/**
 * Every kind of id: its prefix, and EC2's two errors for one that is not there and for one that cannot be of this kind. The codes are
 * those of EC2's own list of error codes, whose spelling follows no rule (`InvalidRouteTableID.NotFound`, `InvalidRouteTableId.Malformed`).
 *
 * Clients take NotFound for *gone* and Malformed for a mistake of their own, so what begins as an id of its kind does is NotFound. Only
 * where `digits` is set does EC2 look at the rest: `ami-` and 16 digits are `InvalidAMIID.Malformed` there.
 */
import type { ErrorCode } from './errorCatalogue.ts';

/** How EC2 speaks of one kind. */
export interface IdKindRules {
  readonly prefix: string;
  readonly notFound: ErrorCode;
  /** Absent: EC2 has no such code and says `notFound` of everything. */
  readonly malformed?: ErrorCode;
  /** `InvalidParameterValue` tells the parameter instead of the id's form. */
  readonly parameter?: string;
  /** The message without its ids: one, several. `@` is where they go. */
  readonly missing: readonly [one: string, several: string];
  /** Eight or seventeen hex digits must follow the prefix, or the id is malformed. */
  readonly digits?: true;
}

const absent = (noun: string, nouns = `${noun}s`): readonly [string, string] => [
  `The ${noun} '@' does not exist`,
  `The ${nouns} '@' do not exist`,
];

export const idKinds = {
  instance: {
    prefix: 'i',
    notFound: 'InvalidInstanceID.NotFound',
    malformed: 'InvalidInstanceID.Malformed',
    missing: absent('instance ID'),
    digits: true,
  },
  reservation: {
    prefix: 'r',
    notFound: 'InvalidReservationID.NotFound',
    malformed: 'InvalidReservationID.Malformed',
    missing: absent('reservation ID'),
  },
  image: {
    prefix: 'ami',
    notFound: 'InvalidAMIID.NotFound',
    malformed: 'InvalidAMIID.Malformed',
    missing: [`The image id '[@]' does not exist`, `The image ids '[@]' do not exist`],
    digits: true,
  },
  keyPair: {
    prefix: 'key',
    notFound: 'InvalidKeyPair.NotFound',
    malformed: 'InvalidParameterValue',
    parameter: 'keyPairId',
    missing: absent('key pair'),
  },
  vpc: {
    prefix: 'vpc',
    notFound: 'InvalidVpcID.NotFound',
    malformed: 'InvalidVpcID.Malformed',
    missing: absent('vpc ID'),
  },
  vpcCidrBlockAssociation: {
    prefix: 'vpc-cidr-assoc',
    notFound: 'InvalidVpcCidrBlockAssociationID.NotFound',
    missing: absent('vpc CIDR block association ID'),
  },
  subnet: {
    prefix: 'subnet',
    notFound: 'InvalidSubnetID.NotFound',
    malformed: 'InvalidSubnetID.Malformed',
    missing: absent('subnet ID'),
  },
  securityGroup: {
    prefix: 'sg',
    notFound: 'InvalidGroup.NotFound',
    malformed: 'InvalidGroupId.Malformed',
    missing: absent('security group'),
  },
  securityGroupRule: {
    prefix: 'sgr',
    notFound: 'InvalidSecurityGroupRuleId.NotFound',
    malformed: 'InvalidSecurityGroupRuleId.Malformed',
    missing: absent('security group rule ID'),
  },
  internetGateway: {
    prefix: 'igw',
    notFound: 'InvalidInternetGatewayID.NotFound',
    malformed: 'InvalidInternetGatewayId.Malformed',
    missing: absent('internetGateway ID'),
  },
  routeTable: {
    prefix: 'rtb',
    notFound: 'InvalidRouteTableID.NotFound',
    malformed: 'InvalidRouteTableId.Malformed',
    missing: absent('routeTable ID'),
  },
  routeTableAssociation: {
    prefix: 'rtbassoc',
    notFound: 'InvalidAssociationID.NotFound',
    missing: absent('association ID'),
  },
  networkAcl: {
    prefix: 'acl',
    notFound: 'InvalidNetworkAclID.NotFound',
    malformed: 'InvalidNetworkAclId.Malformed',
    missing: absent('networkAcl ID'),
  },
  launchTemplate: {
    prefix: 'lt',
    notFound: 'InvalidLaunchTemplateId.NotFound',
    malformed: 'InvalidLaunchTemplateId.Malformed',
    missing: [
      'The specified launch template, with template ID @, does not exist.',
      'The specified launch templates, with template IDs @, do not exist.',
    ],
  },
  placementGroup: {
    prefix: 'pg',
    notFound: 'InvalidPlacementGroup.Unknown',
    malformed: 'InvalidPlacementGroupId.Malformed',
    missing: [`The Placement Group '@' is unknown.`, `The Placement Groups '@' are unknown.`],
  },
  instanceEventWindow: {
    prefix: 'iew',
    notFound: 'InvalidInstanceEventWindowId.NotFound',
    malformed: 'InvalidInstanceEventWindowId.Malformed',
    missing: absent('instance event window ID'),
  },
  dhcpOptions: {
    prefix: 'dopt',
    notFound: 'InvalidDhcpOptionID.NotFound',
    malformed: 'InvalidDhcpOptionsId.Malformed',
    missing: absent('dhcpOption ID'),
  },
  networkInterface: {
    prefix: 'eni',
    notFound: 'InvalidNetworkInterfaceID.NotFound',
    malformed: 'InvalidNetworkInterfaceId.Malformed',
    missing: absent('networkInterface ID'),
  },
  interfaceAttachment: {
    prefix: 'eni-attach',
    notFound: 'InvalidAttachmentID.NotFound',
    malformed: 'InvalidNetworkInterfaceAttachmentId.Malformed',
    missing: absent('networkInterface attachment ID'),
  },
  allocation: {
    prefix: 'eipalloc',
    notFound: 'InvalidAllocationID.NotFound',
    missing: absent('allocation ID'),
  },
  addressAssociation: {
    prefix: 'eipassoc',
    notFound: 'InvalidAssociationID.NotFound',
    missing: absent('association ID'),
  },
  instanceProfileAssociation: {
    prefix: 'iip-assoc',
    notFound: 'InvalidAssociationID.NotFound',
    missing: absent('association ID'),
  },
  volume: {
    prefix: 'vol',
    notFound: 'InvalidVolume.NotFound',
    malformed: 'InvalidParameterValue',
    parameter: 'volumeId',
    missing: [`The volume '@' does not exist.`, `The volumes '@' do not exist.`],
  },
  snapshot: {
    prefix: 'snap',
    notFound: 'InvalidSnapshot.NotFound',
    malformed: 'InvalidParameterValue',
    parameter: 'snapshotId',
    missing: [`The snapshot '@' does not exist.`, `The snapshots '@' do not exist.`],
  },
  prefixList: {
    prefix: 'pl',
    notFound: 'InvalidPrefixListID.NotFound',
    malformed: 'InvalidPrefixListId.Malformed',
    missing: absent('prefix list ID'),
  },
  capacityReservation: {
    prefix: 'cr',
    notFound: 'InvalidCapacityReservationId.NotFound',
    malformed: 'InvalidCapacityReservationId.Malformed',
    missing: absent('capacity reservation ID'),
  },
  capacityRequest: {
    prefix: 'pr',
    notFound: 'InvalidCapacityRequest.NotFound',
    missing: absent('capacity request'),
  },
  capacityOffer: {
    prefix: 'po',
    notFound: 'InvalidCapacityOffer.NotFound',
    missing: absent('capacity offer'),
  },
  capacityEvent: { prefix: 'ev', notFound: 'NotFound', missing: absent('capacity event') },
  workflow: { prefix: 'wf', notFound: 'NotFound', missing: absent('workflow') },
  host: {
    prefix: 'h',
    notFound: 'InvalidHostID.NotFound',
    malformed: 'InvalidHostID.Malformed',
    missing: absent('host ID'),
  },
} as const satisfies Record<string, IdKindRules>;

export type IdKind = keyof typeof idKinds;
