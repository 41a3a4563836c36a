/**
 * S8.3, S8.5 with several processes of the region: one engine runs the rollouts, devices whose cell is connected to another process are asked
 * over it, and a process that is killed in mid-wave is no more than a pause, whichever of the two it was.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { sql } from 'kysely';
import { type Authority, createAuthority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import { RpcClient } from '#base/rpc/client.ts';
import type { Handlers } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import { cellPushContract, regionContract } from '#contracts/region.ts';
import { rolloutContract } from '#contracts/rollout.ts';
import type { Database } from '#region/schema.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { until } from '../../cell/support/harness.ts';
import { open, policyOf } from './bench.ts';
import { SimDevice } from './sim-fleet.ts';

const main = join(import.meta.dirname, '../../../src/region/main.ts');
const devicesPerCell = 12;
/** Long enough for a kill to fall into a wave. */
const deviceMs = 150;
const operatorContracts = { ...regionContract, ...rolloutContract };

interface Process {
  readonly port: number;
  kill(): Promise<void>;
}

/** A cell's processor with simulated cards. */
class TestCell {
  readonly cellId: string;
  readonly number: number;
  readonly devices: ReadonlyMap<string, SimDevice>;
  readonly #clients = new Map<number, { close(): void }>();

  constructor(number: number) {
    this.number = number;
    this.cellId = `cell-${number}`;
    const ids = Array.from({ length: devicesPerCell }, (_, at) => `card/10.0.${number}.${at + 1}`);
    this.devices = new Map(ids.map((id) => [id, new SimDevice(id)]));
    for (const device of this.devices.values()) device.latencyMs = deviceMs;
  }

  #device(id: string): SimDevice {
    const device = this.devices.get(id);
    if (device === undefined) throw new PandoError('HostUnreachable', `${id} is none of ${this.cellId}'s.`);
    return device;
  }

  get #handlers(): Handlers<typeof cellPushContract> {
    return {
      'cell.devices': () => ({
        ...{ cellId: this.cellId, zone: 'test-1a' },
        devices: [...this.devices.keys()].map((deviceId) => ({ deviceId, connected: true })),
      }),
      'cell.deviceObjects': ({ deviceId }) => this.#device(deviceId).objects(),
      'cell.transact': ({ deviceId, transaction }) => this.#device(deviceId).transact(transaction),
      'cell.confirm': async ({ deviceId, transactionId, fence }) => {
        await this.#device(deviceId).confirm(transactionId, fence);
        return {};
      },
    };
  }

  /** Dials this process of the region. */
  async join(authority: Authority, port: number): Promise<void> {
    const { cellId, number } = this;
    const record = { cellId, number, processors: ['127.0.0.1:1'], zone: 'test-1a', state: 'active' as const };
    const client = new RpcClient({
      tls: await issueCertificate(authority, `spiffe://pando/cell/${cellId}/${cellId}-1`),
      ...{ host: '127.0.0.1', port, expect: 'spiffe://pando/region/', remote: regionContract },
      ...{ contract: cellPushContract, access: openAccess(cellPushContract), handlers: this.#handlers },
      onConnect: async (stream) => void (await stream.call('region.joinCell', record)),
    });
    this.#clients.set(port, client);
    await client.ready(20_000);
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  /** Who has what a rollout gave. */
  get mtus(): unknown[] {
    return [...this.devices.values()].map(({ has }) => has.get('fleet/fleet')?.body);
  }
}

/** Of one test. */
interface Store {
  readonly database: TestDatabase;
  readonly db: Database;
}

const stores: Store[] = [];
let dir: string;
let authority: Authority;
const running = new Set<ChildProcess>();
const cells: TestCell[] = [];
const clients: { close(): void }[] = [];

const startProcess = async ({ database }: Store, name: string): Promise<Process> => {
  const tls = await issueCertificate(authority, `spiffe://pando/region/-/${name}`);
  const path = (part: string): string => join(dir, `${name}.${part}`);
  for (const part of ['ca', 'cert', 'key'] as const) await writeFile(path(part), tls[part]);
  const config = {
    ...{ regionName: 'test-1', zones: [{ name: 'test-1a', id: 't1-az1' }], databaseUrl: database.url },
    ...{ listen: { host: '127.0.0.1', port: 0 }, imagesDir: join(dir, 'images') },
    tls: { ca: path('ca'), cert: path('cert'), key: path('key') },
    ...{ publicPool: { cidr: '203.0.113.0/24' }, secretKeyFile: join(dir, 'seal.key') },
  };
  await writeFile(path('json'), JSON.stringify(config));
  const child = spawn(process.execPath, [main, '--config', path('json')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running.add(child);
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const port = await new Promise<number>((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const line = text.split('\n').find((one) => one.includes('is ready'));
      if (line !== undefined) resolve(Number(JSON.parse(line).port));
    });
    child.once('exit', (code) => reject(new Error(`the region ended with ${code}: ${text}`)));
  });
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    running.delete(child);
    await gone;
  };
  return { port, kill };
};

const operatorAt = async ({ port }: Process) => {
  const client = new RpcClient({
    tls: await issueCertificate(authority, 'spiffe://pando/operator/-/alice'),
    ...{ host: '127.0.0.1', port, expect: 'spiffe://pando/region/', remote: operatorContracts },
    ...{ contract: {}, handlers: {} },
  });
  clients.push(client);
  await client.ready(20_000);
  return client;
};

const engineHolder = async ({ db }: Store): Promise<string | null> =>
  (await sql<{ holder: string | null }>`select holder from rollout_engine`.execute(db)).rows[0]?.holder ??
  null;

/** Two processes, the first with the engine; the cells as they are asked for. */
const setUp = async (connect: (cells: TestCell[], first: Process, second: Process) => Promise<unknown>) => {
  const database = await startTestDatabase();
  const db = open(database.url);
  const store = { database, db };
  stores.push(store);
  const first = await startProcess(store, 'region');
  await until('the first process runs the rollouts', async () => (await engineHolder(store)) !== null);
  const holder = await engineHolder(store);
  const second = await startProcess(store, 'region-2');
  const made = [new TestCell(1), new TestCell(2)];
  cells.push(...made);
  await connect(made, first, second);
  const operator = await operatorAt(second);
  await until('all devices are known and reached', async () => {
    const { rows } = await sql<{ n: number }>`select count(*)::int as n from fleet_device`.execute(db);
    return rows[0]?.n === 2 * devicesPerCell;
  });
  const spec = policyOf({
    waves: [{ cells: ['cell-1'] }, { cells: ['cell-2'] }],
    ...{ concurrency: 1, confirmMs: 20_000, onFailure: 'halt' as const },
  });
  await operator.call('operator.createPolicy', { name: 'two', spec });
  return { store, first, second, holder, operator, cells: made };
};

const commandedIn = async ({ db }: Store, rolloutId: string, wave: number): Promise<number> =>
  (
    await sql<{ n: number }>`select count(*)::int as n from rollout_device
      where rollout_id = ${rolloutId} and wave = ${wave} and state in ('commanded', 'applied', 'confirmed')`.execute(
      db,
    )
  ).rows[0]?.n ?? 0;

/** How often each device was commanded, by the record of what was done, and by whom the rollout was ended. */
const doneBy = async ({ db }: Store, rolloutId: string) => {
  const { rows } = await sql<{ device_id: string | null; who: string; to_state: string; what: string }>`
    select device_id, who, what, to_state from rollout_audit where rollout_id = ${rolloutId} order by audit_id`.execute(
    db,
  );
  const commanded = rows.flatMap(({ device_id, to_state }) => (to_state === 'commanded' ? device_id : []));
  const phases = rows.filter(({ what }) => what === 'phase');
  return { commanded, first: phases[0]?.who, last: phases.at(-1)?.who };
};

const phaseOf = async ({ db }: Store, rolloutId: string): Promise<string> =>
  (await sql<{ phase: string }>`select phase from rollout where rollout_id = ${rolloutId}`.execute(db))
    .rows[0]?.phase ?? 'none';

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'pando-region-replicas-'));
  authority = await createAuthority('test authority');
});

after(async () => {
  for (const each of [...clients, ...cells]) each.close();
  for (const child of running) child.kill('SIGKILL');
  for (const { db, database } of stores) {
    await db.destroy();
    await database.stop();
  }
  await rm(dir, { recursive: true, force: true });
});

/** Starts a rollout of `mtu`, and waits until its second wave is under way. */
const inSecondWave = async (
  store: Awaited<ReturnType<typeof setUp>>['store'],
  operator: Awaited<ReturnType<typeof setUp>>['operator'],
  mtu: number,
): Promise<string> => {
  const { rolloutId = '' } = await operator.call('operator.startRollout', {
    policy: { name: 'two' },
    objects: [{ kind: 'fleet', id: 'fleet', body: { mtu } }],
  });
  await until(
    'the second wave is under way',
    async () => (await commandedIn(store, rolloutId, 1)) >= 3,
    90_000,
  );
  return rolloutId;
};

test('the process with the engine is killed in mid-wave: the other one goes on at the same wave, over the first one’s cells too', async () => {
  // The engine's process reaches the second cell over the other one alone.
  const {
    store,
    first,
    second,
    holder,
    operator,
    cells: [one, two],
  } = await setUp(async ([a, b], here, there) => {
    await a?.join(authority, here.port);
    await a?.join(authority, there.port);
    await b?.join(authority, there.port);
  });
  const rolloutId = await inSecondWave(store, operator, 1400);
  assert.equal(await engineHolder(store), holder);
  assert.deepEqual(
    one?.mtus,
    Array.from({ length: devicesPerCell }, () => ({ mtu: 1400 })),
  );
  assert.ok(
    two?.mtus.some((body) => body === undefined),
    'it is in the middle of the wave',
  );
  await first.kill();
  await until('it is done', async () => (await phaseOf(store, rolloutId)) === 'done', 90_000);
  assert.notEqual(await engineHolder(store), holder);
  assert.deepEqual(
    two?.mtus,
    Array.from({ length: devicesPerCell }, () => ({ mtu: 1400 })),
  );
  const done = await doneBy(store, rolloutId);
  assert.notEqual(done.first, done.last);
  assert.equal(new Set(done.commanded).size, done.commanded.length, 'no device was commanded anew');
  for (const cell of [one, two]) cell?.close();
  await second.kill();
});

test('the process that has the devices is killed in mid-wave: their cell dials the other one, and the wave goes on', async () => {
  const {
    store,
    first,
    second,
    holder,
    operator,
    cells: [one, two],
  } = await setUp(async ([a, b], here, there) => {
    await a?.join(authority, here.port);
    await b?.join(authority, there.port);
  });
  const rolloutId = await inSecondWave(store, operator, 1300);
  await second.kill();
  await two?.join(authority, first.port);
  await until('it is done', async () => (await phaseOf(store, rolloutId)) === 'done', 90_000);
  assert.equal(await engineHolder(store), holder, 'the engine stayed where it was');
  for (const cell of [one, two])
    assert.deepEqual(
      cell?.mtus,
      Array.from({ length: devicesPerCell }, () => ({ mtu: 1300 })),
    );
  const { commanded } = await doneBy(store, rolloutId);
  assert.equal(new Set(commanded).size, commanded.length, 'no device was commanded anew');
});
