/** A whole region of real processes (router, region, two processors of each cell, a PostgreSQL for each store) with simulated hosts. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import type { TlsMaterial } from '#base/identity.ts';
import { type Authority, createAuthority, issueCertificate } from '#base/pki.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { hostAccess } from '#contracts/access.ts';
import { cellOperatorContract } from '#contracts/cell-operator.ts';
import { hostContract, hostEventsContract } from '#contracts/host.ts';
import { operatorContract } from '#contracts/operator.ts';
import { identityOf } from '#node/pkiFiles.ts';
import { SimHost } from '#simhost/sim-host.ts';
import { SimWorld } from '#simhost/world.ts';
import { until } from '../../cell/support/harness.ts';
import { sendRaw } from '../../router/cloud.ts';
import { writeImage } from '../../router/realCloud.ts';
import { freePort } from '../../support/freePort.ts';
import { type Killable, NodeProcess, StoreProcess } from './processes.ts';

export const regionName = 'lab-1';
const startMsMax = 90_000;
const reportEveryMs = 500;
const redialMs = 300;
const latencyMsDefault = 5;
const hostCapacity = { vcpus: 64, memoryMib: 65_536, diskMib: 1_048_576 };

const routerHealth = z.object({
  ready: z.boolean(),
  cells: z.array(z.object({ cellId: z.string(), live: z.boolean() })),
});

type CellOperator = RpcClient<Record<never, never>, typeof cellOperatorContract>;

export interface StormCell {
  readonly number: number;
  readonly cellId: string;
  readonly store: StoreProcess;
  readonly processors: readonly { readonly name: string; readonly port: number }[];
  readonly processes: NodeProcess[];
  readonly operators: readonly CellOperator[];
  readonly hosts: SimHost[];
}

export interface NewAccount {
  readonly accountId: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** A simulated host's agent: its streams to the processors of its cell, which break when it is killed. */
class SimAgent implements Killable {
  readonly name: string;
  readonly #host: SimHost;
  readonly #dial: (host: SimHost) => (() => void)[];
  #closers: (() => void)[];
  #timer: NodeJS.Timeout | undefined;

  constructor(host: SimHost, dial: (host: SimHost) => (() => void)[]) {
    this.name = `agent-${host.hostId}`;
    this.#host = host;
    this.#dial = dial;
    this.#closers = dial(host);
  }

  kill(): boolean {
    if (this.#timer !== undefined) return false;
    this.#hangUp();
    this.#timer = setTimeout(() => this.#comeBack(), redialMs);
    return true;
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#hangUp();
  }

  #hangUp(): void {
    for (const close of this.#closers.splice(0)) close();
  }

  #comeBack(): void {
    this.#timer = undefined;
    this.#closers = this.#dial(this.#host);
  }
}

export interface StormRegionOptions {
  readonly cells?: number;
  readonly hostsPerCell?: number;
  /** How long a host takes for any method. */
  readonly latencyMs?: number;
  /** Default: one. */
  readonly routers?: number;
  readonly routerLimits?: Readonly<Record<string, number>>;
}

export class StormRegion {
  readonly world = new SimWorld();
  readonly cells: StormCell[] = [];
  /** All that may be killed, by name. */
  readonly victims: Killable[] = [];
  readonly #dir: string;
  readonly #authority: Authority;
  readonly #clients: { close(): void }[] = [];
  readonly #latencyMs: number;
  readonly #routerLimits: Readonly<Record<string, number>>;
  #store: StoreProcess | undefined;
  /** Of each router. */
  readonly ports: number[] = [];
  imageId = '';
  #operator: RpcClient<Record<never, never>, typeof operatorContract> | undefined;
  #regionPort = 0;

  private constructor(dir: string, authority: Authority, options: StormRegionOptions) {
    this.#dir = dir;
    this.#authority = authority;
    this.#latencyMs = options.latencyMs ?? latencyMsDefault;
    this.#routerLimits = options.routerLimits ?? {};
  }

  static async start(options: StormRegionOptions = {}): Promise<StormRegion> {
    const dir = await mkdtemp(path.join(tmpdir(), 'ps-'));
    const region = new StormRegion(dir, await createAuthority('test'), options);
    try {
      const cells = options.cells ?? 2;
      await region.#startRegion(cells);
      for (let number = 1; number <= cells; number++)
        await region.#startCell(number, options.hostsPerCell ?? 3);
      for (let number = 1; number <= (options.routers ?? 1); number++) await region.#startRouter(number);
      await region.#prepare();
      return region;
    } catch (error) {
      await region.stop();
      throw error;
    }
  }

  /** Of the first router. */
  get port(): number {
    return this.ports[0] ?? 0;
  }

  get store(): StoreProcess {
    if (this.#store === undefined) throw new Error('not started');
    return this.#store;
  }

  get hosts(): readonly SimHost[] {
    return this.cells.flatMap(({ hosts }) => hosts);
  }

  victim(name: string): Killable {
    const found = this.victims.find((each) => each.name === name);
    if (found === undefined) throw new Error(`no process ${name}`);
    return found;
  }

  async #tls(name: string, identity: string): Promise<{ ca: string; cert: string; key: string }> {
    const material = await issueCertificate(this.#authority, identity);
    const files = { ca: '', cert: '', key: '' };
    for (const part of ['ca', 'cert', 'key'] as const) {
      files[part] = path.join(this.#dir, `${name}.${part}`);
      await writeFile(files[part], material[part], { mode: 0o600 });
    }
    return files;
  }

  async #startRegion(cells: number): Promise<void> {
    this.#store = await StoreProcess.start('pg-region', this.#dir);
    this.#regionPort = await freePort();
    const zones = Array.from({ length: cells }, (_, at) => ({
      name: zoneOf(at + 1),
      id: `l1-az${at + 1}`,
    }));
    const region = await NodeProcess.start('region', 'region', this.#dir, {
      ...{ regionName, zones, databaseUrl: this.#store.url },
      listen: { host: '127.0.0.1', port: this.#regionPort },
      tls: await this.#tls('region', identityOf('region', 'region')),
      publicPool: { cidr: '203.0.113.0/24', first: '203.0.113.16', last: '203.0.113.250' },
      imagesDir: path.join(this.#dir, 'images'),
      imageSourceDirs: [this.#dir],
      secretKeyFile: path.join(this.#dir, 'seal.key'),
      // Hundreds of instances come and go on few addresses.
      privateRestMs: 1_000,
      publicRestMs: 1_000,
    });
    this.victims.push(this.#store, region);
  }

  async #startCell(number: number, hosts: number): Promise<void> {
    const cellId = `cell-${number}`;
    const store = await StoreProcess.start(`pg-${cellId}`, this.#dir);
    const processors: { name: string; port: number }[] = [];
    for (const letter of ['a', 'b']) processors.push({ name: `${cellId}-${letter}`, port: await freePort() });
    const operatorTls = await issueCertificate(this.#authority, identityOf('operator', 'o'));
    const processes: NodeProcess[] = [];
    for (const { name, port } of processors)
      processes.push(
        await NodeProcess.start(name, 'cell', this.#dir, {
          ...{ name, cellId, cellNumber: number, zone: zoneOf(number), databaseUrl: store.url },
          processors: processors.map((each) => `127.0.0.1:${each.port}`),
          listen: { host: '127.0.0.1', port },
          region: { host: '127.0.0.1', port: this.#regionPort },
          tls: await this.#tls(name, identityOf('cell', { cell: cellId, name })),
        }),
      );
    const operators = processors.map(({ name, port }) => {
      const expect = identityOf('cell', { cell: cellId, name });
      const remote = cellOperatorContract;
      const where = { host: '127.0.0.1', port };
      const client = new RpcClient({
        tls: operatorTls,
        ...where,
        expect,
        remote,
        contract: {},
        handlers: {},
      });
      this.#clients.push(client);
      return client;
    });
    const cell: StormCell = { number, cellId, store, processors, processes, operators, hosts: [] };
    this.victims.push(...processes, store);
    this.cells.push(cell);
    for (let at = 1; at <= hosts; at++) cell.hosts.push(await this.#startHost(cell, at));
  }

  async #startHost(cell: StormCell, at: number): Promise<SimHost> {
    const host = new SimHost({
      hostId: `h-${cell.number}${at}`,
      zone: zoneOf(cell.number),
      vtep: `198.18.1.${cell.number * 50 + at}`,
      world: this.world,
      capacity: hostCapacity,
      latencyMs: () => this.#latencyMs,
      copyMs: 200,
    });
    const tls = await issueCertificate(
      this.#authority,
      identityOf('agent', { cell: cell.cellId, name: host.hostId }),
    );
    const agent = new SimAgent(host, () => cell.processors.flatMap((each) => dial(host, tls, cell, each)));
    this.victims.push(agent);
    return host;
  }

  async #startRouter(number: number): Promise<void> {
    const port = await freePort();
    const name = number === 1 ? 'router' : `router-${number}`;
    const router = await NodeProcess.start(name, 'router', this.#dir, {
      ...{ name, regionName },
      listen: { host: '127.0.0.1', port },
      region: { host: '127.0.0.1', port: this.#regionPort },
      tls: await this.#tls(name, identityOf('router', name)),
      limits: { cellsEveryMs: 500, ...this.#routerLimits },
    });
    this.ports.push(port);
    this.victims.push(router);
  }

  async #prepare(): Promise<void> {
    this.#operator = new RpcClient({
      tls: await issueCertificate(this.#authority, identityOf('operator', 'o')),
      ...{ host: '127.0.0.1', port: this.#regionPort, expect: identityOf('region', 'region') },
      ...{ remote: operatorContract, contract: {}, handlers: {} },
    });
    this.#clients.push(this.#operator);
    await this.#operator.ready(startMsMax);
    const directory = await writeImage(this.#dir);
    const image = { directory, name: 'test', public: true as const };
    this.imageId = (await this.#operator.call('operator.registerImage', image)).imageId;
    await this.ready();
  }

  account(name: string): Promise<NewAccount> {
    if (this.#operator === undefined) throw new Error('not started');
    return this.#operator.call('operator.createAccount', { name });
  }

  /** Resolves when each router sees exactly these cells as live. */
  async routed(live: readonly StormCell[]): Promise<void> {
    const health = { method: 'GET', path: '/_pando/health', headers: {}, body: '' };
    const sees = async (port: number): Promise<boolean> => {
      const reply = await sendRaw(port, health).catch(() => undefined);
      if (reply === undefined) return false;
      const { ready, cells } = routerHealth.parse(JSON.parse(reply.body));
      const wanted = new Set(live.map(({ cellId }) => cellId));
      return (
        ready &&
        cells.length === this.cells.length &&
        cells.every((each) => each.live === wanted.has(each.cellId))
      );
    };
    for (const port of this.ports)
      await until(`the router at ${port} sees ${live.length} cells`, () => sees(port), startMsMax);
  }

  /** Resolves when the routers have all cells and every processor all its hosts. */
  async ready(): Promise<void> {
    await this.routed(this.cells);
    for (const { hosts, operators, cellId } of this.cells)
      for (const operator of operators)
        await until(
          `a processor of ${cellId} has its hosts`,
          async () => {
            const told = await operator.call('operator.hosts', {}).catch(() => undefined);
            return told?.hosts.filter(({ connected }) => connected).length === hosts.length;
          },
          startMsMax,
        );
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    // Stores last: nobody is left who asks them.
    const [stores, others] = [true, false].map((wanted) =>
      this.victims.filter((each) => each instanceof StoreProcess === wanted),
    );
    await Promise.all((others ?? []).map((each) => each.stop()));
    await Promise.all((stores ?? []).map((each) => each.stop()));
    await rm(this.#dir, { recursive: true, force: true });
  }
}

export const zoneOf = (number: number): string => `lab-1${String.fromCharCode(96 + number)}`;

/** Keeps a host's stream to a processor, says hello and reports. Returns what ends it. */
const dial = (
  host: SimHost,
  tls: TlsMaterial,
  cell: StormCell,
  { name, port }: { readonly name: string; readonly port: number },
): (() => void)[] => {
  const client = new RpcClient({
    ...{ tls, host: '127.0.0.1', port, expect: identityOf('cell', { cell: cell.cellId, name }) },
    ...{ remote: hostEventsContract, contract: hostContract, access: hostAccess, handlers: host.handlers },
    onConnect: async (stream) => {
      host.joined(await stream.call('host.hello', host.hello()));
    },
  });
  const report = (): void => void client.call('host.report', host.report()).catch(() => undefined);
  const timer = setInterval(report, reportEveryMs);
  return [() => clearInterval(timer), () => client.close()];
};
