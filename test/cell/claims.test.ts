/** Claims beside a processor of the last release: what it writes becomes claims, what this one writes fills its columns. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { type Kysely, sql } from 'kysely';
import { pino } from 'pino';
import { ensureDatabase } from '#base/postgres/create.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { migrate } from '#base/postgres/migrate.ts';
import { ClaimsUpkeep, checkClaims } from '#cell/capacity/upkeep.ts';
import {
  claimIdOf,
  findClaim,
  flipClaims,
  migrationHostOf,
  releaseClaim,
  reservedOf,
  setClaim,
  setReserve,
} from '#cell/store/claims.ts';
import { driftsOf, misfitsOf } from '#cell/store/claims-check.ts';
import { diskOf, upsertHost } from '#cell/store/hosts.ts';
import { lockInstances } from '#cell/store/instances.ts';
import { cellSchema } from '#cell/store/schema.ts';
import { type CellSchema, type Database, databaseOver, type Sql } from '#cell/store/sql.ts';
import type { Amount } from '#slots/amount.ts';
import { startTestDatabase, type TestDatabase } from '../base/postgres/test-database.ts';

let server: TestDatabase;
let handle: Kysely<CellSchema>;
let db: Database;
let made = 0;
const log = pino({ level: 'silent' });
const vm: Amount = { vcpusMilli: 500, memoryMib: 256, diskMib: 1_000, networkMbps: 64 };
const over = { vcpus: 1, memory: 1 };

before(async () => {
  server = await startTestDatabase();
});
beforeEach(async () => {
  const url = await ensureDatabase(server.url, `claims_${process.pid}_${made++}`);
  handle = openDatabase<CellSchema>({ url, poolMax: 4 });
  db = databaseOver(handle);
});
afterEach(() => handle.destroy());
after(() => server.stop());

const toThis = (): Promise<void> => migrate(handle, cellSchema);
const toLast = (): Promise<void> =>
  migrate(
    handle,
    cellSchema.filter(({ name }) => name < '0010'),
  );

const addHost = (hostId: string): Promise<unknown> =>
  upsertHost(
    db,
    {
      ...{ hostId, zone: 'z', vtep: hostId, accelerator: 'sim', card: 'ok' },
      capacity: { vcpus: 8, memoryMib: 4_096, diskMib: 20_000, networkMbps: 10_000 },
    },
    over,
  );

/** A host's row as the last release writes it. */
const addHostOfLast = (id: string): Promise<unknown> =>
  db.query(
    `insert into hosts (id, zone, vtep, accelerator, card, capacity_vcpus_milli, capacity_memory_mib, capacity_disk_mib,
       limit_vcpus_milli, limit_memory_mib, heard_at) values ($1, 'z', $1, 'sim', 'ok', 8000, 4096, 20000, 8000, 4096, now())`,
    [id],
  );

/** The last release's ways of changing what is reserved: counters, and columns of the instance. */
const last = {
  count: (tx: Sql, hostId: string, sign: 1 | -1, part: 'all' | 'disk' | 'guest'): Promise<unknown> =>
    tx.query(
      `update hosts set used_vcpus_milli = used_vcpus_milli + $2, used_memory_mib = used_memory_mib + $3,
         used_disk_mib = used_disk_mib + $4 where id = $1`,
      [
        hostId,
        part === 'disk' ? 0 : sign * vm.vcpusMilli,
        part === 'disk' ? 0 : sign * vm.memoryMib,
        part === 'guest' ? 0 : sign * vm.diskMib,
      ],
    ),
  change: (tx: Sql, id: string, change: Record<string, unknown>): Promise<unknown> =>
    tx.query(
      `update instances set ${Object.keys(change)
        .map((column, at) => `${column} = $${at + 2}`)
        .join(', ')}, version = version + 1 where id = $1`,
      [id, ...Object.values(change)],
    ),
  launch: (id: string, hostId: string): Promise<void> =>
    db.transaction(async (tx) => {
      await last.count(tx, hostId, 1, 'all');
      await insertRow(tx, id, hostId, { held: 'all', other_host_id: null });
    }),
  stop: (id: string, hostId: string): Promise<void> =>
    db.transaction(async (tx) => {
      await last.count(tx, hostId, -1, 'guest');
      await last.change(tx, id, { held: 'disk', state: 'stopped' });
    }),
  start: (id: string, hostId: string): Promise<void> =>
    db.transaction(async (tx) => {
      await last.count(tx, hostId, 1, 'guest');
      await last.change(tx, id, { held: 'all', state: 'running' });
    }),
  beginMove: (id: string, target: string): Promise<void> =>
    db.transaction(async (tx) => {
      await last.count(tx, target, 1, 'all');
      await last.change(tx, id, { other_host_id: target });
    }),
  flip: (id: string, target: string, source: string): Promise<void> =>
    db.transaction(
      async (tx) => void (await last.change(tx, id, { host_id: target, other_host_id: source })),
    ),
  endMove: (id: string, other: string): Promise<void> =>
    db.transaction(async (tx) => {
      await last.count(tx, other, -1, 'all');
      await last.change(tx, id, { other_host_id: null });
    }),
  leave: (id: string, hostId: string, was: 'all' | 'disk'): Promise<void> =>
    db.transaction(async (tx) => {
      await last.count(tx, hostId, -1, was);
      await last.change(tx, id, { held: 'none' });
      await last.change(tx, id, { host_id: null, state: 'terminated' });
    }),
};

const insertRow = (tx: Sql, id: string, hostId: string, more: Record<string, unknown>): Promise<unknown> =>
  tx.query(
    `insert into instances (id, account_id, reservation_id, launch_index, state, vpc_id, host_id, place_epoch, vcpus_milli,
       memory_mib, disk_mib, created_at, launch_time, tags, volume_tags, spec, ${Object.keys(more).join(', ')})
     values ($1, 'a', 'r', 0, 'running', 'v', $2, 1, $3, $4, $5, now(), now(), '[]', '[]', '{"instanceType":"p1.small"}',
       ${Object.keys(more)
         .map((_, at) => `$${at + 6}`)
         .join(', ')})`,
    [id, hostId, vm.vcpusMilli, vm.memoryMib, vm.diskMib, ...Object.values(more)],
  );

/** This release's ways. */
const locked = (id: string, work: (tx: Sql) => Promise<unknown>): Promise<void> =>
  db.transaction(async (tx) => {
    await lockInstances(tx, undefined, [id]);
    await work(tx);
  });
const claimOf = (id: string, amount: Amount) =>
  ({ purpose: 'instance', holder: id, type: 'p1.small', amount }) as const;
const fresh = {
  launch: (id: string, hostId: string): Promise<void> =>
    db.transaction(async (tx) => {
      assert.ok(await setClaim(tx, hostId, claimOf(id, vm)));
      await insertRow(tx, id, hostId, { network_mbps: vm.networkMbps });
    }),
  stop: (id: string): Promise<void> =>
    locked(id, (tx) => releaseClaim(tx, claimIdOf('instance', id), { keep: 'disk' })),
  start: (id: string, hostId: string): Promise<void> =>
    locked(id, (tx) => setClaim(tx, hostId, claimOf(id, vm))),
  beginMove: (id: string, target: string): Promise<void> =>
    locked(id, (tx) => setClaim(tx, target, { ...claimOf(id, vm), purpose: 'migration' })),
  flip: (id: string, target: string, source: string): Promise<void> =>
    locked(id, async (tx) => {
      await flipClaims(tx, id, { target, source });
      await last.change(tx, id, { host_id: target });
    }),
  endMove: (id: string): Promise<void> => locked(id, (tx) => releaseClaim(tx, claimIdOf('migration', id))),
  leave: (id: string): Promise<void> =>
    locked(id, async (tx) => {
      await releaseClaim(tx, claimIdOf('instance', id));
      await last.change(tx, id, { host_id: null, state: 'terminated' });
    }),
};

interface Columns {
  readonly held: string;
  readonly other_host_id: string | null;
  readonly host_id: string | null;
}
const columnsOf = async (id: string): Promise<Columns> => {
  const [row] = await db.query<Columns>('select held, other_host_id, host_id from instances where id = $1', [
    id,
  ]);
  assert.ok(row);
  return row;
};

/** Both views say the same, and the counters are the sums. */
const assertAgree = async (id: string): Promise<void> => {
  const { held, other_host_id: other, host_id: hostId } = await columnsOf(id);
  const claim = await findClaim(db, claimIdOf('instance', id));
  const reserved = claim === undefined ? 'none' : claim.memory_mib === 0 ? 'disk' : 'all';
  assert.equal(held, reserved);
  if (claim !== undefined) assert.equal(claim.host_id, hostId);
  assert.equal(other, (await migrationHostOf(db, id)) ?? null);
  assert.deepEqual(await driftsOf(db), []);
};

test('a live database of the last release becomes one with claims, counters and columns as they were', async () => {
  await toLast();
  for (const id of ['h-1', 'h-2']) await addHostOfLast(id);
  await last.launch('i-run', 'h-1');
  await last.launch('i-stop', 'h-1');
  await last.stop('i-stop', 'h-1');
  await last.launch('i-move', 'h-2');
  await last.beginMove('i-move', 'h-1');
  await last.launch('i-gone', 'h-2');
  await last.leave('i-gone', 'h-2', 'all');
  const before = await db.query(
    'select id, held, host_id, other_host_id, version from instances order by id',
  );
  await toThis();
  const claims = await db.query<{ id: string }>(
    'select id, host_id, type, memory_mib, disk_mib from claims order by id',
  );
  assert.deepEqual(claims, [
    { id: 'instance/i-move', host_id: 'h-2', type: 'p1.small', memory_mib: 256, disk_mib: 1_000 },
    { id: 'instance/i-run', host_id: 'h-1', type: 'p1.small', memory_mib: 256, disk_mib: 1_000 },
    { id: 'instance/i-stop', host_id: 'h-1', type: 'p1.small', memory_mib: 0, disk_mib: 1_000 },
    { id: 'migration/i-move', host_id: 'h-1', type: 'p1.small', memory_mib: 256, disk_mib: 1_000 },
  ]);
  assert.deepEqual(
    await db.query('select id, held, host_id, other_host_id, version from instances order by id'),
    before,
  );
  assert.deepEqual(await checkClaims({ db, log }), { drifts: [], misfits: [] });
});

const moves = ['stop', 'start', 'beginMove', 'flip', 'endMove'] as const;

test('releases side by side: whoever makes each change of an instance’s life, claims, counters and columns agree', async () => {
  await toThis();
  for (const id of ['h-1', 'h-2']) await addHost(id);
  let n = 0;
  const step = fc.record({ move: fc.constantFrom(...moves), by: fc.constantFrom('last', 'fresh') });
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.array(step, { maxLength: 12 }),
      fc.boolean(),
      async (first, steps, end) => {
        const id = `i-${n++}`;
        await (first ? last : fresh).launch(id, 'h-1');
        await assertAgree(id);
        for (const { move, by } of steps) {
          const { held, other_host_id: other, host_id: hostId } = await columnsOf(id);
          const here = hostId ?? '';
          const who = by === 'last' ? last : fresh;
          if (move === 'stop' && held === 'all' && other === null) await who.stop(id, here);
          else if (move === 'start' && held === 'disk') await who.start(id, here);
          else if (move === 'beginMove' && held === 'all' && other === null)
            await who.beginMove(id, here === 'h-1' ? 'h-2' : 'h-1');
          else if (move === 'flip' && other !== null) await who.flip(id, other, here);
          else if (move === 'endMove' && other !== null) await who.endMove(id, other);
          await assertAgree(id);
        }
        const { held, other_host_id: other, host_id: hostId } = await columnsOf(id);
        if (other !== null) await (end ? last : fresh).endMove(id, other);
        await (end ? last : fresh).leave(id, hostId ?? '', held === 'disk' ? 'disk' : 'all');
        await assertAgree(id);
        assert.deepEqual(await db.query('select * from claims'), []);
      },
    ),
    { numRuns: 60 },
  );
});

test('a claim is given back once, and not by who saw it before it changed', async () => {
  await toThis();
  await addHost('h-1');
  await fresh.launch('i-1', 'h-1');
  const seen = await findClaim(db, 'instance/i-1');
  await fresh.stop('i-1');
  assert.equal(await releaseClaim(db, 'instance/i-1', { epoch: seen?.epoch ?? 0 }), undefined);
  assert.deepEqual(await reservedOf(db, 'i-1'), diskOf(vm));
  assert.ok(await releaseClaim(db, 'instance/i-1'));
  assert.equal(await releaseClaim(db, 'instance/i-1'), undefined);
  assert.deepEqual(await driftsOf(db), []);
});

test('a host’s own reserve is a claim: as far as it fits, changed and given up with the host’s next hello', async () => {
  await toThis();
  await addHost('h-1');
  const set = (memoryMib: number): Promise<boolean> =>
    db.transaction((tx) => setReserve(tx, 'h-1', { ...diskOf(vm), memoryMib }));
  // Two processors hear the same hello.
  assert.deepEqual(await Promise.all([set(512), set(512)]), [true, true]);
  assert.deepEqual(await driftsOf(db), []);
  assert.equal((await findClaim(db, 'reserve/h-1'))?.memory_mib, 512);
  assert.equal(await set(100_000), false);
  assert.equal((await findClaim(db, 'reserve/h-1'))?.memory_mib, 512, 'what it had stays');
  await db.transaction((tx) => setReserve(tx, 'h-1', diskOf({ ...vm, diskMib: 0 })));
  assert.equal(await findClaim(db, 'reserve/h-1'), undefined);
  assert.deepEqual(await driftsOf(db), []);
});

test('what has run out is released, and what was extended meanwhile is not', async () => {
  await toThis();
  await addHost('h-1');
  const notice = (holder: string, seconds: number): Promise<unknown> =>
    setClaim(db, 'h-1', {
      ...{ purpose: 'notice', holder, amount: vm },
      expiresAt: new Date(Date.now() + seconds * 1_000),
    });
  await notice('past', -60);
  await notice('future', 600);
  const upkeep = new ClaimsUpkeep({ db, log });
  assert.equal(await upkeep.sweep(), 1);
  assert.equal(await findClaim(db, 'notice/past'), undefined);
  assert.ok(await findClaim(db, 'notice/future'));
  assert.deepEqual(await driftsOf(db), []);
});

test('counters that drifted are told and computed anew; what does not fit is told and left', async () => {
  await toThis();
  for (const id of ['h-1', 'h-2']) await addHost(id);
  await fresh.launch('i-1', 'h-1');
  await sql`update hosts set used_memory_mib = 7, used_disk_mib = 0 where id = 'h-1'`.execute(handle);
  // A counter below what is given back does not keep the claim from going.
  const { drifts } = await checkClaims({ db, log });
  assert.deepEqual(
    drifts.map(({ host_id: id, counted, claimed }) => [id, counted, claimed]),
    [['h-1', [500, 7, 0, 64, 0], [500, 256, 1_000, 64, 0]]],
  );
  assert.deepEqual(await driftsOf(db), []);
  await setClaim(db, 'h-2', { purpose: 'instance', holder: 'i-unknown', amount: vm });
  await sql`update hosts set limit_memory_mib = 100 where id = 'h-1'`.execute(handle);
  const found = (await misfitsOf(db, 10)).map(({ kind, subject }) => `${kind} ${subject}`).sort();
  assert.deepEqual(found, ['beyond-capacity h-1', 'no-instance i-unknown']);
  assert.ok(await findClaim(db, 'instance/i-unknown'), 'nothing is removed on a belief');
  await sql`update hosts set used_memory_mib = 1 where id = 'h-1'`.execute(handle);
  await fresh.leave('i-1');
  assert.equal(
    (await db.query<{ n: number }>(`select used_memory_mib as n from hosts where id = 'h-1'`))[0]?.n,
    0,
  );
});
