import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

let region: TestRegion;
let alice: Client;
let mallory: Client;

before(async () => {
  region = await startTestRegion();
  alice = await region.account();
  mallory = await region.account();
});
after(() => region.stop());

const newVpc = async (client = alice, cidr = '10.0.0.0/16'): Promise<string> =>
  (await client.call('CreateVpc', { CidrBlock: cidr })).Vpc?.VpcId ?? '';

test('a new account has a default VPC with a subnet per zone, a gateway and a route to it', async () => {
  const { Vpcs: vpcs } = await alice.call('DescribeVpcs', {
    Filters: [{ Name: 'is-default', Values: ['true'] }],
  });
  assert.equal(vpcs?.length, 1);
  assert.equal(vpcs?.[0]?.CidrBlock, '172.31.0.0/16');
  const vpcId = vpcs?.[0]?.VpcId ?? '';
  const byVpc = [{ Name: 'vpc-id', Values: [vpcId] }];
  const { Subnets: subnets } = await alice.call('DescribeSubnets', { Filters: byVpc });
  assert.deepEqual(
    subnets
      ?.map((s) => [
        s.AvailabilityZone,
        s.CidrBlock,
        s.DefaultForAz,
        s.MapPublicIpOnLaunch,
        s.AvailableIpAddressCount,
      ])
      .sort(),
    [
      ['test-1a', '172.31.0.0/20', true, true, 4091],
      ['test-1b', '172.31.16.0/20', true, true, 4091],
    ],
  );
  const { InternetGateways: gateways } = await alice.call('DescribeInternetGateways', {});
  assert.equal(gateways?.[0]?.Attachments?.[0]?.VpcId, vpcId);
  const { RouteTables: tables } = await alice.call('DescribeRouteTables', { Filters: byVpc });
  assert.equal(tables?.length, 1);
  assert.equal(tables?.[0]?.Associations?.[0]?.Main, true);
  assert.deepEqual(
    tables?.[0]?.Routes?.map((route) => [route.DestinationCidrBlock, route.GatewayId, route.State]),
    [
      ['0.0.0.0/0', gateways?.[0]?.InternetGatewayId, 'active'],
      ['172.31.0.0/16', 'local', 'active'],
    ],
  );
  const { SecurityGroups: groups } = await alice.call('DescribeSecurityGroups', { Filters: byVpc });
  assert.equal(groups?.[0]?.GroupName, 'default');
  assert.equal(groups?.[0]?.IpPermissions?.[0]?.UserIdGroupPairs?.[0]?.GroupId, groups?.[0]?.GroupId);
  const { NetworkAcls: acls } = await alice.call('DescribeNetworkAcls', {
    Filters: [...byVpc, { Name: 'default', Values: ['true'] }],
  });
  assert.equal(acls?.[0]?.Associations?.length, 2);
  assert.equal(acls?.[0]?.Entries?.length, 4);
  const { DhcpOptions: options } = await alice.call('DescribeDhcpOptions', {});
  assert.equal(options?.[0]?.DhcpOptionsId, vpcs?.[0]?.DhcpOptionsId);
});

test('a VPC comes with its main route table, default group and network ACL, and deletes only when empty', async () => {
  const { Vpc: vpc } = await alice.call('CreateVpc', {
    CidrBlock: '10.1.2.3/16',
    TagSpecifications: [{ ResourceType: 'vpc', Tags: [{ Key: 'Name', Value: 'one' }] }],
  });
  const vpcId = vpc?.VpcId ?? '';
  assert.equal(vpc?.CidrBlock, '10.1.0.0/16', 'host bits are cleared');
  assert.deepEqual(vpc?.Tags, [{ Key: 'Name', Value: 'one' }]);
  const found = await alice.call('DescribeVpcs', { Filters: [{ Name: 'tag:Name', Values: ['o*'] }] });
  assert.deepEqual(
    found.Vpcs?.map((one) => one.VpcId),
    [vpcId],
  );
  const subnet = await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.1.1.0/24' });
  await assert.rejects(alice.call('DeleteVpc', { VpcId: vpcId }), { code: 'DependencyViolation' });
  await alice.call('DeleteSubnet', { SubnetId: subnet.Subnet?.SubnetId ?? '' });
  const table = await alice.call('CreateRouteTable', { VpcId: vpcId });
  await assert.rejects(alice.call('DeleteVpc', { VpcId: vpcId }), { code: 'DependencyViolation' });
  await alice.call('DeleteRouteTable', { RouteTableId: table.RouteTable?.RouteTableId ?? '' });
  const group = await alice.call('CreateSecurityGroup', { VpcId: vpcId, GroupName: 'g', Description: 'd' });
  await assert.rejects(alice.call('DeleteVpc', { VpcId: vpcId }), { code: 'DependencyViolation' });
  await alice.call('DeleteSecurityGroup', { GroupId: group.GroupId });
  await alice.call('DeleteVpc', { VpcId: vpcId });
  await assert.rejects(alice.call('DescribeVpcs', { VpcIds: [vpcId] }), { code: 'InvalidVpcID.NotFound' });
  assert.deepEqual(
    (await alice.call('DescribeTags', { Filters: [{ Name: 'resource-id', Values: [vpcId] }] })).Tags,
    [],
  );
});

test('what belongs to another account is not found, for reads and for every change', async () => {
  const vpcId = await newVpc(alice, '10.9.0.0/16');
  const subnetId =
    (await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.9.1.0/24' })).Subnet?.SubnetId ?? '';
  const table = (await alice.call('CreateRouteTable', { VpcId: vpcId })).RouteTable?.RouteTableId ?? '';
  const groupId =
    (await alice.call('CreateSecurityGroup', { VpcId: vpcId, GroupName: 'g', Description: 'd' })).GroupId ??
    '';
  const gateway = (await alice.call('CreateInternetGateway', {})).InternetGateway?.InternetGatewayId ?? '';
  const own = await newVpc(mallory);
  const tries: [() => Promise<unknown>, string][] = [
    [() => mallory.call('DescribeVpcs', { VpcIds: [vpcId] }), 'InvalidVpcID.NotFound'],
    [() => mallory.call('DeleteVpc', { VpcId: vpcId }), 'InvalidVpcID.NotFound'],
    [
      () => mallory.call('ModifyVpcAttribute', { VpcId: vpcId, EnableDnsHostnames: { Value: true } }),
      'InvalidVpcID.NotFound',
    ],
    [() => mallory.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.9.2.0/24' }), 'InvalidVpcID.NotFound'],
    [() => mallory.call('DescribeSubnets', { SubnetIds: [subnetId] }), 'InvalidSubnetID.NotFound'],
    [() => mallory.call('DeleteSubnet', { SubnetId: subnetId }), 'InvalidSubnetID.NotFound'],
    [
      () =>
        mallory.call('ModifySubnetAttribute', { SubnetId: subnetId, MapPublicIpOnLaunch: { Value: true } }),
      'InvalidSubnetID.NotFound',
    ],
    [() => mallory.call('DeleteRouteTable', { RouteTableId: table }), 'InvalidRouteTableID.NotFound'],
    [
      () =>
        mallory.call('CreateRoute', {
          RouteTableId: table,
          DestinationCidrBlock: '0.0.0.0/0',
          GatewayId: gateway,
        }),
      'InvalidRouteTableID.NotFound',
    ],
    [
      () => mallory.call('AttachInternetGateway', { VpcId: own, InternetGatewayId: gateway }),
      'InvalidInternetGatewayID.NotFound',
    ],
    [
      () => mallory.call('DeleteInternetGateway', { InternetGatewayId: gateway }),
      'InvalidInternetGatewayID.NotFound',
    ],
    [() => mallory.call('DeleteSecurityGroup', { GroupId: groupId }), 'InvalidGroup.NotFound'],
    [
      () => mallory.call('RevokeSecurityGroupEgress', { GroupId: groupId, IpPermissions: [] }),
      'InvalidGroup.NotFound',
    ],
    [
      () => mallory.call('CreateTags', { Resources: [vpcId], Tags: [{ Key: 'a', Value: 'b' }] }),
      'InvalidVpcID.NotFound',
    ],
    [
      () => mallory.call('CreateTags', { Resources: [groupId], Tags: [{ Key: 'a', Value: 'b' }] }),
      'InvalidGroup.NotFound',
    ],
    [() => mallory.launch({ subnetId }), 'InvalidSubnetID.NotFound'],
  ];
  for (const [attempt, code] of tries) await assert.rejects(attempt, { code });
});

test('subnets: inside the VPC, of /16 to /28, without overlap, in a zone of the region', async () => {
  const vpcId = await newVpc();
  const create = (cidr: string, zone?: string) =>
    alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: cidr, AvailabilityZone: zone });
  const { Subnet: subnet } = await create('10.0.1.0/24', 'test-1b');
  assert.equal(subnet?.AvailableIpAddressCount, 251);
  assert.equal(subnet?.AvailabilityZoneId, 't1-az2');
  for (const cidr of ['10.0.1.0/25', '10.0.0.0/16', '10.0.1.128/28'])
    await assert.rejects(create(cidr), { code: 'InvalidSubnet.Conflict' });
  for (const cidr of ['10.1.0.0/24', '10.0.2.0/29', '10.0.0.0/15'])
    await assert.rejects(create(cidr), { code: 'InvalidSubnet.Range' });
  await assert.rejects(create('10.0.2.0/24', 'elsewhere'), { code: 'InvalidParameterValue' });
  await assert.rejects(create('banana'), { code: 'InvalidParameterValue' });
  const races = await Promise.allSettled(Array.from({ length: 6 }, () => create('10.0.7.0/24')));
  assert.equal(races.filter((race) => race.status === 'fulfilled').length, 1, 'one of several at once');
});

test('ids: malformed, unknown, together with MaxResults; unknown filters', async () => {
  await assert.rejects(alice.call('DescribeVpcs', { VpcIds: ['vpc-1'] }), { code: 'InvalidVpcID.Malformed' });
  await assert.rejects(alice.call('DescribeVpcs', { VpcIds: ['vpc-00000000000000000'] }), {
    code: 'InvalidVpcID.NotFound',
  });
  await assert.rejects(alice.call('DescribeVpcs', { VpcIds: ['vpc-00000000000000000'], MaxResults: 5 }), {
    code: 'InvalidParameterCombination',
  });
  await assert.rejects(alice.call('DescribeVpcs', { Filters: [{ Name: 'colour', Values: ['red'] }] }), {
    code: 'InvalidParameterValue',
  });
});

test('pages cover everything once', async () => {
  const client = await region.account();
  for (let n = 0; n < 11; n++) await newVpc(client);
  const seen: (string | undefined)[] = [];
  let token: string | undefined;
  do {
    const page = await client.call('DescribeVpcs', { MaxResults: 5, NextToken: token });
    seen.push(...(page.Vpcs ?? []).map((vpc) => vpc.VpcId));
    token = page.NextToken;
  } while (token !== undefined);
  assert.equal(seen.length, 12);
  assert.equal(new Set(seen).size, 12);
});

test('attributes: DNS hostnames can be switched on and are seen', async () => {
  const vpcId = await newVpc();
  await alice.call('ModifyVpcAttribute', { VpcId: vpcId, EnableDnsHostnames: { Value: true } });
  const seen = await alice.call('DescribeVpcAttribute', { VpcId: vpcId, Attribute: 'enableDnsHostnames' });
  assert.deepEqual(seen.EnableDnsHostnames, { Value: true });
});

test('DryRun changes nothing and says whether it would', async () => {
  const before = (await alice.call('DescribeVpcs', {})).Vpcs?.length;
  await assert.rejects(alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16', DryRun: true }), {
    code: 'DryRunOperation',
  });
  // What EC2 gives to no VPC; the rest of the user guide's list (https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html).
  for (const CidrBlock of ['0.0.0.0/16', '0.200.0.0/24', '127.0.0.0/16', '127.9.0.0/28', '169.254.0.0/16'])
    await assert.rejects(alice.call('CreateVpc', { CidrBlock }), {
      code: 'InvalidVpc.Range',
      message: `The CIDR '${CidrBlock}' is invalid.`,
    });
  for (const CidrBlock of ['169.254.169.0/24', '224.0.0.0/16', '239.255.0.0/16'])
    await assert.rejects(alice.call('CreateVpc', { CidrBlock }), { code: 'InvalidVpc.Range' });
  await assert.rejects(alice.call('CreateVpc', { CidrBlock: '10.0.0.0/8', DryRun: true }), {
    code: 'InvalidVpc.Range',
  });
  assert.equal((await alice.call('DescribeVpcs', {})).Vpcs?.length, before);
});

test('internet gateways: one per VPC, detach and delete in order', async () => {
  const [a, b] = [await newVpc(), await newVpc()];
  const make = async () =>
    (await alice.call('CreateInternetGateway', {})).InternetGateway?.InternetGatewayId ?? '';
  const [one, two] = [await make(), await make()];
  await alice.call('AttachInternetGateway', { VpcId: a, InternetGatewayId: one });
  await assert.rejects(alice.call('AttachInternetGateway', { VpcId: b, InternetGatewayId: one }), {
    code: 'Resource.AlreadyAssociated',
  });
  await assert.rejects(alice.call('AttachInternetGateway', { VpcId: a, InternetGatewayId: two }), {
    code: 'InvalidParameterValue',
  });
  await assert.rejects(alice.call('DeleteInternetGateway', { InternetGatewayId: one }), {
    code: 'DependencyViolation',
  });
  await assert.rejects(alice.call('DeleteVpc', { VpcId: a }), { code: 'DependencyViolation' });
  await assert.rejects(alice.call('DetachInternetGateway', { VpcId: b, InternetGatewayId: one }), {
    code: 'Gateway.NotAttached',
  });
  await alice.call('DetachInternetGateway', { VpcId: a, InternetGatewayId: one });
  await alice.call('DeleteInternetGateway', { InternetGatewayId: one });
  await alice.call('DeleteInternetGateway', { InternetGatewayId: two });
});

test('of a subnet’s attributes one is changed at a time; what is so already is accepted, what is not built is refused by name', async () => {
  const vpcId = await newVpc();
  const made = await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.0.0.0/24' });
  const SubnetId = made.Subnet?.SubnetId ?? '';
  const seen = async () => (await alice.call('DescribeSubnets', { SubnetIds: [SubnetId] })).Subnets?.[0];
  const before = await seen();
  await alice.call('ModifySubnetAttribute', { SubnetId, MapPublicIpOnLaunch: { Value: true } });
  assert.equal((await seen())?.MapPublicIpOnLaunch, true);
  await alice.call('ModifySubnetAttribute', { SubnetId, MapPublicIpOnLaunch: { Value: false } });
  const [no, yes] = [{ Value: false }, { Value: true }];
  for (const [usual, other] of [
    [{ AssignIpv6AddressOnCreation: no }, { AssignIpv6AddressOnCreation: yes }],
    [{ EnableDns64: no }, { EnableDns64: yes }],
    [{ MapCustomerOwnedIpOnLaunch: no }, { MapCustomerOwnedIpOnLaunch: yes, CustomerOwnedIpv4Pool: 'p' }],
    [{ PrivateDnsHostnameTypeOnLaunch: 'ip-name' }, { PrivateDnsHostnameTypeOnLaunch: 'resource-name' }],
    [{ EnableResourceNameDnsARecordOnLaunch: no }, { EnableResourceNameDnsARecordOnLaunch: yes }],
    [{ EnableResourceNameDnsAAAARecordOnLaunch: no }, { EnableResourceNameDnsAAAARecordOnLaunch: yes }],
    [{ DisableLniAtDeviceIndex: yes }, { EnableLniAtDeviceIndex: 1 }],
  ] as const) {
    await alice.call('ModifySubnetAttribute', { SubnetId, ...usual });
    await assert.rejects(alice.call('ModifySubnetAttribute', { SubnetId, ...other }), {
      code: 'UnsupportedOperation',
      message: new RegExp(Object.keys(other)[Object.keys(other).length - 1] ?? ''),
    });
  }
  assert.deepEqual(await seen(), before);
  const both = { MapPublicIpOnLaunch: yes, EnableDns64: no };
  await assert.rejects(alice.call('ModifySubnetAttribute', { SubnetId, ...both }), {
    code: 'InvalidParameterCombination',
  });
  await assert.rejects(alice.call('ModifySubnetAttribute', { SubnetId }), { code: 'MissingParameter' });
});
