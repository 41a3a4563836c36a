/** A store that has lost its last commits, or was restored from a backup: devices that have later versions get what is now all the same. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import type { ObjectChange, PlacesDelta } from '#contracts/network-objects.ts';
import { joinCell, joinGateway, leave } from '#region/cells.ts';
import type { PushStream } from '#region/devices.ts';
import { placeInterface, releaseInterface } from '#region/interfaces.ts';
import type { Region } from '#region/region.ts';
import { SimCard } from '#simhost/card.ts';
import { until } from '../cell/support/harness.ts';
import { lostCommits } from './lost-commits.ts';
import { type Client, cellNumber, startTestRegion, type TestRegion } from './test-region.ts';

const cell = {
  ...{ cellId: 'c-1', number: cellNumber, zone: 'test-1a', state: 'active' as const },
  processors: ['127.0.0.1:1'],
};

/** A processor of the cell whose only host is `card`; it answers as a real one, of the objects that it was told alone. */
const processorOf = (card: SimCard): PushStream<never> => {
  const call = async (method: string, params: { objects: ObjectChange[]; places: PlacesDelta }) => {
    if (method === 'cell.objects') return card.handle('card.objects', params);
    if (method === 'cell.removeVpc') return card.handle('card.removeVpc', params);
    if (method !== 'cell.applyParts') throw new PandoError('InvalidAction', `no ${method} here`);
    const has = card.transact({ objects: params.objects, places: [params.places] });
    const told = new Set(params.objects.map(({ id }) => id));
    return { has: { ...has, objects: has.objects.filter(({ id }) => told.has(id)) }, unreachable: [] };
  };
  return { closed: false, call } as unknown as PushStream<never>;
};

const rule = (GroupId: string, port: number) => ({
  GroupId,
  IpPermissions: [
    { IpProtocol: 'tcp', FromPort: port, ToPort: port, IpRanges: [{ CidrIp: '192.0.2.0/24' }] },
  ],
});

let setup: TestRegion;
let alice: Client;
let card: SimCard;
let stream: PushStream<never>;
let vpcId: string;
let eniId: string;
let instanceId: string;
let groupId: string;

const versionOf = async (): Promise<number> =>
  (
    await setup.region.db
      .selectFrom('vpc')
      .select('version')
      .where('vpc_id', '=', vpcId)
      .executeTakeFirstOrThrow()
  ).version;

const portsOn = (one: SimCard): number[] =>
  (one.vpcs.get(vpcId)?.groups ?? [])
    .flatMap(({ ingress }) => ingress.flatMap(({ fromPort = 0 }) => (fromPort === 0 ? [] : [fromPort])))
    .sort();

const authorize = (port: number, by: Client = alice) =>
  by.call('AuthorizeSecurityGroupIngress', rule(groupId, port));

/** The version that devices have now, of two changes more than the store that is gone back to. */
const loseTwoChanges = async (by: Client = alice): Promise<void> => {
  const lose = await lostCommits(setup.region.db);
  await authorize(2001, by);
  await authorize(2002, by);
  await lose();
};

/** The store takes no new versions, as one that is read-only. Call the result to have it take them again. */
const refuseVersions = async (): Promise<() => Promise<void>> => {
  const { db } = setup.region;
  await sql`create function refuse_update() returns trigger language plpgsql as
    $$ begin raise exception 'read-only' using errcode = '25006'; end $$`.execute(db);
  await sql`create trigger refused before update of version on vpc
    for each row execute function refuse_update()`.execute(db);
  return async () => {
    await sql`drop trigger refused on vpc`.execute(db);
    await sql`drop function refuse_update`.execute(db);
  };
};

/** Nothing is raised without end. */
const assertQuiet = async (...regions: Region[]): Promise<void> => {
  const version = await versionOf();
  for (let n = 0; n < 5; n++)
    for (const region of regions) {
      region.reconciler.wake();
      await region.pusher.push(vpcId);
    }
  assert.equal(await versionOf(), version);
};

before(async () => {
  setup = await startTestRegion({ pushWaitMsMax: 5_000 });
});
after(() => setup.stop());

beforeEach(async () => {
  alice = await setup.account();
  card = new SimCard('198.51.100.7');
  stream = processorOf(card);
  await joinCell(setup.region, cell, stream);
  ({ vpcId, eniId, instanceId } = await alice.launch());
  await placeInterface(setup.region, { eniId, epoch: 2, vtep: card.vtep });
  groupId = (await alice.call('DescribeSecurityGroups', {})).SecurityGroups?.[0]?.GroupId ?? '';
  await authorize(1000);
});
afterEach(() => leave(setup.region, stream));

test('as long as nothing is lost, each change raises the version by one', async () => {
  const version = await versionOf();
  for (let port = 3001; port <= 3005; port++) await authorize(port);
  await Promise.all([3006, 3007, 3008].map((port) => authorize(port)));
  assert.equal(await versionOf(), version + 8);
  await assertQuiet(setup.region);
});

for (const changes of [1, 2, 3])
  test(`of ${changes} changes after two that were lost each is on the device when its call returns`, async () => {
    await loseTwoChanges();
    for (let n = 1; n <= changes; n++) {
      await authorize(4000 + n);
      const expected = [1000, ...Array.from({ length: n }, (_, at) => 4001 + at)];
      assert.deepEqual(portsOn(card), expected);
    }
    await assertQuiet(setup.region);
  });

test('a rule that is revoked under a version that the device has already is gone', async () => {
  const lose = await lostCommits(setup.region.db);
  await authorize(2001);
  await lose();
  await alice.call('RevokeSecurityGroupIngress', rule(groupId, 1000));
  assert.deepEqual(portsOn(card), []);
});

test('a place, and an interface that goes, under a version that the device has already', async () => {
  const other = await alice.launch();
  await placeInterface(setup.region, { eniId: other.eniId, epoch: 2, vtep: card.vtep });
  const entries = () => card.parts.get(vpcId)?.places.entries;
  const lose = await lostCommits(setup.region.db);
  await authorize(2001);
  await lose();
  await placeInterface(setup.region, { eniId, epoch: 3, vtep: '198.51.100.8' });
  assert.equal(entries()?.get(eniId)?.port.vtep, '198.51.100.8');
  assert.deepEqual(portsOn(card), [1000]);

  const loseAgain = await lostCommits(setup.region.db);
  await authorize(2002);
  await loseAgain();
  await releaseInterface(setup.region, instanceId);
  assert.equal(entries()?.has(eniId), false);
  assert.equal(entries()?.has(other.eniId), true);
});

test('an interface whose removal was lost is there again, and one that was made in what was lost is gone', async () => {
  const entries = () => card.parts.get(vpcId)?.places.entries;
  const stays = await alice.launch();
  await placeInterface(setup.region, { eniId: stays.eniId, epoch: 2, vtep: card.vtep });
  const lose = await lostCommits(setup.region.db);
  await releaseInterface(setup.region, instanceId);
  const made = await alice.launch();
  await placeInterface(setup.region, { eniId: made.eniId, epoch: 2, vtep: card.vtep });
  assert.equal(entries()?.has(eniId), false);
  await lose();
  await setup.region.pusher.push(vpcId);
  assert.deepEqual([...(entries()?.keys() ?? [])].sort(), [eniId, stays.eniId].sort());
});

test('without any change the next look finds that the store has gone back', async () => {
  await loseTwoChanges();
  setup.region.reconciler.wake();
  await until('the card has what is now', () => portsOn(card).join() === '1000');
  await assertQuiet(setup.region);
});

test('a process that has seen nothing of what was lost believes the device that it was, and tells what is now', async () => {
  await loseTwoChanges();
  leave(setup.region, stream);
  const second = await startTestRegion({ pushWaitMsMax: 5_000 }, setup);
  const again = processorOf(card);
  try {
    await joinCell(second.region, cell, again);
    await until('the card has what is now', () => portsOn(card).join() === '1000');
    await assertQuiet(second.region);
    await authorize(4001, second.as(alice));
    assert.deepEqual(portsOn(card), [1000, 4001]);
  } finally {
    leave(second.region, again);
    await second.stop();
  }
});

test('the same where the device has the very version of now, with an interface less', async () => {
  const stays = await alice.launch();
  await placeInterface(setup.region, { eniId: stays.eniId, epoch: 2, vtep: card.vtep });
  const lose = await lostCommits(setup.region.db);
  await releaseInterface(setup.region, instanceId);
  const version = await versionOf();
  await lose();
  leave(setup.region, stream);
  await sql`update vpc set version = ${version} where vpc_id = ${vpcId}`.execute(setup.region.db);
  const second = await startTestRegion({ pushWaitMsMax: 5_000 }, setup);
  const again = processorOf(card);
  try {
    await joinCell(second.region, cell, again);
    await until('it is there', () => card.parts.get(vpcId)?.places.entries.has(eniId) === true);
    await assertQuiet(second.region);
  } finally {
    leave(second.region, again);
    await second.stop();
  }
});

test('of two processes each tells what is now, and they do not chase each other', async () => {
  const second = await startTestRegion({ pushWaitMsMax: 5_000 }, setup);
  const there = second.as(alice);
  try {
    await until('the second process heard of the cell', async () => {
      const { unreachable = ['no state'] } = (await second.region.pusher.push(vpcId)) ?? {};
      return unreachable.length === 0;
    });
    const before = await versionOf();
    for (const [at, by] of [alice, there].entries()) {
      // The one that is not connected to the device has not seen all that was lost.
      await loseTwoChanges(by);
      const other = by === alice ? there : alice;
      await authorize(5001 + at, other);
      assert.deepEqual(portsOn(card), [1000, ...[5001, 5002].slice(0, at + 1)]);
      await assertQuiet(setup.region, second.region);
    }
    assert.ok((await versionOf()) <= before + 12);
  } finally {
    await second.stop();
  }
});

test('a device that claims to be far ahead is not believed, one that does so again and again a few times only', async () => {
  const before = await versionOf();
  const { vpcVersions } = setup.region;
  assert.equal(
    await vpcVersions.isLost(vpcId, before + 5_000_000, 'further'),
    true,
    'it does not have what is now',
  );
  assert.equal(await versionOf(), before);
  for (let n = 0; n < 50; n++) await vpcVersions.isLost(vpcId, (await versionOf()) + 100, 'further');
  assert.ok((await versionOf()) <= before + 10 * 101);
  for (let n = 0; n < 50; n++) await vpcVersions.isLost(vpcId, await versionOf(), 'other');
  assert.ok((await versionOf()) <= before + 10 * 101 + 1);
});

test('a store that takes no writes just now is asked again with the next push', async () => {
  const lose = await lostCommits(setup.region.db);
  await authorize(2001);
  await authorize(2002);
  // Before the loss: the reconciler's next look finds that too, at any time.
  const allow = await refuseVersions();
  await lose();
  const pushed = await setup.region.pusher.push(vpcId);
  assert.deepEqual(pushed?.unreachable, [`cell ${cell.cellId}`], 'what the device has is not what is told');
  await allow();
  assert.deepEqual((await setup.region.pusher.push(vpcId))?.unreachable, []);
  assert.deepEqual(portsOn(card), [1000]);
});

test('the same where the version is one that the device has', async () => {
  const { db } = setup.region;
  const lose = await lostCommits(db);
  await placeInterface(setup.region, { eniId, epoch: 3, vtep: '198.51.100.8' });
  const version = await versionOf();
  const allow = await refuseVersions();
  await lose();
  await db.transaction().execute(async (tx) => {
    // Past the trigger.
    await sql`set local session_replication_role = replica`.execute(tx);
    await sql`update vpc set version = ${version} where vpc_id = ${vpcId}`.execute(tx);
  });
  await setup.region.pusher.push(vpcId);
  await setup.region.pusher.push(vpcId);
  assert.equal(await versionOf(), version);
  await allow();
  await setup.region.pusher.push(vpcId);
  assert.ok((await versionOf()) > version);
});

test('a gateway that takes whole documents alone, and has a later one', async () => {
  const gateway = new SimCard('198.51.100.9');
  const call = async (method: 'card.status' | 'card.applyVpc' | 'card.removeVpc', params: unknown) => {
    if (method.startsWith('card.objects') || method.startsWith('card.transact'))
      throw new PandoError('UnsupportedOperation', `${method} is not served here.`);
    return gateway.handle(method, params);
  };
  const mine = { closed: false, call } as unknown as PushStream<never>;
  await joinGateway(setup.region, { vtep: gateway.vtep, mac: '02:00:00:00:00:02' }, mine);
  await until('the gateway has it', () => gateway.parts.get(vpcId)?.places.entries.has(eniId) === true);
  const lose = await lostCommits(setup.region.db);
  await placeInterface(setup.region, { eniId, epoch: 3, vtep: '198.51.100.8' });
  await authorize(2001);
  const lost = await versionOf();
  await lose();
  setup.region.gateway.leave(mine);
  const second = await startTestRegion({ pushWaitMsMax: 5_000 }, setup);
  try {
    await joinGateway(second.region, { vtep: gateway.vtep, mac: '02:00:00:00:00:02' }, mine);
    // By either process: the first one's reconciler may have seen it meanwhile.
    await until('it is told anew', () => (gateway.parts.get(vpcId)?.places.version ?? 0) > lost);
  } finally {
    second.region.gateway.leave(mine);
    await second.stop();
  }
});

test('a place of a later epoch, which only the devices remember, costs few raises', async () => {
  const lose = await lostCommits(setup.region.db);
  await placeInterface(setup.region, { eniId, epoch: 9, vtep: card.vtep });
  await lose();
  const before = await versionOf();
  for (let n = 0; n < 10; n++) await setup.region.pusher.push(vpcId);
  assert.ok((await versionOf()) <= before + 5);
  await assertQuiet(setup.region);
  await authorize(4001);
  assert.deepEqual(portsOn(card), [1000, 4001]);
});
