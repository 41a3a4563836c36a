/** Placement never promises more than there is (I3), whatever races: a property over random sizes, hosts and releases. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { type Kysely, sql } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import { migrate } from '#base/postgres/migrate.ts';
import { place } from '#cell/placement.ts';
import { type Amount, type HostRow, listHosts, releaseCapacity, upsertHost } from '#cell/store/hosts.ts';
import { cellSchema } from '#cell/store/schema.ts';
import { type CellSchema, type Database, databaseOver } from '#cell/store/sql.ts';
import { startTestDatabase, type TestDatabase } from '../base/postgres/test-database.ts';

let database: TestDatabase;
let handle: Kysely<CellSchema>;
let db: Database;

before(async () => {
  database = await startTestDatabase();
  handle = openDatabase<CellSchema>({ url: database.url, poolMax: 12 });
  await migrate(handle, cellSchema);
  db = databaseOver(handle);
});
after(async () => {
  await handle.destroy();
  await database.stop();
});

const zone = 'z-1';
const addHost = (hostId: string, vcpus: number, memoryMib: number): Promise<void> =>
  upsertHost(
    db,
    {
      hostId,
      zone,
      vtep: hostId,
      accelerator: 'sim',
      card: 'ok',
      capacity: { vcpus, memoryMib, diskMib: 10_000 },
    },
    { vcpus: 2, memory: 1 },
  );

const within = (host: HostRow): boolean =>
  host.used_vcpus_milli <= host.limit_vcpus_milli &&
  host.used_memory_mib <= host.limit_memory_mib &&
  host.used_disk_mib <= host.capacity_disk_mib;

const amounts = fc.array(
  fc.record({
    vcpusMilli: fc.integer({ min: 50, max: 3_000 }),
    memoryMib: fc.integer({ min: 64, max: 1_500 }),
    diskMib: fc.integer({ min: 1, max: 4_000 }),
  }),
  { minLength: 1, maxLength: 24 },
);

test('racing placements and releases never exceed any host, and give back what they took', async () => {
  await fc.assert(
    fc.asyncProperty(amounts, fc.integer({ min: 1, max: 4 }), async (wanted, hostCount) => {
      await sql`truncate hosts`.execute(handle);
      for (let at = 0; at < hostCount; at++) await addHost(`h-${at}`, 2 + at, 2_048);
      const one = async (
        amount: Amount,
        at: number,
      ): Promise<{ hostId: string; amount: Amount } | undefined> => {
        const placed = await db.transaction((tx) => place(tx, { amount, zone }));
        if (placed === undefined) return undefined;
        // Every third gives its place back while others are still looking.
        if (at % 3 !== 0) return { hostId: placed.hostId, amount };
        await db.transaction((tx) => releaseCapacity(tx, placed.hostId, amount));
        return undefined;
      };
      const kept = (await Promise.all(wanted.map(one))).filter((each) => each !== undefined);
      for (const host of await listHosts(db)) {
        assert.ok(within(host), `${host.id} is within its limits`);
        const own = kept.filter((each) => each.hostId === host.id);
        assert.equal(
          host.used_memory_mib,
          own.reduce((sum, each) => sum + each.amount.memoryMib, 0),
        );
        assert.equal(
          host.used_vcpus_milli,
          own.reduce((sum, each) => sum + each.amount.vcpusMilli, 0),
        );
      }
    }),
    { numRuns: 25 },
  );
});

test('two racing placements of the last slot: exactly one wins', async () => {
  for (let round = 0; round < 20; round++) {
    await sql`truncate hosts`.execute(handle);
    await addHost('h-only', 1, 256);
    const amount = { vcpusMilli: 500, memoryMib: 200, diskMib: 10 };
    const both = await Promise.all([1, 2].map(() => db.transaction((tx) => place(tx, { amount, zone }))));
    assert.equal(both.filter((each) => each !== undefined).length, 1);
  }
});

test('a host that is silent, draining or of another zone gets nothing', async () => {
  await sql`truncate hosts`.execute(handle);
  const amount = { vcpusMilli: 100, memoryMib: 64, diskMib: 10 };
  await addHost('h-1', 4, 1_024);
  const attempt = (where = zone) => db.transaction((tx) => place(tx, { amount, zone: where }));
  assert.equal((await attempt())?.hostId, 'h-1');
  assert.equal(await attempt('z-2'), undefined);
  await sql`update hosts set heard_at = now() - interval '1 minute'`.execute(handle);
  // Nobody was at the store to write whom it heard: that is no want of room.
  await assert.rejects(attempt(), { code: 'Unavailable' });
  await sql`insert into processors (owner, processor_id, lease_until, steady_since)
    values ('p/1', 'p', now() + interval '1 minute', now() - interval '1 minute')`.execute(handle);
  assert.equal(await attempt(), undefined);
  await sql`update hosts set heard_at = now(), state = 'draining'`.execute(handle);
  assert.equal(await attempt(), undefined);
});
