/** Ranges that are added to a VPC: described, routed as its own, with subnets and interfaces in them. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sql } from 'kysely';
import { vpcState } from '#contracts/network.ts';
import { releaseInterface, vpcStateOf } from '#region/interfaces.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

let region: TestRegion;
let alice: Client;

before(async () => {
  region = await startTestRegion({ limits: { vpcsPerAccountMax: 1_000 } });
  alice = await region.account();
});
after(() => region.stop());

const newVpc = async (cidr = '10.2.0.0/16'): Promise<string> =>
  (await alice.call('CreateVpc', { CidrBlock: cidr })).Vpc?.VpcId ?? '';

const associate = async (vpcId: string, cidr: string): Promise<string> => {
  const made = await alice.call('AssociateVpcCidrBlock', { VpcId: vpcId, CidrBlock: cidr });
  assert.equal(made.VpcId, vpcId);
  assert.equal(made.CidrBlockAssociation?.CidrBlock, cidr);
  assert.equal(made.CidrBlockAssociation?.CidrBlockState?.State, 'associating');
  const id = made.CidrBlockAssociation?.AssociationId ?? '';
  assert.match(id, /^vpc-cidr-assoc-[0-9a-f]{17}$/);
  return id;
};

const blocks = async (vpcId: string) =>
  (await alice.call('DescribeVpcs', { VpcIds: [vpcId] })).Vpcs?.[0]?.CidrBlockAssociationSet?.map((one) => [
    one.CidrBlock,
    one.CidrBlockState?.State,
  ]);

const localRoutes = async (vpcId: string) =>
  (
    await alice.call('DescribeRouteTables', { Filters: [{ Name: 'vpc-id', Values: [vpcId] }] })
  ).RouteTables?.map((table) =>
    table.Routes?.filter((route) => route.GatewayId === 'local')
      .map((route) => route.DestinationCidrBlock)
      .sort(),
  );

test('a range that is added is described, found by filters and routed locally by every table, new ones too', async () => {
  const vpcId = await newVpc();
  await alice.call('CreateRouteTable', { VpcId: vpcId });
  const id = await associate(vpcId, '100.64.0.0/16');
  await alice.call('CreateRouteTable', { VpcId: vpcId });
  assert.deepEqual(await blocks(vpcId), [
    ['10.2.0.0/16', 'associated'],
    ['100.64.0.0/16', 'associated'],
  ]);
  const both = ['10.2.0.0/16', '100.64.0.0/16'];
  assert.deepEqual(await localRoutes(vpcId), [both, both, both]);
  assert.deepEqual((await vpcStateOf(region.region, vpcId)).cidrs, both);
  for (const [name, value] of [
    ['cidr-block-association.cidr-block', '100.64.0.0/16'],
    ['cidr-block-association.association-id', id],
  ] as const) {
    const found = await alice.call('DescribeVpcs', { Filters: [{ Name: name, Values: [value] }] });
    assert.deepEqual(
      found.Vpcs?.map((vpc) => vpc.VpcId),
      [vpcId],
    );
  }
});

test('subnets and interfaces lie in it, and devices are told; while a subnet does, it stays', async () => {
  const vpcId = await newVpc();
  const outside = { VpcId: vpcId, CidrBlock: '100.64.1.0/24' };
  await assert.rejects(alice.call('CreateSubnet', outside), { code: 'InvalidSubnet.Range' });
  const id = await associate(vpcId, '100.64.0.0/16');
  const subnetId = (await alice.call('CreateSubnet', outside)).Subnet?.SubnetId ?? '';
  const { ip, instanceId } = await alice.launch({ subnetId });
  assert.equal(ip, '100.64.1.4');
  const state = vpcState.parse(await vpcStateOf(region.region, vpcId));
  assert.equal(state.subnets[0]?.router, '100.64.1.1');
  assert.deepEqual(
    state.subnets[0]?.routes.map(({ destination, target }) => [destination, target.kind]).sort(),
    [
      ['10.2.0.0/16', 'local'],
      ['100.64.0.0/16', 'local'],
    ],
  );
  await assert.rejects(alice.call('DisassociateVpcCidrBlock', { AssociationId: id }), {
    code: 'InvalidCidrBlock.InUse',
    message: `The vpc ${vpcId} currently has a subnet within CIDR block 100.64.0.0/16`,
  });
  await releaseInterface(region.region, instanceId);
  await alice.call('DeleteSubnet', { SubnetId: subnetId });
  const gone = await alice.call('DisassociateVpcCidrBlock', { AssociationId: id });
  assert.equal(gone.CidrBlockAssociation?.CidrBlockState?.State, 'disassociating');
  assert.deepEqual(await blocks(vpcId), [['10.2.0.0/16', 'associated']]);
  assert.deepEqual(await localRoutes(vpcId), [['10.2.0.0/16']]);
  assert.deepEqual((await vpcStateOf(region.region, vpcId)).cidrs, ['10.2.0.0/16']);
  await assert.rejects(alice.call('DisassociateVpcCidrBlock', { AssociationId: id }), {
    code: 'InvalidVpcCidrBlockAssociationID.NotFound',
  });
});

test('a VPC goes with its ranges', async () => {
  const vpcId = await newVpc();
  await associate(vpcId, '100.64.0.0/16');
  await alice.call('DeleteVpc', { VpcId: vpcId });
  const { rows } = await sql`select from vpc_cidr_block where vpc_id = ${vpcId}`.execute(region.region.db);
  assert.equal(rows.length, 0);
});

test('the range that a VPC was made with stays, and another account’s is not found', async () => {
  const vpcId = await newVpc();
  const own = vpcId.replace('vpc-', 'vpc-cidr-assoc-');
  await assert.rejects(alice.call('DisassociateVpcCidrBlock', { AssociationId: own }), {
    code: 'OperationNotPermitted',
    message: /may not be disassociated. It is the primary IPv4 CIDR block of the VPC/,
  });
  const id = await associate(vpcId, '100.64.0.0/16');
  const mallory = await region.account();
  for (const AssociationId of [own, id, 'vpc-cidr-assoc-00000000', 'nonsense'])
    await assert.rejects(mallory.call('DisassociateVpcCidrBlock', { AssociationId }), {
      code: 'InvalidVpcCidrBlockAssociationID.NotFound',
    });
  await assert.rejects(mallory.call('AssociateVpcCidrBlock', { VpcId: vpcId, CidrBlock: '100.65.0.0/16' }), {
    code: 'InvalidVpcID.NotFound',
  });
});

/** EC2's user guide, "IPv4 CIDR block association restrictions". */
const restricted: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  [
    '10.2.0.0/16',
    ['172.16.0.0/16', '192.168.0.0/24', '198.19.0.0/24', '10.2.1.0/24', '10.2.0.0/16'],
    ['10.3.0.0/16', '100.64.0.0/16', '52.10.0.0/16'],
  ],
  ['10.0.4.0/24', ['10.0.5.0/24', '172.16.0.0/16'], ['10.2.0.0/16']],
  ['172.16.0.0/16', ['10.0.0.0/16', '192.168.0.0/16', '172.31.0.0/16'], ['172.17.0.0/16', '100.64.0.0/16']],
  ['192.168.0.0/24', ['10.0.0.0/16', '172.16.0.0/16'], ['192.168.1.0/24', '100.64.0.0/16']],
  ['198.19.0.0/24', ['10.0.0.0/16', '192.168.0.0/16'], ['198.19.1.0/24', '100.64.0.0/16']],
  ['100.64.0.0/16', ['10.0.0.0/16', '198.19.0.0/24'], ['100.65.0.0/16', '52.10.0.0/16']],
];

test('what may be added depends on the first range', async () => {
  for (const [first, refused, allowed] of restricted) {
    const vpcId = await newVpc(first);
    for (const CidrBlock of [...refused, '10.0.0.0/8', '169.254.1.0/24', '10.9.0.0/29'])
      await assert.rejects(
        alice.call('AssociateVpcCidrBlock', { VpcId: vpcId, CidrBlock }),
        { code: 'InvalidVpc.Range' },
        `${CidrBlock} beside ${first}`,
      );
    for (const cidr of allowed) await associate(vpcId, cidr);
    assert.equal((await blocks(vpcId))?.length, allowed.length + 1);
  }
});

test('a VPC has five ranges at most, none that a route leads into, and what is not built is refused by name', async () => {
  const vpcId = await newVpc();
  const gateway = (await alice.call('CreateInternetGateway', {})).InternetGateway?.InternetGatewayId ?? '';
  await alice.call('AttachInternetGateway', { VpcId: vpcId, InternetGatewayId: gateway });
  const table = (await alice.call('CreateRouteTable', { VpcId: vpcId })).RouteTable?.RouteTableId ?? '';
  const route = { RouteTableId: table, DestinationCidrBlock: '100.64.9.0/24', GatewayId: gateway };
  await alice.call('CreateRoute', route);
  const conflicting = alice.call('AssociateVpcCidrBlock', { VpcId: vpcId, CidrBlock: '100.64.0.0/16' });
  await assert.rejects(conflicting, { code: 'InvalidVpc.Range' });
  await associate(vpcId, '100.64.9.0/25');
  await assert.rejects(
    alice.call('CreateRoute', { ...route, DestinationCidrBlock: '100.64.9.0/26' }),
    { code: 'InvalidParameterValue' },
    'inside of the VPC nothing is led out',
  );
  for (const second of [65, 66, 67]) await associate(vpcId, `100.${second}.0.0/16`);
  await assert.rejects(alice.call('AssociateVpcCidrBlock', { VpcId: vpcId, CidrBlock: '100.68.0.0/16' }), {
    code: 'CidrLimitExceeded',
  });
  for (const more of [
    { AmazonProvidedIpv6CidrBlock: true },
    { Ipv6CidrBlock: '2001:db8::/56' },
    { Ipv6Pool: 'p' },
    { Ipv4IpamPoolId: 'ipam-pool-1' },
  ])
    await assert.rejects(alice.call('AssociateVpcCidrBlock', { VpcId: vpcId, ...more }), {
      code: 'UnsupportedOperation',
    });
  await assert.rejects(alice.call('AssociateVpcCidrBlock', { VpcId: vpcId }), { code: 'MissingParameter' });
});
