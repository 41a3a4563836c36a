import { absentResourceCodes } from './errorCatalogueAbsent.ts';

/**
 * What who retries does about a code. `unreachable`: the link or the store is away, so wait for it, for minutes. `busy`: the other
 * side is there and asks for patience, so back off. `fault`: something broke, so try a few times. `refused`: the same request
 * cannot succeed, so do not retry.
 */
export type RetryClass = 'unreachable' | 'busy' | 'fault' | 'refused';

/** How a code travels over HTTP, whether a client may send the same request again, and how Pando's own parts retry it. */
export interface ErrorTraits {
  readonly status: number;
  readonly retryable: boolean;
  readonly class: RetryClass;
}

const client: ErrorTraits = { status: 400, retryable: false, class: 'refused' };
/** A state that changes by itself: clients repeat the call until it passes. */
const wait: ErrorTraits = { status: 400, retryable: true, class: 'busy' };
const unauthenticated: ErrorTraits = { status: 401, retryable: false, class: 'refused' };
const forbidden: ErrorTraits = { status: 403, retryable: false, class: 'refused' };
const precondition: ErrorTraits = { status: 412, retryable: false, class: 'refused' };
const tooLarge: ErrorTraits = { status: 413, retryable: false, class: 'refused' };
const server: ErrorTraits = { status: 500, retryable: true, class: 'fault' };
const unavailable: ErrorTraits = { status: 503, retryable: true, class: 'unreachable' };

/** Codes about the request itself, before any resource is looked at. */
const request = {
  InvalidAction: client,
  UnsupportedOperation: client,
  UnsupportedProtocol: client,
  NoSuchVersion: client,
  MalformedQueryString: { status: 404, retryable: false, class: 'refused' },
  MissingAction: client,
  MissingParameter: client,
  UnknownParameter: client,
  InvalidParameter: client,
  InvalidParameterValue: client,
  InvalidParameterCombination: client,
  InvalidRequest: client,
  InvalidNextToken: client,
  InvalidPaginationToken: client,
  InvalidFilter: client,
  FilterLimitExceeded: client,
  ValidationError: client,
  IdempotentParameterMismatch: client,
  IdempotentInstanceTerminated: client,
  Unsupported: client,
  DryRunOperation: precondition,
  RequestEntityTooLarge: tooLarge,
} satisfies Record<string, ErrorTraits>;

/** Codes about who asks. */
const identity = {
  AuthFailure: unauthenticated,
  UnauthorizedOperation: forbidden,
  AccessDenied: forbidden,
  OptInRequired: forbidden,
  PendingVerification: client,
  Blocked: forbidden,
  SignatureDoesNotMatch: forbidden,
  InvalidClientTokenId: forbidden,
  MissingAuthenticationToken: forbidden,
  RequestExpired: client,
  ExpiredToken: forbidden,
  IncompleteSignature: client,
} satisfies Record<string, ErrorTraits>;

/** Codes about capacity and the service's own health. */
const service = {
  InsufficientInstanceCapacity: server,
  InsufficientHostCapacity: server,
  InsufficientCapacity: server,
  InsufficientReservedInstanceCapacity: server,
  InsufficientAddressCapacity: server,
  InsufficientFreeAddressesInSubnet: client,
  InsufficientVolumeCapacity: server,
  InternalError: server,
  InternalFailure: server,
  ServerInternal: server,
  ServiceUnavailable: unavailable,
  Unavailable: unavailable,
  RequestLimitExceeded: { ...unavailable, class: 'busy' },
} satisfies Record<string, ErrorTraits>;

/** Codes about a resource's state and about the limits of an account. */
const state = {
  IncorrectInstanceState: client,
  IncorrectState: client,
  IncorrectModificationState: client,
  InvalidState: client,
  InvalidStateTransition: client,
  OperationNotPermitted: client,
  DependencyViolation: wait,
  ResourceAlreadyExists: client,
  'Resource.AlreadyAssociated': client,
  'Resource.AlreadyAssigned': client,
  ResourceLimitExceeded: client,
  ResourceCountExceeded: client,
  TagLimitExceeded: client,
  TagPolicyViolation: client,
  AddressLimitExceeded: client,
  AttachmentLimitExceeded: client,
  CarrierGatewayLimitExceeded: client,
  ClientTokenConflict: client,
  ConcurrentCreateImageNoRebootLimitExceeded: client,
  ConcurrentSnapshotLimitExceeded: client,
  ConcurrentTagAccess: wait,
  HostLimitExceeded: client,
  InstanceCreditSpecificationNotSupported: client,
  InstanceEventStartTimeCannotChange: client,
  InstanceLimitExceeded: client,
  InternetGatewayLimitExceeded: client,
  KeyPairLimitExceeded: client,
  MaxSpotInstanceCountExceeded: client,
  NatGatewayLimitExceeded: client,
  NetworkAclLimitExceeded: client,
  NetworkAclEntryLimitExceeded: client,
  NetworkAclEntryAlreadyExists: client,
  NetworkInterfaceLimitExceeded: client,
  PrefixListVersionMismatch: client,
  PrefixListMaxEntriesExceeded: client,
  PrivateIpAddressLimitExceeded: client,
  ReservationCapacityExceeded: client,
  RouteAlreadyExists: client,
  RouteLimitExceeded: client,
  RouteTableLimitExceeded: client,
  RulesPerSecurityGroupLimitExceeded: client,
  SecurityGroupLimitExceeded: client,
  SecurityGroupsPerInstanceLimitExceeded: client,
  SecurityGroupsPerInterfaceLimitExceeded: client,
  SnapshotLimitExceeded: client,
  SubnetLimitExceeded: client,
  VolumeInUse: client,
  VolumeModificationRateExceeded: client,
  VolumeModificationSizeLimitExceeded: client,
  VolumeLimitExceeded: client,
  VolumeIOPSLimit: client,
  VpcLimitExceeded: client,
  VpcCidrConflict: client,
  CidrLimitExceeded: client,
  VcpuLimitExceeded: client,
  CannotDelete: client,
  DefaultVpcAlreadyExists: client,
  DefaultSubnetAlreadyExistsInAvailabilityZone: client,
  DefaultVpcDoesNotExist: client,
  MissingResourceParameter: client,
  MissingInput: client,
} satisfies Record<string, ErrorTraits>;

/** Codes about one resource: absent, misspelt, taken, or of a wrong form. */
const resource = {
  'Gateway.NotAttached': client,
  'InvalidAMIID.Malformed': client,
  'InvalidAMIID.NotFound': client,
  'InvalidAMIID.Unavailable': client,
  'InvalidAMIName.Duplicate': client,
  'InvalidAMIName.Malformed': client,
  InvalidAMIAttributeItemValue: client,
  'InvalidAddress.Locked': client,
  'InvalidAddress.Malformed': client,
  'InvalidAddress.NotFound': client,
  'InvalidAddressID.NotFound': client,
  'InvalidAllocationID.NotFound': client,
  'InvalidAssociationID.NotFound': client,
  'InvalidAttachment.NotFound': client,
  'InvalidAttachmentID.NotFound': client,
  InvalidAttributeValue: client,
  InvalidAvailabilityZone: client,
  InvalidBlockDeviceMapping: client,
  'InvalidCapacityReservationId.Malformed': client,
  'InvalidCapacityReservationId.NotFound': client,
  InvalidCapacityReservationState: client,
  'InvalidCarrierGatewayID.Malformed': client,
  'InvalidCarrierGatewayID.NotFound': client,
  'InvalidCidr.InUse': client,
  'InvalidCidrBlock.InUse': client,
  'InvalidCidrBlock.NotFound': client,
  'InvalidCustomerGatewayID.NotFound': client,
  'InvalidDevice.InUse': client,
  'InvalidDhcpOptionID.NotFound': client,
  'InvalidDhcpOptionsID.NotFound': client,
  'InvalidDhcpOptionsID.Malformed': client,
  'InvalidDhcpOptionsId.Malformed': client,
  'InvalidEgressOnlyInternetGatewayId.Malformed': client,
  'InvalidEgressOnlyInternetGatewayId.NotFound': client,
  'InvalidFleetId.NotFound': client,
  'InvalidFlowLogId.NotFound': client,
  InvalidFormat: client,
  'InvalidGatewayID.NotFound': client,
  'InvalidGroup.Duplicate': client,
  'InvalidGroup.InUse': client,
  'InvalidGroup.NotFound': client,
  'InvalidGroup.Reserved': client,
  'InvalidGroupId.Malformed': client,
  'InvalidHostID.Malformed': client,
  'InvalidHostID.NotFound': client,
  InvalidHostId: client,
  'InvalidHostId.Malformed': client,
  'InvalidHostId.NotFound': client,
  InvalidHostState: client,
  'InvalidIPAddress.InUse': client,
  InvalidID: client,
  'InvalidIamInstanceProfileArn.Malformed': client,
  InvalidInput: client,
  InvalidInstanceAttributeValue: client,
  InvalidInstanceEventIDNotFound: client,
  'InvalidInstanceEventWindowId.Malformed': client,
  'InvalidInstanceEventWindowId.NotFound': client,
  InvalidInstanceID: client,
  'InvalidInstanceID.Malformed': client,
  'InvalidInstanceID.NotFound': client,
  'InvalidInstanceID.NotLinkable': client,
  InvalidInstanceType: client,
  'InvalidInterface.IpAddressLimitExceeded': client,
  'InvalidInternetGatewayID.Malformed': client,
  'InvalidInternetGatewayID.NotFound': client,
  'InvalidInternetGatewayId.Malformed': client,
  'InvalidInternetGatewayId.NotFound': client,
  'InvalidKey.Format': client,
  'InvalidKeyPair.Duplicate': client,
  'InvalidKeyPair.Format': client,
  'InvalidKeyPair.NotFound': client,
  'InvalidLaunchTemplateId.Malformed': client,
  'InvalidLaunchTemplateId.NotFound': client,
  'InvalidLaunchTemplateId.VersionNotFound': client,
  'InvalidLaunchTemplateName.AlreadyExistsException': client,
  'InvalidLaunchTemplateName.MalformedException': client,
  'InvalidLaunchTemplateName.NotFoundException': client,
  'InvalidNatGatewayID.NotFound': client,
  NatGatewayMalformed: client,
  NatGatewayNotFound: client,
  'InvalidNetworkAclEntry.NotFound': client,
  'InvalidNetworkAclID.Malformed': client,
  'InvalidNetworkAclId.Malformed': client,
  'InvalidNetworkAclID.NotFound': client,
  'InvalidNetworkInterface.InUse': client,
  'InvalidNetworkInterface.NotFound': client,
  'InvalidNetworkInterfaceAttachmentId.Malformed': client,
  'InvalidNetworkInterfaceID.Malformed': client,
  'InvalidNetworkInterfaceID.NotFound': client,
  'InvalidNetworkInterfaceId.Malformed': client,
  'InvalidPermission.Duplicate': client,
  'InvalidPermission.Malformed': client,
  'InvalidPermission.NotFound': client,
  'InvalidPlacementGroup.Duplicate': client,
  'InvalidPlacementGroup.InUse': client,
  'InvalidPlacementGroup.Unknown': client,
  'InvalidPlacementGroupId.Malformed': client,
  'InvalidPrefixListID.NotFound': client,
  InvalidPrefixListId: client,
  'InvalidPrefixListId.Malformed': client,
  'InvalidPrivateIpAddress.InUse': client,
  InvalidRegion: client,
  'InvalidReservationID.Malformed': client,
  'InvalidReservationID.NotFound': client,
  'InvalidResourceType.Unknown': client,
  'InvalidRoute.InvalidState': client,
  'InvalidRoute.Malformed': client,
  'InvalidRoute.NotFound': client,
  'InvalidRouteTableID.Malformed': client,
  'InvalidRouteTableID.NotFound': client,
  'InvalidRouteTableId.Malformed': client,
  'InvalidRouteTableId.NotFound': client,
  'InvalidSecurity.RequestHasExpired': client,
  'InvalidSecurityGroupID.NotFound': client,
  'InvalidSecurityGroupRuleId.Malformed': client,
  'InvalidSecurityGroupRuleId.NotFound': client,
  InvalidServiceName: client,
  'InvalidSnapshot.InUse': client,
  'InvalidSnapshot.NotFound': client,
  'InvalidSnapshotID.Malformed': client,
  'InvalidSpotInstanceRequestID.Malformed': client,
  'InvalidSpotInstanceRequestID.NotFound': client,
  InvalidSubnet: client,
  'InvalidSubnet.Conflict': client,
  'InvalidSubnet.Range': client,
  'InvalidSubnetID.Malformed': client,
  'InvalidSubnetID.NotFound': client,
  'InvalidSubnetId.Malformed': client,
  'InvalidTagKey.Malformed': client,
  'InvalidTransitGatewayAttachmentID.NotFound': client,
  'InvalidTransitGatewayID.NotFound': client,
  InvalidUserData: client,
  'InvalidUserData.Malformed': client,
  'InvalidUserID.Malformed': client,
  'InvalidVolume.NotFound': client,
  'InvalidVolume.ZoneMismatch': client,
  'InvalidVolumeID.Duplicate': client,
  'InvalidVolumeID.Malformed': client,
  'InvalidVolumeID.NotFound': client,
  'InvalidVolumeID.ZoneMismatch': client,
  'InvalidVpc.Range': client,
  'InvalidVpcCidrBlockAssociationID.NotFound': client,
  'InvalidVpcEndpointId.Malformed': client,
  'InvalidVpcEndpointId.NotFound': client,
  'InvalidVpcID.Malformed': client,
  'InvalidVpcID.NotFound': client,
  'InvalidVpcId.Malformed': client,
  'InvalidVpcPeeringConnectionID.Malformed': client,
  'InvalidVpcPeeringConnectionID.NotFound': client,
  'InvalidVpcPeeringConnectionState.DnsHostnamesDisabled': client,
  InvalidVpcState: client,
  'InvalidZone.NotFound': client,
} satisfies Record<string, ErrorTraits>;

/** Codes between Pando's own parts. One that reaches a client is shown as `InternalError` or `Unavailable`. */
const internal = {
  Cancelled: { status: 499, retryable: false, class: 'refused' },
  Conflict: { status: 409, retryable: true, class: 'busy' },
  StaleEpoch: { status: 409, retryable: false, class: 'refused' },
  NotFound: { status: 404, retryable: false, class: 'refused' },
  /** A message of Pando's own parts is above the frame limit: refused to whoever sent it, its stream goes on. */
  MessageTooLarge: tooLarge,
  DeadlineExceeded: { status: 504, retryable: true, class: 'unreachable' },
  HostUnreachable: unavailable,
  NotReady: unavailable,
  /** The store did not say whether it kept a change: it may be there, so whoever repeats must be able to tell. */
  UnknownOutcome: unavailable,
} satisfies Record<string, ErrorTraits>;

/** Every error code that Pando knows: EC2's, with EC2's HTTP status, and its own. */
export const errorCatalogue = {
  ...request,
  ...identity,
  ...service,
  ...state,
  ...resource,
  ...absentResourceCodes,
  ...internal,
} as const;

/** A key of {@link errorCatalogue}. */
export type ErrorCode = keyof typeof errorCatalogue;

/** Whether a code stays between Pando's own parts. */
export function isInternalCode(code: ErrorCode): boolean {
  return Object.hasOwn(internal, code);
}

/** Whether a text, for example one that arrived from another part, is a code of the catalogue. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorCatalogue, text);
}
