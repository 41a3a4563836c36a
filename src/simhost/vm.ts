/** One VM of a simulated host. */
import type { InstanceFence } from '#contracts/fences.ts';
import type { ImageRef, VmEnded, VmHealth, VmReport, VmRequirement, VmState } from '#contracts/host.ts';
import type { VmMetadata, VpcPort } from '#contracts/network.ts';
import type { SavedVm } from './saved.ts';
import type { SimWorld } from './world.ts';

/** The outgoing side of a migration. */
export type Outgoing =
  | { readonly phase: 'memory'; readonly until: number; readonly target: SimVm }
  | { readonly phase: 'failed'; readonly reason: string }
  | { readonly phase: 'completed'; readonly target: SimVm };

/** One that has configured its interface, as they all do here at once. */
const healthyGuest: VmHealth = {
  noSpace: false,
  configured: true,
  listenedMs: 1,
  bootSeen: false,
  stalledMs: 0,
  resets: 0,
};
/** As much as EC2 keeps of a console. */
const consoleCharsKept = 64 * 1024;

export class SimVm {
  readonly instanceId: string;
  readonly hostId: string;
  readonly #world: SimWorld;
  #state: VmState = 'preparing';
  requirement: VmRequirement | undefined;
  eniId: string | undefined;
  image: ImageRef | undefined;
  network: { readonly vpcId: string; readonly port: VpcPort } | undefined;
  metadata: VmMetadata | undefined;
  metadataRevision = 0;
  hasDisk = false;
  /** Its guest ran on that disk. */
  hasRun = false;
  /** Incoming: the whole guest has arrived. */
  received = false;
  /** Incoming: told when the source has handed the guest over. */
  handedOver: (() => void) | undefined;
  outgoing: Outgoing | undefined;
  reason: string | undefined;
  ended: VmEnded | undefined;
  consoleText = '';
  /** How its guest is, beside what its state says; a test changes it. */
  guest: VmHealth = { ...healthyGuest };

  constructor(instanceId: string, hostId: string, world: SimWorld) {
    this.instanceId = instanceId;
    this.hostId = hostId;
    this.#world = world;
  }

  get state(): VmState {
    return this.#state;
  }

  /** Its VMM is gone; why is kept until the next one starts, as a real host does. */
  end(cause: VmEnded['cause'], state: 'stopped' | 'failed' = 'stopped'): void {
    if (this.#state === 'running' || this.#state === 'paused' || this.#state === 'incoming')
      this.ended = { cause, at: new Date().toISOString() };
    this.become(state, cause);
  }

  /** Every change passes here, so that the world sees where guests execute. */
  become(state: VmState, reason?: string): void {
    this.#state = state;
    this.reason = reason;
    if (state === 'running') this.hasRun = true;
    if (state === 'running' || state === 'incoming') this.ended = undefined;
    this.#world.setRunning(this.instanceId, this.hostId, state === 'running');
    if (state === 'running') this.consoleText += `[sim] ${this.instanceId} runs on ${this.hostId}\n`;
  }

  /**
   * What is written down of it. One in the middle of a migration is kept where it was before, and as ended once it is handed over: of
   * two records of one guest at most one may come back running (I1). Not of one that is still to arrive.
   */
  saved(fence: InstanceFence | undefined): SavedVm | undefined {
    const { instanceId, requirement, eniId, image, network, metadata, hasDisk, ended, consoleText } = this;
    const { reason } = this;
    const state = this.#state === 'paused' ? 'stopped' : this.#state;
    if (state === 'incoming' || state === 'absent') return undefined;
    return {
      ...{ instanceId, state, fence, requirement, eniId, image, network, metadata, hasDisk, ended },
      reason,
      consoleText: consoleText.slice(-consoleCharsKept),
    };
  }

  static from(saved: SavedVm, hostId: string, world: SimWorld): SimVm {
    const vm = new SimVm(saved.instanceId, hostId, world);
    vm.#state = saved.state;
    vm.requirement = saved.requirement;
    vm.eniId = saved.eniId;
    vm.image = saved.image;
    vm.network = saved.network;
    vm.metadata = saved.metadata;
    vm.hasDisk = saved.hasDisk;
    vm.reason = saved.reason;
    vm.ended = saved.ended;
    vm.consoleText = saved.consoleText;
    world.setRunning(vm.instanceId, hostId, saved.state === 'running');
    return vm;
  }

  report(): VmReport {
    return {
      instanceId: this.instanceId,
      state: this.#state,
      requirement: this.requirement ?? { vcpus: 1, memoryMib: 1, rootDiskMib: 1 },
      ...(this.eniId === undefined ? {} : { eniId: this.eniId }),
      ...(this.reason === undefined ? {} : { reason: this.reason }),
      ...(this.ended === undefined ? {} : { ended: this.ended }),
      ...(this.#hasGuest ? { health: { runState: this.#state, ...this.guest } } : {}),
    };
  }

  /** Here, and not on its way from here or to here. */
  get #hasGuest(): boolean {
    if (this.outgoing?.phase === 'completed') return false;
    return this.#state === 'running' || this.#state === 'paused';
  }
}
