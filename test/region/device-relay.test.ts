/** Calls of a device over the process of the region that it is connected to. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sql } from 'kysely';
import { pino } from 'pino';
import { migrate } from '#base/postgres/migrate.ts';
import { PandoError } from '#contracts/errors.ts';
import { DeviceRelay } from '#region/device-relay.ts';
import { regionMigrations } from '#region/migrations.ts';
import type { Database } from '#region/schema.ts';
import { startTestDatabase, type TestDatabase } from '../base/postgres/test-database.ts';
import { until } from '../cell/support/harness.ts';
import { open } from './rollouts/bench.ts';

let database: TestDatabase;
let db: Database;

before(async () => {
  database = await startTestDatabase();
  db = open(database.url);
  await migrate(db, regionMigrations);
});
after(async () => {
  await db.destroy();
  await database.stop();
});

type Serve = ConstructorParameters<typeof DeviceRelay>[0]['serve'];

/** Process `a` asks, process `b` has the devices; `isDeaf`: it hears of no call. */
const setUp = (serve: Serve, { isDeaf = false }: { readonly isDeaf?: boolean } = {}) => {
  const relays = new Map<string, DeviceRelay>();
  const made = (own: string, other: string): DeviceRelay => {
    const send = async (kind: 'call' | 'taken' | 'answered', to: string, callId: string): Promise<void> => {
      if (!isDeaf) relays.get(to)?.heard(kind, own, callId);
    };
    const replicas = { whoHas: (device: string) => (device === 'nobody’s' ? undefined : other), send };
    const relay = new DeviceRelay({ db, log: pino({ level: 'silent' }), replicas, serve });
    relays.set(own, relay);
    return relay;
  };
  made('b', 'a');
  return made('a', 'b');
};

const rowsLeft = async (): Promise<number> =>
  (await sql<{ n: number }>`select count(*)::int as n from device_call`.execute(db)).rows[0]?.n ?? -1;
const isUnreachable = (error: unknown): boolean =>
  error instanceof PandoError && error.code === 'HostUnreachable';

test('a call and its answer come through, and nothing stays behind', async () => {
  const relay = setUp(async (device, method, params) => ({ device, method, params }));
  const answer = await relay.call('cell c-1', 'cell.devices', { a: [1, null, 'x'] }, 5_000);
  assert.deepEqual(answer, { device: 'cell c-1', method: 'cell.devices', params: { a: [1, null, 'x'] } });
  assert.equal(await rowsLeft(), 0);
});

test('what the device refuses is refused here, by its code and with its details', async () => {
  const relay = setUp(async () => {
    throw new PandoError('Conflict', 'It has something else.', { details: { has: '{}' } });
  });
  await assert.rejects(relay.call('cell c-1', 'cell.transact', {}, 5_000), (error: unknown) => {
    assert.ok(error instanceof PandoError);
    assert.deepEqual(
      [error.code, error.message, error.details],
      ['Conflict', 'It has something else.', { has: '{}' }],
    );
    return true;
  });
  assert.equal(await rowsLeft(), 0);
});

test('a process that does not take the call is as good as dead; one that has no device is not asked', async () => {
  let served = 0;
  const serve: Serve = async () => {
    served += 1;
  };
  await assert.rejects(
    setUp(serve, { isDeaf: true }).call('cell c-1', 'cell.devices', {}, 60_000),
    isUnreachable,
  );
  await assert.rejects(setUp(serve).call('nobody’s', 'cell.devices', {}, 60_000), isUnreachable);
  assert.equal(served, 0);
  assert.equal(await rowsLeft(), 0);
});

test('a device that is connected here now is not waited for any more', async () => {
  let served = false;
  const relay = setUp(() => {
    served = true;
    return new Promise(() => undefined);
  });
  const call = relay.call('cell c-1', 'cell.devices', {}, 60_000);
  call.catch(() => undefined);
  await until('it was asked', () => served);
  relay.isHere('cell c-2');
  relay.isHere('cell c-1');
  await assert.rejects(call, isUnreachable);
});

test('rows of processes that died are removed', async () => {
  await sql`insert into device_call (call_id, device, method, params, asked_at)
    values (gen_random_uuid(), 'cell c-1', 'cell.devices', '{}', now() - interval '1 hour')`.execute(db);
  await setUp(async () => ({})).call('cell c-1', 'cell.devices', {}, 5_000);
  assert.equal(await rowsLeft(), 0);
});
