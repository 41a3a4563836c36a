/**
 * What `restore` does with each kind of change that a tenant can make (S8.6), from one table: put back to the very content that devices had,
 * or refused by name with nothing changed. A call that changes a VPC and is not in the table fails here.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { sql } from 'kysely';
import { type ObjectKind, objectKinds } from '#contracts/network-objects.ts';
import { placeInterface } from '#region/interfaces.ts';
import { restoreObject, tenantVersions } from '#region/vpc-changes/restore.ts';
import { sweepVpcSettings } from '#region/vpc-changes/settings.ts';
import { type Client, startTestRegion, type TestRegion } from '../test-region.ts';
import { Card } from './support.ts';

interface Made {
  readonly vpcId: string;
  readonly subnetId: string;
  readonly otherSubnetId: string;
  readonly groupId: string;
  readonly eniId: string;
  readonly mainTableId: string;
  readonly tableId: string;
  readonly gatewayId: string;
  readonly dhcpOptionsId: string;
}

let setup: TestRegion;
let alice: Client;
let made: Made;
const card = new Card();

const anyone = (port: number) => ({
  IpPermissions: [{ IpProtocol: 'tcp', FromPort: port, ToPort: port, IpRanges: [{ CidrIp: '0.0.0.0/0' }] }],
});
const everywhere = { DestinationCidrBlock: '0.0.0.0/0' };

before(async () => {
  setup = await startTestRegion();
  alice = await setup.account();
  const vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
  const subnet = async (CidrBlock: string) =>
    (await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock })).Subnet?.SubnetId ?? '';
  const [subnetId, otherSubnetId] = [await subnet('10.0.0.0/24'), await subnet('10.0.1.0/24')];
  const group = { VpcId: vpcId, GroupName: 'web', Description: 'd' };
  const groupId = (await alice.call('CreateSecurityGroup', group)).GroupId ?? '';
  const { eniId } = await alice.launch({ subnetId, groupIds: [groupId] });
  setup.region.pusher.add(card);
  await placeInterface(setup.region, { eniId, vtep: '198.18.1.11', epoch: 1 });
  const gatewayId = (await alice.call('CreateInternetGateway', {})).InternetGateway?.InternetGatewayId ?? '';
  await alice.call('AttachInternetGateway', { VpcId: vpcId, InternetGatewayId: gatewayId });
  const main = await alice.call('DescribeRouteTables', { Filters: [{ Name: 'vpc-id', Values: [vpcId] }] });
  const tableId = (await alice.call('CreateRouteTable', { VpcId: vpcId })).RouteTable?.RouteTableId ?? '';
  await alice.call('CreateRoute', { RouteTableId: tableId, ...everywhere, GatewayId: gatewayId });
  const options = await alice.call('CreateDhcpOptions', {
    DhcpConfigurations: [{ Key: 'domain-name', Values: ['alice.test'] }],
  });
  made = {
    ...{ vpcId, subnetId, otherSubnetId, groupId, eniId, tableId, gatewayId },
    mainTableId: main.RouteTables?.[0]?.RouteTableId ?? '',
    dhcpOptionsId: options.DhcpOptions?.DhcpOptionsId ?? '',
  };
});
after(() => setup.stop());

const associationOf = async (subnetId: string): Promise<string> => {
  const { RouteTables = [] } = await alice.call('DescribeRouteTables', {
    Filters: [{ Name: 'association.subnet-id', Values: [subnetId] }],
  });
  const all = RouteTables.flatMap(({ Associations = [] }) => Associations);
  return all.find(({ SubnetId }) => SubnetId === subnetId)?.RouteTableAssociationId ?? '';
};
const addedRange = async (): Promise<string> => {
  const { Vpcs } = await alice.call('DescribeVpcs', { VpcIds: [made.vpcId] });
  return Vpcs?.[0]?.CidrBlockAssociationSet?.at(-1)?.AssociationId ?? '';
};
const addRange = (CidrBlock: string) => alice.call('AssociateVpcCidrBlock', { VpcId: made.vpcId, CidrBlock });
const dropRange = async () => alice.call('DisassociateVpcCidrBlock', { AssociationId: await addedRange() });
const attribute = (input: object) => alice.call('ModifyVpcAttribute', { VpcId: made.vpcId, ...input });

interface Case {
  /** The call of the tenant's whose change is put back. */
  readonly action: string;
  readonly kind: ObjectKind;
  readonly id: () => string;
  /** What is there before; its version is what is put back. */
  readonly begin?: () => Promise<unknown>;
  readonly change: () => Promise<unknown>;
  /** What would go and come, without what is behind the second word. */
  readonly lines: readonly string[];
  readonly end?: () => Promise<unknown>;
}

const group = { kind: 'security-group', id: () => made.groupId } as const;
const subnet = { kind: 'subnet', id: () => made.subnetId } as const;
const vpc = { kind: 'vpc', id: () => made.vpcId } as const;
const ingress = (action: 'Authorize' | 'Revoke', port: number) =>
  alice.call(`${action}SecurityGroupIngress`, { GroupId: made.groupId, ...anyone(port) });
const egress = (action: 'Authorize' | 'Revoke', port: number) =>
  alice.call(`${action}SecurityGroupEgress`, { GroupId: made.groupId, ...anyone(port) });
/** Ids of rules are drawn at random: with so many beside it, one that came back stands where it stood by its content alone. */
const neighbours = async () => {
  for (const port of [41, 42, 43, 44, 45]) {
    await ingress('Authorize', port);
    await egress('Authorize', port);
  }
};
const route = (target: object) =>
  alice.call('CreateRoute', { RouteTableId: made.mainTableId, ...everywhere, ...target });
const dropRoute = () => alice.call('DeleteRoute', { RouteTableId: made.mainTableId, ...everywhere });
const associate = () =>
  alice.call('AssociateRouteTable', { SubnetId: made.subnetId, RouteTableId: made.tableId });
const disassociate = async () =>
  alice.call('DisassociateRouteTable', { AssociationId: await associationOf(made.subnetId) });
const options = (DhcpOptionsId: string) =>
  alice.call('AssociateDhcpOptions', { VpcId: made.vpcId, DhcpOptionsId });

const putBack: readonly Case[] = [
  {
    ...{ action: 'AuthorizeSecurityGroupIngress', ...group },
    begin: async () => {
      await neighbours();
      await ingress('Authorize', 1);
    },
    change: () => ingress('Authorize', 2),
    lines: ['- ingress'],
  },
  {
    ...{ action: 'RevokeSecurityGroupIngress', ...group },
    change: () => ingress('Revoke', 1),
    lines: ['+ ingress'],
  },
  {
    ...{ action: 'AuthorizeSecurityGroupEgress', ...group },
    change: () => egress('Authorize', 3),
    lines: ['- egress'],
  },
  {
    ...{ action: 'RevokeSecurityGroupEgress', ...group },
    begin: () => egress('Authorize', 4),
    change: () => egress('Revoke', 4),
    lines: ['+ egress'],
  },
  {
    ...{ action: 'CreateRoute', ...subnet },
    change: () => route({ NetworkInterfaceId: made.eniId }),
    lines: ['- route', '~ also'],
  },
  {
    ...{ action: 'ReplaceRoute', ...subnet },
    begin: () => route({ NetworkInterfaceId: made.eniId }),
    change: () =>
      alice.call('ReplaceRoute', {
        ...{ RouteTableId: made.mainTableId, ...everywhere, GatewayId: made.gatewayId },
      }),
    lines: ['- route', '+ route', '~ also'],
  },
  {
    ...{ action: 'DeleteRoute', ...subnet },
    change: dropRoute,
    lines: ['+ route', '~ also'],
    end: dropRoute,
  },
  {
    ...{ action: 'AssociateRouteTable', ...subnet },
    change: associate,
    lines: ['- association', '+ association'],
  },
  {
    ...{ action: 'DisassociateRouteTable', ...subnet },
    begin: associate,
    change: disassociate,
    lines: ['- association', '+ association'],
  },
  {
    ...{ action: 'ReplaceRouteTableAssociation', ...subnet },
    change: async () =>
      alice.call('ReplaceRouteTableAssociation', {
        AssociationId: await associationOf(made.subnetId),
        RouteTableId: made.mainTableId,
      }),
    lines: ['- association', '+ association'],
    end: disassociate,
  },
  {
    ...{ action: 'ModifyVpcAttribute', ...vpc },
    change: () => attribute({ EnableDnsHostnames: { Value: true } }),
    lines: ['- dnsHostnames', '+ dnsHostnames'],
  },
  {
    ...{ action: 'AssociateDhcpOptions', ...vpc },
    change: () => options(made.dhcpOptionsId),
    lines: ['- dhcpOptionsId', '+ dhcpOptionsId'],
  },
  {
    ...{ action: 'AssociateVpcCidrBlock', ...vpc },
    change: () => addRange('10.2.0.0/16'),
    lines: ['- cidr'],
  },
  {
    ...{ action: 'DisassociateVpcCidrBlock', ...vpc },
    begin: () => addRange('10.3.0.0/16'),
    change: dropRange,
    lines: ['+ cidr'],
    end: dropRange,
  },
];

/** Calls that change what devices are told, and are taken back by their opposite: nothing of them has versions. */
const opposite: Readonly<Record<string, string>> = {
  AttachInternetGateway: 'DetachInternetGateway',
  DetachInternetGateway: 'AttachInternetGateway',
  AssociateAddress: 'DisassociateAddress',
  DisassociateAddress: 'AssociateAddress',
  ModifyNetworkInterfaceAttribute: 'itself: an interface’s groups and its check of sources',
  CreateSubnet: 'DeleteSubnet',
  DeleteSubnet: 'CreateSubnet, as another: nothing was in it',
  CreateSecurityGroup: 'DeleteSecurityGroup',
  DeleteSecurityGroup: 'CreateSecurityGroup, as another: nobody had it',
  CreateRouteTable: 'DeleteRouteTable',
  DeleteRouteTable: 'CreateRouteTable, as another: no subnet went by it',
  ModifySubnetAttribute: 'itself: what new interfaces get; no device is told',
  UpdateSecurityGroupRuleDescriptionsIngress: 'itself: no device is told',
  UpdateSecurityGroupRuleDescriptionsEgress: 'itself: no device is told',
  ReleaseAddress: 'nothing: an address that is nobody’s',
  DeleteVpc: 'nothing: it is empty',
};

const newest = async ({ kind, id }: Pick<Case, 'kind' | 'id'>) => {
  await setup.region.enforced.written();
  const [version] = await tenantVersions(setup.region.db, { kind, id: id() });
  assert.ok(version, `${kind} ${id()} was told to a device`);
  return version;
};
const restore = (of: Pick<Case, 'kind' | 'id'>, version: number | string, dryRun = false) =>
  restoreObject(setup.region, {
    ...{ kind: of.kind, id: of.id(), version, dryRun },
    ...{ who: 'operator/bob', requestId: 'r' },
  });
const words = (lines: readonly string[]) => lines.map((line) => line.split(' ').slice(0, 2).join(' '));

describe('put back, to the very content that devices had', () => {
  for (const each of putBack)
    test(`${each.kind}: ${each.action}`, async () => {
      await each.begin?.();
      const former = await newest(each);
      await each.change();
      const changed = await newest(each);
      assert.notEqual(changed.digest, former.digest, 'devices are told another content');
      assert.deepEqual(words((await restore(each, former.version, true)).lines), each.lines);
      assert.equal((await newest(each)).digest, changed.digest, 'a dry run changes nothing');
      assert.deepEqual(words((await restore(each, former.version)).lines), each.lines);
      const now = await newest(each);
      assert.equal(now.digest, former.digest);
      assert.equal(card.has?.version, now.version, 'the device has it');
      await assert.rejects(restore(each, former.version), /is so now/);
      await each.end?.();
    });
});

test('every call that changes a VPC is in the table; kinds that nothing puts back say what does', async () => {
  const { readdir, readFile } = await import('node:fs/promises');
  const dir = new URL('../../../src/region/resources/', import.meta.url);
  const names = new Set<string>();
  for (const file of await readdir(dir)) {
    const parts = (await readFile(new URL(file, dir), 'utf8')).split(/^ {2}(?=async [A-Z])/m);
    for (const part of parts) {
      const name = /^async ([A-Z]\w+)/.exec(part)?.[1];
      if (name !== undefined && /\bchangeVpcs?\(/.test(part)) names.add(name);
    }
  }
  const known = new Set([...putBack.map(({ action }) => action), ...Object.keys(opposite)]);
  assert.deepEqual(
    [...names].filter((name) => !known.has(name)),
    [],
  );
  assert.ok(names.size >= 10, 'calls were found');
  for (const kind of objectKinds)
    if (!putBack.some((each) => each.kind === kind))
      await assert.rejects(restore({ kind, id: () => 'x' }, 1), { code: 'UnsupportedOperation' });
});

describe('refused by name, and nothing is changed', () => {
  const unchanged = async (
    of: Pick<Case, 'kind' | 'id'>,
    version: number,
    expected: { code: string; message: RegExp },
  ) => {
    const { digest } = await newest(of);
    const has = card.has?.version;
    await assert.rejects(restore(of, version), expected);
    assert.equal((await newest(of)).digest, digest);
    assert.equal(card.has?.version, has);
  };

  test('a range that a subnet lies in', async () => {
    const former = await newest(vpc);
    await addRange('10.4.0.0/16');
    await attribute({ EnableDnsHostnames: { Value: true } });
    const { Subnet } = await alice.call('CreateSubnet', { VpcId: made.vpcId, CidrBlock: '10.4.0.0/24' });
    await unchanged(vpc, former.version, { code: 'InvalidCidrBlock.InUse', message: /10\.4\.0\.0\/16/ });
    await alice.call('DeleteSubnet', { SubnetId: Subnet?.SubnetId ?? '' });
    const { lines } = await restore(vpc, former.version);
    assert.deepEqual(words(lines), ['- cidr', '- dnsHostnames', '+ dnsHostnames'], 'then it is put back');
  });

  test('a range in which a route leads elsewhere now', async () => {
    await addRange('10.5.0.0/16');
    const former = await newest(vpc);
    await dropRange();
    const inside = { RouteTableId: made.mainTableId, DestinationCidrBlock: '10.5.1.0/24' };
    await alice.call('CreateRoute', { ...inside, NetworkInterfaceId: made.eniId });
    await unchanged(vpc, former.version, { code: 'InvalidVpc.Range', message: /10\.5\.1\.0\/24/ });
    await alice.call('DeleteRoute', inside);
  });

  test('a set of DHCP options that is gone; another that says the same takes its place', async () => {
    const configuration = { DhcpConfigurations: [{ Key: 'ntp-servers', Values: ['10.0.0.9'] }] };
    const create = async () =>
      (await alice.call('CreateDhcpOptions', configuration)).DhcpOptions?.DhcpOptionsId ?? '';
    const id = await create();
    await options(id);
    const former = await newest(vpc);
    await options('default');
    await alice.call('DeleteDhcpOptions', { DhcpOptionsId: id });
    await unchanged(vpc, former.version, { code: 'IncorrectState', message: new RegExp(id) });
    const again = await create();
    const { lines } = await restore(vpc, former.version);
    assert.deepEqual(lines, ['- dhcpOptionsId default', `+ dhcpOptionsId ${again}`]);
    assert.equal((await newest(vpc)).digest, former.digest);
  });

  test('a route table that is gone, and a main table that is another', async () => {
    const { RouteTable } = await alice.call('CreateRouteTable', { VpcId: made.vpcId });
    const RouteTableId = RouteTable?.RouteTableId ?? '';
    await alice.call('CreateRoute', { RouteTableId, ...everywhere, GatewayId: made.gatewayId });
    const plain = await newest(subnet);
    await alice.call('AssociateRouteTable', { SubnetId: made.subnetId, RouteTableId });
    const former = await newest(subnet);
    await disassociate();
    await alice.call('DeleteRouteTable', { RouteTableId });
    await unchanged(subnet, former.version, { code: 'IncorrectState', message: new RegExp(RouteTableId) });
    const { RouteTables = [] } = await alice.call('DescribeRouteTables', {
      RouteTableIds: [made.mainTableId],
    });
    const AssociationId =
      RouteTables[0]?.Associations?.find(({ Main }) => Main)?.RouteTableAssociationId ?? '';
    await alice.call('ReplaceRouteTableAssociation', { AssociationId, RouteTableId: made.tableId });
    await unchanged(subnet, plain.version, { code: 'IncorrectState', message: new RegExp(made.tableId) });
  });

  test('what led to a gateway that is detached', async () => {
    const former = await newest(subnet);
    await alice.call('DeleteRoute', { RouteTableId: made.tableId, ...everywhere });
    await alice.call('DetachInternetGateway', { VpcId: made.vpcId, InternetGatewayId: made.gatewayId });
    await unchanged(subnet, former.version, { code: 'IncorrectState', message: new RegExp(made.gatewayId) });
  });
});

test('settings from before they were written down: what devices were told tells them', async () => {
  const former = await newest(vpc);
  await attribute({ EnableDnsHostnames: { Value: true } });
  await options('default');
  await sql`delete from vpc_setting`.execute(setup.region.db);
  await restore(vpc, former.version);
  assert.equal((await newest(vpc)).digest, former.digest);
});

test('what is noted goes when no version that is kept had it', async () => {
  const { db } = setup.region;
  const left = async () =>
    (await sql`select 1 from vpc_setting where subject = 'vpc'`.execute(db)).rows.length;
  await attribute({ EnableDnsHostnames: { Value: true } });
  await attribute({ EnableDnsHostnames: { Value: false } });
  const before = await left();
  assert.ok(before > 1);
  await sweepVpcSettings(db, 90);
  assert.equal(await left(), before);
  await sql`update vpc_setting set made_at = now() - interval '91 days'`.execute(db);
  await sweepVpcSettings(db, 90);
  assert.equal(await left(), 1, 'as it is now');
});
