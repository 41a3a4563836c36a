/** Which processes a run has, how each is configured, and which come first: from the plan to the supervisor's list. */
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import type { TlsPaths } from '#base/config.ts';
import { otlpEndpointVariable, otlpSocketVariable } from '#base/spanExport.ts';
import { agentCapabilities, cardCapabilities, gatewayCapabilities, namesOf } from '#node/capabilities.ts';
import { codeDigest } from '#node/codeDigest.ts';
import { cacheDirectory, codeDirectory, postgresPrefix, type RunDirectory } from '#node/directory.ts';
import { authorityFiles, identityOf, type PkiFiles } from '#node/pkiFiles.ts';
import type { NodeSpec, PostgresSpec, ProcessList, ProcessSpec } from '#node/processSpec.ts';
import { userOf } from '#node/users.ts';
import { databaseUrlOf, externalOf } from './externalPostgres.ts';
import { hostCardLink, type LabPlan, type PlannedCell, type PlannedHost } from './plan.ts';
import type { RunRecord } from './runRecord.ts';

export const processorsPerCell = 2;
export const regionPort = 7100;
const firstUnprivilegedPort = 1024;
const cardPort = 7300;
/** Where the supervisor shows all processes' metrics: on the machine's loopback, one port for each run. */
const firstMetricsPort = 7400;
const firstProcessorPort = 7110;
const processorPortsPerCell = 10;
/**
 * Where no VPC reaches through the gateway: the management and underlay networks of every run. The other half of 198.18.0.0/15
 * holds the public addresses of runs that are not the first.
 */
const denied = ['198.18.0.0/16'];
/** Directories out of which images may be registered: where the builders publish. */
const imageSourceDirs = [join(cacheDirectory, 'images')];
/** User ids of the VMs of one host; ranges of all hosts of all runs are disjoint. */
const uidsPerHost = 1_000;
const uidBase = 200_000;
const hostsPerRunMax = 64;
const hostDiskMib = 40 * 1024;
const hostVcpus = 8;
/** Part of the machine's memory that the hosts share out among VMs. */
const memoryShare = 0.7;

interface Context {
  readonly directory: RunDirectory;
  readonly plan: LabPlan;
  readonly run: RunRecord;
  readonly pki: PkiFiles;
}

export const processorName = (cell: PlannedCell, replica: number): string => `${cell.name}-${replica}`;
export const processorPort = (cell: PlannedCell, replica: number): number =>
  firstProcessorPort + (cell.number - 1) * processorPortsPerCell + replica;
export const zoneName = ({ regionName }: Pick<RunRecord, 'regionName'>, zone: number): string =>
  `${regionName}${String.fromCharCode('a'.charCodeAt(0) + zone - 1)}`;

/** 1 to `count`; absent: 1 alone. */
const replicaNumbers = (count = 1): number[] => Array.from({ length: count }, (_, at) => at + 1);
const replicas = replicaNumbers(processorsPerCell);
/** The first one keeps the name that it had when it was the only one. */
const replicaName = (name: string, replica: number): string => (replica === 1 ? name : `${name}-${replica}`);
const entry = (deployable: string, main = 'main.ts'): string => join(codeDirectory, 'src', deployable, main);
/** Whose PostgreSQL it is: the region's, or a cell's. */
type Store = { readonly name: 'region' } | PlannedCell;

const externalStoreOf = (run: RunRecord, store: Store) =>
  externalOf(run, 'number' in store ? store : undefined);
const databaseUrl = ({ directory, run }: Context, store: Store): string => {
  const external = externalStoreOf(run, store);
  return external === undefined
    ? `postgresql://pando@localhost/postgres?host=${encodeURIComponent(directory.postgres(store.name).socketDir)}`
    : databaseUrlOf(external, store.name);
};
/** The server that a process needs, where it is one of the run's own. */
const ownPostgres = ({ run }: Context, store: Store): string[] =>
  externalStoreOf(run, store) === undefined ? [`${postgresPrefix}${store.name}`] : [];

/** The whole list. Issues the certificates that are missing. */
export async function planProcesses(context: Context): Promise<ProcessList> {
  const { plan, pki, run } = context;
  const storeOf = (store: Store): ProcessSpec[] =>
    externalStoreOf(run, store) === undefined ? [postgres(context, store)] : [];
  const cells = plan.cells.flatMap((cell) => [
    ...storeOf(cell),
    ...replicas.map((replica) => processor(context, cell, replica)),
  ]);
  const hosts = plan.hosts.flatMap((host) => [card(context, host), agent(context, host)]);
  const tls = await pki.issue('operator', 'supervisor');
  // The order in which an upgrade replaces them: first those that carry work on over a restart of all others.
  const others = await Promise.all([
    ...cells,
    ...storeOf({ name: 'region' }),
    ...replicaNumbers(run.regions).map((replica) => region(context, replica)),
    gateway(context),
    ...replicaNumbers(run.routers).map((replica) => router(context, replica)),
    ...hosts,
  ]);
  // `ca` is put together last: by then everybody has an identity.
  const metrics = { host: '127.0.0.1', port: firstMetricsPort + plan.index };
  const otlp = run.otlp && { endpoint: run.otlp, socket: context.directory.spanSocket };
  const growth = { command: growthCommand(context) };
  return {
    ...{ tls, metrics, rolling: true, growth, ...(otlp && { otlp }) },
    processes: [ca(context), webhooks(context), ...others],
  };
}

/** What the supervisor runs when a cell nears its limits. */
const growthCommand = ({ directory }: Context): string[] => [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  join(codeDirectory, 'src', 'cli', 'main.ts'),
  ...['cell', 'create', '--auto', '--dir', directory.root],
];

const postgres = ({ directory, plan }: Context, store: Store): PostgresSpec => ({
  kind: 'postgres',
  name: `${postgresPrefix}${store.name}`,
  after: [],
  user: userOf(
    plan.index,
    'number' in store ? { role: 'cell-store', cell: store.number } : { role: 'region-store' },
  ),
  ...directory.postgres(store.name),
});

/** The only process that has the authority's key. It renews what `up` has issued. */
function ca(context: Context): ProcessSpec {
  const { directory, plan, pki } = context;
  const { certificate, key } = authorityFiles(directory.pki);
  return node(context, {
    deployable: 'ca',
    name: 'ca',
    after: [],
    user: userOf(plan.index, { role: 'ca' }),
    owns: [dirname(directory.caSocket), key],
    ready: { kind: 'socket', path: directory.caSocket },
    config: { socket: directory.caSocket, certificate, key, identities: pki.identities },
  });
}

/** What cells and the sender of webhooks are told of it. */
const webhookListener = ({ directory, run }: Context) => ({
  socket: directory.webhooksSocket,
  key: readFileSync(directory.webhooksKey, 'utf8'),
  allowed: run.webhookRanges ?? [],
});

/** The only process that connects to where clients say: a user of its own, fenced off from every network of the run's. */
function webhooks(context: Context): ProcessSpec {
  const { directory, plan } = context;
  return node(context, {
    deployable: 'webhooks',
    name: 'webhooks',
    after: [],
    user: userOf(plan.index, { role: 'webhooks' }),
    owns: [dirname(directory.webhooksSocket)],
    ready: { kind: 'socket', path: directory.webhooksSocket },
    config: { ...webhookListener(context), fencedFrom: { host: plan.management, port: regionPort } },
  });
}

type NodeParts = Pick<
  NodeSpec,
  'name' | 'after' | 'ready' | 'user' | 'owns' | 'capabilities' | 'overlaps'
> & {
  readonly deployable: string;
  /** Of its folder; absent: `main.ts`. */
  readonly main?: string;
  readonly config: object;
  readonly netns?: string;
};

/** What exports a process's spans, where that was asked for. */
const spansEnv = ({ directory, run }: Context): Record<string, string> | undefined =>
  run.otlp === undefined
    ? undefined
    : { [otlpEndpointVariable]: run.otlp, [otlpSocketVariable]: directory.spanSocket };

const node = (
  context: Context,
  { deployable, main, config, owns = [], ...parts }: NodeParts,
): ProcessSpec => {
  const { directory } = context;
  const socket = directory.metricsSocket(parts.name);
  const env = spansEnv(context);
  return {
    kind: 'node',
    ...(env === undefined ? {} : { env }),
    entry: entry(deployable, main),
    code: codeDigest(deployable),
    configPath: directory.config(parts.name),
    ...parts,
    owns: [...owns, dirname(socket)],
    config: { ...config, metrics: { socket } },
  };
};

interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const regionPeer = ({ plan }: Context, replica: number) => ({
  ...{ host: plan.management, port: regionPort + replica - 1 },
  identity: identityOf('region', replicaName('region', replica)),
});
const regionPeers = (context: Context) =>
  replicaNumbers(context.run.regions).map((replica) => regionPeer(context, replica));
const bare = ({ host, port }: Endpoint): Endpoint => ({ host, port });
/** Of a process's configuration: where the region's replicas are, beginning with another one for each process, so that they share the work. */
const regionsFor = <T extends Endpoint>(replicas: readonly T[], turn: number) => {
  const first = turn % replicas.length;
  const [region, ...regionReplicas] = [...replicas.slice(first), ...replicas.slice(0, first)];
  return { region, ...(regionReplicas.length === 0 ? {} : { regionReplicas }) };
};
const processorAt = ({ plan }: Context, cell: PlannedCell, replica: number): Endpoint => ({
  host: plan.management,
  port: processorPort(cell, replica),
});
const processorPeers = (context: Context, cell: PlannedCell) =>
  replicas.map((replica) => ({
    ...processorAt(context, cell, replica),
    identity: identityOf('cell', { cell: cell.name, name: processorName(cell, replica) }),
  }));
const addresses = (endpoints: readonly Endpoint[]): string[] =>
  endpoints.map(({ host, port }) => `${host}:${port}`);

async function region(context: Context, replica: number): Promise<ProcessSpec> {
  const { directory, plan, pki, run } = context;
  const name = replicaName('region', replica);
  const { identity, ...listen } = regionPeer(context, replica);
  const user = userOf(plan.index, { role: 'region' });
  const imagesDir = directory.state('region-images');
  return node(context, {
    deployable: 'region',
    name,
    after: ownPostgres(context, { name: 'region' }),
    user,
    owns: [imagesDir, directory.sealKey],
    ready: { kind: 'health', ...listen, identity },
    config: {
      regionName: run.regionName,
      zones: Array.from({ length: plan.zones }, (_, at) => ({
        name: zoneName(run, at + 1),
        id: `${run.regionName}-az${at + 1}`,
      })),
      ...(run.cellsPerAccount === undefined ? {} : { cellsPerAccount: run.cellsPerAccount }),
      databaseUrl: databaseUrl(context, { name: 'region' }),
      listen,
      tls: await pki.issue('region', name, user),
      publicPool: { cidr: plan.publicCidr, ...plan.publicPool },
      imagesDir,
      imageSourceDirs,
      secretKeyFile: directory.sealKey,
    },
  });
}

async function processor(context: Context, cell: PlannedCell, replica: number): Promise<ProcessSpec> {
  const { plan, pki, run } = context;
  const name = processorName(cell, replica);
  const user = userOf(plan.index, { role: 'processor', cell: cell.number, replica });
  const listen = processorAt(context, cell, replica);
  return node(context, {
    deployable: 'cell',
    name,
    after: [...ownPostgres(context, cell), 'region'],
    user,
    ready: { kind: 'health', ...listen, identity: identityOf('cell', { cell: cell.name, name }) },
    config: {
      name,
      cellId: cell.name,
      cellNumber: cell.number,
      zone: zoneName(run, cell.zone),
      ...(run.cellLimits === undefined ? {} : { limits: run.cellLimits }),
      processors: addresses(processorPeers(context, cell)),
      databaseUrl: databaseUrl(context, cell),
      listen,
      ...regionsFor(regionPeers(context).map(bare), cell.number * processorsPerCell + replica),
      tls: await pki.issue('cell', { cell: cell.name, name }, user),
      webhooks: webhookListener(context),
      hostManifest: { image: codeDigest('agent') },
    },
  });
}

/** All replicas listen on one port: the kernel deals connections out among them, and forgets one with its death. */
async function router(context: Context, replica: number): Promise<ProcessSpec> {
  const { directory, plan, pki, run } = context;
  const name = replicaName('router', replica);
  // One user for all of them: the kernel lets nobody else share their port.
  const user = userOf(plan.index, { role: 'router' });
  const auditDir = directory.state(name);
  return node(context, {
    deployable: 'router',
    name,
    after: ['region'],
    user,
    owns: [auditDir],
    capabilities: run.port < firstUnprivilegedPort ? ['net_bind_service'] : [],
    overlaps: true,
    ready: { kind: 'router', port: run.port },
    config: {
      name,
      regionName: run.regionName,
      listen: { host: '127.0.0.1', port: run.port },
      ...regionsFor(regionPeers(context).map(bare), replica),
      tls: await pki.issue('router', name, user),
      audit: { path: join(auditDir, 'audit.jsonl') },
    },
  });
}

/** What every device of the data path is told: which namespace is its own, and where its tunnels end. */
const device = (
  { directory, plan }: Context,
  process: string,
  own: { readonly name: string; readonly netns: string; readonly vtep: string; readonly tls: TlsPaths },
) => ({
  ...own,
  stateDir: directory.state(process),
  runPrefix: `${plan.prefix}-`,
  underlayDevice: 'ul0',
});

async function gateway(context: Context): Promise<ProcessSpec> {
  const { plan, pki } = context;
  const name = 'gateway';
  const netns = plan.gatewayNetns;
  const tls = await pki.issue('gateway', name);
  return node(context, {
    deployable: 'gateway',
    name,
    netns,
    capabilities: namesOf(gatewayCapabilities),
    after: ['region'],
    ready: { kind: 'gateway', region: regionPeer(context, 1) },
    config: {
      ...device(context, name, { name: 'gw', netns, vtep: plan.gatewayVtep, tls }),
      uplinkDevice: 'up0',
      denied,
      ...regionsFor(regionPeers(context), 0),
    },
  });
}

function cellOf({ plan }: Context, host: PlannedHost): PlannedCell {
  const cell = plan.cells.find((each) => each.number === host.cell);
  if (cell === undefined) throw new Error(`${host.name} belongs to no cell`);
  return cell;
}

async function card(context: Context, host: PlannedHost): Promise<ProcessSpec> {
  const name = `card-${host.number}`;
  const netns = host.cardNetns;
  const cell = cellOf(context, host);
  const tls = await context.pki.issue('card', { cell: cell.name, name });
  return node(context, {
    deployable: 'card',
    name,
    netns,
    capabilities: namesOf(cardCapabilities),
    after: [],
    ready: { kind: 'listening', port: cardPort },
    main: 'program/boot.ts',
    config: {
      ...device(context, name, { name: `c-${host.number}`, netns, vtep: host.vtep, tls }),
      programsDir: context.directory.programs,
      listen: { host: hostCardLink.card, port: cardPort },
      agentIdentity: identityOf('agent', { cell: cell.name, name: host.hostId }),
    },
  });
}

async function agent(context: Context, host: PlannedHost): Promise<ProcessSpec> {
  const { directory, plan, pki, run } = context;
  const name = `agent-${host.number}`;
  const cell = cellOf(context, host);
  const processors = processorPeers(context, cell);
  return node(context, {
    deployable: 'agent',
    name,
    netns: host.hostNetns,
    capabilities: namesOf(agentCapabilities),
    after: [`card-${host.number}`, ...replicas.map((replica) => processorName(cell, replica))],
    ready: { kind: 'host', hostId: host.hostId, processors },
    config: {
      hostId: host.hostId,
      zone: zoneName(run, cell.zone),
      stateDir: directory.state(host.name),
      imageCacheDir: join(directory.state(host.name), 'images'),
      cell: {
        processors: addresses(processors),
        identityPrefix: identityOf('cell', { cell: cell.name, name: '' }),
      },
      card: {
        host: hostCardLink.card,
        port: cardPort,
        netns: host.cardNetns,
        identity: identityOf('card', { cell: cell.name, name: `card-${host.number}` }),
      },
      ...regionsFor(regionPeers(context), host.number),
      vtep: host.vtep,
      tls: await pki.issue('agent', { cell: cell.name, name: host.hostId }),
      capacity: {
        vcpus: hostVcpus,
        memoryMib: Math.floor((totalmem() / 1024 ** 2) * (memoryShare / host.sharers)),
        diskMib: hostDiskMib,
        ...run.hostCapacity,
      },
      uidBase: uidBase + (plan.index * hostsPerRunMax + host.number) * uidsPerHost,
      cgroupPrefix: host.hostNetns,
      runPrefix: `${plan.prefix}-`,
      migrationAddress: host.management,
    },
  });
}
