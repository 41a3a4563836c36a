/**
 * One real host below a fault matrix: an agent with QEMU and a card's process in namespaces of their own. Processors listen, and
 * the agent dials them, as in a region. The guest is a boot sector that counts, so that it can be seen to run.
 */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { exec } from '#base/exec.ts';
import { issueCertificate } from '#base/pki.ts';
import { listen } from '#cell/listener.ts';
import { Lab as AgentLab, imageMib, type TestHost } from '../../agent/lab.ts';
import { Lab as CardLab, type LabCard } from '../../card/lab.ts';
import { freePort } from '../../support/freePort.ts';
import { doomedLease, type Ground, lease } from './fault-matrix.ts';
import { type ProcessorOptions, TestCell, type TestProcessor, until, zone } from './harness.ts';

/** Patience alone: an agent dials again after a growing pause. */
const joinMsMax = 60_000;
const silent = pino({ level: 'silent' });

/** The VMMs of the host, by instance, as the machine's own table of processes has them. */
const vmmsOf = async (host: TestHost): Promise<{ instanceId: string; pid: number }[]> => {
  const { uidBase } = host.config;
  const found: { instanceId: string; pid: number }[] = [];
  for (const name of (await readdir('/proc')).filter((each) => /^\d+$/.test(each))) {
    const status = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '');
    const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]);
    if (!(uid >= uidBase && uid < uidBase + 100)) continue;
    const args = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0');
    found.push({
      instanceId: args.find((arg) => arg.startsWith('i-'))?.split(',')[0] ?? '',
      pid: Number(name),
    });
  }
  return found;
};

const linesOf = async (command: string, args: readonly string[]): Promise<string[]> =>
  (await exec(command, args, { allow: [1] })).stdout.split('\n').filter((line) => line.trim() !== '');

const openVpcs = async (card: LabCard): Promise<string[]> =>
  (await readdir('/run/netns')).filter((name) => name.startsWith(card.namespacePrefix));

/** Everything that a VM could leave on the machine, by kind. */
const inventory = async (host: TestHost, card: LabCard): Promise<Record<string, unknown>> => {
  const { stateDir, imageCacheDir, runPrefix, cgroupPrefix } = host.config;
  const links = async (args: readonly string[]): Promise<string[]> =>
    (await linesOf('ip', [...args, '-o', 'link'])).map((line) => line.split(': ')[1]?.split('@')[0] ?? '');
  const taps = [...(await links([])), ...(await links(['-n', card.netns]))];
  return {
    vmms: await vmmsOf(host),
    namespaces: await openVpcs(card),
    taps: taps.filter((name) => name.startsWith(`${runPrefix}t`)),
    links: await links(['-n', card.netns]),
    cgroups: await linesOf('find', ['/sys/fs/cgroup', '-type', 'd', '-path', `*/${cgroupPrefix}/*`]),
    mounts: (await readFile('/proc/self/mountinfo', 'utf8'))
      .split('\n')
      .filter((line) => line.includes(stateDir)),
    vms: await readdir(join(stateDir, 'vms')),
    images: await readdir(imageCacheDir).catch(() => []),
    ports: (await card.client.call('card.status', {})).ports,
  };
};

/** Counts the VMMs that the agent says it started. */
class LaunchCounter extends Writable {
  count = 0;
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (chunk.includes('"VMM started"')) this.count += 1;
    done();
  }
}

export class RealGround implements Ground {
  readonly instanceType = 'custom.2000m.48';
  readonly settleMsMax = 60_000;
  readonly host: TestHost;
  readonly #cell: TestCell;
  readonly #agents: AgentLab;
  readonly #cards: CardLab;
  readonly #card: LabCard;
  readonly #ports: readonly number[];
  readonly #launches: LaunchCounter;
  #survivor: TestProcessor | undefined;

  private constructor(parts: {
    readonly cell: TestCell;
    readonly agents: AgentLab;
    readonly cards: CardLab;
    readonly card: LabCard;
    readonly host: TestHost;
    readonly ports: readonly number[];
    readonly launches: LaunchCounter;
  }) {
    this.#cell = parts.cell;
    this.#agents = parts.agents;
    this.#cards = parts.cards;
    this.#card = parts.card;
    this.host = parts.host;
    this.#ports = parts.ports;
    this.#launches = parts.launches;
  }

  static async start(): Promise<RealGround> {
    const made = new AsyncDisposableStack();
    try {
      return await RealGround.#start(made);
    } catch (error) {
      await made.disposeAsync();
      throw error;
    }
  }

  static async #start(made: AsyncDisposableStack): Promise<RealGround> {
    const cards = made.use(await CardLab.create());
    const card = await cards.card('card', { agentIdentity: 'spiffe://pando/agent/', emptyVpcKeptMs: 0 });
    const agents = await AgentLab.open(cards.authority);
    made.defer(() => agents.close());
    const cell = await TestCell.start();
    made.defer(() => cell.stop());
    cell.region.image = { digest: agents.image.digest, minMemoryMib: 16, diskVirtualMib: 2 * imageMib };
    agents.cellId = 'cell-1';
    const ports = [await freePort(), await freePort()];
    const host = await agents.host(
      {
        zone,
        vtep: card.vtep,
        card: {
          host: card.vtep,
          port: 7000,
          netns: card.netns,
          identity: `spiffe://pando/card/${card.name}`,
        },
      },
      ports.map((port) => `127.0.0.1:${port}`),
    );
    const launches = new LaunchCounter();
    const ground = new RealGround({ cell, agents, cards, card, host, ports, launches });
    await host.start(pino({ level: 'info' }, launches));
    ground.#survivor = await ground.#processor(lease, 0);
    return ground;
  }

  get region() {
    return this.#cell.region;
  }

  get survivor(): TestProcessor {
    assert.ok(this.#survivor);
    return this.#survivor;
  }

  killVmm(instanceId: string): Promise<void> {
    return this.host.killVmm(instanceId);
  }

  launches(): number {
    return this.#launches.count;
  }

  addProcessor(faults: NonNullable<ProcessorOptions['faults']>): Promise<TestProcessor> {
    return this.#processor({ ...doomedLease, faults }, 1);
  }

  /** A processor that listens where the agent dials; ready once the agent and its card are there. */
  async #processor(options: ProcessorOptions, place: number): Promise<TestProcessor> {
    const processor = await this.#cell.addProcessor({ ...options, hosts: [] });
    const { cell } = processor;
    const name = `p-${place}`;
    const tls = await issueCertificate(this.#cards.authority, `spiffe://pando/cell/${name}`);
    const where = { host: '127.0.0.1', port: this.#ports[place] ?? 0 };
    const server = await listen({ cell, name, tls, ...where, log: silent });
    processor.closers.push(() => server.close());
    await until('the agent has joined', () => cell.services.hosts.has(this.host.config.hostId), joinMsMax);
    return processor;
  }

  async assertPlaced({ id, state, host_id: hostId }: Parameters<Ground['assertPlaced']>[0]): Promise<void> {
    const vmms = (await vmmsOf(this.host)).filter(({ instanceId }) => instanceId === id);
    const { state: told } = await this.host.call('vm.describe', { instanceId: id });
    if (state !== 'running') {
      assert.deepEqual(vmms, [], 'no VMM');
      assert.equal(told, 'absent');
      return;
    }
    assert.equal(hostId, this.host.config.hostId);
    assert.equal(vmms.length, 1, 'exactly one VMM');
    assert.equal(told, 'running');
    await until('the guest runs', async () => (await this.host.round(id)) > 0, this.settleMsMax);
    const port = this.region.interfaces.get(id);
    assert.equal(port?.vtep, this.#card.vtep, 'the region sends packets where it runs');
    const { ports } = await this.#card.client.call('card.status', {});
    assert.deepEqual(
      ports.map(({ eniId }) => eniId),
      [port?.eniId],
    );
  }

  async assertNothingLeft(): Promise<void> {
    const { digest } = this.#agents.image;
    const none = { vmms: [], namespaces: [], taps: [], cgroups: [], mounts: [], vms: [], ports: [] };
    // A VPC without ports closes by itself, a moment after its last port has left.
    await until('its VPC to close', async () => (await openVpcs(this.#card)).length === 0);
    const { links, images, ...rest } = await inventory(this.host, this.#card);
    assert.deepEqual(rest, none);
    assert.deepEqual(links, ['lo', 'ul']);
    assert.ok(JSON.stringify(images) === JSON.stringify([digest]) || JSON.stringify(images) === '[]');
  }

  async stop(): Promise<void> {
    await this.#agents.close();
    await this.#cell.stop();
    await this.#cards[Symbol.asyncDispose]();
  }
}
