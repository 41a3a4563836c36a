import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { releaseInterface, vpcStateOf } from '#region/interfaces.ts';
import type { In } from '#wire/types.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

type Permission = NonNullable<In<'AuthorizeSecurityGroupIngress'>['IpPermissions']>[number];

let region: TestRegion;
let alice: Client;
let vpcId: string;
let subnetId: string;
let groups = 0;

before(async () => {
  region = await startTestRegion();
  alice = await region.account();
  vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
  const subnet = await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.0.0.0/20' });
  subnetId = subnet.Subnet?.SubnetId ?? '';
});
after(() => region.stop());

const newGroup = async (): Promise<string> =>
  (await alice.call('CreateSecurityGroup', { VpcId: vpcId, GroupName: `g${groups++}`, Description: 'd' }))
    .GroupId ?? '';

const ssh: Permission = {
  IpProtocol: 'tcp',
  FromPort: 22,
  ToPort: 22,
  IpRanges: [{ CidrIp: '0.0.0.0/0', Description: 'ssh' }],
};

/** What devices are told of a group: while an interface carries it. */
const toldOf = async (groupId: string) => {
  const carrier = await alice.launch({ subnetId, groupIds: [groupId] });
  const { groups } = await vpcStateOf(region.region, vpcId);
  await releaseInterface(region.region, carrier.instanceId);
  assert.ok(!(await vpcStateOf(region.region, vpcId)).groups.some((group) => group.groupId === groupId));
  return groups.find((group) => group.groupId === groupId);
};

test('rules come, are seen, reach the network state and go', async () => {
  const groupId = await newGroup();
  const web: Permission = {
    IpProtocol: 'tcp',
    FromPort: 80,
    ToPort: 81,
    UserIdGroupPairs: [{ GroupId: groupId }],
  };
  const added = await alice.call('AuthorizeSecurityGroupIngress', {
    GroupId: groupId,
    IpPermissions: [ssh, web],
    TagSpecifications: [{ ResourceType: 'security-group-rule', Tags: [{ Key: 'k', Value: 'v' }] }],
  });
  assert.equal(added.SecurityGroupRules?.length, 2);
  assert.deepEqual(added.SecurityGroupRules?.[1]?.ReferencedGroupInfo?.GroupId, groupId);
  const state = await toldOf(groupId);
  assert.equal(state?.ingress.length, 2);
  assert.deepEqual(state?.egress, [{ protocol: '-1', cidr: '0.0.0.0/0' }]);
  const { SecurityGroups: shown } = await alice.call('DescribeSecurityGroups', {
    Filters: [{ Name: 'ip-permission.from-port', Values: ['22'] }],
  });
  assert.deepEqual(shown?.[0]?.IpPermissions?.find((one) => one.FromPort === 22)?.IpRanges, [
    { CidrIp: '0.0.0.0/0', Description: 'ssh' },
  ]);
  const { SecurityGroupRules: rules } = await alice.call('DescribeSecurityGroupRules', {
    Filters: [
      { Name: 'group-id', Values: [groupId] },
      { Name: 'tag:k', Values: ['v'] },
    ],
  });
  assert.equal(rules?.length, 2);
  await alice.call('RevokeSecurityGroupIngress', { GroupId: groupId, IpPermissions: [ssh] });
  await alice.call('RevokeSecurityGroupIngress', {
    GroupId: groupId,
    SecurityGroupRuleIds: [added.SecurityGroupRules?.[1]?.SecurityGroupRuleId ?? ''],
  });
  await alice.call('RevokeSecurityGroupEgress', {
    GroupId: groupId,
    IpPermissions: [{ IpProtocol: '-1', IpRanges: [{ CidrIp: '0.0.0.0/0' }] }],
  });
  const left = await alice.call('DescribeSecurityGroupRules', {
    Filters: [{ Name: 'group-id', Values: [groupId] }],
  });
  assert.deepEqual(left.SecurityGroupRules, []);
});

test('errors: duplicate, unknown, malformed, reserved, in use', async () => {
  const groupId = await newGroup();
  const authorize = (permission: Permission) =>
    alice.call('AuthorizeSecurityGroupIngress', { GroupId: groupId, IpPermissions: [permission] });
  await authorize(ssh);
  await assert.rejects(authorize({ ...ssh, IpRanges: [{ CidrIp: '0.0.0.0/0' }] }), {
    code: 'InvalidPermission.Duplicate',
  });
  const revoke = (permission: Permission) =>
    alice.call('RevokeSecurityGroupIngress', { GroupId: groupId, IpPermissions: [permission] });
  await assert.rejects(revoke({ ...ssh, FromPort: 23, ToPort: 23 }), { code: 'InvalidPermission.NotFound' });
  const bad: [Permission, string][] = [
    [{ ...ssh, FromPort: 30 }, 'InvalidParameterValue'],
    [{ ...ssh, ToPort: 70_000 }, 'InvalidParameterValue'],
    [{ ...ssh, IpRanges: [{ CidrIp: '10.0.0.1' }] }, 'InvalidParameterValue'],
    [{ ...ssh, IpRanges: [], Ipv6Ranges: [{ CidrIpv6: '::1' }] }, 'InvalidParameterValue'],
    [{ ...ssh, IpRanges: [], Ipv6Ranges: [{ CidrIpv6: 'fe80::1%lo/64' }] }, 'InvalidParameterValue'],
    [{ ...ssh, IpRanges: [], Ipv6Ranges: [{}] }, 'InvalidParameterValue'],
    [{ IpProtocol: 'icmpv6', IpRanges: [{ CidrIp: '10.0.0.0/8' }] }, 'InvalidParameterValue'],
    [{ ...ssh, IpRanges: [], PrefixListIds: [{ PrefixListId: 'pl-x' }] }, 'InvalidPrefixListID.NotFound'],
    [{ ...ssh, IpRanges: [], PrefixListIds: [{ PrefixListId: 'x' }] }, 'InvalidPrefixListId.Malformed'],
    [{ ...ssh, IpRanges: [], UserIdGroupPairs: [{}] }, 'MissingParameter'],
    [
      { ...ssh, IpRanges: [], UserIdGroupPairs: [{ GroupId: groupId, UserId: '123456789012' }] },
      'InvalidGroup.NotFound',
    ],
    [
      { ...ssh, IpRanges: [], UserIdGroupPairs: [{ GroupId: groupId, GroupName: 'default' }] },
      'InvalidGroup.NotFound',
    ],
    [
      { ...ssh, IpRanges: [], UserIdGroupPairs: [{ GroupId: groupId, VpcId: 'vpc-00000000' }] },
      'InvalidVpcID.NotFound',
    ],
    [
      { ...ssh, IpRanges: [], UserIdGroupPairs: [{ GroupId: groupId, VpcPeeringConnectionId: 'pcx-1' }] },
      'UnsupportedOperation',
    ],
    [{ ...ssh, IpRanges: [{ CidrIp: 'x' }] }, 'InvalidParameterValue'],
    [{ ...ssh, IpProtocol: 'tpc' }, 'InvalidParameterValue'],
    [
      { ...ssh, IpRanges: [], UserIdGroupPairs: [{ GroupId: 'sg-00000000000000000' }] },
      'InvalidGroup.NotFound',
    ],
    [{ IpProtocol: 'tcp', FromPort: 1, ToPort: 1 }, 'MissingParameter'],
  ];
  for (const [permission, code] of bad) await assert.rejects(authorize(permission), { code });
  const create = (name: string) =>
    alice.call('CreateSecurityGroup', { VpcId: vpcId, GroupName: name, Description: 'd' });
  await assert.rejects(create('default'), { code: 'InvalidGroup.Reserved' });
  await assert.rejects(create('sg-x'), { code: 'InvalidParameterValue' });
  await create('twice');
  await assert.rejects(create('twice'), { code: 'InvalidGroup.Duplicate' });
  const user = await newGroup();
  await alice.call('AuthorizeSecurityGroupIngress', {
    GroupId: user,
    IpPermissions: [{ IpProtocol: '-1', UserIdGroupPairs: [{ GroupId: groupId }] }],
  });
  await assert.rejects(alice.call('DeleteSecurityGroup', { GroupId: groupId }), {
    code: 'DependencyViolation',
  });
  await alice.call('DeleteSecurityGroup', { GroupId: user });
  await alice.call('DeleteSecurityGroup', { GroupId: groupId });
});

test('a range with host bits is that of its network, whoever names it', async () => {
  const groupId = await newGroup();
  const of = (CidrIp: string, CidrIpv6: string): Permission => ({
    ...ssh,
    IpRanges: [{ CidrIp }],
    Ipv6Ranges: [{ CidrIpv6 }],
  });
  const input = (one: Permission) => ({ GroupId: groupId, IpPermissions: [one] });
  await alice.call('AuthorizeSecurityGroupIngress', input(of('10.1.2.3/8', '2001:DB8:0:0::7/32')));
  const { SecurityGroups: [group] = [] } = await alice.call('DescribeSecurityGroups', {
    GroupIds: [groupId],
  });
  assert.deepEqual(group?.IpPermissions?.[0]?.IpRanges, [{ CidrIp: '10.0.0.0/8' }]);
  assert.deepEqual(group?.IpPermissions?.[0]?.Ipv6Ranges, [{ CidrIpv6: '2001:db8::/32' }]);
  for (const again of [of('10.255.0.0/8', 'fd00::/8'), of('192.0.2.1/32', '2001:db8:ffff::/32')])
    await assert.rejects(alice.call('AuthorizeSecurityGroupIngress', input(again)), {
      code: 'InvalidPermission.Duplicate',
    });
  await alice.call('RevokeSecurityGroupIngress', input(of('10.9.9.9/8', '2001:db8:1::/32')));
});

test('among several permissions one without a source refuses them all', async () => {
  const groupId = await newGroup();
  const IpPermissions = [ssh, { IpProtocol: 'tcp', FromPort: 1, ToPort: 1 }];
  for (const action of ['AuthorizeSecurityGroupIngress', 'RevokeSecurityGroupIngress'] as const)
    await assert.rejects(alice.call(action, { GroupId: groupId, IpPermissions }), {
      code: 'MissingParameter',
    });
  const { SecurityGroups: [group] = [] } = await alice.call('DescribeSecurityGroups', {
    GroupIds: [groupId],
  });
  assert.deepEqual(group?.IpPermissions, []);
});

test('IPv6 ranges and prefix lists are kept, shown and revoked; devices are told of the rest alone', async () => {
  const groupId = await newGroup();
  const everywhere: Permission = {
    ...ssh,
    Ipv6Ranges: [{ CidrIpv6: '::/0', Description: 'ssh6' }],
    PrefixListIds: [{ PrefixListId: 'pl-12345678', Description: 'list' }],
  };
  const ping: Permission = {
    IpProtocol: 'icmpv6',
    FromPort: -1,
    ToPort: -1,
    Ipv6Ranges: [{ CidrIpv6: '::/0' }],
    UserIdGroupPairs: [{ GroupId: groupId }],
  };
  const added = await alice.call('AuthorizeSecurityGroupIngress', {
    GroupId: groupId,
    IpPermissions: [everywhere, ping],
    TagSpecifications: [{ ResourceType: 'security-group-rule', Tags: [{ Key: 'v', Value: '6' }] }],
  });
  assert.equal(added.SecurityGroupRules?.length, 5);
  const state = await toldOf(groupId);
  assert.deepEqual(state?.ingress, [{ protocol: '6', fromPort: 22, toPort: 22, cidr: '0.0.0.0/0' }]);
  const { SecurityGroups: [group] = [] } = await alice.call('DescribeSecurityGroups', {
    Filters: [
      { Name: 'group-id', Values: [groupId] },
      { Name: 'ip-permission.ipv6-cidr', Values: ['::/0'] },
      { Name: 'ip-permission.prefix-list-id', Values: ['pl-12345678'] },
    ],
  });
  const shown = group?.IpPermissions?.find((one) => one.IpProtocol === 'tcp');
  assert.deepEqual(shown?.Ipv6Ranges, everywhere.Ipv6Ranges);
  assert.deepEqual(shown?.PrefixListIds, everywhere.PrefixListIds);
  const { SecurityGroupRules: rules = [] } = await alice.call('DescribeSecurityGroupRules', {
    Filters: [
      { Name: 'group-id', Values: [groupId] },
      { Name: 'tag:v', Values: ['6'] },
    ],
  });
  assert.equal(rules.length, 5);
  const list = rules.find((rule) => rule.PrefixListId !== undefined);
  await alice.call('RevokeSecurityGroupIngress', {
    GroupId: groupId,
    SecurityGroupRuleIds: [list?.SecurityGroupRuleId ?? ''],
  });
  // What was described is understood when it comes back.
  const { SecurityGroups: [now] = [] } = await alice.call('DescribeSecurityGroups', { GroupIds: [groupId] });
  await alice.call('RevokeSecurityGroupIngress', { GroupId: groupId, IpPermissions: now?.IpPermissions });
  const left = await alice.call('DescribeSecurityGroups', { GroupIds: [groupId] });
  assert.deepEqual(left.SecurityGroups?.[0]?.IpPermissions, []);
  await alice.call('DeleteSecurityGroup', { GroupId: groupId });
});

test('property: grants and revokes behave as a set', async () => {
  const rule = fc.record({
    IpProtocol: fc.constantFrom('tcp', 'udp', 'icmp', '-1', '47'),
    port: fc.constantFrom(22, 80),
    CidrIp: fc.constantFrom('0.0.0.0/0', '10.0.0.0/8'),
  });
  const command = fc.record({ grant: fc.boolean(), rule });
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 12 }), async (commands) => {
      const groupId = await newGroup();
      const model = new Set<string>();
      for (const { grant, rule: one } of commands) {
        const ported = one.IpProtocol === 'tcp' || one.IpProtocol === 'udp' || one.IpProtocol === 'icmp';
        const key = `${one.IpProtocol} ${ported ? one.port : ''} ${one.CidrIp}`;
        const permission = {
          IpProtocol: one.IpProtocol,
          FromPort: one.port,
          ToPort: one.port,
          IpRanges: [{ CidrIp: one.CidrIp }],
        };
        const input = { GroupId: groupId, IpPermissions: [permission] };
        const call = grant
          ? alice.call('AuthorizeSecurityGroupIngress', input)
          : alice.call('RevokeSecurityGroupIngress', input);
        if (grant === model.has(key)) {
          await assert.rejects(call, {
            code: grant ? 'InvalidPermission.Duplicate' : 'InvalidPermission.NotFound',
          });
          continue;
        }
        await call;
        if (grant) model.add(key);
        else model.delete(key);
      }
      const state = await toldOf(groupId);
      assert.equal(state?.ingress.length, model.size);
      await alice.call('DeleteSecurityGroup', { GroupId: groupId });
    }),
    { numRuns: 12 },
  );
});

test('the same grant at once: one wins, the others are duplicates', async () => {
  const groupId = await newGroup();
  const all = await Promise.allSettled(
    Array.from({ length: 6 }, () =>
      alice.call('AuthorizeSecurityGroupIngress', { GroupId: groupId, IpPermissions: [ssh] }),
    ),
  );
  assert.equal(all.filter((one) => one.status === 'fulfilled').length, 1);
  for (const one of all)
    if (one.status === 'rejected') assert.equal(one.reason.code, 'InvalidPermission.Duplicate');
});
