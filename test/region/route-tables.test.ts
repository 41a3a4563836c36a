import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { releaseInterface, vpcStateOf } from '#region/interfaces.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

let region: TestRegion;
let alice: Client;

before(async () => {
  region = await startTestRegion();
  alice = await region.account();
});
after(() => region.stop());

const setUp = async () => {
  const vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
  const subnetId =
    (await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.0.0.0/24' })).Subnet?.SubnetId ?? '';
  const gateway = (await alice.call('CreateInternetGateway', {})).InternetGateway?.InternetGatewayId ?? '';
  await alice.call('AttachInternetGateway', { VpcId: vpcId, InternetGatewayId: gateway });
  const table = (await alice.call('CreateRouteTable', { VpcId: vpcId })).RouteTable?.RouteTableId ?? '';
  return { vpcId, subnetId, gateway, table };
};

const routesOf = async (vpcId: string) =>
  Object.fromEntries(
    (await vpcStateOf(region.region, vpcId)).subnets[0]?.routes.map((route) => [
      route.destination,
      route.target.kind,
    ]) ?? [],
  );

test('a subnet follows the main table until it is associated, and again after', async () => {
  const { vpcId, subnetId, gateway, table } = await setUp();
  await alice.call('CreateRoute', {
    RouteTableId: table,
    DestinationCidrBlock: '0.0.0.0/0',
    GatewayId: gateway,
  });
  assert.deepEqual(await routesOf(vpcId), { '10.0.0.0/16': 'local' });
  const { AssociationId: id } = await alice.call('AssociateRouteTable', {
    RouteTableId: table,
    SubnetId: subnetId,
  });
  assert.deepEqual(await routesOf(vpcId), { '0.0.0.0/0': 'internet-gateway', '10.0.0.0/16': 'local' });
  await assert.rejects(alice.call('DeleteRouteTable', { RouteTableId: table }), {
    code: 'DependencyViolation',
  });
  const other = (await alice.call('CreateRouteTable', { VpcId: vpcId })).RouteTable?.RouteTableId ?? '';
  await assert.rejects(alice.call('AssociateRouteTable', { RouteTableId: other, SubnetId: subnetId }), {
    code: 'Resource.AlreadyAssociated',
  });
  const { NewAssociationId: next } = await alice.call('ReplaceRouteTableAssociation', {
    AssociationId: id ?? '',
    RouteTableId: other,
  });
  assert.deepEqual(await routesOf(vpcId), { '10.0.0.0/16': 'local' });
  await assert.rejects(alice.call('DisassociateRouteTable', { AssociationId: id ?? '' }), {
    code: 'InvalidAssociationID.NotFound',
  });
  await alice.call('DisassociateRouteTable', { AssociationId: next ?? '' });
  const main = await alice.call('DescribeRouteTables', {
    Filters: [
      { Name: 'association.main', Values: ['true'] },
      { Name: 'vpc-id', Values: [vpcId] },
    ],
  });
  const mainAssociation = main.RouteTables?.[0]?.Associations?.[0]?.RouteTableAssociationId ?? '';
  await assert.rejects(alice.call('DisassociateRouteTable', { AssociationId: mainAssociation }), {
    code: 'InvalidParameterValue',
  });
  await alice.call('ReplaceRouteTableAssociation', { AssociationId: mainAssociation, RouteTableId: table });
  assert.deepEqual(await routesOf(vpcId), { '0.0.0.0/0': 'internet-gateway', '10.0.0.0/16': 'local' });
});

test('a route whose target is gone is a black hole until it is replaced', async () => {
  const { vpcId, subnetId, table } = await setUp();
  await alice.call('AssociateRouteTable', { RouteTableId: table, SubnetId: subnetId });
  const machine = await alice.launch({ subnetId });
  await alice.call('CreateRoute', {
    RouteTableId: table,
    DestinationCidrBlock: '192.0.2.0/24',
    InstanceId: machine.instanceId,
  });
  assert.equal((await routesOf(vpcId))['192.0.2.0/24'], 'interface');
  await releaseInterface(region.region, machine.instanceId);
  assert.equal((await routesOf(vpcId))['192.0.2.0/24'], 'blackhole');
  const seen = await alice.call('DescribeRouteTables', { RouteTableIds: [table] });
  assert.equal(
    seen.RouteTables?.[0]?.Routes?.find((route) => route.DestinationCidrBlock === '192.0.2.0/24')?.State,
    'blackhole',
  );
});

test('errors of routes', async () => {
  const { gateway, table } = await setUp();
  const other = await setUp();
  const create = (destination: string, target: object) =>
    alice.call('CreateRoute', { RouteTableId: table, DestinationCidrBlock: destination, ...target });
  await create('0.0.0.0/0', { GatewayId: gateway });
  await create('0.0.0.0/0', { GatewayId: gateway });
  const machine = await alice.launch({ subnetId: other.subnetId });
  await assert.rejects(create('192.0.2.0/24', { NetworkInterfaceId: machine.eniId }), {
    code: 'InvalidParameterValue',
  });
  await assert.rejects(create('192.0.2.0/24', { GatewayId: other.gateway }), {
    code: 'InvalidParameterValue',
  });
  await assert.rejects(create('192.0.2.0/24', { GatewayId: 'igw-00000000000000000' }), {
    code: 'InvalidGatewayID.NotFound',
  });
  await assert.rejects(create('10.0.5.0/24', { GatewayId: gateway }), { code: 'InvalidParameterValue' });
  await assert.rejects(create('192.0.2.0/24', { NatGatewayId: 'nat-1' }), { code: 'UnsupportedOperation' });
  await assert.rejects(create('192.0.2.0/24', {}), { code: 'InvalidParameterCombination' });
  const remove = (destination: string) =>
    alice.call('DeleteRoute', { RouteTableId: table, DestinationCidrBlock: destination });
  await assert.rejects(remove('10.0.0.0/16'), { code: 'InvalidParameterValue' });
  await remove('0.0.0.0/0');
  await assert.rejects(remove('0.0.0.0/0'), { code: 'InvalidRoute.NotFound' });
  await assert.rejects(
    alice.call('ReplaceRoute', {
      RouteTableId: table,
      DestinationCidrBlock: '0.0.0.0/0',
      GatewayId: gateway,
    }),
    {
      code: 'InvalidRoute.NotFound',
    },
  );
});

test('a client token makes one table, also when it is sent at once', async () => {
  const { vpcId } = await setUp();
  const create = () => alice.call('CreateRouteTable', { VpcId: vpcId, ClientToken: 'token-1' });
  const all = await Promise.all([create(), create(), create()]);
  assert.equal(new Set(all.map((one) => one.RouteTable?.RouteTableId)).size, 1);
  const other = await setUp();
  await assert.rejects(alice.call('CreateRouteTable', { VpcId: other.vpcId, ClientToken: 'token-1' }), {
    code: 'IdempotentParameterMismatch',
  });
});

test('property: a route table is a map from destination to target', async () => {
  const { vpcId, subnetId, gateway, table } = await setUp();
  await alice.call('AssociateRouteTable', { RouteTableId: table, SubnetId: subnetId });
  const machine = await alice.launch({ subnetId });
  const command = fc.record({
    kind: fc.constantFrom('create', 'replace', 'delete'),
    destination: fc.constantFrom('0.0.0.0/0', '192.0.2.0/24', '198.51.100.0/24'),
    toGateway: fc.boolean(),
  });
  const model = new Map<string, string>([['10.0.0.0/16', 'local']]);
  await fc.assert(
    fc.asyncProperty(command, async ({ kind, destination, toGateway }) => {
      const target = toGateway ? 'internet-gateway' : 'interface';
      const input = { RouteTableId: table, DestinationCidrBlock: destination };
      const withTarget = {
        ...input,
        ...(toGateway ? { GatewayId: gateway } : { NetworkInterfaceId: machine.eniId }),
      };
      const present = model.get(destination);
      if (kind === 'create') {
        const call = alice.call('CreateRoute', withTarget);
        if (present !== undefined && present !== target)
          await assert.rejects(call, { code: 'RouteAlreadyExists' });
        else await call.then(() => model.set(destination, target));
      } else if (kind === 'replace') {
        const call = alice.call('ReplaceRoute', withTarget);
        if (present === undefined) await assert.rejects(call, { code: 'InvalidRoute.NotFound' });
        else await call.then(() => model.set(destination, target));
      } else {
        const call = alice.call('DeleteRoute', input);
        if (present === undefined) await assert.rejects(call, { code: 'InvalidRoute.NotFound' });
        else await call.then(() => model.delete(destination));
      }
      assert.deepEqual(await routesOf(vpcId), Object.fromEntries(model));
    }),
    { numRuns: 40, endOnFailure: true },
  );
});
