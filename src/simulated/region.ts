/**
 * A whole region in one process: the router, the region and a cell for each zone as they are in production, over the RPC and the
 * PostgreSQL of production, with simulated hosts.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseIdentity, type TlsMaterial } from '#base/identity.ts';
import { logServed, ToldCalls } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { type ServedCall, servedCalls } from '#base/rpc/served.ts';
import { type UnexpectedError, unexpectedErrors } from '#base/rpc/unexpected.ts';
import { loadTls } from '#base/tlsFromFiles.ts';
import { planLab } from '#lab/plan.ts';
import { processorName } from '#lab/processes.ts';
import { PkiFiles } from '#node/pkiFiles.ts';
import { createAccount, findAccessKey, type NewAccount } from '#region/accounts.ts';
import { regionConfig } from '#region/config.ts';
import { registerPublicImage } from '#region/operator.ts';
import { openRegion, type Region } from '#region/region.ts';
import { serveRegion } from '#region/server.ts';
import { routerConfig } from '#router/config.ts';
import { startRouter } from '#router/router.ts';
import { SimWorld } from '#simhost/world.ts';
import { startSimulatedCell } from './cell.ts';
import type { SimulatedConfig } from './config.ts';
import { imageName, writeSimulatedImage } from './image.ts';
import { partLogs } from './logs.ts';
import { loopback, Parts } from './parts.ts';
import type { SimulatedStore } from './store.ts';

/** Several thousand, in a block that nobody routes. */
const publicPool = { cidr: '198.19.0.0/20', first: '198.19.0.16', last: '198.19.15.250' };
/** Above EC2's own, so that no test of a client meets them unless it means to. */
const quotas = {
  vpcsPerAccountMax: 1_000,
  subnetsPerVpcMax: 1_000,
  gatewaysPerAccountMax: 1_000,
  addressesPerAccountMax: 4_000,
  imagesPerAccountMax: 10_000,
};
const regionPoolMax = 8;
const restMs = 1_000;
const readyMsMax = 20_000;
const pollMs = 10;
const cellsEveryMs = 500;
/** A third of a certificate's life is ten days. */
const renewEveryMs = 24 * 60 * 60_000;

export interface SimulatedRegion {
  readonly regionPort: number;
  readonly cellPorts: readonly number[];
  readonly imageId: string;
  /** The account that was made, where the store did not have the run's. */
  readonly account: NewAccount | undefined;
  /** Ends all but the store. */
  end(): Promise<void>;
}

export const startSimulatedRegion = async (
  config: SimulatedConfig,
  store: SimulatedStore,
): Promise<SimulatedRegion> => {
  const parts = new Parts();
  try {
    return await start(config, store, parts);
  } catch (error) {
    await parts.end();
    throw error;
  }
};

const zoneOf = (config: SimulatedConfig, number: number): string =>
  `${config.regionName}${String.fromCharCode('a'.charCodeAt(0) + number - 1)}`;

const start = async (
  config: SimulatedConfig,
  store: SimulatedStore,
  parts: Parts,
): Promise<SimulatedRegion> => {
  const logOf = partLogs(join(config.root, 'log'));
  parts.add(tellCalls(logOf));
  const plan = planLab({ index: 0, cells: config.cells, hostsPerCell: config.hostsPerCell });
  const tlsOf = await certificates(config, parts);
  const region = await openRegion(await regionConfigOf(config, store, tlsOf), logOf('region'));
  parts.add(() => region.close());
  const server = await serveRegion(region);
  parts.add(() => server.close());
  const world = new SimWorld();
  const [cellPorts, { imageId }, account] = await Promise.all([
    Promise.all(
      plan.cells.map(async (cell, at) => {
        const name = processorName(cell, 1);
        const own = {
          ...{ cell, zone: zoneOf(config, cell.number), world, log: logOf(name) },
          planned: plan.hosts.filter((host) => host.cell === cell.number),
          databaseUrl: store.cells[at] ?? '',
          tls: loadTls(await tlsOf.cell(cell.name, name)),
        };
        const { regionName, instant, state } = config;
        return startSimulatedCell({ ...own, regionName, instant, state, regionPort: server.port }, parts);
      }),
    ),
    registerPublicImage(region, { directory: await writeSimulatedImage(config.root), name: imageName }),
    accountOf(region, config.accessKeyId),
  ]);
  await startSimulatedRouter(config, loadTls(await tlsOf.router()), server.port, logOf, parts);
  return { regionPort: server.port, cellPorts, imageId, account, end: () => parts.end() };
};

type LogOf = ReturnType<typeof partLogs>;

/** Each part writes its calls into its own log, as a process of its own does (`createLogger`). */
const tellCalls = (logOf: LogOf): (() => void) => {
  const logs = new Map<string, { log: ReturnType<LogOf>; told: ToldCalls }>();
  const partOf = (self: string | undefined) => {
    const { role = 'simulated', name = role } = parseIdentity(self ?? '') ?? {};
    const part = role === 'agent' ? 'hosts' : name;
    const known = logs.get(part) ?? { log: logOf(part), told: new ToldCalls() };
    logs.set(part, known);
    return known;
  };
  const onServed = (message: unknown): void => {
    const call = message as ServedCall;
    const { log, told } = partOf(call.self);
    logServed(log, call, told);
  };
  const onUnexpected = (message: unknown): void => {
    const { error, ...call } = message as UnexpectedError;
    partOf(undefined).log.error({ err: error, ...call }, 'a call failed in a way that was not foreseen');
  };
  servedCalls.subscribe(onServed);
  unexpectedErrors.subscribe(onUnexpected);
  return () => {
    servedCalls.unsubscribe(onServed);
    unexpectedErrors.unsubscribe(onUnexpected);
  };
};

/** The certificates of the parts, renewed for as long as the process runs: no authority's process does it here. */
const certificates = async (config: SimulatedConfig, parts: Parts) => {
  const pki = await PkiFiles.open(join(config.root, 'pki'), 'pando-simulated');
  const issue = {
    region: () => pki.issue('region', 'region'),
    router: () => pki.issue('router', 'router'),
    cell: (cell: string, name: string) => pki.issue('cell', { cell, name }),
  };
  const plan = planLab({ index: 0, cells: config.cells, hostsPerCell: config.hostsPerCell });
  const renewing = setInterval(() => {
    const all = [
      issue.region(),
      issue.router(),
      ...plan.cells.map((cell) => issue.cell(cell.name, processorName(cell, 1))),
    ];
    // What fails is tried again a day later, nine more times before anything ends.
    Promise.all(all).catch(() => undefined);
  }, renewEveryMs).unref();
  parts.add(() => clearInterval(renewing));
  return issue;
};

const regionConfigOf = async (
  config: SimulatedConfig,
  store: SimulatedStore,
  tlsOf: Awaited<ReturnType<typeof certificates>>,
) =>
  regionConfig.parse({
    regionName: config.regionName,
    zones: Array.from({ length: config.cells }, (_, at) => ({
      name: zoneOf(config, at + 1),
      id: `sim1-az${at + 1}`,
    })),
    databaseUrl: store.region,
    poolMax: regionPoolMax,
    listen: loopback,
    tls: await tlsOf.region(),
    publicPool,
    imagesDir: join(config.state, 'images'),
    imageSourceDirs: [config.root],
    // Beside the store that it seals: the two are of no use without each other.
    secretKeyFile: join(config.state, 'seal.key'),
    privateRestMs: restMs,
    publicRestMs: restMs,
    limits: quotas,
  });

const accountOf = async (
  region: Region,
  accessKeyId: string | undefined,
): Promise<NewAccount | undefined> => {
  const isThere = accessKeyId !== undefined && (await findAccessKey(region, { accessKeyId })).found;
  return isThere ? undefined : createAccount(region, `simulated-${process.pid}-${Math.round(monotonicMs())}`);
};

const startSimulatedRouter = async (
  config: SimulatedConfig,
  tls: TlsMaterial,
  regionPort: number,
  logOf: LogOf,
  parts: Parts,
): Promise<void> => {
  const { regionName, anyRegion, port } = config;
  const router = await startRouter({
    config: routerConfig.omit({ tls: true }).parse({
      ...{ regionName, anyRegion },
      listen: { host: loopback.host, port },
      region: { host: loopback.host, port: regionPort },
      // All parts share one thread: a look at a cell's health must not be given up because it is busy.
      limits: { cellsEveryMs, healthTimeoutMs: readyMsMax, repeatsWithinMs: 0 },
    }),
    tls,
    log: logOf('router'),
    alone: true,
  });
  parts.add(() => router.close());
  const until = monotonicMs() + readyMsMax;
  while (!(await isReady(port, config.cells))) {
    if (monotonicMs() > until)
      throw new Error(`the cells did not join in ${readyMsMax} ms; the logs are in ${config.root}/log`);
    await delay(pollMs);
  }
};

const isReady = async (port: number, cells: number): Promise<boolean> => {
  const answer = await fetch(`http://${loopback.host}:${port}/_pando/health`);
  const health = (await answer.json()) as { ready: boolean; cells: { live: boolean }[] };
  return health.ready && health.cells.length === cells && health.cells.every(({ live }) => live);
};
