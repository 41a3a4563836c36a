/** What is written down of network objects: who is to have what, by the tables, whoever writes. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { pino } from 'pino';
import { groupsByCard, objectsFor } from '#base/network/needs.ts';
import { keyOf } from '#base/network/objects.ts';
import { digestOf } from '#contracts/network-digest.ts';
import { placeInterface, releaseInterface, vpcStateOf } from '#region/interfaces.ts';
import { ObjectRecorder, versionsKeptMax } from '#region/object-recorder.ts';
import { VpcPartsCache } from '#region/vpc-parts.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

let setup: TestRegion;
let alice: Client;
let vpcId: string;
let subnetId: string;
const groupIds: string[] = [];

const cards = ['198.18.1.11', '198.18.1.12'] as const;

before(async () => {
  setup = await startTestRegion();
  alice = await setup.account();
  vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
  subnetId =
    (await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.0.0.0/20' })).Subnet?.SubnetId ?? '';
  for (const name of ['web', 'db']) {
    const made = await alice.call('CreateSecurityGroup', { VpcId: vpcId, GroupName: name, Description: 'd' });
    groupIds.push(made.GroupId ?? '');
  }
});
after(() => setup.stop());

const launchOn = async (vtep: string, groups: string[]) => {
  const made = await alice.launch({ subnetId, groupIds: groups });
  await placeInterface(setup.region, { eniId: made.eniId, vtep, epoch: 1 });
  return made;
};

const allow = (groupId: string, port: number) =>
  alice.call('AuthorizeSecurityGroupIngress', {
    GroupId: groupId,
    IpPermissions: [{ IpProtocol: 'tcp', FromPort: port, ToPort: port, IpRanges: [{ CidrIp: '0.0.0.0/0' }] }],
  });

const rowsOf = async (device: string) => {
  const rows = await setup.region.db
    .selectFrom('device_object')
    .selectAll()
    .where('device', '=', device)
    .orderBy('kind')
    .orderBy('id')
    .execute();
  return new Map(rows.map((row) => [`${row.kind}/${row.id}`, row]));
};
const versionsOf = (id: string) =>
  setup.region.db.selectFrom('network_object').selectAll().where('id', '=', id).orderBy('version').execute();

/** By what is compiled of the tables now. */
const wanted = async (): Promise<Map<string, Map<string, string>>> => {
  const parts = new VpcPartsCache().of(await vpcStateOf(setup.region, vpcId));
  return new Map(
    [...groupsByCard(parts)].map(([vtep, groups]) => [
      `card/${vtep}`,
      new Map(objectsFor(parts, groups).map((object) => [keyOf(object), object.digest])),
    ]),
  );
};

test('each card is to have the settings, the subnets and the groups of its own interfaces; nothing else', async () => {
  const [web = '', db = ''] = groupIds;
  await launchOn(cards[0], [web]);
  const onSecond = await launchOn(cards[1], [db]);
  const first = await rowsOf(`card/${cards[0]}`);
  assert.deepEqual([...first.keys()], [`security-group/${web}`, `subnet/${subnetId}`, `vpc/${vpcId}`]);
  assert.deepEqual(
    [...(await rowsOf(`card/${cards[1]}`)).keys()],
    [`security-group/${db}`, `subnet/${subnetId}`, `vpc/${vpcId}`],
  );
  for (const [, row] of first) {
    const [made] = await versionsOf(row.id);
    assert.ok(made !== undefined);
    assert.equal(made.digest, digestOf(made));
    assert.deepEqual([made.version, made.digest], [row.version, row.digest]);
  }
  await releaseInterface(setup.region, onSecond.instanceId);
  assert.equal((await rowsOf(`card/${cards[1]}`)).size, 0, 'no interface of the VPC: nothing of it');
});

test('a changed rule is a new version for those that carry the group; a changed place writes nothing', async () => {
  const [web = '', db = ''] = groupIds;
  await launchOn(cards[1], [db]);
  const before = await rowsOf(`card/${cards[1]}`);
  await allow(web, 80);
  const after = await rowsOf(`card/${cards[0]}`);
  const versions = await versionsOf(web);
  assert.equal(versions.length, 2, 'the one of before is kept');
  assert.equal(after.get(`security-group/${web}`)?.digest, versions[1]?.digest);
  assert.deepEqual(await rowsOf(`card/${cards[1]}`), before);
  const recorded = () =>
    setup.region.db
      .selectFrom('recorded_vpc')
      .select('version')
      .where('vpc_id', '=', vpcId)
      .executeTakeFirst();
  const written = await recorded();
  await launchOn(cards[1], [db]);
  assert.deepEqual(await recorded(), written);
});

/** A state, and what the tables took into account when it was read. */
const compiled = async () => {
  const row = await setup.region.db
    .selectFrom('recorded_vpc')
    .select('version')
    .where('vpc_id', '=', vpcId)
    .executeTakeFirst();
  return { state: await vpcStateOf(setup.region, vpcId), written: row?.version ?? 0 };
};

test('whoever writes, and in whatever order, the tables say what the newest state needs', async () => {
  const [web = '', db = ''] = groupIds;
  const log = pino({ level: 'silent' });
  const replicas = [1, 2, 3].map(() => ({
    recorder: new ObjectRecorder(setup.region.db, log),
    cache: new VpcPartsCache(),
  }));
  for (let round = 0; round < 6; round++) {
    const groupId = round % 2 === 0 ? web : db;
    await allow(groupId, 1_000 + round);
    const older = await compiled();
    if (round % 3 === 0) await launchOn(cards[round % 2 === 0 ? 0 : 1], [web, db]);
    const newer = await compiled();
    await Promise.all(
      replicas.map(({ recorder, cache }, at) => {
        const { state, written } = at === round % 3 ? older : newer;
        return recorder.record(cache.of(state), written);
      }),
    );
    const expected = await wanted();
    for (const [device, objects] of expected)
      assert.deepEqual(
        new Map([...(await rowsOf(device))].map(([key, { digest }]) => [key, digest])),
        new Map([...objects].sort(([a], [b]) => a.localeCompare(b))),
      );
  }
});

test(`of an object ${versionsKeptMax} versions are kept, and those that some device is to have`, async () => {
  const [web = ''] = groupIds;
  for (let round = 0; round < versionsKeptMax + 3; round++) await allow(web, 2_000 + round);
  const versions = await versionsOf(web);
  assert.ok(
    versions.length >= versionsKeptMax && versions.length <= versionsKeptMax + 1,
    `${versions.length}`,
  );
  const row = (await rowsOf(`card/${cards[0]}`)).get(`security-group/${web}`);
  assert.equal(row?.version, versions.at(-1)?.version);
});
