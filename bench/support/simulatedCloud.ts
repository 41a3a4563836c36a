/**
 * A region of Pando's own processes over simulated hosts: router, region, processors and a PostgreSQL of each store with fsync on, each
 * put together by its `main.ts`, joined by mutual TLS. All of it is gone with the process that started it.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { TlsMaterial } from '#base/identity.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { loadTls } from '#base/tlsFromFiles.ts';
import { backendContract } from '#contracts/backend.ts';
import { operatorContract } from '#contracts/operator.ts';
import { type RunningPostgres, startPostgres } from '#node/embedded-postgres.ts';
import { PkiFiles } from '#node/pkiFiles.ts';
import { writeSimulatedImage } from '#simulated/image.ts';
import { freePort } from '../../test/support/freePort.ts';
import type { SimulatedHostsConfig } from './simulatedHosts.ts';

export interface SimulatedCloudOptions {
  readonly cells: number;
  readonly processorsPerCell: number;
  readonly hostsPerCell: number;
  readonly accounts: number;
}

export interface Account {
  readonly accountId: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export type BackendLink = RpcClient<Record<never, never>, typeof backendContract>;

export interface SimulatedCloud {
  readonly port: number;
  readonly imageId: string;
  readonly accounts: readonly Account[];
  readonly zones: readonly string[];
  /** URL of each cell's store. */
  readonly stores: readonly string[];
  /** Process ids by kind: those that are Pando's, and `hosts`, which stand for machines. */
  readonly pids: Readonly<Record<string, readonly number[]>>;
  /** The same through a process each that only passes bytes on. */
  readonly relayed: readonly BackendLink[];
  /** A router's links to the processors of the first cell. */
  readonly direct: readonly BackendLink[];
  /** What simulated hosts saw that may never be: two VMs of one instance, a command out of order. */
  violations(): Promise<readonly unknown[]>;
  end(): Promise<void>;
}

export const regionName = 'bench-1';
const host = '127.0.0.1';
const startMsMax = 180_000;
const lookEveryMs = 20;
const publicPool = { cidr: '198.18.0.0/16', first: '198.18.0.16', last: '198.18.255.250' };
const restMs = 1_000;
const storeSettings = { fsync: 'on', synchronous_commit: 'on', shared_buffers: '64MB' };

const zoneOf = (cell: number): string => `${regionName}${String.fromCharCode(96 + cell)}`;
const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at + 1);
const source = (path: string): string => new URL(`../../${path}`, import.meta.url).pathname;

class Run {
  readonly directory = mkdtempSync(join(tmpdir(), 'pando-bench-'));
  readonly children: ChildProcess[] = [];
  readonly stores: RunningPostgres[] = [];
  readonly links: { close(): void }[] = [];
  readonly pids: Record<string, number[]> = {};

  note(kind: string, pid: number | undefined): void {
    this.pids[kind] = [...(this.pids[kind] ?? []), pid ?? 0];
  }

  async store(kind: string, name: string): Promise<string> {
    const [dataDir, socketDir] = [join(this.directory, name, 'data'), join(this.directory, name, 's')];
    mkdirSync(join(this.directory, name));
    const store = await startPostgres({ dataDir, socketDir, dieWithParent: true, settings: storeSettings });
    this.stores.push(store);
    this.note(kind, store.pid);
    return store.url;
  }

  file(name: string, config: object): string {
    const file = join(this.directory, `${name}.json`);
    writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
    return file;
  }

  /** Starts a process of Pando's; resolves at the line of its log that says `message`. */
  process(kind: string, name: string, main: string, config: object, message: string): Promise<void> {
    // A file, as whoever keeps processes gives them: what reads a pipe would compete with the clients that are measured.
    const log = join(this.directory, `${name}.log`);
    const output = openSync(log, 'a', 0o600);
    const child = spawn(process.execPath, [source(main), '--config', this.file(name, config)], {
      stdio: ['ignore', output, 'inherit'],
    });
    closeSync(output);
    this.children.push(child);
    this.note(kind, child.pid);
    const ended = new Promise<never>((_, reject) => {
      child.once('exit', (code) => reject(new Error(`${name} ended with ${code}`)));
    });
    // Also once nobody waits for it any more.
    ended.catch(() => undefined);
    return Promise.race([ended, this.#says(log, message)]);
  }

  async #says(log: string, message: string): Promise<void> {
    const end = performance.now() + startMsMax;
    while (!readFileSync(log, 'utf8').includes(`"${message}"`)) {
      if (performance.now() > end) throw new Error(`${log} does not say: ${message}`);
      await pause(lookEveryMs);
    }
  }

  /** Starts a relay to a port; resolves with its own. */
  relay(port: number): Promise<number> {
    const child = fork(source('bench/support/relay.ts'), [String(port)]);
    this.children.push(child);
    return new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`a relay ended with ${code}`)));
      child.once('message', (at) => resolve(Number(at)));
    });
  }

  hosts(name: string, config: SimulatedHostsConfig): Promise<ChildProcess> {
    const child = spawn(
      process.execPath,
      [source('bench/support/simulatedHosts.ts'), this.file(name, config)],
      {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      },
    );
    this.children.push(child);
    this.note('hosts', child.pid);
    return new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`${name} ended with ${code}`)));
      child.once('message', () => resolve(child));
    });
  }

  async end(): Promise<void> {
    for (const link of this.links) link.close();
    // There is nothing to lose.
    for (const child of this.children) child.kill('SIGKILL');
    await Promise.all(this.stores.map((store) => store.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export const startSimulatedCloud = async (options: SimulatedCloudOptions): Promise<SimulatedCloud> => {
  const run = new Run();
  try {
    return await start(options, run);
  } catch (error) {
    await run.end();
    throw error;
  }
};

const start = async (options: SimulatedCloudOptions, run: Run): Promise<SimulatedCloud> => {
  const pki = await PkiFiles.open(join(run.directory, 'pki'), 'bench');
  const zones = upTo(options.cells).map(zoneOf);
  const regionPort = await startRegion(run, pki, zones);
  const operatorTls = loadTls(await pki.issue('operator', 'bench'));
  const { accounts, imageId } = await furnish(run, operatorTls, regionPort, options.accounts);
  const cells = await Promise.all(
    upTo(options.cells).map((cell) => startCell(run, pki, options, cell, regionPort)),
  );
  const port = await freePort();
  const routerTls = await pki.issue('router', 'router');
  const router = { regionName, listen: { host, port }, region: { host, port: regionPort }, tls: routerTls };
  await run.process('router', 'router', 'src/router/main.ts', router, 'listening');
  const linkTo = (at: number): BackendLink =>
    new RpcClient({
      ...{ tls: loadTls(routerTls), host, port: at, expect: 'spiffe://pando/cell/' },
      ...{ remote: backendContract, contract: {}, handlers: {} },
    });
  const ports = cells[0]?.ports ?? [];
  const direct = ports.map(linkTo);
  const relayed = (await Promise.all(ports.map((at) => run.relay(at)))).map(linkTo);
  run.links.push(...direct, ...relayed);
  await Promise.all([...direct, ...relayed].map((link) => link.ready(startMsMax)));
  await untilLive(port, options.cells);
  const violations = async (): Promise<unknown[]> => {
    const told = await Promise.all(
      cells.map(({ machines }) => {
        const answer = new Promise<{ violations: unknown[] }>((resolve) => machines.once('message', resolve));
        machines.send('tell');
        return answer;
      }),
    );
    return told.flatMap((each) => each.violations);
  };
  const stores = cells.map(({ url }) => url);
  const { pids } = run;
  return { port, imageId, accounts, zones, stores, pids, direct, relayed, violations, end: () => run.end() };
};

const startRegion = async (run: Run, pki: PkiFiles, zones: readonly string[]): Promise<number> => {
  const port = await freePort();
  const config = {
    regionName,
    zones: zones.map((name, at) => ({ name, id: `bench1-az${at + 1}` })),
    databaseUrl: await run.store('region, PostgreSQL', 'region'),
    listen: { host, port },
    tls: await pki.issue('region', 'region'),
    publicPool,
    imagesDir: join(run.directory, 'images'),
    imageSourceDirs: [run.directory],
    secretKeyFile: join(run.directory, 'seal.key'),
    // Each account launches in all cells: which one a launch goes to is the benchmark's to say.
    cellsPerAccount: zones.length,
    privateRestMs: restMs,
    publicRestMs: restMs,
  };
  await run.process('region', 'region', 'src/region/main.ts', config, 'the region is ready');
  return port;
};

const furnish = async (run: Run, tls: TlsMaterial, port: number, count: number) => {
  const operator = new RpcClient({
    ...{ tls, host, port, expect: 'spiffe://pando/region/' },
    ...{ remote: operatorContract, contract: {}, handlers: {} },
  });
  run.links.push(operator);
  await operator.ready(startMsMax);
  const accounts: Account[] = [];
  for (const number of upTo(count))
    accounts.push(await operator.call('operator.createAccount', { name: `account-${number}` }));
  const image = { directory: await writeSimulatedImage(run.directory), name: 'bench', public: true } as const;
  const { imageId } = await operator.call('operator.registerImage', image, { timeoutMs: startMsMax });
  return { accounts, imageId };
};

const startCell = async (
  run: Run,
  pki: PkiFiles,
  { processorsPerCell, hostsPerCell }: SimulatedCloudOptions,
  number: number,
  regionPort: number,
) => {
  const cellId = `cell-${number}`;
  const zone = zoneOf(number);
  const url = await run.store('cells, PostgreSQL', cellId);
  const names = upTo(processorsPerCell).map((at) => `${cellId}-p${at}`);
  const ports = await Promise.all(names.map(() => freePort()));
  const processors = ports.map((port) => `${host}:${port}`);
  for (const [at, name] of names.entries()) {
    const config = {
      ...{ name, cellId, cellNumber: number, zone, processors, databaseUrl: url },
      listen: { host, port: ports[at] },
      region: { host, port: regionPort },
      tls: await pki.issue('cell', { cell: cellId, name }),
    };
    await run.process('processors', name, 'src/cell/main.ts', config, 'serving');
  }
  const hosts = [];
  for (const at of upTo(hostsPerCell)) {
    const hostId = `h-${number}-${at}`;
    const tls = await pki.issue('agent', { cell: cellId, name: hostId });
    hosts.push({ hostId, tls, vtep: `10.9.${number}.${at}` });
  }
  const machines = await run.hosts(`${cellId}-hosts`, { zone, processorPorts: ports, hosts });
  return { url, ports, machines };
};

const untilLive = async (port: number, cells: number): Promise<void> => {
  const end = performance.now() + startMsMax;
  for (;;) {
    const answer = await fetch(`http://${host}:${port}/_pando/health`);
    const health = (await answer.json()) as { cells: { live: boolean }[] };
    if (health.cells.length === cells && health.cells.every(({ live }) => live)) return;
    if (performance.now() > end) throw new Error('the router does not see all cells');
    await pause(lookEveryMs);
  }
};
