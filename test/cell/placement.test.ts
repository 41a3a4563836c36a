/** Placement never promises more than there is (I3), whatever races: a property over random sizes, hosts and releases. */
import assert from 'node:assert/strict';
import { AsyncResource } from 'node:async_hooks';
import { after, before, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { type Kysely, sql } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import { migrate } from '#base/postgres/migrate.ts';
import { Capacity } from '#cell/capacity/capacity.ts';
import type { Placed } from '#cell/capacity/placing.ts';
import { systemClock } from '#cell/clock.ts';
import { HostSessions } from '#cell/hosts/sessions.ts';
import { claimIdOf, releaseClaim } from '#cell/store/claims.ts';
import { driftsOf } from '#cell/store/claims-check.ts';
import { ailingHosts } from '#cell/store/health.ts';
import { type HostRow, listHeardHosts, listHosts, upsertHost } from '#cell/store/hosts.ts';
import { cellSchema } from '#cell/store/schema.ts';
import { type CellSchema, type Database, databaseOver } from '#cell/store/sql.ts';
import type { Amount } from '#slots/amount.ts';
import { startTestDatabase, type TestDatabase } from '../base/postgres/test-database.ts';

let database: TestDatabase;
let handle: Kysely<CellSchema>;
let db: Database;
/** Two processors of one cell: each has a view of its own. */
let views: readonly [Capacity, Capacity];

const newView = (): Capacity => new Capacity({ db, hosts: new HostSessions(), clock: systemClock });

before(async () => {
  database = await startTestDatabase();
  handle = openDatabase<CellSchema>({ url: database.url, poolMax: 12 });
  await migrate(handle, cellSchema);
  db = databaseOver(handle);
});
beforeEach(() => {
  views = [newView(), newView()];
});
after(async () => {
  await handle.destroy();
  await database.stop();
});

const zone = 'z-1';
const addHost = (hostId: string, vcpus: number, memoryMib: number): Promise<unknown> =>
  upsertHost(
    db,
    {
      hostId,
      zone,
      vtep: hostId,
      accelerator: 'sim',
      card: 'ok',
      capacity: { vcpus, memoryMib, diskMib: 10_000, networkMbps: 1_000 },
    },
    { vcpus: 2, memory: 1 },
  );

let holders = 0;
const placeOne = (
  view: Capacity,
  amount: Amount,
  where = zone,
): Promise<(Placed & { claimId: string }) | undefined> =>
  view.transaction(async (_tx, placing) => {
    const holder = `x-${holders++}`;
    const claim = { purpose: 'notice', holder, type: 'test', amount } as const;
    const placed = await placing.place({ claim, zone: where });
    return placed === undefined ? undefined : { ...placed, claimId: claimIdOf('notice', holder) };
  });

const release = (claimId: string): Promise<unknown> => db.transaction((tx) => releaseClaim(tx, claimId));

const within = (host: HostRow): boolean =>
  host.used_vcpus_milli <= host.limit_vcpus_milli &&
  host.used_memory_mib <= host.limit_memory_mib &&
  host.used_disk_mib <= host.capacity_disk_mib &&
  host.used_network_mbps <= (host.limit_network_mbps ?? 0);

const amounts = fc.array(
  fc.record({
    vcpusMilli: fc.integer({ min: 50, max: 3_000 }),
    memoryMib: fc.integer({ min: 64, max: 1_500 }),
    diskMib: fc.integer({ min: 1, max: 4_000 }),
    networkMbps: fc.integer({ min: 1, max: 500 }),
  }),
  { minLength: 1, maxLength: 24 },
);

test('racing placements and releases never exceed any host, and give back what they took', async () => {
  await fc.assert(
    fc.asyncProperty(amounts, fc.integer({ min: 1, max: 4 }), async (wanted, hostCount) => {
      await sql`truncate hosts, claims`.execute(handle);
      for (let at = 0; at < hostCount; at++) await addHost(`h-${at}`, 2 + at, 2_048);
      const one = async (
        amount: Amount,
        at: number,
      ): Promise<{ hostId: string; amount: Amount } | undefined> => {
        const placed = await placeOne(views[at % 2 === 0 ? 0 : 1], amount);
        if (placed === undefined) return undefined;
        // Every third gives its place back while others are still looking; twice gives back once.
        if (at % 3 !== 0) return { hostId: placed.hostId, amount };
        await Promise.all([release(placed.claimId), release(placed.claimId)]);
        return undefined;
      };
      const kept = (await Promise.all(wanted.map(one))).filter((each) => each !== undefined);
      for (const host of await listHosts(db)) {
        assert.ok(within(host), `${host.id} is within its limits`);
        const own = kept.filter((each) => each.hostId === host.id);
        for (const [used, part] of [
          [host.used_memory_mib, 'memoryMib'],
          [host.used_vcpus_milli, 'vcpusMilli'],
          [host.used_disk_mib, 'diskMib'],
          [host.used_network_mbps, 'networkMbps'],
        ] as const)
          assert.equal(
            used,
            own.reduce((sum, each) => sum + each.amount[part], 0),
            part,
          );
      }
      assert.deepEqual(await driftsOf(db), [], 'counters are the sums of claims');
    }),
    { numRuns: 25 },
  );
});

const small = { vcpusMilli: 500, memoryMib: 200, diskMib: 10, networkMbps: 10 };

test('two processors that decide alike: exactly one wins the last slot', async () => {
  for (let round = 0; round < 20; round++) {
    await sql`truncate hosts, claims`.execute(handle);
    await addHost('h-only', 1, 256);
    // Both see the same host, with room for one.
    for (const view of views) await view.refresh();
    const both = await Promise.all(views.map((view) => placeOne(view, small)));
    assert.equal(both.filter((each) => each !== undefined).length, 1);
  }
});

test('the one that loses takes its next candidate by the same statement, without reading the hosts again', async () => {
  await sql`truncate hosts, claims`.execute(handle);
  await addHost('h-1', 1, 256);
  await addHost('h-2', 1, 256);
  const [first, second] = views;
  for (const view of views) await view.refresh();
  const one = await placeOne(first, small);
  let reads = 0;
  const { refreshBy } = second;
  second.refreshBy = (by) => {
    reads++;
    return refreshBy.call(second, by);
  };
  // The second still believes that both are empty.
  const two = await placeOne(second, small);
  assert.ok(one !== undefined && two !== undefined);
  assert.notEqual(one.hostId, two.hostId);
  assert.equal(reads, 0);
});

test('a view that is behind refuses nobody: what was given back elsewhere is found', async () => {
  await sql`truncate hosts, claims`.execute(handle);
  await addHost('h-1', 1, 256);
  const [first, second] = views;
  const one = await placeOne(first, small);
  assert.ok(one);
  assert.equal(await placeOne(second, small), undefined);
  await release(one.claimId);
  assert.ok(await placeOne(second, small));
});

test('a store that has lost its last commits is believed, although an epoch comes a second time', async () => {
  const [first, second] = views;
  await sql`truncate hosts, claims`.execute(handle);
  await addHost('h-1', 1, 256);
  assert.ok(await placeOne(first, { ...small, memoryMib: 250 }));
  await sql`truncate hosts, claims`.execute(handle);
  await addHost('h-1', 1, 256);
  assert.ok(await placeOne(second, { ...small, memoryMib: 100 }));
  assert.ok(await placeOne(first, { ...small, memoryMib: 150 }));
});

test('a transaction that fails leaves nothing taken, in the store and in the view', async () => {
  await sql`truncate hosts, claims`.execute(handle);
  await addHost('h-1', 1, 256);
  const [view] = views;
  const failing = view.transaction(async (_tx, placing) => {
    const claim = { purpose: 'notice', holder: 'x', type: 'test', amount: small } as const;
    assert.ok(await placing.place({ claim, zone }));
    assert.equal(view.view.slots.free('h-1')?.memoryMib, 56, 'it counts while it is being made');
    throw new Error('no');
  });
  await assert.rejects(failing, /no/);
  assert.equal(view.view.slots.free('h-1')?.memoryMib, 256);
  assert.ok(await placeOne(view, small));
});

test('what a transaction has given back is its own to place on, though others read the hosts in between', async () => {
  await sql`truncate hosts, claims`.execute(handle);
  await addHost('h-1', 1, 400);
  const [view] = views;
  const parts = [await placeOne(view, small), await placeOne(view, small)];
  assert.equal(await placeOne(view, small), undefined, 'it is full');
  // As the processor reads them now and then: not from within the transaction, whose locks a second connection would wait for.
  const readByOthers = AsyncResource.bind(() => view.refresh());
  const placed = await view.transaction(async (tx, placing) => {
    for (const part of parts) await releaseClaim(tx, part?.claimId ?? '');
    const found: (Placed | undefined)[] = [];
    for (let at = 0; at < parts.length; at++) {
      const claim = { purpose: 'notice', holder: `own-${at}`, type: 'test', amount: small } as const;
      found.push(await placing.place({ claim, zone }));
      // The store as others see it: nothing was given back.
      await readByOthers();
    }
    return found;
  });
  assert.deepEqual(
    placed.map((each) => each?.hostId),
    ['h-1', 'h-1'],
  );
});

test('a host that is silent, draining or of another zone gets nothing', async () => {
  await sql`truncate hosts, claims`.execute(handle);
  const [view] = views;
  await addHost('h-1', 4, 1_024);
  const attempt = (where = zone) => placeOne(view, small, where);
  assert.equal((await attempt())?.hostId, 'h-1');
  assert.equal(await attempt('z-2'), undefined);
  await sql`update hosts set heard_at = now() - interval '1 minute'`.execute(handle);
  // Nobody was at the store to write whom it heard: that is no want of room.
  await assert.rejects(attempt(), { code: 'Unavailable' });
  await sql`insert into processors (owner, processor_id, lease_until, steady_since)
    values ('p/1', 'p', now() + interval '1 minute', now() - interval '1 minute')`.execute(handle);
  assert.equal(await attempt(), undefined);
  // Heard in an hour that is yet to come: before the store's clock was stepped back, and not since.
  await sql`update hosts set heard_at = now() + interval '1 hour'`.execute(handle);
  assert.equal(await attempt(), undefined);
  assert.deepEqual(await listHeardHosts(db, 60_000), []);
  assert.deepEqual(
    [...(await ailingHosts(db, 30_000)).values()].map((host) => host.silent_ms),
    [Infinity],
  );
  await sql`update hosts set heard_at = now(), state = 'draining'`.execute(handle);
  assert.equal(await attempt(), undefined);
});
