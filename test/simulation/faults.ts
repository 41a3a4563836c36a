/** What goes wrong, and when: from the seed alone. */
import { pause } from './client.ts';
import type { Cloud } from './cloud.ts';
import { type Random, randomOf } from './random.ts';
import * as names from './shape.ts';
import type { StoreImage } from './store.ts';

export const faultKinds = [
  'kill',
  'freeze',
  'cut',
  'isolate',
  'weather',
  'clock',
  'rewind',
  'power',
  'guest',
  'blind',
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface FaultsOptions {
  readonly cloud: Cloud;
  readonly kinds: readonly FaultKind[];
  readonly fromMs: number;
  readonly untilMs: number;
  /** The mean time between two. */
  readonly everyMs: number;
}

const shortMs = [100, 3_000] as const;
const longMs = [1_000, 15_000] as const;
const clockStepMsMax = 2 * 3_600_000;
const rewindMs = 1_000;

export class Faults {
  readonly #options: FaultsOptions;
  readonly #random: Random;
  readonly counts = new Map<FaultKind, number>();
  /** Cells whose store has lost commits; 0: the region's. */
  readonly rewound = new Set<number>();

  constructor(options: FaultsOptions) {
    this.#options = options;
    this.#random = randomOf(options.cloud.world.seed, 'faults');
  }

  start(): void {
    const { cloud, kinds } = this.#options;
    if (kinds.length > 0) cloud.world.as(cloud.world.outside, () => void this.#run());
  }

  /** Everything is mended: processes run, the network is whole. */
  heal(): void {
    const { world, processes, parts } = this.#options.cloud;
    world.tell('everything is mended');
    parts.network.heal();
    for (const process of processes.values()) world.thaw(process);
    this.#options.cloud.startAll();
  }

  async #run(): Promise<void> {
    const { cloud, kinds, fromMs, untilMs, everyMs } = this.#options;
    await pause(fromMs);
    while (cloud.world.nowMs < untilMs) {
      const kind = this.#random.pick(kinds);
      this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
      void this.#order(kind).catch((error: unknown) => cloud.world.failed(cloud.world.outside, error));
      await pause(everyMs * (0.3 + 1.4 * this.#random.next()));
    }
  }

  async #order(kind: FaultKind): Promise<void> {
    switch (kind) {
      case 'kill':
        return this.#kill();
      case 'freeze':
        return this.#freeze();
      case 'cut':
        return this.#cut();
      case 'isolate':
        return this.#isolate();
      case 'weather':
        return this.#weather();
      case 'clock':
        return this.#clock();
      case 'rewind':
        return this.#rewind();
      case 'power':
        return this.#power();
      case 'guest':
        return this.#guest();
      case 'blind':
        return this.#blind();
    }
  }

  /** Control processes as often as all hosts together: they are few, and more depends on them. */
  #anyProcess(): string {
    const all = names.processNames(this.#options.cloud.parts.shape);
    const [hosts, others] = [
      all.filter((name) => /-h\d+$/.test(name)),
      all.filter((name) => !/-h\d+$/.test(name)),
    ];
    return this.#random.pick(hosts.length > 0 && this.#random.chance(0.3) ? hosts : others);
  }

  #for([min, max]: readonly [number, number]): Promise<void> {
    return pause(this.#random.between(min, max));
  }

  get #isOver(): boolean {
    return this.#options.cloud.world.nowMs >= this.#options.untilMs;
  }

  async #kill(): Promise<void> {
    const { cloud } = this.#options;
    const name = this.#anyProcess();
    cloud.kill(name);
    await this.#for(this.#random.chance(0.7) ? shortMs : longMs);
    if (!cloud.isUp(name)) cloud.start(name);
  }

  async #freeze(): Promise<void> {
    const { cloud } = this.#options;
    const process = cloud.processes.get(this.#anyProcess());
    if (process === undefined) return;
    cloud.world.freeze(process);
    await this.#for(longMs);
    cloud.world.thaw(process);
  }

  async #cut(): Promise<void> {
    const { network } = this.#options.cloud.parts;
    const [one, other] = this.#linked();
    const both = this.#random.chance(0.6);
    this.#options.cloud.world.tell(`cut ${one} ${both ? '-' : '>'} ${other}`);
    network.cut(one, other);
    if (both) network.cut(other, one);
    await this.#for(longMs);
    network.mend(one, other);
    network.mend(other, one);
  }

  /** Two that talk to each other. */
  #linked(): [string, string] {
    const { shape } = this.#options.cloud.parts;
    const cell = this.#random.between(1, shape.cells + 1);
    const processor = names.processorName(cell, this.#random.between(1, shape.processorsPerCell + 1));
    const router = names.routerName(this.#random.between(1, shape.routers + 1));
    const host = names.hostName(cell, this.#random.between(1, shape.hostsPerCell + 1));
    return this.#random.pick<[string, string]>([
      [processor, names.cellStore(cell)],
      [processor, names.regionProcess],
      [processor, host],
      [router, processor],
      [router, names.regionProcess],
      [names.regionProcess, names.regionStore],
    ]);
  }

  /** One router sees no processor of a cell, and others do: what the cell has accepted is asked for again where others would take it. */
  async #blind(): Promise<void> {
    const { cloud } = this.#options;
    const { shape } = cloud.parts;
    const router = names.routerName(this.#random.between(1, shape.routers + 1));
    const cell = this.#random.between(1, shape.cells + 1);
    cloud.world.tell(`${router} does not see ${names.cellName(cell)}`);
    const processors = names.numbers(shape.processorsPerCell).map((at) => names.processorName(cell, at));
    await this.#apart(router, processors);
  }

  async #isolate(): Promise<void> {
    const { cloud } = this.#options;
    const { shape } = cloud.parts;
    const name = this.#anyProcess();
    const others = names.processNames(shape).filter((other) => other !== name);
    cloud.world.tell(`isolated ${name}`);
    await this.#apart(name, others);
  }

  /** Nothing passes between this process and the others for a while. */
  async #apart(name: string, others: readonly string[]): Promise<void> {
    const { network } = this.#options.cloud.parts;
    for (const other of others) {
      network.cut(name, other);
      network.cut(other, name);
    }
    await this.#for(longMs);
    for (const other of others) {
      network.mend(name, other);
      network.mend(other, name);
    }
  }

  async #weather(): Promise<void> {
    const { cloud } = this.#options;
    const { network } = cloud.parts;
    const bad = (most: number): number => (this.#random.chance(0.5) ? this.#random.next() * most : 0);
    network.weather = { drop: bad(0.02), duplicate: bad(0.1), reorder: bad(0.2), delayMs: bad(400) };
    cloud.world.tell(`weather ${JSON.stringify(network.weather)}`);
    await this.#for(longMs);
    network.weather = { drop: 0, duplicate: 0, reorder: 0, delayMs: 0 };
  }

  async #clock(): Promise<void> {
    const { cloud } = this.#options;
    const name = this.#anyProcess();
    const process = cloud.processes.get(name);
    if (process === undefined) return;
    // Mostly a little, sometimes by hours.
    const most = this.#random.chance(0.7) ? 5_000 : clockStepMsMax;
    process.wallAheadMs = this.#random.between(-most, most);
    cloud.world.tell(`the clock of ${name} is ${process.wallAheadMs} ms ahead`);
    await this.#for(longMs);
    const present = cloud.processes.get(name);
    if (present !== undefined) present.wallAheadMs = 0;
  }

  /** A store comes back as it was a second ago: a failover to a standby that was behind, or a disk that had lied about a flush. */
  async #rewind(): Promise<void> {
    const { cloud } = this.#options;
    const { shape, stores } = cloud.parts;
    const cell = this.#random.between(1, shape.cells + 1);
    const name = names.cellStore(cell);
    const store = stores.get(name);
    if (store === undefined) return;
    let image: StoreImage | undefined;
    while (image === undefined && !this.#isOver) {
      if (!store.isBusy && cloud.isUp(name)) image = store.image();
      else await pause(1);
    }
    await pause(rewindMs * this.#random.next());
    if (image === undefined || this.#isOver || !cloud.isUp(name)) return;
    cloud.kill(name);
    store.restore(image);
    this.rewound.add(cell);
    cloud.world.tell(`${name} has lost its last commits`);
    await this.#for(shortMs);
    if (!cloud.isUp(name)) cloud.start(name);
  }

  async #power(): Promise<void> {
    const { cloud } = this.#options;
    const { shape } = cloud.parts;
    const name = names.hostName(
      this.#random.between(1, shape.cells + 1),
      this.#random.between(1, shape.hostsPerCell + 1),
    );
    cloud.world.tell(`${name} loses power`);
    cloud.kill(name);
    cloud.machines.get(name)?.host.losePower();
    await this.#for(longMs);
    if (!cloud.isUp(name)) cloud.start(name);
  }

  async #guest(): Promise<void> {
    const machines = [...this.#options.cloud.machines.values()];
    const running = machines.flatMap(({ host }) =>
      [...host.vms.values()].filter(({ state }) => state === 'running').map((vm) => ({ host, vm })),
    );
    if (running.length === 0) return;
    const { host, vm } = this.#random.pick(running);
    this.#options.cloud.world.tell(`the VMM of ${vm.instanceId} is killed`);
    host.killVmm(vm.instanceId);
  }
}
