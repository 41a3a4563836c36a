/** Codes about kinds of things that EC2 has and this region has none of: each says that one does not exist, or is no such id. */
import type { ErrorTraits } from './errorCatalogue.ts';

const client: ErrorTraits = { status: 400, retryable: false, class: 'refused' };

export const absentResourceCodes = {
  'InvalidCoipPoolID.Malformed': client,
  'InvalidCoipPoolID.NotFound': client,
  InvalidConversionTaskId: client,
  'InvalidCustomerGatewayID.Malformed': client,
  'InvalidHostReservationId.Malformed': client,
  'InvalidHostReservationId.NotFound': client,
  'InvalidInstanceConnectEndpointId.Malformed': client,
  'InvalidInstanceConnectEndpointId.NotFound': client,
  'InvalidIpv6PoolID.Malformed': client,
  'InvalidIpv6PoolID.NotFound': client,
  'InvalidLocalGatewayID.Malformed': client,
  'InvalidLocalGatewayID.NotFound': client,
  'InvalidPermissionID.Malformed': client,
  'InvalidPermissionID.NotFound': client,
  'InvalidPrefixListId.Malformed': client,
  'InvalidPublicIpv4PoolID.Malformed': client,
  'InvalidPublicIpv4PoolID.NotFound': client,
  'InvalidReplaceRootVolumeTaskId.Malformed': client,
  'InvalidReplaceRootVolumeTaskId.NotFound': client,
  InvalidReservedInstancesId: client,
  InvalidReservedInstancesOfferingId: client,
  'InvalidTransitGatewayAttachmentID.Malformed': client,
  'InvalidTransitGatewayID.Malformed': client,
  'InvalidVolumeModification.NotFound': client,
  'InvalidVpcEndpointServiceId.Malformed': client,
  'InvalidVpcEndpointServiceId.NotFound': client,
  'InvalidVpnConnectionID.Malformed': client,
  'InvalidVpnConnectionID.NotFound': client,
  'InvalidVpnGatewayID.Malformed': client,
  'InvalidVpnGatewayID.NotFound': client,
} satisfies Record<string, ErrorTraits>;
