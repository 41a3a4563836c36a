/** The record of tenants' changes (S8.6): who, what, from which content to which, when every device had it; and the way back. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sql } from 'kysely';
import type { ObjectKind } from '#contracts/network-objects.ts';
import { vpcChangesContract } from '#contracts/vpc-changes.ts';
import { placeInterface } from '#region/interfaces.ts';
import { listVpcChanges, sweepVpcChanges } from '#region/vpc-changes/list.ts';
import { idsIn } from '#region/vpc-changes/record.ts';
import { restoreObject, tenantVersions } from '#region/vpc-changes/restore.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';
import { Card } from './vpc-changes/support.ts';

let setup: TestRegion;
let alice: Client;
let vpcId: string;
let subnetId: string;
let groupId: string;

const card = new Card();

before(async () => {
  setup = await startTestRegion();
  alice = await setup.account();
  vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
  const made = await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.0.0.0/20' });
  subnetId = made.Subnet?.SubnetId ?? '';
  const group = { VpcId: vpcId, GroupName: 'web', Description: 'd' };
  groupId = (await alice.call('CreateSecurityGroup', group)).GroupId ?? '';
  const { eniId } = await alice.launch({ subnetId, groupIds: [groupId] });
  setup.region.pusher.add(card);
  await placeInterface(setup.region, { eniId, vtep: '198.18.1.11', epoch: 1 });
});
after(() => setup.stop());

const permission = (port: number) => [
  { IpProtocol: 'tcp', FromPort: port, ToPort: port, IpRanges: [{ CidrIp: '0.0.0.0/0' }] },
];
const allow = (port: number) =>
  alice.call('AuthorizeSecurityGroupIngress', { GroupId: groupId, IpPermissions: permission(port) });
const revoke = (port: number) =>
  alice.call('RevokeSecurityGroupIngress', { GroupId: groupId, IpPermissions: permission(port) });

const changes = async (objectId?: string) => {
  await setup.region.enforced.written();
  return asTold(await listVpcChanges(setup.region.db, { vpcId, objectId, limit: 100 })).changes;
};
/** As it travels: what the contract does not know breaks here as it does there. */
const asTold = (page: unknown) => vpcChangesContract['operator.vpcChanges'].result.parse(page);
const versions = () => tenantVersions(setup.region.db, { kind: 'security-group', id: groupId });
const ports = (): (number | undefined)[] =>
  (card.has?.groups.find((group) => group.groupId === groupId)?.ingress ?? [])
    .map(({ fromPort }) => fromPort)
    .sort();
const restore = (version: number | string, dryRun = false, kind: ObjectKind = 'security-group') =>
  restoreObject(setup.region, {
    ...{ kind, id: groupId, version, dryRun },
    ...{ who: 'operator/bob', requestId: 'request-9' },
  });

test('a call is recorded with who made it, what it named, and the content before and after; then when it was enforced', async () => {
  await allow(80);
  const [newest] = await changes();
  assert.equal(newest?.accountId, alice.accountId);
  assert.equal(newest.principal, `arn:aws:iam::${alice.accountId}:root`);
  assert.equal(newest.requestId, 'test');
  assert.deepEqual(newest.named, [groupId]);
  const [object] = newest.objects;
  assert.deepEqual([newest.objects.length, object?.kind, object?.id], [1, 'security-group', groupId]);
  const [now, before] = await versions();
  assert.deepEqual([object?.to, object?.from], [now?.digest, before?.digest]);
  assert.equal(object?.version, newest.version);
  assert.equal(newest.outcome, 'enforced');
  assert.ok(Date.parse(newest.enforcedAt ?? '') >= Date.parse(newest.at));
});

test('a route is recorded with the subnets that it changed; what concerns no device says so', async () => {
  const tables = await alice.call('DescribeRouteTables', { Filters: [{ Name: 'vpc-id', Values: [vpcId] }] });
  const RouteTableId = tables.RouteTables?.[0]?.RouteTableId ?? '';
  const gateway = await alice.call('CreateInternetGateway', {});
  const InternetGatewayId = gateway.InternetGateway?.InternetGatewayId ?? '';
  await alice.call('AttachInternetGateway', { VpcId: vpcId, InternetGatewayId });
  await alice.call('CreateRoute', {
    ...{ RouteTableId, DestinationCidrBlock: '0.0.0.0/0', GatewayId: InternetGatewayId },
  });
  const [route] = await changes();
  assert.deepEqual(
    route?.objects.map(({ kind, id }) => `${kind}/${id}`),
    [`subnet/${subnetId}`],
  );
  assert.deepEqual(new Set(route?.named), new Set([RouteTableId, InternetGatewayId]));
  await alice.call('CreateSecurityGroup', { VpcId: vpcId, GroupName: 'unused', Description: 'd' });
  const [group] = await changes();
  assert.deepEqual([group?.outcome, group?.objects], ['untold', []]);
  assert.ok(
    (await changes(groupId)).every(
      ({ named, objects }) => named.includes(groupId) || objects.some(({ id }) => id === groupId),
    ),
  );
});

test('a refused call and a dry run leave no record', async () => {
  const before = (await changes()).length;
  await assert.rejects(allow(80), { code: 'InvalidPermission.Duplicate' });
  const dry = { GroupId: groupId, IpPermissions: permission(81), DryRun: true };
  await assert.rejects(alice.call('AuthorizeSecurityGroupIngress', dry), { code: 'DryRunOperation' });
  assert.equal((await changes()).length, before);
});

test('a device that is away: pending until it has it, whichever process asks it then', async () => {
  card.away = true;
  await allow(443);
  assert.equal((await changes())[0]?.outcome, 'pending');
  card.away = false;
  await setup.region.pusher.push(vpcId);
  assert.equal((await changes())[0]?.outcome, 'enforced');
  card.away = true;
  await allow(444);
  card.away = false;
  // As a process that knows nothing of it, once the change is old enough to be nobody's present work.
  await sql`alter table vpc_change disable trigger user`.execute(setup.region.db);
  await sql`update vpc_change set made_at = made_at - interval '1 minute'`.execute(setup.region.db);
  await sql`alter table vpc_change enable trigger user`.execute(setup.region.db);
  await setup.region.enforced.look();
  assert.equal((await changes())[0]?.outcome, 'enforced');
});

test('many calls at once: each is recorded, each change of content with the calls that named it', async () => {
  const before = (await changes()).length;
  await Promise.all([1001, 1002, 1003, 1004, 1005].map(allow));
  const made = (await changes()).slice(0, -before || undefined);
  assert.equal(made.length, 5);
  const digests = new Set(made.flatMap(({ objects }) => objects.map(({ to }) => to)));
  const kept = new Set((await versions()).map(({ digest }) => digest));
  assert.ok(digests.size >= 1 && [...digests].every((digest) => kept.has(digest)));
  assert.ok(made.every(({ outcome, objects }) => outcome === 'enforced' && objects.length > 0));
  await Promise.all([1001, 1002, 1003, 1004, 1005].map(revoke));
});

test('a former version is put back: the same rules again, on the devices too, recorded as the operator’s', async () => {
  const former = (await versions())[0];
  const portsBefore = ports();
  await revoke(80);
  await allow(8080);
  assert.notDeepEqual(ports(), portsBefore);
  const would = await restore(former?.version ?? 0, true);
  assert.deepEqual(
    would.lines.map((line) => `${line[0]} ${/"fromPort":(\d+)/.exec(line)?.[1]}`),
    ['- 8080', '+ 80'],
  );
  assert.notDeepEqual(ports(), portsBefore, 'a dry run changes nothing');
  const kept = await alice.call('DescribeSecurityGroupRules', {
    Filters: [{ Name: 'group-id', Values: [groupId] }],
  });
  await restore(former?.digest ?? '');
  assert.deepEqual(ports(), portsBefore);
  const after = await alice.call('DescribeSecurityGroupRules', {
    Filters: [{ Name: 'group-id', Values: [groupId] }],
  });
  const idOf = (rules: typeof kept, port: number) =>
    rules.SecurityGroupRules?.find(({ FromPort }) => FromPort === port)?.SecurityGroupRuleId;
  assert.equal(idOf(after, 443), idOf(kept, 443), 'a rule of both versions is the same one');
  const [newest] = await changes();
  assert.deepEqual(
    [newest?.principal, newest?.action, newest?.requestId, newest?.outcome],
    ['operator/bob', 'operator.restoreObject', 'request-9', 'enforced'],
  );
  assert.equal(newest?.objects[0]?.id, groupId);
});

test('routes of a subnet are put back in its route table; what led elsewhere meanwhile is as it was', async () => {
  const { db } = setup.region;
  const of = { kind: 'subnet', id: subnetId } as const;
  const [former] = await tenantVersions(db, of);
  const routesOf = () => JSON.stringify(card.has?.subnets.find((each) => each.subnetId === subnetId)?.routes);
  const before = routesOf();
  const tables = await alice.call('DescribeRouteTables', { Filters: [{ Name: 'vpc-id', Values: [vpcId] }] });
  const RouteTableId = tables.RouteTables?.[0]?.RouteTableId ?? '';
  await alice.call('DeleteRoute', { RouteTableId, DestinationCidrBlock: '0.0.0.0/0' });
  const target = { NetworkInterfaceId: card.has?.ports[0]?.eniId ?? '' };
  await alice.call('CreateRoute', { RouteTableId, DestinationCidrBlock: '198.51.100.0/24', ...target });
  assert.notEqual(routesOf(), before);
  const request = {
    ...of,
    version: former?.digest ?? '',
    dryRun: false,
    who: 'operator/bob',
    requestId: 'r',
  };
  const { lines } = await restoreObject(setup.region, request);
  assert.deepEqual(
    lines.map((line) => line.split(' ').slice(0, 3).join(' ')),
    ['- route 198.51.100.0/24', '+ route 0.0.0.0/0'],
  );
  assert.equal(routesOf(), before);
  const [now] = await tenantVersions(db, of);
  assert.equal(now?.digest, former?.digest, 'the very same content');
  const [newest] = await changes();
  assert.deepEqual([newest?.principal, newest?.objects.map(({ id }) => id)], ['operator/bob', [subnetId]]);
  await assert.rejects(restoreObject(setup.region, request), /is so now/);
});

test('what cannot be put back is refused by name, and nothing is changed', async () => {
  const before = ports();
  const count = (await changes()).length;
  const [now] = await versions();
  await assert.rejects(restore(now?.version ?? 0), /is so now/);
  await assert.rejects(restore(999_999), /is not kept. There are: \d/);
  const peer = await alice.call('CreateSecurityGroup', { VpcId: vpcId, GroupName: 'peer', Description: 'd' });
  const toPeer = [
    { IpProtocol: 'tcp', FromPort: 9, ToPort: 9, UserIdGroupPairs: [{ GroupId: peer.GroupId }] },
  ];
  await alice.call('AuthorizeSecurityGroupIngress', { GroupId: groupId, IpPermissions: toPeer });
  const [withPeer] = await versions();
  await alice.call('RevokeSecurityGroupIngress', { GroupId: groupId, IpPermissions: toPeer });
  await alice.call('DeleteSecurityGroup', { GroupId: peer.GroupId });
  await assert.rejects(restore(withPeer?.version ?? 0), { code: 'IncorrectState' });
  assert.deepEqual(ports(), before);
  assert.equal((await changes()).length, count + 4, 'what alice did, and nothing of the operator');
});

test('records are not changed; they go when they are old, a day at the earliest', async () => {
  const { db } = setup.region;
  for (const attempt of [
    sql`update vpc_change set principal = 'x'`,
    sql`truncate vpc_change`,
    sql`update object_change set to_digest = 'x'`,
    sql`truncate vpc_change_enforced`,
  ])
    await assert.rejects(attempt.execute(db), /records of changes are not changed/);
  await assert.rejects(sql`delete from vpc_change`.execute(db), /stay for a day at least/);
  const before = (await changes()).length;
  await sweepVpcChanges(db);
  assert.equal((await changes()).length, before);
  await sql`alter table vpc_change disable trigger user`.execute(db);
  await sql`update vpc_change set made_at = now() - interval '91 days' where change_id in
    (select change_id from vpc_change order by change_id limit 3)`.execute(db);
  await sql`alter table vpc_change enable trigger user`.execute(db);
  const all = async () =>
    (await sql<{ n: number }>`select count(*)::int as n from vpc_change`.execute(db)).rows[0]?.n ?? 0;
  const rows = await all();
  await sweepVpcChanges(db);
  assert.equal(await all(), rows - 3);
});

test('pages go to the end, each change once', async () => {
  const all = (await changes()).map(({ changeId }) => changeId);
  const paged: number[] = [];
  for (let after: string | undefined; ; ) {
    const page = asTold(await listVpcChanges(setup.region.db, { vpcId, limit: 4, after }));
    paged.push(...page.changes.map(({ changeId }) => changeId));
    if (page.next === undefined) break;
    after = page.next;
  }
  assert.deepEqual(paged, all);
  await assert.rejects(listVpcChanges(setup.region.db, { vpcId, limit: 4, after: 'x' }), {
    code: 'InvalidPaginationToken',
  });
});

test('ids are found anywhere in a request, a bounded number of them', () => {
  const id = (n: number) => `sg-${String(n).padStart(17, '0')}`;
  assert.deepEqual(
    [...idsIn({ a: [{ b: id(1) }], c: 'sg-none', d: { e: { f: { g: { h: id(2) } } } } })],
    [id(1)],
  );
  assert.equal(idsIn(Array.from({ length: 50 }, (_, n) => id(n))).size, 16);
});
