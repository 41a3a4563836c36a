/** A whole region in this process: the real router, region and cell over real RPC and PostgreSQL, on simulated hosts. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as sdk from '@aws-sdk/client-ec2';
import { sql } from 'kysely';
import { type DestinationStream, pino } from 'pino';
import { parseIdentity } from '#base/identity.ts';
import { type Logger, loggerTo, logServed, ToldCalls } from '#base/log.ts';
import { type Authority, createAuthority, issueCertificate } from '#base/pki.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { listenStore } from '#base/postgres/listen.ts';
import { type ServedCall, servedCalls } from '#base/rpc/served.ts';
import { type Cell, createCell } from '#cell/cell.ts';
import { systemClock } from '#cell/clock.ts';
import { listen } from '#cell/listener.ts';
import { openRegionLink, type RegionLink } from '#cell/region-link.ts';
import type { CellSchema } from '#cell/store/sql.ts';
import { createAccount } from '#region/accounts.ts';
import { regionConfig } from '#region/config.ts';
import { registerPublicImage } from '#region/operator.ts';
import { openRegion, type Region } from '#region/region.ts';
import { serveRegion } from '#region/server.ts';
import { routerConfig } from '#router/config.ts';
import { startRouter } from '#router/router.ts';
import { SimCaller } from '#simhost/caller.ts';
import { SimHost } from '#simhost/sim-host.ts';
import { SimWorld } from '#simhost/world.ts';
import type { ActionName, In, Out } from '#wire/types.ts';
import { startTestDatabase } from '../base/postgres/test-database.ts';
import { type Reply, type SendOptions, type Signed, sendRaw, sign } from './cloud.ts';

export const regionName = 'lab-1';
export const zone = 'lab-1a';

/** One account, as its clients are. */
export interface RealClient {
  readonly accountId: string;
  readonly key: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Signs and sends a form. */
  send(form: string, options?: SendOptions): Promise<Reply>;
  /** Sends an action with parameters as they are on the wire. */
  act(action: string, parameters?: Readonly<Record<string, string>>): Promise<Reply>;
  /** Calls an action through AWS's own SDK, which reads the answer. Rejects with `name` set to EC2's code. */
  call<O extends ActionName>(action: O, input: Partial<In<O>>): Promise<Out<O>>;
  /** Launches, with the public image and the smallest type where nothing else is said. */
  run(input?: Partial<In<'RunInstances'>>): Promise<sdk.Instance[]>;
  instance(id: string): Promise<sdk.Instance>;
  /** Waits until an instance is in a state, and gives it as it is then. */
  reaches(id: string, state: sdk.InstanceStateName): Promise<sdk.Instance>;
}

export interface RealCloud {
  readonly port: number;
  /** What another router needs to join: who signs its certificate, and where the region is. */
  readonly authority: Authority;
  readonly regionPort: number;
  readonly region: Region;
  readonly cell: Cell;
  readonly hosts: readonly SimHost[];
  /** Of the cell's store. */
  readonly cellUrl: string;
  readonly imageId: string;
  /** Moves the cell's clock ahead. */
  readonly clock: { aheadMs: number };
  /** How often the cell has joined the region: once, unless the stream between them was lost. */
  joins(): number;
  account(): Promise<RealClient>;
  raw(signed: Signed): Promise<Reply>;
  /** What the two stores hold, as one text: the same before and after a request that changed nothing. */
  fingerprint(): Promise<string>;
  /** Waits until no workflow is under way. */
  quiet(): Promise<void>;
  close(): Promise<void>;
}

export interface RealCloudOptions {
  readonly hosts?: number;
  /** Whether calls to hosts are checked against their contract, as real ones do in processes of their own. Default: yes. */
  readonly checkedHosts?: boolean;
  /** How long a host takes for a method. */
  readonly latencyMs?: (method: string) => number;
  readonly regionConfig?: Readonly<Record<string, unknown>>;
  readonly routerLimits?: Readonly<Record<string, number>>;
  /** Takes the log of each part under its name, as a process of its own would write it. Default: nothing is logged. */
  readonly logTo?: DestinationStream;
}

const waitMsMax = 60_000;
const imageMemoryMib = 64;

export const until = async <T>(what: string, condition: () => Promise<T | false> | T | false): Promise<T> => {
  const end = Date.now() + waitMsMax;
  for (;;) {
    const value = await condition();
    if (value !== false) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${waitMsMax} ms`);
    await new Promise((wake) => setTimeout(wake, 10));
  }
};

/** Things to undo, the last first. */
class Undo {
  readonly #steps: (() => unknown)[] = [];
  add(step: () => unknown): void {
    this.#steps.push(step);
  }
  async run(): Promise<void> {
    for (const step of this.#steps.splice(0).reverse()) await step();
  }
}

export const startRealCloud = async (options: RealCloudOptions = {}): Promise<RealCloud> => {
  const undo = new Undo();
  try {
    return await start(options, undo);
  } catch (error) {
    await undo.run();
    throw error;
  }
};

const start = async (options: RealCloudOptions, undo: Undo): Promise<RealCloud> => {
  const dir = await mkdtemp(path.join(tmpdir(), 'pando-real-'));
  undo.add(() => rm(dir, { recursive: true, force: true }));
  const { logTo } = options;
  const silent = pino({ level: process.env.PANDO_LOG ?? 'silent' });
  const logOf = (name: string): Logger => (logTo === undefined ? silent : loggerTo(name, logTo));
  if (logTo !== undefined) {
    const told = new Map<string, ToldCalls>();
    const onServed = (message: unknown): void => {
      const { name = '', role = '' } = parseIdentity((message as ServedCall).self ?? '') ?? {};
      const part = role === 'agent' ? name : role;
      const toldBy = told.get(part) ?? new ToldCalls();
      told.set(part, toldBy);
      logServed(logOf(part), message as ServedCall, toldBy);
    };
    servedCalls.subscribe(onServed);
    undo.add(() => servedCalls.unsubscribe(onServed));
  }
  const authority = await createAuthority('test');
  const certificate = (identity: string) => issueCertificate(authority, `spiffe://pando/${identity}`);

  const tls = await certificate(`region/-/${regionName}`);
  const files = { ca: path.join(dir, 'ca'), cert: path.join(dir, 'cert'), key: path.join(dir, 'key') };
  for (const name of ['ca', 'cert', 'key'] as const) await writeFile(files[name], tls[name]);
  const regionDatabase = await startTestDatabase();
  undo.add(() => regionDatabase.stop());
  const region = await openRegion(
    regionConfig.parse({
      regionName,
      zones: [{ name: zone, id: 'l1-az1' }],
      databaseUrl: regionDatabase.url,
      listen: { host: '127.0.0.1', port: 0 },
      tls: files,
      publicPool: { cidr: '203.0.113.0/24', first: '203.0.113.16', last: '203.0.113.250' },
      imagesDir: path.join(dir, 'images'),
      imageSourceDirs: [dir],
      secretKeyFile: path.join(dir, 'seal.key'),
      privateRestMs: 0,
      publicRestMs: 0,
      ...options.regionConfig,
    }),
    logOf('region'),
  );
  undo.add(() => region.close());
  const regionServer = await serveRegion(region);
  undo.add(() => regionServer.close());
  const { imageId } = await registerPublicImage(region, { directory: await writeImage(dir), name: 'test' });

  const world = new SimWorld();
  const hosts = Array.from(
    { length: options.hosts ?? 2 },
    (_, at) =>
      new SimHost({
        hostId: `h-${at + 1}`,
        zone,
        vtep: `198.18.1.${11 + at}`,
        world,
        ...(options.latencyMs === undefined ? {} : { latencyMs: options.latencyMs }),
      }),
  );
  const clock = { aheadMs: 0 };
  const cellDatabase = await startTestDatabase();
  undo.add(() => cellDatabase.stop());
  const handle = openDatabase<CellSchema>({ url: cellDatabase.url });
  undo.add(() => handle.destroy());
  let link: RegionLink | undefined;
  let joins = 0;
  const identity = { cellId: 'cell-1', cellNumber: 1, processorId: 'cell-1-a', zone, region: regionName };
  const cell = await createCell({
    identity,
    limits: { hosts: 100, vms: 10_000 },
    oversubscription: { vcpus: 1, memory: 1 },
    database: handle,
    listenStore: (channel, heard) => listenStore({ url: cellDatabase.url, channel, heard }),
    region: {
      call: (method, params, more) =>
        link === undefined ? Promise.reject(new Error('no link yet')) : link.call(method, params, more),
    },
    log: logOf('cell'),
    clock: {
      now: () => Date.now() + clock.aheadMs,
      monotonicMs: systemClock.monotonicMs,
      sleep: systemClock.sleep,
    },
  });
  undo.add(() => cell.stop());
  const server = await listen({
    cell,
    name: identity.processorId,
    tls: await certificate(`cell/${identity.cellId}/${identity.processorId}`),
    host: '127.0.0.1',
    port: 0,
    log: logOf('cell'),
  });
  undo.add(() => server.close());
  link = openRegionLink({
    tls: await certificate(`cell/${identity.cellId}/${identity.processorId}`),
    at: [{ host: '127.0.0.1', port: regionServer.port }],
    record: {
      cellId: identity.cellId,
      number: identity.cellNumber,
      processors: [`127.0.0.1:${server.port}`],
      zone,
      state: 'active',
    },
    log: logOf('cell'),
    cell: () => cell,
    onJoin: () => {
      joins += 1;
    },
  });
  undo.add(() => link?.close());
  await link.ready(waitMsMax);
  for (const host of hosts) {
    const caller = new SimCaller(host, { checked: options.checkedHosts ?? true });
    undo.add(() => caller.close());
    await cell.reports.hello(host.hello(), caller);
  }
  const reporting = setInterval(() => {
    for (const host of hosts) cell.reports.report(host.report());
  }, 100);
  undo.add(() => clearInterval(reporting));

  const router = await startRouter({
    config: routerConfig.omit({ tls: true }).parse({
      regionName,
      listen: { port: 0 },
      region: { host: '127.0.0.1', port: regionServer.port },
      // All run in one process, which is busy for seconds at times: a look at a cell's health must not be given up for that.
      limits: { cellsEveryMs: 100, healthTimeoutMs: 60_000, ...options.routerLimits },
    }),
    tls: await certificate('router/-/r-1'),
    log: logOf('router'),
  });
  undo.add(() => router.close());
  await until('the router', async () => {
    const health = { method: 'GET', path: '/_pando/health', headers: {}, body: '' };
    const { ready, cells } = JSON.parse((await sendRaw(router.port, health)).body);
    return ready && cells.length === 1 && cells[0].live;
  });

  let accounts = 0;
  return {
    port: router.port,
    authority,
    regionPort: regionServer.port,
    region,
    cell,
    hosts,
    cellUrl: cellDatabase.url,
    imageId,
    clock,
    joins: () => joins,
    account: async () => {
      accounts += 1;
      const client = clientOf(router.port, imageId, await createAccount(region, `account-${accounts}`));
      undo.add(() => client.destroy());
      return client;
    },
    raw: (signed) => sendRaw(router.port, signed),
    fingerprint: () => fingerprintOf(region, cell),
    quiet: () =>
      until('quiet', async () => {
        const rows = await cell.services.db.query<{ n: number }>(
          `select count(*)::int as n from workflows where state in ('running', 'undoing')`,
        );
        return rows[0]?.n === 0;
      }).then(() => undefined),
    close: () => undo.run(),
  };
};

/** A built image's directory: enough of a disk to be taken in. */
export const writeImage = async (dir: string): Promise<string> => {
  const directory = path.join(dir, 'built');
  await mkdir(directory);
  const virtualBytes = 256 * 1024 ** 2;
  const disk = Buffer.alloc(512);
  disk.writeUInt32BE(0x514649fb, 0);
  disk.writeUInt32BE(3, 4);
  disk.writeBigUInt64BE(BigInt(virtualBytes), 24);
  await writeFile(path.join(directory, 'disk.qcow2'), disk);
  const sha256 = createHash('sha256').update(disk).digest('hex');
  const described = {
    architecture: 'x86_64',
    bootMode: 'bios',
    description: '',
    files: { disk: { bytes: disk.length, format: 'qcow2', path: 'disk.qcow2', sha256, virtualBytes } },
    minMemoryMib: imageMemoryMib,
    name: 'test',
    recipe: 'r',
  };
  const digest = createHash('sha256').update(JSON.stringify(described)).digest('hex');
  await writeFile(path.join(directory, 'manifest.json'), JSON.stringify({ ...described, digest }));
  return directory;
};

/** Seen as a plain object: the compiler would otherwise compare eight hundred commands. */
const commands: object = sdk;

type Account = Awaited<ReturnType<typeof createAccount>>;

const clientOf = (port: number, imageId: string, account: Account): RealClient & { destroy(): void } => {
  const { accountId, accessKeyId, secretAccessKey } = account;
  const key = { accessKeyId, secretAccessKey };
  const client = new sdk.EC2Client({
    endpoint: `http://127.0.0.1:${port}`,
    region: regionName,
    credentials: key,
    maxAttempts: 1,
  });
  const send: RealClient['send'] = (form, options = {}) => {
    const signed = sign(port, form, { key, region: regionName, ...options });
    return sendRaw(port, options.tamper?.(signed) ?? signed, options.agent);
  };
  const call: RealClient['call'] = async (action, input) => {
    const Command: new (input: object) => sdk.DescribeVpcsCommand = Reflect.get(commands, `${action}Command`);
    const { $metadata: _metadata, ...output } = await client.send(new Command(input));
    return output as Out<typeof action>;
  };
  const instance = async (id: string): Promise<sdk.Instance> => {
    const { Reservations: [first] = [] } = await call('DescribeInstances', { InstanceIds: [id] });
    const [found] = first?.Instances ?? [];
    if (found === undefined) throw new Error(`${id} was not shown`);
    return found;
  };
  return {
    accountId,
    key,
    send,
    act: (action, parameters = {}) =>
      send(new URLSearchParams({ Action: action, Version: '2016-11-15', ...parameters }).toString()),
    call,
    run: async (input = {}) => {
      const defaults = { ImageId: imageId, InstanceType: 'p1.nano' as sdk._InstanceType };
      const made = await call('RunInstances', { ...defaults, MinCount: 1, MaxCount: 1, ...input });
      return made.Instances ?? [];
    },
    instance,
    reaches: (id, state) =>
      until(`${id} ${state}`, async () => {
        const now = await instance(id);
        return now.State?.Name === state && now;
      }),
    destroy: () => client.destroy(),
  };
};

/** Left out: what beats by itself (leases, reports, copies of network state, what metadata services are told) and what a workflow leaves behind. */
const cellTables = {
  instances: "(to_jsonb(t) - 'metadata_due' - 'credentials_due')::text",
  client_tokens: 't::text',
  hosts: 'concat(t.id, t.used_vcpus_milli, t.used_memory_mib, t.used_disk_mib)',
  workflows: 't.id',
};
/** What is written in the background, of calls before: devices, and what became of changes that were recorded with their call. */
const regionTablesLeftOut = [
  ...['cell', 'gateway_device', 'fleet_device', 'rollout_engine'],
  ...['object_change', 'vpc_change_enforced'],
];

const digestOf = (table: string, row: string): string =>
  `select '${table}' as name, count(*)::text || md5(coalesce(string_agg(${row}, ',' order by ${row}), '')) as digest from ${table} t`;

const fingerprintOf = async (region: Region, cell: Cell): Promise<string> => {
  const { rows: tables } = await sql<{ name: string }>`
    select tablename as name from pg_tables where schemaname = 'public' order by tablename`.execute(
    region.db,
  );
  const named = tables.filter(({ name }) => !regionTablesLeftOut.includes(name));
  // Ordered: with many tables PostgreSQL may read them side by side.
  const ofRegion = `${named.map(({ name }) => digestOf(name, 't::text')).join(' union all ')} order by name`;
  const ofCell = Object.entries(cellTables).map(([name, row]) => digestOf(name, row));
  const [first, second] = await Promise.all([
    sql<object>`${sql.raw(ofRegion)}`.execute(region.db).then(({ rows }) => rows),
    cell.services.db.query<object>(ofCell.join(' union all ')),
  ]);
  return [...first, ...second].map((row) => JSON.stringify(row)).join('\n');
};

/** With two accounts; the first has a reservation of seven instances, tagged `set=a`, and five of one each. */
export const startFurnishedCloud = async (): Promise<{
  cloud: RealCloud;
  alice: RealClient;
  mallory: RealClient;
  ids: string[];
}> => {
  const cloud = await startRealCloud();
  const alice = await cloud.account();
  const mallory = await cloud.account();
  const tags = [{ ResourceType: 'instance' as const, Tags: [{ Key: 'set', Value: 'a' }] }];
  const first = await alice.run({ MinCount: 7, MaxCount: 7, TagSpecifications: tags });
  const rest = await Promise.all(Array.from({ length: 5 }, () => alice.run()));
  await cloud.quiet();
  return { cloud, alice, mallory, ids: [...first, ...rest.flat()].map((one) => one.InstanceId ?? '') };
};
