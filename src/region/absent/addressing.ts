/** Address ranges and permissions beyond those of the region's own pool and of each account: this region has none. */
import type { Handlers } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { absent } from './collection.ts';

export const absentAddressingHandlers: Handlers<ActionContext> = {
  DescribePublicIpv4Pools: absent({
    action: 'DescribePublicIpv4Pools',
    lists: ['PublicIpv4Pools'],
    tagged: true,
    ids: {
      member: 'PoolIds',
      prefix: 'ipv4pool-ec2',
      notFound: 'InvalidPublicIpv4PoolID.NotFound',
      malformed: 'InvalidPublicIpv4PoolID.Malformed',
      noun: 'public IPv4 pool ID',
    },
  }),

  DescribeIpv6Pools: absent({
    action: 'DescribeIpv6Pools',
    lists: ['Ipv6Pools'],
    tagged: true,
    ids: {
      member: 'PoolIds',
      prefix: 'ipv6pool-ec2',
      notFound: 'InvalidIpv6PoolID.NotFound',
      malformed: 'InvalidIpv6PoolID.Malformed',
      noun: 'IPv6 pool ID',
    },
  }),

  DescribeCoipPools: absent({
    action: 'DescribeCoipPools',
    lists: ['CoipPools'],
    filters: ['coip-pool.local-gateway-route-table-id', 'coip-pool.pool-id'],
    ids: {
      member: 'PoolIds',
      prefix: 'ipv4pool-coip',
      notFound: 'InvalidCoipPoolID.NotFound',
      malformed: 'InvalidCoipPoolID.Malformed',
      noun: 'COIP pool ID',
    },
  }),

  DescribeAddressTransfers: absent({
    action: 'DescribeAddressTransfers',
    lists: ['AddressTransfers'],
    ids: {
      member: 'AllocationIds',
      prefix: 'eipalloc',
      notFound: 'InvalidAddress.NotFound',
      noun: 'transfer of the allocation ID',
    },
  }),

  DescribeMovingAddresses: absent({
    action: 'DescribeMovingAddresses',
    lists: ['MovingAddressStatuses'],
    filters: ['moving-status'],
    ids: { member: 'PublicIps', notFound: 'InvalidAddress.NotFound', noun: 'moving address' },
  }),

  DescribeNetworkInterfacePermissions: absent({
    action: 'DescribeNetworkInterfacePermissions',
    lists: ['NetworkInterfacePermissions'],
    filters: [
      'network-interface-permission.aws-account-id',
      'network-interface-permission.aws-service',
      'network-interface-permission.network-interface-id',
      'network-interface-permission.network-interface-permission-id',
      'network-interface-permission.permission',
    ],
    ids: {
      member: 'NetworkInterfacePermissionIds',
      prefix: 'eni-perm',
      notFound: 'InvalidPermissionID.NotFound',
      malformed: 'InvalidPermissionID.Malformed',
      noun: 'network interface permission ID',
    },
  }),

  /** A group belongs to the VPC that it was made in, and to no other. */
  DescribeSecurityGroupVpcAssociations: absent({
    action: 'DescribeSecurityGroupVpcAssociations',
    lists: ['SecurityGroupVpcAssociations'],
    filters: ['group-id', 'group-owner-id', 'state', 'vpc-id', 'vpc-owner-id'],
  }),
};
