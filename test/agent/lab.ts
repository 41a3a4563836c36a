/** A host in a temporary directory: a real agent with real QEMU, between a cell, a card and a region made here. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { type Agent, startAgent } from '#agent/agent.ts';
import type { HostReport } from '#agent/cell-link.ts';
import { type AgentConfig, agentConfig } from '#agent/config.ts';
import { Qmp } from '#agent/qmp.ts';
import { exec } from '#base/exec.ts';
import type { TlsMaterial } from '#base/identity.ts';
import { type Authority, createAuthority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import type { Caller, Params, Result } from '#base/rpc/contract.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import type { UnderlayCounters } from '#card/kernel/underlayDevice.ts';
import { cardContract } from '#contracts/card.ts';
import { cardRebuildContract } from '#contracts/card-rebuild.ts';
import { PandoError } from '#contracts/errors.ts';
import { hostContract, hostEventsContract, type MigrationCredential } from '#contracts/host.ts';
import { newId } from '#contracts/ids.ts';
import { regionContract } from '#contracts/region.ts';
import { freePort } from '../support/freePort.ts';
import { labName } from '../support/labName.ts';
import { makeImage, type TestImage } from './images.ts';
import { RebuildingCard } from './rebuildingCard.ts';

export { imageMib, makeImage, type TestImage, writingSector } from './images.ts';

const helloMsMax = 60_000;

export const until = async (
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 60_000,
) => {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await sleep(20);
  }
};

type HostCaller = Caller<typeof hostContract>;

/** Everything that one test's hosts share. Close it last. */
export class Lab {
  readonly dir: string;
  readonly image: TestImage;
  readonly reports: HostReport[] = [];
  readonly chunksRead: string[] = [];
  readonly cardCalls: { method: string; params: unknown }[] = [];
  /** What this lab's processors say that they are of. */
  cellId = 'a';
  /** What cards have heard of guests, by interface: ages in milliseconds. */
  readonly heard = new Map<string, { dhcpMs?: number; arpMs?: number; listenedMs?: number }>();
  /** What all of this lab's cards are in a rebuild. */
  readonly rebuilding = new RebuildingCard();
  /** What cards tell of their device towards the underlay. */
  underlay: (() => Promise<UnderlayCounters | undefined>) | undefined;
  /** What cards wait for before they say that a port is redirected. */
  onRedirect: (() => Promise<void> | void) | undefined;
  /** The card has a newer state of each VPC than is declared. */
  cardIsFurther = false;
  readonly #run = labName();
  /** A certificate of this lab's authority. */
  readonly issue: (identity: string) => Promise<TlsMaterial>;
  readonly #streams = new Map<string, HostCaller>();
  readonly #awaited = new Map<string, ((stream: HostCaller) => void)[]>();
  readonly #closers: (() => Promise<void> | void)[] = [];
  #hosts = 0;

  private constructor(dir: string, image: TestImage, issue: (identity: string) => Promise<TlsMaterial>) {
    this.dir = dir;
    this.image = image;
    this.issue = issue;
  }

  /** With an authority of its own unless one is given. */
  static async open(given?: Authority, sector?: Buffer): Promise<Lab> {
    const dir = await mkdtemp(join(os.tmpdir(), 'pa-'));
    const authority = given ?? (await createAuthority('test'));
    return new Lab(dir, await makeImage(dir, sector), (identity) => issueCertificate(authority, identity));
  }

  atEnd(close: () => Promise<void> | void): void {
    this.#closers.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    await rm(this.dir, { recursive: true, force: true });
  }

  async #cell(): Promise<RpcServer> {
    return serveRpc({
      tls: await this.issue('spiffe://pando/cell/a-1'),
      host: '127.0.0.1',
      port: 0,
      contract: hostEventsContract,
      access: openAccess(hostEventsContract),
      remote: hostContract,
      authorize: (identity) => identity.startsWith('spiffe://pando/agent/'),
      handlers: (stream) => ({
        'host.hello': ({ hostId }) => {
          this.#streams.set(hostId, stream);
          for (const greet of this.#awaited.get(hostId) ?? []) greet(stream);
          this.#awaited.delete(hostId);
          return { cellId: this.cellId, reportEveryMs: 200 };
        },
        'host.report': (report) => {
          this.reports.push(report);
          return {};
        },
      }),
      onClose: (stream) => {
        for (const [hostId, known] of this.#streams) if (known === stream) this.#streams.delete(hostId);
      },
    });
  }

  async #region(): Promise<RpcServer> {
    return serveRpc({
      tls: await this.issue('spiffe://pando/region/r-1'),
      host: '127.0.0.1',
      port: 0,
      contract: regionContract,
      access: openAccess(regionContract),
      remote: {},
      authorize: () => true,
      handlers: () => ({
        'region.imageChunk': ({ file, offset, length }) => {
          this.chunksRead.push(file);
          const data = this.image.files[file]?.subarray(offset, offset + length) ?? Buffer.alloc(0);
          return { data: data.toString('base64'), eof: data.length < length };
        },
      }),
    });
  }

  /** A card that keeps the rules of its contract for one namespace, without any VPC behind. */
  async card(netns: string, port: number): Promise<RpcServer> {
    const taps = new Map<string, string>();
    const operation = (kind: 'administrative' | 'vpc', eniId: string) =>
      ({ operationId: `${kind}-${eniId}`, kind, ranOn: 'card', at: new Date().toISOString() }) as const;
    const note = (method: string, params: unknown): void => void this.cardCalls.push({ method, params });
    return serveRpc({
      tls: await this.issue(`spiffe://pando/card/${netns}`),
      host: '127.0.0.1',
      port,
      contract: { ...cardContract, ...cardRebuildContract },
      access: openAccess({ ...cardContract, ...cardRebuildContract }),
      remote: {},
      authorize: () => true,
      handlers: () => ({
        ...this.rebuilding.handlers,
        'card.removeVpc': () => ({}),
        'card.status': () => ({
          vtep: '198.18.1.11',
          netns,
          startedAt: this.rebuilding.startedAt,
          vpcs: [],
          ports: [...taps].map(([eniId, tap]) => ({ eniId, vpcId: 'vpc-1', tap, epoch: 1 })),
        }),
        'card.applyVpc': ({ state }) => {
          if (this.cardIsFurther) throw new PandoError('StaleEpoch', `${state.vpcId} is newer here.`);
          return { version: state.version };
        },
        'card.transact': (params) => {
          note('transact', params);
          return { objects: [], places: [] };
        },
        'card.prepareAdministrative': (params) => {
          note('prepareAdministrative', params);
          return operation('administrative', params.eniId);
        },
        'card.attachPort': (params) => {
          note('attachPort', params);
          taps.set(params.port.eniId, params.tap);
          return operation('vpc', params.port.eniId);
        },
        'card.detachPort': async (params) => {
          note('detachPort', params);
          const tap = taps.get(params.eniId);
          taps.delete(params.eniId);
          if (tap !== undefined) await exec('ip', ['-n', netns, 'link', 'del', tap], { allow: [0, 1] });
          return {};
        },
        'card.redirectPort': async (params) => {
          note('redirectPort', params);
          await this.onRedirect?.();
          return {};
        },
        'card.setQueue': (params) => {
          note('setQueue', params);
          return { held: 0, heldBytes: 0, forwarded: 0, dropped: 0 };
        },
        'card.heard': (params) => {
          note('heard', params);
          const ports = [...taps.keys()].map((eniId) => ({
            eniId,
            listenedMs: 60_000,
            ...this.heard.get(eniId),
          }));
          return { ports };
        },
        'card.counters': async () => ({
          underlay: await this.underlay?.(),
          ports: [...taps.keys()].map((eniId) => ({
            eniId,
            rxBytes: 5,
            txBytes: 7,
            rxPackets: 1,
            txPackets: 1,
          })),
        }),
      }),
    });
  }

  /** A new host: its card, its directories, its configuration; the agent is not started yet. It dials these processors too. */
  async host(changes: Partial<AgentConfig> = {}, processors: readonly string[] = []): Promise<TestHost> {
    const name = `${this.#run}${this.#hosts++}`;
    const netns = `${name}-card`;
    await exec('ip', ['netns', 'add', netns]);
    this.atEnd(() => exec('ip', ['netns', 'del', netns]).then(() => undefined));
    const servers = {
      cell: await this.#cell(),
      region: await this.#region(),
      card: await this.card(netns, await freePort()),
    };
    const hostId = `h-${name}`;
    const tls = await this.issue(`spiffe://pando/agent/${hostId}`);
    const dir = join(this.dir, name);
    await mkdir(dir);
    const files = { ca: join(dir, 'ca.pem'), cert: join(dir, 'cert.pem'), key: join(dir, 'key.pem') };
    for (const part of ['ca', 'cert', 'key'] as const) await writeFile(files[part], tls[part]);
    const config = agentConfig.parse({
      hostId,
      zone: 'z',
      stateDir: join(dir, 'state'),
      imageCacheDir: join(dir, 'images'),
      cell: { processors: [`127.0.0.1:${servers.cell.port}`, ...processors] },
      card: { host: '127.0.0.1', port: servers.card.port, netns, identity: `spiffe://pando/card/${netns}` },
      region: { host: '127.0.0.1', port: servers.region.port, identity: 'spiffe://pando/region/r-1' },
      vtep: '198.18.1.11',
      tls: files,
      capacity: { vcpus: 4, memoryMib: 256, diskMib: 10_000 },
      uidBase: 700_000 + Math.floor(Math.random() * 100_000) * 100,
      cgroupPrefix: name,
      runPrefix: name,
      accelerator: 'tcg',
      migrationAddress: '127.0.0.1',
      ...changes,
    });
    const host = new TestHost(this, config, tls, servers);
    this.atEnd(() => host.close());
    return host;
  }

  /** The stream on which this host's agent is reached, once it has said hello. */
  async caller(hostId: string): Promise<HostCaller> {
    const known = this.#streams.get(hostId);
    if (known !== undefined) return known;
    // Told rather than looked for: a host that does not like this cell is gone again at once.
    const { promise, resolve } = Promise.withResolvers<HostCaller>();
    this.#awaited.set(hostId, [...(this.#awaited.get(hostId) ?? []), resolve]);
    const late = sleep(helloMsMax, undefined, { ref: false }).then(() => {
      throw new Error(`waited in vain: ${hostId} says hello`);
    });
    return Promise.race([promise, late]);
  }

  connected(hostId: string): boolean {
    return this.#streams.has(hostId);
  }

  /** Forgets a stream, so that the next hello is waited for. */
  forget(hostId: string): void {
    this.#streams.delete(hostId);
  }
}

type Servers = Record<'cell' | 'region' | 'card', RpcServer>;
type Network = Result<typeof hostContract, 'vm.prepareNetwork'>;
type Launched = Result<typeof hostContract, 'vm.launch'>;

/** Of a switch that is to succeed. Patience alone: what it really takes is measured where nothing else runs. */
export const budgetMsMax = 60_000;

let commands = 0;
/** A command of a workflow of its own. */
export const key = (workflowId = `wf-${commands++}`, step = 's', epoch = 1) => ({ workflowId, step, epoch });

export const requirement = { vcpus: 0.5, memoryMib: 32, rootDiskMib: 8 };

export class TestHost {
  readonly lab: Lab;
  readonly config: AgentConfig;
  readonly servers: Servers;
  readonly #tls: TlsMaterial;
  #agent: Agent | undefined;

  constructor(lab: Lab, config: AgentConfig, tls: TlsMaterial, servers: Servers) {
    this.lab = lab;
    this.config = config;
    this.servers = servers;
    this.#tls = tls;
  }

  get agent(): Agent {
    if (this.#agent === undefined) throw new Error('no agent');
    return this.#agent;
  }

  async start(
    log = pino({ level: process.env.PANDO_TEST_LOG === undefined ? 'silent' : 'warn' }),
  ): Promise<this> {
    this.#agent = await startAgent(this.config, this.#tls, log, () => {
      this.stop();
      void this.start(log);
    });
    await this.lab.caller(this.config.hostId);
    return this;
  }

  /** A card again where the former one was. */
  async restartCard(): Promise<void> {
    const { netns, port } = this.config.card;
    this.servers.card = await this.lab.card(netns, port);
  }

  get runs(): boolean {
    return this.#agent !== undefined;
  }

  /** Lets the agent go; VMs run on. */
  stop(): void {
    this.#agent?.close();
    this.#agent = undefined;
    this.lab.forget(this.config.hostId);
  }

  async call<M extends keyof typeof hostContract & string>(
    method: M,
    params: Params<typeof hostContract, M>,
  ) {
    return (await this.lab.caller(this.config.hostId)).call(method, params, { timeoutMs: 60_000 });
  }

  /** Calls over the stream that its agent has now. */
  get caller(): HostCaller {
    return {
      call: async (method, params, options) =>
        (await this.lab.caller(this.config.hostId)).call(method, params, options),
    };
  }

  get imageRef() {
    return { imageId: 'ami-test', digest: this.lab.image.digest };
  }

  async prepare(
    instanceId: string,
    eniId = instanceId.replace('i-', 'eni-'),
    activate = true,
  ): Promise<Network> {
    await this.call('vm.ensureImage', { command: key(), instanceId, image: this.imageRef });
    return this.call('vm.prepareNetwork', {
      command: key(),
      instanceId,
      ...network(instanceId, eniId),
      activate,
    });
  }

  /** Everything that a launch takes. */
  async launch(
    instanceId: string = newId('instance'),
    options: { incoming?: boolean; peer?: MigrationCredential | undefined; rootDiskMib?: number } = {},
  ): Promise<Launched & { instanceId: string }> {
    const incoming = options.incoming ?? false;
    const results = await this.prepare(instanceId, undefined, !incoming);
    const image = this.imageRef;
    const launched = await this.call('vm.launch', {
      command: key(),
      instanceId,
      requirement: { ...requirement, rootDiskMib: options.rootDiskMib ?? requirement.rootDiskMib },
      image,
      network: results,
      incoming,
      peer: options.peer,
    });
    return { instanceId, ...launched };
  }

  /** A command to the VMM, over the second monitor. */
  async qmp(instanceId: string, command: string, args: object): Promise<unknown> {
    const qmp = await Qmp.connect(
      join(this.config.stateDir, 'vms', instanceId, 'sockets', 'qmp2.sock'),
      5_000,
    );
    try {
      return await qmp.execute(command, args);
    } finally {
      qmp.close();
    }
  }

  /** A human monitor's command. */
  async hmp(instanceId: string, line: string): Promise<string> {
    return String(await this.qmp(instanceId, 'human-monitor-command', { 'command-line': line }));
  }

  /** The VMM's process, as the agent wrote it down. */
  async pidOf(instanceId: string): Promise<number> {
    const path = join(this.config.stateDir, 'vms', instanceId, 'vm.json');
    return JSON.parse(await readFile(path, 'utf8')).process.pid;
  }

  /** Ends the VMM without a word. */
  async killVmm(instanceId: string): Promise<void> {
    process.kill(await this.pidOf(instanceId), 'SIGKILL');
  }

  /** Writes "soft off" into the machine's ACPI control register, as a guest's kernel does when it powers off. */
  async guestShutdown(instanceId: string): Promise<void> {
    // The firmware has set the register's place up when the guest counts.
    await until('the guest runs', async () => (await this.round(instanceId)) > 0);
    await this.hmp(instanceId, 'o /w 0x604 0x2000');
  }

  /** Fails unless 64 KiB from 1 MiB of the disk hold this byte. The VMM must not run: its overlay is read alone. */
  async checkDisk(instanceId: string, byte: string): Promise<void> {
    const filename = join(this.config.stateDir, 'vms', instanceId, 'run', 'root.qcow2');
    const disk = JSON.stringify({ driver: 'qcow2', backing: null, file: { driver: 'file', filename } });
    const { stdout } = await exec('qemu-io', ['-r', '-c', `read -P ${byte} 1M 64k`, `json:${disk}`]);
    if (!/^read 65536/m.test(stdout) || /failed/.test(stdout)) throw new Error(stdout);
  }

  /** The number of the round that the guest is in. */
  async round(instanceId: string): Promise<number> {
    return Number(/0x[0-9a-f]+$/m.exec((await this.hmp(instanceId, 'xp /1wx 0x7000')).trim())?.[0]);
  }

  async close(): Promise<void> {
    if (this.#agent === undefined) await this.start();
    for (const { record } of this.agent.host.vms)
      await this.call('vm.destroy', { command: key(), instanceId: record.instanceId });
    await this.agent.host.context.cgroups.removeAll();
    await this.agent.host.context.fence.remove();
    this.stop();
    for (const server of Object.values(this.servers)) await server.close();
  }
}

/** What a launch's command says of a VPC, a port and what its guest reads. */
export const network = (instanceId: string, eniId: string) => ({
  vpc: {
    vpcId: 'vpc-1',
    vni: 7,
    version: 1,
    cidrs: ['10.0.0.0/16'],
    subnets: [],
    groups: [],
    ports: [],
    dnsServers: [],
    domainName: 'internal',
    mtu: 1450,
  },
  port: {
    eniId,
    instanceId,
    mac: '02:00:00:00:00:07',
    ip: '10.0.0.7',
    subnetId: 'subnet-1',
    groupIds: [],
    sourceDestCheck: true,
    epoch: 1,
  },
  metadata: {
    instanceId,
    accountId: '000000000001',
    imageId: 'ami-test',
    instanceType: 't',
    reservationId: 'r-1',
    launchIndex: 0,
    hostname: 'h',
    availabilityZone: 'z',
    region: 'r',
    httpTokens: 'optional' as const,
    httpEndpoint: 'enabled' as const,
    hopLimit: 1,
    launchTime: new Date().toISOString(),
  },
});
