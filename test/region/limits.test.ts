/** Limits on what a tenant puts into a VPC's network state, in EC2's words: by quota, and by the size of a message. */
import assert from 'node:assert/strict';
import { after, before, describe, it, mock } from 'node:test';
import fc from 'fast-check';
import { sql } from 'kysely';
import { StoreConnection } from '#base/postgres/connection.ts';
import { frameBytesMax } from '#base/rpc/limits.ts';
import { newId } from '#contracts/ids.ts';
import { portsPerVpcMax, type VpcState, vpcState } from '#contracts/network.ts';
import { quotasOf, setQuota } from '#region/quotas.ts';
import { stateBytes, stateBytesOf, vpcStateBytesMax } from '#region/vpc-budget.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

describe('quotas', () => {
  let region: TestRegion;
  let alice: Client;
  let vpcId: string;
  before(async () => {
    region = await startTestRegion();
    alice = await region.account();
    vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
  });
  after(() => region.stop());

  let groups = 0;
  const newGroup = async (): Promise<string> => {
    groups += 1;
    const made = await alice.call('CreateSecurityGroup', {
      GroupName: `g${groups}`,
      Description: 'd',
      VpcId: vpcId,
    });
    return made.GroupId ?? '';
  };
  const ports = (first: number, count: number) =>
    Array.from({ length: count }, (_, at) => ({
      IpProtocol: 'tcp',
      FromPort: first + at,
      ToPort: first + at,
      IpRanges: [{ CidrIp: '10.0.0.0/8' }],
    }));

  it('allow 60 rules in each direction of a group', async () => {
    const GroupId = await newGroup();
    await alice.call('AuthorizeSecurityGroupIngress', { GroupId, IpPermissions: ports(1, 60) });
    await assert.rejects(
      alice.call('AuthorizeSecurityGroupIngress', { GroupId, IpPermissions: ports(100, 1) }),
      {
        code: 'RulesPerSecurityGroupLimitExceeded',
        message: /maximum number of rules per security group has been reached: 60 inbound/,
      },
    );
    // A new group has one outbound rule already.
    await assert.rejects(
      alice.call('AuthorizeSecurityGroupEgress', { GroupId, IpPermissions: ports(1, 60) }),
      {
        code: 'RulesPerSecurityGroupLimitExceeded',
      },
    );
    await alice.call('AuthorizeSecurityGroupEgress', { GroupId, IpPermissions: ports(1, 59) });
    await alice.call('RevokeSecurityGroupIngress', { GroupId, IpPermissions: ports(1, 1) });
    await alice.call('AuthorizeSecurityGroupIngress', { GroupId, IpPermissions: ports(100, 1) });
  });

  it('allow five groups an interface, 200 routes a table, 500 groups a VPC, and what the operator set', async () => {
    const subnet = await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.0.1.0/24' });
    const SubnetId = subnet.Subnet?.SubnetId ?? '';
    const six = await Promise.all(Array.from({ length: 6 }, newGroup));
    const { eniId } = await alice.launch({ subnetId: SubnetId });
    const carry = (Groups: string[]) =>
      alice.call('ModifyNetworkInterfaceAttribute', { NetworkInterfaceId: eniId, Groups });
    await carry(six.slice(0, 5));
    await assert.rejects(carry(six), { code: 'SecurityGroupsPerInterfaceLimitExceeded' });
    await setQuota(region.region, alice.accountId, 'security-groups-per-interface', 6);
    await carry(six);
    await setQuota(region.region, alice.accountId, 'security-groups-per-interface', 2);
    await assert.rejects(carry(six.slice(0, 3)), { code: 'SecurityGroupsPerInterfaceLimitExceeded' });
    await setQuota(region.region, alice.accountId, 'security-groups-per-interface', undefined);

    const table = await alice.call('CreateRouteTable', { VpcId: vpcId });
    const RouteTableId = table.RouteTable?.RouteTableId ?? '';
    await setQuota(region.region, alice.accountId, 'routes-per-route-table', 2);
    const route = (n: number) =>
      alice.call('CreateRoute', {
        RouteTableId,
        DestinationCidrBlock: `192.168.${n}.0/24`,
        NetworkInterfaceId: eniId,
      });
    await route(1);
    await assert.rejects(route(2), { code: 'RouteLimitExceeded' });

    await setQuota(region.region, alice.accountId, 'security-groups-per-vpc', 3);
    await assert.rejects(newGroup(), { code: 'SecurityGroupLimitExceeded' });
    const shown = await quotasOf(region.region, alice.accountId);
    assert.deepEqual(
      shown.map(({ name, value, default: standard }) => [name, value, standard]),
      [
        ['routes-per-route-table', 2, 200],
        ['rules-per-security-group', 60, 60],
        ['security-groups-per-interface', 5, 5],
        ['security-groups-per-vpc', 3, 500],
      ],
    );
  });

  it('are refused above what EC2 allows, and for an account that is not there', async () => {
    const set = (name: Parameters<typeof setQuota>[2], value: number) =>
      setQuota(region.region, alice.accountId, name, value);
    await assert.rejects(set('security-groups-per-interface', 17), { code: 'InvalidParameterValue' });
    await set('rules-per-security-group', 200);
    await assert.rejects(set('security-groups-per-interface', 6), { message: /1000 at most, not 1200/ });
    await assert.rejects(setQuota(region.region, '999999999999', 'security-groups-per-vpc', 1), {
      code: 'InvalidParameterValue',
    });
  });

  it('tell devices nothing of a group that no interface carries', async () => {
    const versionOf = async (): Promise<number | undefined> => (await region.region.compile(vpcId))?.version;
    await setQuota(region.region, alice.accountId, 'security-groups-per-vpc', undefined);
    const version = await versionOf();
    const GroupId = await newGroup();
    await alice.call('AuthorizeSecurityGroupIngress', { GroupId, IpPermissions: ports(1, 5) });
    assert.equal(await versionOf(), version);
    const before = await region.region.compile(vpcId);
    assert.ok(!before?.groups.some((group) => group.groupId === GroupId));
    const SubnetId = before?.subnets[0]?.subnetId ?? '';
    await alice.launch({ subnetId: SubnetId, groupIds: [GroupId] });
    const carried = await region.region.compile(vpcId);
    assert.equal(carried?.groups.find((group) => group.groupId === GroupId)?.ingress.length, 5);
    await alice.call('RevokeSecurityGroupIngress', { GroupId, IpPermissions: ports(1, 2) });
    const revoked = await region.region.compile(vpcId);
    assert.ok((revoked?.version ?? 0) > (carried?.version ?? 0));
    assert.equal(revoked?.groups.find((group) => group.groupId === GroupId)?.ingress.length, 3);
  });
});

describe('what an account within its quotas has', () => {
  const [groups, rulesEach] = [400, 100];
  let region: TestRegion;
  let alice: Client;
  before(async () => {
    region = await startTestRegion();
    alice = await region.account();
    const { db } = region.region;
    const vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
    await sql`insert into security_group (group_id, account_id, vpc_id, name, description)
      select 'sg-' || lpad(to_hex(n), 17, '0'), ${alice.accountId}, ${vpcId}, 'g-' || n, 'd' from generate_series(1, ${groups}::int) n`.execute(
      db,
    );
    await sql`insert into security_group_rule (rule_id, group_id, egress, protocol, from_port, to_port, cidr, description)
      select 'sgr-' || substr(md5(group_id || n), 1, 17), group_id, false, '6', n, n, '10.0.0.0/8', repeat('x', 255)
      from security_group, generate_series(1, ${rulesEach}::int) n where vpc_id = ${vpcId} and name like 'g-%'`.execute(
      db,
    );
  });
  after(() => region.stop());

  /** Rows of groups, rules and tags that the store answers while `work` runs. */
  const rowsOf = async (work: () => Promise<unknown>): Promise<number> => {
    const spy = mock.method(StoreConnection.prototype, 'query');
    await work();
    const asked = spy.mock.calls.filter(({ arguments: [text] }) => /security_group|"tag"/.test(String(text)));
    const answers: unknown[] = await Promise.all(asked.map(({ result }) => result));
    spy.mock.restore();
    return answers.reduce<number>(
      (sum, answer) => sum + (Reflect.get(Object(answer), 'rows')?.length ?? 0),
      0,
    );
  };

  it('is told in pages that fit a message, all of it, and read as far as it is told', async () => {
    const seen = new Set<string>();
    let pages = 0;
    let NextToken: string | undefined;
    do {
      const page = await alice.call('DescribeSecurityGroups', { NextToken });
      assert.ok(JSON.stringify(page).length < frameBytesMax / 2, 'a page fits a message');
      for (const { GroupId = '', IpPermissions = [] } of page.SecurityGroups ?? []) {
        if (Number.parseInt(GroupId.slice(3), 16) <= groups) assert.equal(IpPermissions.length, rulesEach);
        assert.ok(!seen.has(GroupId));
        seen.add(GroupId);
      }
      NextToken = page.NextToken;
      pages += 1;
    } while (NextToken !== undefined);
    assert.equal(seen.size, groups + 2);
    assert.ok(pages > 2, `${pages} pages`);
  });

  it('is read a part at a time', async () => {
    const one = await rowsOf(() =>
      alice.call('DescribeSecurityGroups', { GroupIds: [`sg-${'1'.padStart(17, '0')}`] }),
    );
    assert.ok(one < groups + 2 * rulesEach, `${one} rows for one group`);
    const few = await rowsOf(() => alice.call('DescribeSecurityGroups', { MaxResults: 5 }));
    assert.ok(few < groups + 51 * rulesEach, `${few} rows for five groups`);
    const rules = await rowsOf(() => alice.call('DescribeSecurityGroupRules', { MaxResults: 5 }));
    assert.ok(rules < 20, `${rules} rows for five rules`);
    const Filters = [{ Name: 'group-id', Values: [`sg-${'2'.padStart(17, '0')}`] }];
    let found: number | undefined;
    const own = await rowsOf(async () => {
      found = (await alice.call('DescribeSecurityGroupRules', { Filters })).SecurityGroupRules?.length;
    });
    assert.equal(found, rulesEach);
    assert.ok(own < 2 * rulesEach, `${own} rows for a group's rules`);
  });

  it('is paged in rules too, each once', async () => {
    const seen: (string | undefined)[] = [];
    let NextToken: string | undefined;
    do {
      const page = await alice.call('DescribeSecurityGroupRules', { MaxResults: 1_000, NextToken });
      seen.push(...(page.SecurityGroupRules ?? []).map(({ SecurityGroupRuleId }) => SecurityGroupRuleId));
      NextToken = page.NextToken;
    } while (NextToken !== undefined);
    assert.equal(new Set(seen).size, seen.length);
    assert.ok(seen.length >= groups * rulesEach);
  });
});

it('no state within the budget is larger than it was counted, and all fit a message', () => {
  const id = (kind: Parameters<typeof newId>[0]) => newId(kind);
  const rule = fc.oneof(
    fc.constant({ protocol: '255', fromPort: 65_535, toPort: 65_535, cidr: '255.255.255.255/32' }),
    fc.constant({ protocol: '17', fromPort: 65_535, toPort: 65_535, groupId: id('securityGroup') }),
  );
  const state = fc.record({
    groups: fc.array(
      fc.record({
        groupId: fc.constant(id('securityGroup')),
        ingress: fc.array(rule),
        egress: fc.array(rule),
      }),
    ),
    routes: fc.nat({ max: 5 }),
    subnets: fc.nat({ max: 5 }),
    ports: fc.nat({ max: 5 }),
    carried: fc.integer({ min: 1, max: 16 }),
  });
  fc.assert(
    fc.property(state, ({ groups, routes, subnets, ports, carried }) => {
      const made: VpcState = {
        ...{
          vpcId: id('vpc'),
          vni: 0xffffff,
          version: Number.MAX_SAFE_INTEGER,
          cidrs: ['255.255.255.255/32'],
        },
        subnets: Array.from({ length: subnets }, () => ({
          ...{ subnetId: id('subnet'), cidr: '255.255.255.255/32', router: '255.255.255.255' },
          routes: Array.from({ length: routes }, () => ({
            destination: '255.255.255.255/32',
            target: { kind: 'internet-gateway' as const, id: id('internetGateway') },
          })),
        })),
        groups,
        ports: Array.from({ length: ports }, () => ({
          ...{ eniId: id('networkInterface'), instanceId: id('instance'), mac: '02:00:00:00:00:00' },
          ...{
            ip: '255.255.255.255',
            subnetId: id('subnet'),
            sourceDestCheck: false,
            vtep: '255.255.255.255',
          },
          groupIds: Array.from({ length: carried }, () => id('securityGroup')),
          ...{ epoch: Number.MAX_SAFE_INTEGER, publicIp: '255.255.255.255' },
        })),
        ...{ dnsServers: ['255.255.255.255'], domainName: 'x'.repeat(200), mtu: 9_001 },
      };
      assert.ok(vpcState.safeParse(made).success);
      const rules = groups.reduce((sum, each) => sum + each.ingress.length + each.egress.length, 0);
      const counts = { rules, groups: groups.length, subnets, routes: routes * subnets };
      const unused = (portsPerVpcMax - ports) * (stateBytes.port + carried * stateBytes.portGroup);
      assert.ok(JSON.stringify(made).length <= stateBytesOf(counts, carried) - unused);
    }),
  );
  assert.ok(vpcStateBytesMax < frameBytesMax);
});

it('a state is refused where a group or rule has not its form', () => {
  const good: VpcState = {
    ...{ vpcId: 'vpc-1', vni: 1, version: 1, cidrs: ['10.0.0.0/16'], subnets: [], ports: [], dnsServers: [] },
    ...{
      domainName: 'x',
      mtu: 1_450,
      groups: [{ groupId: 'sg-1', ingress: [{ protocol: '6' }], egress: [] }],
    },
  };
  assert.ok(vpcState.safeParse(good).success);
  const bad = [
    null,
    {},
    [null],
    [{ groupId: 1, ingress: [], egress: [] }],
    [{ groupId: 'sg-1', ingress: [] }],
    [{ groupId: 'sg-1', ingress: [{ protocol: 'tcp; drop' }], egress: [] }],
    [{ groupId: 'sg-1', ingress: [], egress: [{ protocol: '6', fromPort: 1.5 }] }],
    [{ groupId: 'sg-1', ingress: [], egress: [{ protocol: '6', cidr: 7 }] }],
  ];
  for (const groups of bad)
    assert.ok(!vpcState.safeParse({ ...good, groups }).success, JSON.stringify(groups));
});
