/** A small network of this test's own: an underlay, cards as processes in namespaces, "VMs" as namespaces behind a veth. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import { type Authority, createAuthority, issueCertificate } from '#base/pki.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { cardContract } from '#contracts/card.ts';
import { cardRebuildContract } from '#contracts/card-rebuild.ts';
import type { VpcPort, VpcState } from '#contracts/network.ts';
import { deleteLink } from '#lab/links.ts';
import { cardCapabilities } from '#node/capabilities.ts';
import { withCapabilities } from '../support/keptCapabilities.ts';
import { labName } from '../support/labName.ts';

export type CardClient = RpcClient<Record<string, never>, typeof cardContract & typeof cardRebuildContract>;

export interface LabCard {
  readonly name: string;
  readonly netns: string;
  readonly vtep: string;
  readonly client: CardClient;
  readonly namespacePrefix: string;
  readonly stateDir: string;
  start(): Promise<void>;
  /** Ends the process by this signal and waits until it is gone. */
  stop(signal: NodeJS.Signals): Promise<void>;
  /** Sends the process a signal after which it still lives. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
}

export interface LabVm {
  readonly netns: string;
  readonly port: VpcPort;
  readonly tap: string;
  /** Runs a shell script in the VM; never throws for its exit. */
  run(script: string, timeoutMs?: number): Promise<{ ok: boolean; out: string }>;
  start(command: string, args: readonly string[]): ChildProcess;
}

const readyTimeoutMs = 60_000;
const netTriesMax = 50;
/** As the supervisor's first back-off. */
const restartPauseMs = 100;
const sourceMain = join(import.meta.dirname, '../../src/card/program/boot.ts');

/**
 * One processor receives all of a veth's frames, as a NIC does for each flow. Otherwise each frame waits in the backlog of the
 * processor that sent it, and those of one flow pass each other when its sender is moved.
 */
const oneReceiver = (netns: string, device: string): string =>
  `ip netns exec ${netns} sh -c 'echo 1 >/sys/class/net/${device}/queues/rx-0/rps_cpus'`;

export class Lab implements AsyncDisposable {
  readonly prefix = labName();
  /** The first three numbers of the underlay's addresses. */
  net = '';
  readonly authority: Authority;
  readonly directory: string;
  readonly #namespaces: string[] = [];
  readonly #children = new Set<ChildProcess>();
  readonly #closers: (() => Promise<void> | void)[] = [];
  #nextNode = 1;

  private constructor(authority: Authority, directory: string) {
    this.authority = authority;
    this.directory = directory;
  }

  static async create(): Promise<Lab> {
    const lab = new Lab(await createAuthority('card tests'), await mkdtemp(join(tmpdir(), 'pando-card-')));
    const fabric = await lab.namespace('fabric');
    await exec('ip', [
      ...['link', 'add', 'name', `${lab.prefix}r`],
      ...['type', 'veth', 'peer', 'name', 'root', 'netns', fabric],
    ]);
    await lab.#takeNet();
    await exec('sh', ['-e', '-s'], {
      input: `ip link set ${lab.prefix}r up
ip -n ${fabric} link add name br0 address 02:00:00:00:00:fe type bridge
ip -n ${fabric} link set br0 up
ip -n ${fabric} link set root master br0 up
nsenter --net=/run/netns/${fabric} sysctl -qw net.bridge.bridge-nf-call-iptables=0 || true
`,
    });
    return lab;
  }

  /** A range that no other lab on this machine has: taken first, then looked at, so that of two that want the same both see it. */
  async #takeNet(): Promise<void> {
    for (let tries = 0; tries < netTriesMax; tries++) {
      const net = `100.127.${100 + Math.floor(Math.random() * 150)}`;
      const own = [`${net}.254/24`, 'dev', `${this.prefix}r`];
      await exec('ip', ['addr', 'add', ...own]);
      const { stdout } = await exec('ip', ['-o', 'addr', 'show', 'to', `${net}.0/24`]);
      this.net = net;
      if (stdout.trim().split('\n').length === 1) return;
      await exec('ip', ['addr', 'del', ...own]);
    }
    throw new Error(`no range was free in ${netTriesMax} tries`);
  }

  async namespace(name: string): Promise<string> {
    const full = `${this.prefix}-${name}`;
    await exec('ip', ['netns', 'add', full]);
    await exec('ip', ['-n', full, 'link', 'set', 'lo', 'up']);
    this.#namespaces.push(full);
    return full;
  }

  /** A namespace with an address on the underlay. */
  async node(name: string): Promise<{ netns: string; ip: string }> {
    const number = this.#nextNode++;
    const netns = await this.namespace(name);
    const ip = `${this.net}.${number}`;
    await exec('sh', ['-e', '-s'], {
      input: `ip link add name ul netns ${netns} type veth peer name p${number} netns ${this.prefix}-fabric
ip -n ${this.prefix}-fabric link set p${number} master br0 up
ip -n ${netns} addr add ${ip}/24 dev ul
ip -n ${netns} link set ul mtu 1500 up
${oneReceiver(netns, 'ul')}
${oneReceiver(`${this.prefix}-fabric`, `p${number}`)}
`,
    });
    return { netns, ip };
  }

  /** Writes PEM files of an identity; answers their paths. */
  async tlsFiles(role: string, name: string): Promise<{ ca: string; cert: string; key: string }> {
    const material = await issueCertificate(this.authority, `spiffe://pando/${role}/${name}`);
    const paths = { ca: '', cert: '', key: '' };
    for (const part of ['ca', 'cert', 'key'] as const) {
      paths[part] = join(this.directory, `${role}-${name}.${part}.pem`);
      await writeFile(paths[part], material[part]);
    }
    return paths;
  }

  /** A link to the card that is not the underlay, as an agent has one; answers the card's address on it. */
  async #ownLink(netns: string): Promise<string> {
    const number = this.#nextNode++;
    const link = `${this.prefix}l${number}`;
    const [here, there] = [1, 2].map(
      (end) => `${this.net.replace('100.127', '100.126')}.${4 * number + end}`,
    );
    await exec('sh', ['-e', '-s'], {
      input: `ip link add name ${link} type veth peer name own netns ${netns}
ip addr add ${here}/30 dev ${link}
ip link set ${link} up
ip -n ${netns} addr add ${there}/30 dev own
ip -n ${netns} link set own up
`,
    });
    return there ?? '';
  }

  /** A card that obeys the test itself, and this agent (a prefix if it ends in `/`). */
  async card(
    name: string,
    {
      agentIdentity = 'spiffe://pando/agent/test',
      emptyVpcKeptMs,
      kernelLookEveryMs,
      ownLink = false,
      programsDir,
    }: {
      readonly agentIdentity?: string;
      readonly emptyVpcKeptMs?: number;
      readonly kernelLookEveryMs?: number;
      /** Its agent reaches it by a link that is not the underlay. */
      readonly ownLink?: boolean;
      /** Versions of its program; it is started again whenever it ends, as by a supervisor. */
      readonly programsDir?: string;
    } = {},
  ): Promise<LabCard> {
    const { netns, ip } = await this.node(name);
    const reached = ownLink ? await this.#ownLink(netns) : ip;
    const config = {
      name,
      stateDir: join(this.directory, `state-${name}`),
      runPrefix: `${this.prefix}-`,
      netns,
      underlayDevice: 'ul',
      vtep: ip,
      listen: { host: reached, port: 7000 },
      tls: await this.tlsFiles('card', name),
      agentIdentity,
      emptyVpcKeptMs,
      kernelLookEveryMs,
      programsDir,
    };
    const path = join(this.directory, `${name}.json`);
    await writeFile(path, JSON.stringify(config));
    const client: CardClient = new RpcClient({
      tls: await issueCertificate(this.authority, 'spiffe://pando/agent/test'),
      host: reached,
      port: 7000,
      expect: `spiffe://pando/card/${name}`,
      remote: { ...cardContract, ...cardRebuildContract },
      contract: {},
      handlers: {},
    });
    this.onClose(() => client.close());
    let child: ChildProcess | undefined;
    let isWanted = false;
    const spawnOnce = (): void => {
      const [program = '', ...args] = withCapabilities(cardCapabilities, [
        ...[process.execPath, sourceMain, '--config', path],
      ]);
      child = this.spawnIn(netns, program, args, 'log');
      if (programsDir !== undefined)
        child.once('exit', () => {
          if (isWanted) setTimeout(() => isWanted && spawnOnce(), restartPauseMs);
        });
    };
    this.onClose(() => {
      isWanted = false;
    });
    const card: LabCard = {
      name,
      netns,
      vtep: ip,
      client,
      stateDir: config.stateDir,
      namespacePrefix: `${this.prefix}-${name}-`,
      start: async () => {
        isWanted = true;
        spawnOnce();
        await client.ready(readyTimeoutMs);
      },
      stop: (signal) => {
        isWanted = false;
        return this.end(child, signal);
      },
      signal: (signal) => void child?.kill(signal),
    };
    await card.start();
    return card;
  }

  /** A VM behind `card`, with the address of its port. The tap lies in the card's namespace, not yet attached. */
  async vm(name: string, card: LabCard, port: VpcPort, mtu = 1400): Promise<LabVm> {
    const netns = await this.namespace(`vm-${name}`);
    const tap = `tap${name}`;
    const router = `${port.ip.split('.').slice(0, 3).join('.')}.1`;
    await exec('sh', ['-e', '-s'], {
      input: `ip link add name eth0 netns ${netns} address ${port.mac} mtu ${mtu} type veth peer name ${tap} netns ${card.netns}
ip -n ${netns} addr add ${port.ip}/24 dev eth0
ip -n ${netns} link set eth0 up
ip -n ${netns} route add default via ${router}
${oneReceiver(netns, 'eth0')}
`,
    });
    return {
      netns,
      port,
      tap,
      run: async (script, timeoutMs = 20_000) => {
        try {
          const { stdout, stderr, exitCode } = await exec(
            'nsenter',
            [`--net=/run/netns/${netns}`, 'sh', '-s'],
            { input: script, timeoutMs, allow: Array.from({ length: 255 }, (_, at) => at + 1) },
          );
          return { ok: exitCode === 0, out: stdout + stderr };
        } catch (error) {
          return { ok: false, out: String(error) };
        }
      },
      start: (command, args) => this.spawnIn(netns, command, args),
    };
  }

  /** `log`: nobody reads what it writes. Into a pipe it would write until that is full, and then stand still. */
  spawnIn(netns: string, command: string, args: readonly string[], output?: 'log'): ChildProcess {
    const shown = process.env.PANDO_TEST_LOG !== undefined;
    const child = spawn('nsenter', [`--net=/run/netns/${netns}`, command, ...args], {
      stdio: ['ignore', output === 'log' && !shown ? 'ignore' : 'pipe', shown ? 'inherit' : 'ignore'],
    });
    if (shown) child.stdout?.pipe(process.stdout, { end: false });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  async end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    await gone;
  }

  onClose(close: () => Promise<void> | void): void {
    this.#closers.push(close);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    for (const child of [...this.#children]) await this.end(child, 'SIGKILL');
    const { stdout } = await exec('ip', ['netns', 'list']);
    const names = stdout.split('\n').map((line) => line.split(' ')[0] ?? '');
    for (const name of names.filter((each) => each.startsWith(`${this.prefix}-`)))
      await exec('ip', ['netns', 'del', name], { allow: [1] });
    await deleteLink(`${this.prefix}r`);
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** On a machine that does other things too. */
const patienceMs = 60_000;

/** Tries until it holds; fails with what `probe` last answered. */
export const eventually = async <T>(
  probe: () => Promise<T>,
  holds: (value: T) => boolean,
  timeoutMs = patienceMs,
): Promise<T> => {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (holds(value)) return value;
    if (Date.now() > until) throw new Error(`never held: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

const openGroup = {
  groupId: 'sg-open',
  ingress: [{ protocol: '-1', cidr: '0.0.0.0/0' }],
  egress: [{ protocol: '-1', cidr: '0.0.0.0/0' }],
};

/** A VPC 10.0.0.0/16 with two subnets and a group that lets everything through. */
export const vpcOf = (
  vpcId: string,
  vni: number,
  version: number,
  ports: VpcPort[],
  more: Partial<VpcState> = {},
): VpcState => ({
  vpcId,
  vni,
  version,
  cidrs: ['10.0.0.0/16'],
  subnets: [
    { subnetId: 'subnet-a', cidr: '10.0.0.0/24', router: '10.0.0.1', routes: [] },
    { subnetId: 'subnet-b', cidr: '10.0.1.0/24', router: '10.0.1.1', routes: [] },
  ],
  groups: [openGroup],
  ports,
  dnsServers: ['10.0.0.2'],
  domainName: 'example.internal',
  mtu: 1400,
  ...more,
});

/** A port `10.0.<subnet>.<host>`. */
export const portOf = (host: number, vtep: string | undefined, more: Partial<VpcPort> = {}): VpcPort => ({
  eniId: `eni-${host}`,
  instanceId: `i-${host}`,
  mac: `02:00:00:00:00:${host.toString(16).padStart(2, '0')}`,
  ip: `10.0.0.${host}`,
  subnetId: 'subnet-a',
  groupIds: ['sg-open'],
  sourceDestCheck: true,
  vtep,
  epoch: 1,
  ...more,
});

export const metadataOf = (port: VpcPort) => ({
  instanceId: port.instanceId ?? 'i-0',
  accountId: '000000000000',
  imageId: 'ami-1',
  instanceType: 'p1.small',
  reservationId: 'r-1',
  launchIndex: 0,
  hostname: `ip-${port.ip.replaceAll('.', '-')}.example.internal`,
  availabilityZone: 'pando-1a',
  region: 'pando-1',
  keyName: 'laptop',
  publicKey: 'ssh-ed25519 AAAA laptop',
  userData: Buffer.from(`hello ${port.eniId}`).toString('base64'),
  httpTokens: 'required' as const,
  httpEndpoint: 'enabled' as const,
  hopLimit: 2,
  launchTime: '2026-01-01T00:00:00Z',
});

/** Attaches a VM as an agent does. */
export const attach = async (card: LabCard, vpcId: string, vm: LabVm, activate = true): Promise<void> => {
  await card.client.call('card.prepareAdministrative', {
    vpcId,
    eniId: vm.port.eniId,
    metadata: metadataOf(vm.port),
  });
  await card.client.call('card.attachPort', { vpcId, port: vm.port, tap: vm.tap, activate });
};
