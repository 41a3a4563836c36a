/** Ways out of a VPC, and into others, that this region does not have. */
import type { Handlers } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { type AbsentIds, absent } from './collection.ts';

const ofTransitGateways = ['state', 'transit-gateway-id'];
const transitGatewayAttachmentIds: AbsentIds = {
  member: 'TransitGatewayAttachmentIds',
  prefix: 'tgw-attach',
  notFound: 'InvalidTransitGatewayAttachmentID.NotFound',
  malformed: 'InvalidTransitGatewayAttachmentID.Malformed',
  noun: 'transit gateway attachment ID',
};

export const absentGatewayHandlers: Handlers<ActionContext> = {
  DescribeNatGateways: absent({
    action: 'DescribeNatGateways',
    lists: ['NatGateways'],
    filters: ['nat-gateway-id', 'state', 'subnet-id', 'vpc-id'],
    tagged: true,
    ids: {
      member: 'NatGatewayIds',
      prefix: 'nat',
      notFound: 'NatGatewayNotFound',
      malformed: 'NatGatewayMalformed',
      noun: 'NAT gateway',
    },
  }),

  DescribeEgressOnlyInternetGateways: absent({
    action: 'DescribeEgressOnlyInternetGateways',
    lists: ['EgressOnlyInternetGateways'],
    tagged: true,
    ids: {
      member: 'EgressOnlyInternetGatewayIds',
      prefix: 'eigw',
      notFound: 'InvalidEgressOnlyInternetGatewayId.NotFound',
      malformed: 'InvalidEgressOnlyInternetGatewayId.Malformed',
      noun: 'egress only internet gateway ID',
    },
  }),

  DescribeCarrierGateways: absent({
    action: 'DescribeCarrierGateways',
    lists: ['CarrierGateways'],
    filters: ['carrier-gateway-id', 'owner-id', 'state', 'vpc-id'],
    tagged: true,
    ids: {
      member: 'CarrierGatewayIds',
      prefix: 'cagw',
      notFound: 'InvalidCarrierGatewayID.NotFound',
      malformed: 'InvalidCarrierGatewayID.Malformed',
      noun: 'carrier gateway ID',
    },
  }),

  DescribeLocalGateways: absent({
    action: 'DescribeLocalGateways',
    lists: ['LocalGateways'],
    filters: ['local-gateway-id', 'outpost-arn', 'owner-id', 'state'],
    tagged: true,
    ids: {
      member: 'LocalGatewayIds',
      prefix: 'lgw',
      notFound: 'InvalidLocalGatewayID.NotFound',
      malformed: 'InvalidLocalGatewayID.Malformed',
      noun: 'local gateway ID',
    },
  }),

  DescribeVpcPeeringConnections: absent({
    action: 'DescribeVpcPeeringConnections',
    lists: ['VpcPeeringConnections'],
    filters: [
      'accepter-vpc-info.cidr-block',
      'accepter-vpc-info.owner-id',
      'accepter-vpc-info.vpc-id',
      'expiration-time',
      'requester-vpc-info.cidr-block',
      'requester-vpc-info.owner-id',
      'requester-vpc-info.vpc-id',
      'status-code',
      'status-message',
      'vpc-peering-connection-id',
    ],
    tagged: true,
    ids: {
      member: 'VpcPeeringConnectionIds',
      prefix: 'pcx',
      notFound: 'InvalidVpcPeeringConnectionID.NotFound',
      malformed: 'InvalidVpcPeeringConnectionID.Malformed',
      noun: 'vpcPeeringConnection ID',
    },
  }),

  DescribeTransitGateways: absent({
    action: 'DescribeTransitGateways',
    lists: ['TransitGateways'],
    filters: [
      'options.amazon-side-asn',
      'options.association-default-route-table-id',
      'options.auto-accept-shared-attachments',
      'options.default-route-table-association',
      'options.default-route-table-propagation',
      'options.dns-support',
      'options.propagation-default-route-table-id',
      'options.vpn-ecmp-support',
      'owner-id',
      ...ofTransitGateways,
    ],
    tagged: true,
    ids: {
      member: 'TransitGatewayIds',
      prefix: 'tgw',
      notFound: 'InvalidTransitGatewayID.NotFound',
      malformed: 'InvalidTransitGatewayID.Malformed',
      noun: 'transit gateway ID',
    },
  }),

  DescribeTransitGatewayAttachments: absent({
    action: 'DescribeTransitGatewayAttachments',
    lists: ['TransitGatewayAttachments'],
    filters: [
      'association.state',
      'association.transit-gateway-route-table-id',
      'resource-id',
      'resource-owner-id',
      'resource-type',
      'transit-gateway-attachment-id',
      'transit-gateway-owner-id',
      ...ofTransitGateways,
    ],
    tagged: true,
    ids: transitGatewayAttachmentIds,
  }),

  DescribeTransitGatewayVpcAttachments: absent({
    action: 'DescribeTransitGatewayVpcAttachments',
    lists: ['TransitGatewayVpcAttachments'],
    filters: ['transit-gateway-attachment-id', 'vpc-id', ...ofTransitGateways],
    tagged: true,
    ids: transitGatewayAttachmentIds,
  }),

  DescribeTransitGatewayRouteTables: absent({
    action: 'DescribeTransitGatewayRouteTables',
    lists: ['TransitGatewayRouteTables'],
    filters: [
      'default-association-route-table',
      'default-propagation-route-table',
      'transit-gateway-route-table-id',
      ...ofTransitGateways,
    ],
    tagged: true,
    ids: {
      member: 'TransitGatewayRouteTableIds',
      prefix: 'tgw-rtb',
      notFound: 'InvalidRouteTableID.NotFound',
      malformed: 'InvalidRouteTableID.Malformed',
      noun: 'transit gateway route table ID',
    },
  }),
};
