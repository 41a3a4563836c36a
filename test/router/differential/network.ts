/** VPCs, subnets, gateways, route tables, addresses. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { zone } from '../realCloud.ts';
import {
  type Model,
  model,
  range,
  refuses,
  same,
  sameTags,
  shows,
  tagged,
  tags,
  type World,
} from './model.ts';

const vpc = model(
  'a VPC',
  fc.record({
    cidr: range([10, 77], 16, 28),
    InstanceTenancy: fc.constantFrom('default' as const, undefined),
    list: tags,
    second: range([10, 79], 16, 28),
    on: fc.record({ support: fc.boolean(), hostnames: fc.boolean(), metrics: fc.boolean() }),
  }),
  async ({ client: { call } }, { cidr, InstanceTenancy, list, second, on }) => {
    const made = await call('CreateVpc', {
      CidrBlock: cidr.given,
      InstanceTenancy,
      ...tagged('vpc', list),
    });
    const VpcId = made.Vpc?.VpcId ?? '';
    const { Vpcs: [shown] = [] } = await call('DescribeVpcs', { VpcIds: [VpcId] });
    for (const one of [made.Vpc, shown]) {
      shows(one, { CidrBlock: cidr.network, InstanceTenancy, State: 'available' });
      sameTags(one?.Tags, list);
    }
    same(shown, made.Vpc);
    await call('ModifyVpcAttribute', { VpcId, EnableDnsHostnames: { Value: false } });
    await call('ModifyVpcAttribute', { VpcId, EnableDnsSupport: { Value: on.support } });
    const hostnames = on.hostnames && on.support;
    await call('ModifyVpcAttribute', { VpcId, EnableDnsHostnames: { Value: hostnames } });
    await call('ModifyVpcAttribute', { VpcId, EnableNetworkAddressUsageMetrics: { Value: on.metrics } });
    const attribute = (
      Attribute: 'enableDnsSupport' | 'enableDnsHostnames' | 'enableNetworkAddressUsageMetrics',
    ) => call('DescribeVpcAttribute', { VpcId, Attribute });
    shows(await attribute('enableDnsSupport'), { EnableDnsSupport: { Value: on.support } });
    shows(await attribute('enableDnsHostnames'), { EnableDnsHostnames: { Value: hostnames } });
    shows(await attribute('enableNetworkAddressUsageMetrics'), {
      EnableNetworkAddressUsageMetrics: { Value: on.metrics },
    });
    const { CidrBlockAssociation: added } = await call('AssociateVpcCidrBlock', {
      VpcId,
      CidrBlock: second.given,
    });
    const rangesNow = async () =>
      (await call('DescribeVpcs', { VpcIds: [VpcId] })).Vpcs?.[0]?.CidrBlockAssociationSet?.map(
        ({ CidrBlock }) => CidrBlock,
      );
    assert.deepEqual(await rangesNow(), [cidr.network, second.network]);
    await call('DisassociateVpcCidrBlock', { AssociationId: added?.AssociationId ?? '' });
    assert.deepEqual(await rangesNow(), [cidr.network]);
    await call('DeleteVpc', { VpcId });
    await refuses(call('DescribeVpcs', { VpcIds: [VpcId] }), 'InvalidVpcID.NotFound');
  },
);

const subnet = model(
  'a subnet',
  fc.record({
    cidr: range([10, 50], 20, 28).filter(({ network }) => !/^10\.50\.[01]\./.test(network)),
    place: fc.constantFrom({ AvailabilityZone: zone }, { AvailabilityZoneId: 'l1-az1' }, {}),
    map: fc.boolean(),
    list: tags,
  }),
  async ({ client: { call }, own }, { cidr, place, map, list }) => {
    const input = { VpcId: own.vpc, CidrBlock: cidr.given, ...place };
    const made = await call('CreateSubnet', { ...input, ...tagged('subnet', list) });
    const SubnetId = made.Subnet?.SubnetId ?? '';
    await call('ModifySubnetAttribute', { SubnetId, MapPublicIpOnLaunch: { Value: map } });
    const { Subnets: [shown] = [] } = await call('DescribeSubnets', { SubnetIds: [SubnetId] });
    shows(made.Subnet, { ...place, VpcId: own.vpc, CidrBlock: cidr.network, MapPublicIpOnLaunch: false });
    shows(shown, { ...place, VpcId: own.vpc, CidrBlock: cidr.network, MapPublicIpOnLaunch: map });
    sameTags(shown?.Tags, list);
    same({ ...shown, MapPublicIpOnLaunch: false }, made.Subnet);
    await call('DeleteSubnet', { SubnetId });
    await refuses(call('DescribeSubnets', { SubnetIds: [SubnetId] }), 'InvalidSubnetID.NotFound');
  },
);

const gateway = model('an internet gateway', tags, async ({ client: { call } }, list) => {
  const { Vpc } = await call('CreateVpc', { CidrBlock: '10.78.0.0/16' });
  const VpcId = Vpc?.VpcId ?? '';
  const made = await call('CreateInternetGateway', tagged('internet-gateway', list));
  const InternetGatewayId = made.InternetGateway?.InternetGatewayId ?? '';
  const describe = async () =>
    (await call('DescribeInternetGateways', { InternetGatewayIds: [InternetGatewayId] }))
      .InternetGateways?.[0];
  same(await describe(), made.InternetGateway);
  sameTags(made.InternetGateway?.Tags, list);
  await call('AttachInternetGateway', { InternetGatewayId, VpcId });
  assert.deepEqual((await describe())?.Attachments, [{ State: 'available', VpcId }]);
  await call('DetachInternetGateway', { InternetGatewayId, VpcId });
  same(await describe(), made.InternetGateway);
  await call('DeleteInternetGateway', { InternetGatewayId });
  await refuses(
    call('DescribeInternetGateways', { InternetGatewayIds: [InternetGatewayId] }),
    'InvalidInternetGatewayID.NotFound',
  );
  await call('DeleteVpc', { VpcId });
});

const targets = ['GatewayId', 'InstanceId', 'NetworkInterfaceId'] as const;
const targetIn = ({ own }: World, by: (typeof targets)[number]) =>
  ({
    GatewayId: { GatewayId: own.gateway },
    InstanceId: { InstanceId: own.instance },
    NetworkInterfaceId: { NetworkInterfaceId: own.eni },
  })[by];

const routeTable = model(
  'a route table',
  fc.record({
    list: tags,
    routes: fc.uniqueArray(fc.record({ to: range([172, 20], 8, 32), by: fc.constantFrom(...targets) }), {
      selector: ({ to }) => to.network,
      maxLength: 4,
    }),
    replaceBy: fc.constantFrom(...targets),
  }),
  async (world, { list, routes, replaceBy }) => {
    const { call } = world.client;
    const { own } = world;
    const made = await call('CreateRouteTable', { VpcId: own.vpc, ...tagged('route-table', list) });
    const RouteTableId = made.RouteTable?.RouteTableId ?? '';
    const describe = async () =>
      (await call('DescribeRouteTables', { RouteTableIds: [RouteTableId] })).RouteTables?.[0];
    same(await describe(), made.RouteTable);
    sameTags(made.RouteTable?.Tags, list);
    const route = async (to: string) =>
      (await describe())?.Routes?.find(({ DestinationCidrBlock }) => DestinationCidrBlock === to);
    for (const { to, by } of routes) {
      const target = targetIn(world, by);
      await call('CreateRoute', { RouteTableId, DestinationCidrBlock: to.given, ...target });
      shows(await route(to.network), { ...target, Origin: 'CreateRoute', State: 'active' });
    }
    assert.equal((await describe())?.Routes?.length, routes.length + 1);
    for (const { to } of routes) {
      const target = targetIn(world, replaceBy);
      await call('ReplaceRoute', { RouteTableId, DestinationCidrBlock: to.given, ...target });
      shows(await route(to.network), target);
      await call('DeleteRoute', { RouteTableId, DestinationCidrBlock: to.given });
    }
    same(await describe(), made.RouteTable);
    await call('DeleteRouteTable', { RouteTableId });
    await refuses(
      call('DescribeRouteTables', { RouteTableIds: [RouteTableId] }),
      'InvalidRouteTableID.NotFound',
    );
  },
);

const association = model(
  'an association of a route table',
  fc.constant(undefined),
  async ({ client: { call }, own }) => {
    const { Subnet } = await call('CreateSubnet', { VpcId: own.vpc, CidrBlock: '10.50.250.0/24' });
    const SubnetId = Subnet?.SubnetId ?? '';
    const tables = await Promise.all([1, 2].map(() => call('CreateRouteTable', { VpcId: own.vpc })));
    const [first = '', second = ''] = tables.map(({ RouteTable }) => RouteTable?.RouteTableId ?? '');
    const shown = async () => {
      const Filters = [{ Name: 'association.subnet-id', Values: [SubnetId] }];
      const { RouteTables: [table] = [] } = await call('DescribeRouteTables', { Filters });
      return table?.Associations?.find((one) => one.SubnetId === SubnetId);
    };
    const made = await call('AssociateRouteTable', { RouteTableId: first, SubnetId });
    shows(await shown(), { RouteTableAssociationId: made.AssociationId, RouteTableId: first, Main: false });
    const moved = await call('ReplaceRouteTableAssociation', {
      AssociationId: made.AssociationId,
      RouteTableId: second,
    });
    shows(await shown(), { RouteTableAssociationId: moved.NewAssociationId, RouteTableId: second });
    await call('DisassociateRouteTable', { AssociationId: moved.NewAssociationId });
    assert.equal(await shown(), undefined);
    for (const RouteTableId of [first, second]) await call('DeleteRouteTable', { RouteTableId });
    await call('DeleteSubnet', { SubnetId });
  },
);

const address = model(
  'an elastic address',
  fc.record({
    Domain: fc.constantFrom('vpc' as const, undefined),
    PublicIpv4Pool: fc.constantFrom('amazon', undefined),
    list: tags,
    by: fc.constantFrom('instance' as const, 'interface' as const),
  }),
  async ({ client: { call }, own }, { Domain, PublicIpv4Pool, list, by }) => {
    const made = await call('AllocateAddress', { Domain, PublicIpv4Pool, ...tagged('elastic-ip', list) });
    const AllocationId = made.AllocationId ?? '';
    const describe = async () =>
      (await call('DescribeAddresses', { AllocationIds: [AllocationId] })).Addresses?.[0];
    shows(await describe(), made);
    sameTags((await describe())?.Tags, list);
    const to = by === 'instance' ? { InstanceId: own.instance } : { NetworkInterfaceId: own.eni };
    const { AssociationId } = await call('AssociateAddress', { AllocationId, ...to });
    shows(await describe(), { AssociationId, InstanceId: own.instance, NetworkInterfaceId: own.eni });
    await call('DisassociateAddress', { AssociationId });
    assert.equal((await describe())?.InstanceId, undefined);
    await call('ReleaseAddress', { AllocationId });
    await refuses(
      call('DescribeAddresses', { AllocationIds: [AllocationId] }),
      'InvalidAllocationID.NotFound',
    );
  },
);

export const networkModels: readonly Model[] = [vpc, subnet, gateway, routeTable, association, address];
