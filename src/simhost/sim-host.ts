/**
 * A host in process memory: the rules of a real agent (commands once, epochs, S1.2, S1.4, admission, VM states, migration phases),
 * without a guest behind them. Thousands fit into one process.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import type { Handlers, ParsedParams } from '#base/rpc/contract.ts';
import { presentCardMethod } from '#contracts/card.ts';
import { PandoError } from '#contracts/errors.ts';
import type { CommandKey, HostPressure, hostContract, VmReport } from '#contracts/host.ts';
import { SimCard, tapOf } from './card.ts';
import { CommandRecord } from './command-record.ts';
import { HostFaults } from './faults.ts';
import { cancelMigration, progressOf, reboot } from './guest.ts';
import { SimPin, type SimPinned } from './pin.ts';
import { SimRebuild } from './rebuild.ts';
import { relayedHandlers } from './relayed.ts';
import type { VmStore } from './saved.ts';
import { SimVm } from './vm.ts';
import type { SimWorld } from './world.ts';

export interface SimCapacity {
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly diskMib: number;
  /** Absent: it tells of no bandwidth. */
  readonly networkMbps?: number;
}

export interface SimHostOptions {
  readonly hostId: string;
  readonly zone: string;
  readonly vtep: string;
  readonly world: SimWorld;
  readonly capacity?: SimCapacity;
  /** Memory that may be promised beyond what there is; admission refuses above it (S1.7). Default 1. */
  readonly memoryOversubscription?: number;
  /** How long a method takes. Default: no time at all. */
  latencyMs?(method: string): number;
  /** How long a copy runs until it has converged. Default 0. */
  readonly copyMs?: number;
  /** From the handover until the target has heard of it by itself. */
  readonly selfCommissionMs?: number;
  readonly monotonicMs?: () => number;
  readonly sleep?: (ms: number) => Promise<void>;
  readonly rack?: string;
  readonly capabilities?: readonly string[];
  /** Where VMs are written down, and read from at the beginning. Default: they end with the process. */
  readonly store?: VmStore;
}

/** As the limits of the real agent. */
const redirectLapseMarginMs = 500;
/** Sometimes before the cell's command, sometimes after it. */
const selfCommissionMsDefault = 3;
const capacityDefault = { vcpus: 16, memoryMib: 16_384, diskMib: 262_144 };
type Method = keyof typeof hostContract;
type In<M extends Method> = ParsedParams<typeof hostContract, M>;

interface Commanded {
  readonly command: CommandKey;
  readonly instanceId: string;
}

export class SimHost {
  readonly hostId: string;
  readonly zone: string;
  readonly card: SimCard;
  readonly faults = new HostFaults();
  readonly capacity: SimCapacity;
  readonly rebuild = new SimRebuild(this);
  /** What its file system can take of VMs in all. */
  diskCapacityMib: number;
  /** How hard it says that it is pressed; undefined: it does not say. */
  pressure: HostPressure | undefined;
  readonly vms = new Map<string, SimVm>();
  /** Digests in the image cache. */
  readonly images = new Set<string>();
  /** Calls that were carried out, by method: for tests that count. */
  readonly calls = new Map<string, number>();
  readonly #options: SimHostOptions;
  readonly #record = new CommandRecord();
  /** Called when the agent dies: streams break. */
  readonly crashListeners = new Set<() => void>();
  #sequence = 0;
  readonly #pin: SimPin;

  constructor(options: SimHostOptions) {
    this.#options = options;
    this.hostId = options.hostId;
    this.#pin = new SimPin(options.hostId);
    this.zone = options.zone;
    this.card = new SimCard(options.vtep);
    this.capacity = options.capacity ?? capacityDefault;
    this.diskCapacityMib = this.capacity.diskMib;
    for (const saved of options.store?.load() ?? []) {
      const vm = SimVm.from(saved, this.hostId, options.world);
      this.vms.set(vm.instanceId, vm);
      if (saved.fence !== undefined) this.#record.remember(vm.instanceId, saved.fence);
      if (saved.network !== undefined && vm.state === 'running') this.card.restorePort(saved.network);
    }
  }

  hello() {
    const { hostId, zone, capacity } = this;
    return {
      hostId,
      zone,
      vtep: this.card.vtep,
      accelerator: 'sim',
      ...(this.#options.rack === undefined ? {} : { rack: this.#options.rack }),
      ...(this.#options.capabilities === undefined ? {} : { capabilities: [...this.#options.capabilities] }),
      capacity: { ...capacity, diskMib: this.diskCapacityMib },
      card: 'ok' as const,
      vms: this.reports(),
      ...(this.#pin.current === undefined ? {} : { pinnedTo: this.#pin.current }),
    };
  }

  /** Takes a cell's answer, as a real host does: the first cell pins it. @throws Conflict when it is another cell's. */
  joined(answer: SimPinned): void {
    this.#pin.joined(answer);
  }

  report() {
    const used = [...this.vms.values()].reduce((sum, vm) => sum + (vm.requirement?.memoryMib ?? 0), 0);
    return {
      hostId: this.hostId,
      sequence: ++this.#sequence,
      card: 'ok' as const,
      memoryAvailableMib: this.capacity.memoryMib - used,
      loadAverage1: 0,
      diskCapacityMib: this.diskCapacityMib,
      ...(this.pressure === undefined ? {} : { pressure: this.pressure }),
      vms: this.reports(),
    };
  }

  reports(): VmReport[] {
    return [...this.vms.values()].map((vm) => this.#reportOf(vm));
  }

  #reportOf(vm: SimVm): VmReport {
    const generation = this.#record.generationOf(vm.instanceId);
    return { ...vm.report(), ...(generation === undefined ? {} : { generation }) };
  }

  /** The agent dies and comes back: VMs run on (S1.13), streams break. */
  crash(): void {
    for (const listener of [...this.crashListeners]) listener();
  }

  /** The agent's process was killed: what it was in the middle of is not gone on with. VMs run on, and what it knows stays. */
  forgetUnfinished(): void {
    this.#record.forgetUnfinished();
  }

  /** A guest powers itself off. */
  guestShutdown(instanceId: string): void {
    this.#vm(instanceId).end('guest-shutdown');
  }

  /** A VMM dies without a word: `kill -9`, a crash, the kernel out of memory. */
  killVmm(instanceId: string): void {
    this.#vm(instanceId).end('killed');
  }

  /** A VMM stands still though nobody moves its guest. */
  pauseVmm(instanceId: string): void {
    this.#vm(instanceId).become('paused');
  }

  /** The machine loses power: no VM runs any more, disks stay. */
  losePower(): void {
    for (const vm of this.vms.values()) {
      if (vm.state !== 'stopped') vm.end('host-restarted');
      vm.outgoing = undefined;
    }
    this.crash();
  }

  get handlers(): Handlers<typeof hostContract> {
    return this.#handlers;
  }

  async #pause(method: string): Promise<void> {
    const ms = this.#options.latencyMs?.(method) ?? 0;
    if (ms > 0) await (this.#options.sleep ?? wait)(ms);
    this.calls.set(method, (this.calls.get(method) ?? 0) + 1);
  }

  #command<T>(method: Method, { command, instanceId }: Commanded, work: () => T): Promise<T> {
    const visits = method === 'vm.reboot' || method === 'vm.updateMetadata';
    return this.#record.once({ key: command, instanceId, visits }, async () => {
      await this.#pause(method);
      this.rebuild.assertOpen(method);
      const result = work();
      this.#save(instanceId);
      return result;
    });
  }

  /** Before the command that changed the VM is answered. */
  #save(instanceId: string): void {
    const { store } = this.#options;
    if (store === undefined) return;
    const saved = this.vms.get(instanceId)?.saved(this.#record.fenceOf(instanceId));
    if (saved === undefined) store.remove(instanceId);
    else store.save(saved);
  }

  /** For what does not wait for the VM's other commands. A peer of the last release sends no key. @throws StaleEpoch */
  #pass(key: CommandKey | undefined, instanceId: string | undefined): void {
    if (key !== undefined && instanceId !== undefined) this.#record.pass({ key, instanceId });
  }

  #vm(instanceId: string): SimVm {
    const vm = this.vms.get(instanceId);
    if (vm === undefined) throw new PandoError('NotFound', `${instanceId} is not on ${this.hostId}.`);
    return vm;
  }

  #vmOrNew(instanceId: string): SimVm {
    const known = this.vms.get(instanceId);
    if (known !== undefined) return known;
    const made = new SimVm(instanceId, this.hostId, this.#options.world);
    this.vms.set(instanceId, made);
    return made;
  }

  #prepareNetwork({ instanceId, vpc, declared, port, activate, metadata }: In<'vm.prepareNetwork'>) {
    const vpcId = (vpc ?? declared)?.vpcId;
    if (vpcId === undefined) throw new PandoError('InvalidParameterValue', 'A network is prepared in a VPC.');
    const vm = this.#vmOrNew(instanceId);
    vm.eniId = port.eniId;
    vm.network = { vpcId, port };
    vm.metadata = metadata;
    if (vpc !== undefined && (this.card.parts.get(vpcId)?.places.version ?? 0) < vpc.version)
      this.card.applyVpc(vpc);
    const administrative = this.card.prepareAdministrative(port.eniId);
    return {
      administrative,
      vpc: this.card.attachPort(vpcId, port, tapOf(port.eniId), activate),
    };
  }

  /** Admission: what is promised never exceeds what there is times the declared oversubscription (S1.7). */
  #admit(vm: SimVm, { requirement }: In<'vm.launch'>): void {
    const others = [...this.vms.values()].filter((other) => other !== vm && other.state !== 'stopped');
    const memory = others.reduce(
      (sum, other) => sum + (other.requirement?.memoryMib ?? 0),
      requirement.memoryMib,
    );
    if (memory > this.capacity.memoryMib * (this.#options.memoryOversubscription ?? 1))
      throw new PandoError(
        'InsufficientInstanceCapacity',
        `${this.hostId} has no ${requirement.memoryMib} MiB left.`,
      );
    const disks = [...this.vms.values()].filter((other) => other !== vm && other.hasDisk);
    const disk = disks.reduce((sum, other) => sum + (other.requirement?.rootDiskMib ?? 0), 0);
    if (!vm.hasDisk && disk + requirement.rootDiskMib > this.diskCapacityMib)
      throw new PandoError(
        'InsufficientInstanceCapacity',
        `${this.hostId} has no ${requirement.rootDiskMib} MiB of disk left.`,
      );
  }

  #launch(params: In<'vm.launch'>) {
    const { instanceId, image, network, incoming, requirement, diskRequired } = params;
    const vm = this.#vm(instanceId);
    if (!this.images.has(image.digest))
      throw new PandoError('IncorrectState', `${image.imageId} is not on ${this.hostId} (S1.4).`);
    if (
      network.administrative.kind !== 'administrative' ||
      network.vpc.kind !== 'vpc' ||
      network.vpc.ranOn !== 'card'
    )
      throw new PandoError('IncorrectState', 'A network operation is missing (S1.2, S1.4).');
    if (vm.eniId === undefined || !this.card.ports.has(vm.eniId))
      throw new PandoError('IncorrectState', `The network of ${instanceId} is not prepared (S1.4).`);
    if (vm.state === 'running') return { state: vm.state };
    if (diskRequired === true && !incoming && !vm.hasDisk)
      throw new PandoError('IncorrectState', `The disk of ${instanceId} is not on ${this.hostId} any more.`);
    if (incoming && vm.hasDisk && (vm.state === 'stopped' || vm.hasRun))
      throw new PandoError('IncorrectState', `${instanceId} has a disk on ${this.hostId} that it ran on.`);
    this.#admit(vm, params);
    vm.requirement = requirement;
    vm.image = image;
    vm.hasDisk = true;
    if (!incoming) {
      vm.become('running');
      return { state: vm.state };
    }
    vm.become('incoming');
    vm.handedOver = () => this.#commissionItself(vm);
    return { state: vm.state, migration: this.#options.world.listen(vm) };
  }

  #destroy(instanceId: string): void {
    const vm = this.vms.get(instanceId);
    if (vm === undefined) return;
    vm.become('absent');
    this.#options.world.hangUp(vm);
    const forwardTo = vm.eniId === undefined ? undefined : this.card.forwarding.get(vm.eniId);
    if (vm.eniId !== undefined) this.card.detachPort(vm.eniId, forwardTo);
    this.vms.delete(instanceId);
  }

  #monotonicMs(): number {
    return (this.#options.monotonicMs ?? monotonicMs)();
  }

  #startMigration({ instanceId, memoryUri }: In<'migrate.start'>): void {
    const vm = this.#vm(instanceId);
    if (vm.state !== 'running') throw new PandoError('IncorrectState', `${instanceId} does not run here.`);
    const target = this.#options.world.dial(memoryUri);
    if (target === undefined || target.state !== 'incoming')
      throw new PandoError('IncorrectState', `Nobody waits at ${memoryUri}.`);
    vm.outgoing = { phase: 'memory', until: this.#monotonicMs() + (this.#options.copyMs ?? 0), target };
  }

  #switch({ instanceId, redirect, budgetMs }: In<'migrate.switch'>) {
    const vm = this.#vm(instanceId);
    const { outgoing } = vm;
    if (outgoing?.phase !== 'memory' || vm.state !== 'running')
      throw new PandoError('IncorrectState', `${instanceId} is not being copied.`);
    if (outgoing.target.state !== 'incoming') throw new PandoError('IncorrectState', 'The target is gone.');
    if (redirect !== undefined) {
      const lapseMs = budgetMs + redirectLapseMarginMs;
      this.card.handle('card.redirectPort', { ...redirect, lapseMs });
    }
    vm.become('paused');
    outgoing.target.received = true;
    vm.outgoing = { phase: 'completed', target: outgoing.target };
    if (redirect !== undefined) this.card.handle('card.redirectPort', { ...redirect, keep: true });
    outgoing.target.handedOver?.();
    return { downtimeMs: 1, parts: [] };
  }

  #commission({ instanceId, release }: Pick<In<'migrate.commission'>, 'instanceId' | 'release'>) {
    this.#runArrived(instanceId);
    // A card without a queue has been started again: its buffered packets are gone.
    if (release !== undefined && this.card.queues.has(release.eniId))
      this.card.handle('card.setQueue', { eniId: release.eniId, mode: 'pass', settled: true });
    return { parts: [] };
  }

  /** The source's agent says that the guest is handed over. The cell may be faster, or have destroyed the VM. */
  #commissionItself(vm: SimVm): void {
    const commission = (): void => {
      if (this.vms.get(vm.instanceId) !== vm || vm.state !== 'incoming') return;
      this.#commission({
        instanceId: vm.instanceId,
        release: vm.eniId === undefined ? undefined : { eniId: vm.eniId },
      });
    };
    setTimeout(commission, this.#options.selfCommissionMs ?? selfCommissionMsDefault).unref();
  }

  #runArrived(instanceId: string): void {
    const vm = this.#vm(instanceId);
    if (vm.state === 'running') return;
    if (vm.state !== 'incoming' || !vm.received)
      throw new PandoError('IncorrectState', `${instanceId} has not arrived on ${this.hostId} (S6.5).`);
    this.#options.world.hangUp(vm);
    vm.become('running');
    this.#save(instanceId);
  }

  #confirm(instanceId: string): void {
    const { state } = this.#vm(instanceId);
    if (state !== 'running')
      throw new PandoError('IncorrectState', `${instanceId} is ${state} on ${this.hostId}.`);
  }

  #stop(instanceId: string) {
    const vm = this.vms.get(instanceId);
    if (vm === undefined) return { state: 'absent' as const };
    if (vm.state !== 'stopped') vm.end('requested');
    return { state: vm.state };
  }

  #detachNetwork(instanceId: string): void {
    const vm = this.vms.get(instanceId);
    if (vm?.eniId === undefined) return;
    if (vm.state === 'running') throw new PandoError('IncorrectInstanceState', `${instanceId} runs.`);
    this.card.detachPort(vm.eniId);
  }

  #updateMetadata({ instanceId, metadata, revision }: In<'vm.updateMetadata'>): void {
    const vm = this.#vm(instanceId);
    if (vm.eniId === undefined || !this.card.administrative.has(vm.eniId))
      throw new PandoError('IncorrectInstanceState', `${instanceId} has no network prepared.`);
    if (revision < vm.metadataRevision)
      throw new PandoError(
        'StaleEpoch',
        `${instanceId} has the metadata of revision ${vm.metadataRevision}.`,
      );
    vm.metadata = metadata;
    vm.metadataRevision = revision;
  }

  readonly #relayed = relayedHandlers(async (method, params) => {
    await this.#pause(method);
    this.#pass(params.command, params.instanceId);
    return this.card.handle(method, params);
  });

  readonly #handlers: Required<Handlers<typeof hostContract>> = {
    'host.describe': () => this.hello(),
    'host.rehome': (params) => this.#pin.rehome(params, this.vms.size === 0),
    'vm.ensureImage': (params) =>
      this.#command('vm.ensureImage', params, () => {
        const { digest } = params.image;
        const fetched = !this.images.has(digest);
        this.images.add(digest);
        return { fetched };
      }),
    'vm.prepareNetwork': (params) =>
      this.#command('vm.prepareNetwork', params, () => this.#prepareNetwork(params)),
    'vm.launch': (params) => this.#command('vm.launch', params, () => this.#launch(params)),
    'vm.stop': (params) => this.#command('vm.stop', params, () => this.#stop(params.instanceId)),
    'vm.reboot': (params) => this.#void('vm.reboot', params, () => reboot(this.#vm(params.instanceId))),
    'vm.updateMetadata': (params) =>
      this.#void('vm.updateMetadata', params, () => this.#updateMetadata(params)),
    'vm.destroy': (params) => this.#void('vm.destroy', params, () => this.#destroy(params.instanceId)),
    'vm.detachNetwork': (params) =>
      this.#void('vm.detachNetwork', params, () => this.#detachNetwork(params.instanceId)),
    'vm.describe': ({ instanceId }) => {
      const vm = this.vms.get(instanceId);
      if (vm !== undefined) return this.#reportOf(vm);
      return { instanceId, state: 'absent', requirement: { vcpus: 1, memoryMib: 1, rootDiskMib: 1 } };
    },
    'vm.inspect': ({ instanceId }) => {
      const vm = this.#vm(instanceId);
      return { report: this.#reportOf(vm), image: vm.image, network: vm.network, metadata: vm.metadata };
    },
    'vm.console': ({ instanceId }) => ({
      output: this.#vm(instanceId).consoleText,
      at: new Date().toISOString(),
    }),
    'migrate.offer': (params) =>
      this.#command('migrate.offer', params, () => {
        this.#vm(params.instanceId);
        return {};
      }),
    'migrate.start': (params) => this.#void('migrate.start', params, () => this.#startMigration(params)),
    'migrate.progress': ({ command, instanceId }) => {
      this.#pass(command, instanceId);
      return progressOf(this.#vm(instanceId), this.#monotonicMs());
    },
    'migrate.flush': ({ command, instanceId }) => {
      this.#pass(command, instanceId);
      this.#vm(instanceId);
      return {};
    },
    'migrate.switch': (params) => this.#command('migrate.switch', params, () => this.#switch(params)),
    'migrate.commission': (params) =>
      this.#command('migrate.commission', params, () => this.#commission(params)),
    'migrate.confirm': (params) =>
      this.#void('migrate.confirm', params, () => this.#confirm(params.instanceId)),
    'migrate.cancel': (params) =>
      this.#command('migrate.cancel', params, () => cancelMigration(this.#vm(params.instanceId))),
    ...this.rebuild.handlers,
    ...this.#relayed,
    'card.call': async ({ command, instanceId, method, params }) => {
      await this.#pause(method);
      this.#pass(command, instanceId);
      return { result: this.card.handle(presentCardMethod(method), params) };
    },
  };

  async #void(method: Method, params: Commanded, work: () => void): Promise<Record<string, never>> {
    await this.#command(method, params, work);
    return {};
  }
}
