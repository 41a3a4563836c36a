/** One VM of a simulated host. */
import type { ImageRef, VmEnded, VmReport, VmRequirement, VmState } from '#contracts/host.ts';
import type { VmMetadata, VpcPort } from '#contracts/network.ts';
import type { SimWorld } from './world.ts';

/** The outgoing side of a migration. */
export type Outgoing =
  | { readonly phase: 'memory'; readonly until: number; readonly target: SimVm }
  | { readonly phase: 'failed'; readonly reason: string }
  | { readonly phase: 'completed'; readonly target: SimVm };

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
  /** Incoming: the whole guest has arrived. */
  received = false;
  /** Incoming: told when the source has handed the guest over. */
  handedOver: (() => void) | undefined;
  outgoing: Outgoing | undefined;
  reason: string | undefined;
  ended: VmEnded | undefined;
  consoleText = '';

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
    if (state === 'running' || state === 'incoming') this.ended = undefined;
    this.#world.setRunning(this.instanceId, this.hostId, state === 'running');
    if (state === 'running') this.consoleText += `[sim] ${this.instanceId} runs on ${this.hostId}\n`;
  }

  report(): VmReport {
    return {
      instanceId: this.instanceId,
      state: this.#state,
      requirement: this.requirement ?? { vcpus: 1, memoryMib: 1, rootDiskMib: 1 },
      ...(this.eniId === undefined ? {} : { eniId: this.eniId }),
      ...(this.reason === undefined ? {} : { reason: this.reason }),
      ...(this.ended === undefined ? {} : { ended: this.ended }),
    };
  }
}
