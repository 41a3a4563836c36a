/** EC2's answers in corners where public clients and test suites look: each with its code and its words. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { In } from '#wire/types.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

let region: TestRegion;
let alice: Client;
let vpcId: string;

before(async () => {
  region = await startTestRegion();
  alice = await region.account();
  vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
});
after(() => region.stop());

const unsupported = (path: string) => ({
  code: 'UnsupportedOperation',
  message: `The parameter ${path} is not supported.`,
});

test('what a subnet, a VPC, an address cannot have is refused by name, and nothing is made', async () => {
  const subnets: Partial<In<'CreateSubnet'>>[] = [
    { Ipv6Native: true },
    { Ipv6CidrBlock: '2001:db8::/64' },
    { OutpostArn: 'arn:aws:outposts:test-1:1:outpost/op-1' },
    { Ipv4IpamPoolId: 'ipam-pool-1' },
  ];
  for (const more of subnets)
    await assert.rejects(
      alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.0.1.0/24', ...more }),
      unsupported(Object.keys(more)[0] ?? ''),
    );
  const vpcs: Partial<In<'CreateVpc'>>[] = [
    { Ipv6CidrBlock: '2001:db8::/56' },
    { Ipv6Pool: 'pool' },
    { AmazonProvidedIpv6CidrBlock: true },
  ];
  for (const more of vpcs)
    await assert.rejects(
      alice.call('CreateVpc', { CidrBlock: '10.7.0.0/16', ...more }),
      unsupported(Object.keys(more)[0] ?? ''),
    );
  await assert.rejects(
    alice.call('AllocateAddress', { CustomerOwnedIpv4Pool: 'ipv4pool-coip-1' }),
    unsupported('CustomerOwnedIpv4Pool'),
  );
  const { Subnets = [] } = await alice.call('DescribeSubnets', {
    Filters: [{ Name: 'vpc-id', Values: [vpcId] }],
  });
  assert.deepEqual(Subnets, []);
  // That it is not wanted may be said.
  const { Subnet } = await alice.call('CreateSubnet', {
    VpcId: vpcId,
    CidrBlock: '10.0.1.0/24',
    Ipv6Native: false,
  });
  assert.equal(Subnet?.Ipv6Native, false);
});

test('a route to a link-local range is refused', async () => {
  const { RouteTable } = await alice.call('CreateRouteTable', { VpcId: vpcId });
  const { InternetGateway } = await alice.call('CreateInternetGateway', {});
  const ids = {
    RouteTableId: RouteTable?.RouteTableId ?? '',
    GatewayId: InternetGateway?.InternetGatewayId ?? '',
  };
  await alice.call('AttachInternetGateway', { VpcId: vpcId, InternetGatewayId: ids.GatewayId });
  for (const DestinationCidrBlock of ['169.254.0.0/16', '169.254.169.254/32', '169.254.1.7/24'])
    await assert.rejects(alice.call('CreateRoute', { ...ids, DestinationCidrBlock }), {
      code: 'InvalidParameterValue',
    });
  await alice.call('CreateRoute', { ...ids, DestinationCidrBlock: '169.255.0.0/16' });
  const both = { ...ids, DestinationCidrBlock: '169.255.0.0/16', LocalTarget: true };
  await assert.rejects(alice.call('ReplaceRoute', both), { code: 'InvalidParameterCombination' });
});

test('a route table belongs to subnets, and to no gateway', async () => {
  const { RouteTable } = await alice.call('CreateRouteTable', { VpcId: vpcId });
  const RouteTableId = RouteTable?.RouteTableId ?? '';
  const { InternetGateway } = await alice.call('CreateInternetGateway', {});
  const GatewayId = InternetGateway?.InternetGatewayId ?? '';
  const associate = (more: object) => alice.call('AssociateRouteTable', { RouteTableId, ...more });
  await assert.rejects(associate({ GatewayId }), { code: 'UnsupportedOperation' });
  await assert.rejects(associate({ GatewayId: 'igw-12345678' }), {
    code: 'InvalidInternetGatewayID.NotFound',
  });
  await assert.rejects(associate({}), { code: 'MissingParameter' });
  await assert.rejects(associate({ GatewayId, SubnetId: 'subnet-12345678' }), {
    code: 'InvalidParameterCombination',
  });
});

test('tags: reserved and empty keys cannot be deleted; a specification says of what', async () => {
  const remove = (Key: string) => alice.call('DeleteTags', { Resources: [vpcId], Tags: [{ Key }] });
  await assert.rejects(remove('aws:x'), {
    code: 'InvalidParameterValue',
    message: "Tag keys starting with 'aws:' are reserved for internal use",
  });
  await assert.rejects(remove(''), {
    code: 'InvalidParameterValue',
    message: 'Tag key cannot be null or empty.',
  });
  await assert.rejects(
    alice.call('CreateInternetGateway', { TagSpecifications: [{ Tags: [{ Key: 'k', Value: 'v' }] }] }),
    { code: 'InvalidParameterValue', message: 'Tag specification resource type must have a value' },
  );
});

test('DescribeTags gives a thousand at most, however many are asked for', async () => {
  await alice.call('CreateTags', { Resources: [vpcId], Tags: [{ Key: 'k', Value: 'v' }] });
  const { Tags = [] } = await alice.call('DescribeTags', { MaxResults: 5_000 });
  assert.ok(Tags.some((tag) => tag.ResourceId === vpcId));
  await assert.rejects(alice.call('DescribeTags', { MaxResults: 1 }), { code: 'InvalidParameterValue' });
  await assert.rejects(alice.call('DescribeVpcs', { MaxResults: 5_000 }), { code: 'InvalidParameterValue' });
});

test('an empty key pair is a missing one', async () => {
  const missing = (parameter: string) => ({
    code: 'MissingParameter',
    message: `The request must contain the parameter ${parameter}`,
  });
  await assert.rejects(
    alice.call('ImportKeyPair', { KeyName: 'k', PublicKeyMaterial: new Uint8Array() }),
    missing('PublicKeyMaterial'),
  );
  await assert.rejects(
    alice.call('ImportKeyPair', { KeyName: '', PublicKeyMaterial: Buffer.from('x') }),
    missing('KeyName'),
  );
});

test('an image is registered for the architecture that it has', async () => {
  await assert.rejects(
    alice.call('RegisterImage', {
      Name: 'image',
      ImageLocation: '/nowhere',
      VirtualizationType: 'paravirtual',
    }),
    { code: 'UnsupportedOperation' },
  );
});
