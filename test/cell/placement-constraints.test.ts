/** Constraints at the claim: whatever two processors race for, the store lets nothing pass that a group, an account or a host excludes. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { type Kysely, sql } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import { migrate } from '#base/postgres/migrate.ts';
import { Capacity } from '#cell/capacity/capacity.ts';
import type { Placed, PlacementRequest } from '#cell/capacity/placing.ts';
import { systemClock } from '#cell/clock.ts';
import { HostSessions } from '#cell/hosts/sessions.ts';
import { claimIdOf, flipClaims, type NewClaim, releaseClaim } from '#cell/store/claims.ts';
import { driftsOf, recount } from '#cell/store/claims-check.ts';
import { upsertHost } from '#cell/store/hosts.ts';
import { listMembers, type PlacementGroupRow } from '#cell/store/placement-groups.ts';
import { cellSchema } from '#cell/store/schema.ts';
import { type CellSchema, type Database, databaseOver } from '#cell/store/sql.ts';
import { violationsOf } from '#slots/constraints.ts';
import { startTestDatabase, type TestDatabase } from '../base/postgres/test-database.ts';

let database: TestDatabase;
let handle: Kysely<CellSchema>;
let db: Database;
/** Two processors of one cell: each has a view of its own. */
let views: readonly [Capacity, Capacity];

before(async () => {
  database = await startTestDatabase();
  handle = openDatabase<CellSchema>({ url: database.url, poolMax: 12 });
  await migrate(handle, cellSchema);
  db = databaseOver(handle);
});
beforeEach(async () => {
  await sql`truncate hosts, claims, placement_groups`.execute(handle);
  const newView = (): Capacity => new Capacity({ db, hosts: new HostSessions(), clock: systemClock });
  views = [newView(), newView()];
});
after(async () => {
  await handle.destroy();
  await database.stop();
});

const zone = 'z';
const addHosts = async (count: number, more: (n: number) => object = () => ({})): Promise<void> => {
  for (let n = 1; n <= count; n++)
    await upsertHost(
      db,
      {
        ...{ hostId: `h-${n}`, zone, vtep: `h-${n}`, accelerator: 'sim', card: 'ok' },
        capacity: { vcpus: 8, memoryMib: 4_096, diskMib: 10_000, networkMbps: 1_000 },
        ...more(n),
      },
      { vcpus: 1, memory: 1 },
    );
};

const spread: PlacementGroupRow = { group_id: 'pg-s', strategy: 'spread', partition_count: null };
const cluster: PlacementGroupRow = { group_id: 'pg-c', strategy: 'cluster', partition_count: null };
const parts: PlacementGroupRow = { group_id: 'pg-p', strategy: 'partition', partition_count: 3 };
const amount = { vcpusMilli: 500, memoryMib: 256, diskMib: 100, networkMbps: 10 };

let holders = 0;
const claimFor = (more: Partial<NewClaim> = {}): NewClaim & { readonly type: string } => ({
  ...{ purpose: 'instance', holder: `i-${holders++}`, type: 't', amount, accountId: 'a' },
  ...more,
});
const place = (view: Capacity, request: Partial<PlacementRequest>): Promise<Placed | undefined> =>
  view.transaction((_tx, placing) => placing.place({ claim: claimFor(), zone, ...request }));
const placeIn = (view: Capacity, group: PlacementGroupRow, more: Partial<PlacementRequest> = {}) =>
  place(view, { claim: claimFor({ group: { groupId: group.group_id } }), group, ...more });
const nobodyViolates = async (group: PlacementGroupRow): Promise<void> => {
  const members = await listMembers(db, group.group_id);
  assert.deepEqual(violationsOf({ strategy: group.strategy, members }), []);
};

test('spread: of many that race by two processors each has a host of its own, and no more find one than there are', async () => {
  for (let round = 0; round < 10; round++) {
    await sql`truncate hosts, claims, placement_groups`.execute(handle);
    await addHosts(4);
    for (const view of views) await view.refresh();
    const all = await Promise.all(
      Array.from({ length: 7 }, (_, n) => placeIn(views[n % 2 === 0 ? 0 : 1], spread)),
    );
    const hosts = all.flatMap((each) => each?.hostId ?? []);
    assert.equal(hosts.length, 4);
    assert.equal(new Set(hosts).size, 4);
    await nobodyViolates(spread);
  }
});

test('spread: a host is free for the group again once its member has left it, or has moved and is settled', async () => {
  await addHosts(2);
  const claim = claimFor({ group: { groupId: spread.group_id } });
  const first = await place(views[0], { claim, group: spread });
  assert.ok(first);
  const moved = await place(views[1], {
    claim: { ...claim, purpose: 'migration' },
    group: spread,
    accept: (host) => host.hostId !== first.hostId,
  });
  assert.ok(moved);
  assert.equal(await placeIn(views[0], spread), undefined, 'both hosts of a move are taken');
  await db.transaction((tx) => flipClaims(tx, claim.holder, { target: moved.hostId, source: first.hostId }));
  await db.transaction((tx) => releaseClaim(tx, claimIdOf('migration', claim.holder)));
  assert.equal((await placeIn(views[0], spread))?.hostId, first.hostId);
  await db.transaction((tx) => releaseClaim(tx, claimIdOf('instance', claim.holder), { keep: 'disk' }));
  assert.equal(
    await placeIn(views[1], spread),
    undefined,
    'a stopped member comes back to where its disk is',
  );
  await db.transaction((tx) => releaseClaim(tx, claimIdOf('instance', claim.holder)));
  assert.equal((await placeIn(views[1], spread))?.hostId, moved.hostId);
});

test('partition: racing members share hosts with their own partition alone, and partitions fill evenly', async () => {
  await addHosts(3);
  const all = await Promise.all(
    Array.from({ length: 9 }, (_, n) => placeIn(views[n % 2 === 0 ? 0 : 1], parts)),
  );
  const counts = new Map<number, number>();
  for (const placed of all) counts.set(placed?.partition ?? 0, (counts.get(placed?.partition ?? 0) ?? 0) + 1);
  assert.deepEqual([...counts].sort(), [
    [1, 3],
    [2, 3],
    [3, 3],
  ]);
  await nobodyViolates(parts);
  const named = claimFor({ group: { groupId: parts.group_id, partition: 2 } });
  const placed = await place(views[0], { claim: named, group: parts });
  assert.equal(placed?.partition, 2);
  assert.deepEqual(
    new Set(
      (await listMembers(db, parts.group_id))
        .filter(({ hostId }) => hostId === placed?.hostId)
        .map(({ partition }) => partition),
    ),
    new Set([2]),
  );
  await nobodyViolates(parts);
});

test('cluster: two processors that begin a group at once begin it in one rack; no room together is no room', async () => {
  for (let round = 0; round < 10; round++) {
    await sql`truncate hosts, claims, placement_groups`.execute(handle);
    await addHosts(4, (n) => ({ rack: n % 2 === 0 ? 'even' : 'odd' }));
    await Promise.all(Array.from({ length: 6 }, (_, n) => placeIn(views[n % 2 === 0 ? 0 : 1], cluster)));
    const members = await listMembers(db, cluster.group_id);
    assert.equal(members.length, 6);
    assert.equal(new Set(members.map(({ rack }) => rack)).size, 1);
  }
  const big = { ...amount, memoryMib: 4_000 };
  const [here] = await listMembers(db, cluster.group_id);
  const other = await place(views[0], {
    claim: claimFor({ amount: big }),
    accept: ({ rack }) => rack !== here?.rack,
  });
  assert.ok(other, 'the other rack has room for it');
  const claim = claimFor({ amount: big, group: { groupId: cluster.group_id } });
  const results = [
    await place(views[0], { claim, group: cluster }),
    await place(views[1], { claim: { ...claim, holder: 'i-more' }, group: cluster }),
  ];
  for (const result of results) if (result !== undefined) await nobodyViolates(cluster);
  assert.ok(results.includes(undefined), 'and is not taken for it');
});

test('cluster: the next member comes to the hosts that have members, the nearest', async () => {
  await addHosts(4, () => ({ rack: 'one' }));
  const first = await placeIn(views[0], cluster);
  for (let n = 0; n < 5; n++)
    assert.equal((await placeIn(views[n % 2 === 0 ? 0 : 1], cluster))?.hostId, first?.hostId);
});

test('dedicated: whoever races, no host has a dedicated VM and another account’s', async () => {
  for (let round = 0; round < 15; round++) {
    await sql`truncate hosts, claims, placement_groups`.execute(handle);
    await addHosts(2);
    for (const view of views) await view.refresh();
    await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        place(views[n % 2 === 0 ? 0 : 1], {
          claim: claimFor({ accountId: n % 4 < 2 ? 'a' : 'b', dedicated: n % 2 === 0 }),
        }),
      ),
    );
    const mixed = await db.query(
      `select d.host_id from claims d join claims o using (host_id)
       where d.dedicated and o.account_id is distinct from d.account_id`,
    );
    assert.deepEqual(mixed, []);
    assert.deepEqual(await driftsOf(db), []);
  }
});

test('dedicated: the host is everybody’s again with the last dedicated VM’s end, and not before', async () => {
  await addHosts(1);
  const [view] = views;
  const claims = [0, 1].map(() => claimFor({ dedicated: true }));
  for (const claim of claims) assert.ok(await place(view, { claim }));
  assert.ok(await place(view, {}), 'the account’s other VMs may share it');
  const stranger = (): Promise<Placed | undefined> =>
    place(views[1], { claim: claimFor({ accountId: 'b' }) });
  for (const claim of claims) {
    assert.equal(await stranger(), undefined);
    await db.transaction((tx) => releaseClaim(tx, claimIdOf('instance', claim.holder)));
  }
  assert.ok(await stranger());
  assert.equal(
    await place(view, { claim: claimFor({ dedicated: true }) }),
    undefined,
    'a stranger is there now',
  );
  await sql`update hosts set dedicated_claims = 3, dedicated_to = 'x'`.execute(handle);
  assert.ok(await db.transaction((tx) => recount(tx, 'h-1')));
  assert.deepEqual(await driftsOf(db), []);
  assert.ok(await stranger(), 'a drifted counter is put right');
});

test('a group’s members come to the hosts that are dedicated to their own account', async () => {
  await addHosts(1);
  assert.ok(await place(views[0], { claim: claimFor({ dedicated: true }) }));
  assert.ok(await placeIn(views[0], spread));
});

test('capabilities: only hosts that told of them are claimed on, also where a view is behind', async () => {
  await addHosts(2, (n) => (n === 2 ? { capabilities: ['avx2'] } : {}));
  const claim = claimFor({ capabilities: ['avx2'] });
  assert.equal((await place(views[0], { claim }))?.hostId, 'h-2');
  await views[1].refresh();
  await sql`update hosts set capabilities = '{sim}'`.execute(handle);
  assert.equal(await place(views[1], { claim: { ...claim, holder: 'i-late' } }), undefined);
});

test('a group that nobody knows constrains nothing until it is known', async () => {
  await addHosts(1);
  const claim = claimFor({ group: { groupId: 'pg-old' } });
  assert.ok(await place(views[0], { claim }));
  const group = { ...spread, group_id: 'pg-old' };
  assert.equal(await placeIn(views[1], group), undefined, 'its first member counts');
});
