/** Two real hosts (agents with QEMU, cards in namespaces of their own) and processors that a test kills. The guest is a boot sector. */
import { pino } from 'pino';
import { z } from 'zod';
import { exec } from '#base/exec.ts';
import { issueCertificate } from '#base/pki.ts';
import { listen } from '#cell/listener.ts';
import { Lab as AgentLab, imageMib, type TestHost } from '../../agent/lab.ts';
import { attach, Lab as CardLab, type LabCard, type LabVm, portOf } from '../../card/lab.ts';
import { freePort } from '../../support/freePort.ts';
import type { FakeRegion } from './fake-region.ts';
import { lease } from './fault-matrix.ts';
import { type ProcessorOptions, TestCell, type TestProcessor, until, zone } from './harness.ts';

/** Patience alone: an agent dials again after a growing pause. */
const joinMsMax = 60_000;
const silent = pino({ level: 'silent' });
const disciplines = z.array(
  z.object({ root: z.boolean().optional(), packets: z.number(), qlen: z.number() }),
);

export interface RealHost {
  readonly agent: TestHost;
  readonly card: LabCard;
}

export class TwoRealHosts {
  readonly cell: TestCell;
  readonly hosts: readonly RealHost[];
  readonly #agents: AgentLab;
  readonly #cards: CardLab;
  readonly #ports: readonly number[];
  #neighbours = 0;

  private constructor(
    cell: TestCell,
    labs: { readonly agents: AgentLab; readonly cards: CardLab },
    hosts: readonly RealHost[],
    ports: readonly number[],
  ) {
    this.cell = cell;
    this.hosts = hosts;
    this.#agents = labs.agents;
    this.#cards = labs.cards;
    this.#ports = ports;
  }

  static async start(): Promise<TwoRealHosts> {
    const made = new AsyncDisposableStack();
    try {
      return await TwoRealHosts.#start(made);
    } catch (error) {
      await made.disposeAsync();
      throw error;
    }
  }

  static async #start(made: AsyncDisposableStack): Promise<TwoRealHosts> {
    const cards = made.use(await CardLab.create());
    const agents = await AgentLab.open(cards.authority);
    made.defer(() => agents.close());
    // Else the lab's own processor would pin the hosts to its cell.
    agents.cellId = 'cell-1';
    const cell = await TestCell.start();
    made.defer(() => cell.stop());
    cell.region.image = { digest: agents.image.digest, minMemoryMib: 16, diskVirtualMib: 2 * imageMib };
    letEverythingThrough(cell.region);
    const ports = [await freePort(), await freePort()];
    const hosts: RealHost[] = [];
    for (const name of ['c1', 'c2']) {
      const card = await cards.card(name, { agentIdentity: 'spiffe://pando/agent/' });
      const identity = `spiffe://pando/card/${name}`;
      const agent = await agents.host(
        { zone, vtep: card.vtep, card: { host: card.vtep, port: 7000, netns: card.netns, identity } },
        ports.map((port) => `127.0.0.1:${port}`),
      );
      hosts.push({ agent: await agent.start(), card });
    }
    return new TwoRealHosts(cell, { agents, cards }, hosts, ports);
  }

  /** A processor that both agents have joined. */
  async processor(place: number, options: ProcessorOptions = {}): Promise<TestProcessor> {
    const processor = await this.cell.addProcessor({ ...lease, ...options, hosts: [] });
    const name = `cell-1-${place}`;
    const tls = await issueCertificate(this.#cards.authority, `spiffe://pando/cell/${name}`);
    const where = { host: '127.0.0.1', port: this.#ports[place] ?? 0 };
    const server = await listen({ cell: processor.cell, name, tls, ...where, log: silent });
    processor.closers.push(() => server.close());
    const { hosts } = processor.cell.services;
    await until(
      'both agents have joined',
      () => this.hosts.every(({ agent }) => hosts.has(agent.config.hostId)),
      joinMsMax,
    );
    return processor;
  }

  /** Where the guest executes now, by the VMMs themselves. */
  async runningOn(instanceId: string): Promise<RealHost[]> {
    const running = await Promise.all(
      this.hosts.map(({ agent }) =>
        agent.hmp(instanceId, 'info status').then(
          (text) => /VM status: running/.test(text),
          () => false,
        ),
      ),
    );
    return this.hosts.filter((_, at) => running[at]);
  }

  /** A new VM of the guest's network on this host, from which packets are sent. A VPC that no instance needs does not last. */
  async neighbour({ card }: RealHost): Promise<LabVm> {
    const { region } = this.cell;
    const number = 200 + this.#neighbours++;
    const more = { subnetId: region.subnetId, groupIds: [region.groupId] };
    const vm = await this.#cards.vm(`n${number}`, card, portOf(number, card.vtep, more));
    await attach(card, region.vpcId, vm);
    return vm;
  }

  /** Sends a datagram to the guest, and answers on which host its tap has taken it. */
  async arrivesAt(from: LabVm, instanceId: string, address: string): Promise<RealHost | undefined> {
    const before = await this.#taken(instanceId);
    await from.run(`echo here | socat -u - UDP:${address}:9`);
    const after = await this.#taken(instanceId);
    return this.hosts.find((_, at) => (after[at] ?? 0) > (before[at] ?? 0));
  }

  /** Frames that each host's tap of the guest has taken, read or not. */
  #taken(instanceId: string): Promise<number[]> {
    return Promise.all(
      this.hosts.map(async (host) => {
        const tap = host.agent.agent.host.find(instanceId)?.record.tap;
        if (tap === undefined) return 0;
        const { stdout, exitCode } = await exec(
          'nsenter',
          [`--net=${this.#namespace(host)}`, 'tc', '-s', '-j', 'qdisc', 'show', 'dev', tap],
          { allow: [1] },
        );
        const root =
          exitCode === 0 ? disciplines.parse(JSON.parse(stdout)).find((each) => each.root) : undefined;
        return root === undefined ? 0 : root.packets + root.qlen;
      }),
    );
  }

  #namespace({ card }: RealHost): string {
    return `/run/netns/${card.namespacePrefix}${this.cell.region.vpcId}`;
  }

  async stop(): Promise<void> {
    await this.#agents.close();
    await this.cell.stop();
    await this.#cards[Symbol.asyncDispose]();
  }
}

/** So that a datagram reaches the guest on whichever card it is. */
const letEverythingThrough = (region: FakeRegion): void => {
  const declared = region.state.bind(region);
  const all = [{ protocol: '-1', cidr: '0.0.0.0/0' }];
  region.state = () => ({
    ...declared(),
    groups: [{ groupId: region.groupId, ingress: all, egress: all }],
  });
};
