/** Private connections: endpoints of services, VPNs, flow logs. This region has none. */
import type { Handlers } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { type AbsentIds, absent } from './collection.ts';

const prefixListIds: AbsentIds = {
  member: 'PrefixListIds',
  prefix: 'pl',
  notFound: 'InvalidPrefixListID.NotFound',
  malformed: 'InvalidPrefixListId.Malformed',
  noun: 'prefix list ID',
};

export const absentConnectionHandlers: Handlers<ActionContext> = {
  DescribeVpcEndpoints: absent({
    action: 'DescribeVpcEndpoints',
    lists: ['VpcEndpoints'],
    filters: [
      'ip-address-type',
      'service-name',
      'service-region',
      'vpc-endpoint-id',
      'vpc-endpoint-state',
      'vpc-endpoint-type',
      'vpc-id',
    ],
    tagged: true,
    ids: {
      member: 'VpcEndpointIds',
      prefix: 'vpce',
      notFound: 'InvalidVpcEndpointId.NotFound',
      malformed: 'InvalidVpcEndpointId.Malformed',
      noun: 'Vpc Endpoint Id',
    },
  }),

  /** No service of this region is reached through an endpoint. */
  DescribeVpcEndpointServices: absent({
    action: 'DescribeVpcEndpointServices',
    lists: ['ServiceDetails', 'ServiceNames'],
    filters: ['owner', 'service-name', 'service-region', 'service-type', 'supported-ip-address-types'],
    tagged: true,
    ids: { member: 'ServiceNames', notFound: 'InvalidServiceName', noun: 'Vpc Endpoint Service' },
  }),

  DescribeVpcEndpointServiceConfigurations: absent({
    action: 'DescribeVpcEndpointServiceConfigurations',
    lists: ['ServiceConfigurations'],
    filters: ['service-id', 'service-name', 'service-state', 'supported-ip-address-types'],
    tagged: true,
    ids: {
      member: 'ServiceIds',
      prefix: 'vpce-svc',
      notFound: 'InvalidVpcEndpointServiceId.NotFound',
      malformed: 'InvalidVpcEndpointServiceId.Malformed',
      noun: 'VpcEndpointService Id',
    },
  }),

  DescribeVpcEndpointConnections: absent({
    action: 'DescribeVpcEndpointConnections',
    lists: ['VpcEndpointConnections'],
    filters: [
      'ip-address-type',
      'service-id',
      'vpc-endpoint-id',
      'vpc-endpoint-owner',
      'vpc-endpoint-region',
      'vpc-endpoint-state',
    ],
  }),

  DescribeInstanceConnectEndpoints: absent({
    action: 'DescribeInstanceConnectEndpoints',
    lists: ['InstanceConnectEndpoints'],
    filters: ['instance-connect-endpoint-id', 'state', 'subnet-id', 'vpc-id'],
    tagged: true,
    ids: {
      member: 'InstanceConnectEndpointIds',
      prefix: 'eice',
      notFound: 'InvalidInstanceConnectEndpointId.NotFound',
      malformed: 'InvalidInstanceConnectEndpointId.Malformed',
      noun: 'instance connect endpoint ID',
    },
  }),

  /** Lists of services that VPCs reach by a gateway endpoint: the region has no such service. */
  DescribePrefixLists: absent({
    action: 'DescribePrefixLists',
    lists: ['PrefixLists'],
    filters: ['prefix-list-id', 'prefix-list-name'],
    ids: prefixListIds,
  }),

  DescribeManagedPrefixLists: absent({
    action: 'DescribeManagedPrefixLists',
    lists: ['PrefixLists'],
    filters: ['owner-id', 'prefix-list-id', 'prefix-list-name'],
    tagged: true,
    ids: prefixListIds,
  }),

  GetManagedPrefixListEntries: absent({
    action: 'GetManagedPrefixListEntries',
    ids: { ...prefixListIds, member: 'PrefixListId' },
  }),

  DescribeFlowLogs: absent({
    action: 'DescribeFlowLogs',
    lists: ['FlowLogs'],
    filters: [
      'deliver-log-status',
      'flow-log-id',
      'log-destination-type',
      'log-group-name',
      'resource-id',
      'traffic-type',
    ],
    tagged: true,
    ids: {
      member: 'FlowLogIds',
      prefix: 'fl',
      notFound: 'InvalidFlowLogId.NotFound',
      noun: 'flow log ID',
    },
  }),

  DescribeVpnGateways: absent({
    action: 'DescribeVpnGateways',
    lists: ['VpnGateways'],
    filters: [
      'amazon-side-asn',
      'attachment.state',
      'attachment.vpc-id',
      'availability-zone',
      'state',
      'type',
      'vpn-gateway-id',
    ],
    tagged: true,
    ids: {
      member: 'VpnGatewayIds',
      prefix: 'vgw',
      notFound: 'InvalidVpnGatewayID.NotFound',
      malformed: 'InvalidVpnGatewayID.Malformed',
      noun: 'vpnGateway ID',
    },
  }),

  DescribeVpnConnections: absent({
    action: 'DescribeVpnConnections',
    lists: ['VpnConnections'],
    filters: [
      'bgp-asn',
      'customer-gateway-configuration',
      'customer-gateway-id',
      'option.static-routes-only',
      'route.destination-cidr-block',
      'state',
      'transit-gateway-id',
      'type',
      'vpn-connection-id',
      'vpn-gateway-id',
    ],
    tagged: true,
    ids: {
      member: 'VpnConnectionIds',
      prefix: 'vpn',
      notFound: 'InvalidVpnConnectionID.NotFound',
      malformed: 'InvalidVpnConnectionID.Malformed',
      noun: 'vpnConnection ID',
    },
  }),

  DescribeCustomerGateways: absent({
    action: 'DescribeCustomerGateways',
    lists: ['CustomerGateways'],
    filters: ['bgp-asn', 'customer-gateway-id', 'ip-address', 'state', 'type'],
    tagged: true,
    ids: {
      member: 'CustomerGatewayIds',
      prefix: 'cgw',
      notFound: 'InvalidCustomerGatewayID.NotFound',
      malformed: 'InvalidCustomerGatewayID.Malformed',
      noun: 'customerGateway ID',
    },
  }),
};
