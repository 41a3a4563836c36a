/**
 * Tells devices (cells, the gateway) the network state of VPCs.
 *
 * One lane per VPC: a round compiles the newest state and sends it to every device that wants it. Whoever asks while a
 * round runs is answered by the next one, so that any number of changes at once cost two rounds, and the newest wins.
 * A large VPC that changes without end rests between rounds, in proportion to its size: most of the time of the region, of cells
 * and of hosts is left to the others.
 * What a device misses is not remembered as an event: the reconciler compares what it has with what it should have.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { metrics } from '#base/metrics.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { currentTrace, type Trace, withTrace } from '#base/trace.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VpcState } from '#contracts/network.ts';

/** Something that holds network state. */
export interface Device {
  /** For people and for `unreachable`. */
  readonly name: string;
  /** Whether it is connected to this very process; absent: it is. */
  readonly isHere?: boolean;
  /** Whether this VPC concerns it at all. */
  wants(state: VpcState): boolean;
  /** Resolves with the names of parts that could not be told; rejects when none could. */
  apply(state: VpcState): Promise<readonly string[]>;
  remove(vpcId: string): Promise<void>;
}

export interface PushResult {
  readonly state: VpcState;
  /** Devices that are connected here and want it, whether or not they have it now. */
  readonly here: readonly string[];
  /** Devices, or parts of them, that do not have the state yet. They are told when they can be reached. */
  readonly unreachable: readonly string[];
}

export interface PusherOptions {
  compile(vpcId: string): Promise<VpcState | undefined>;
  /** Bound on how long a round waits for its devices. */
  readonly waitMsMax: number;
  onError?(error: unknown, what: string): void;
  /** Every device that wants this VPC has this version. */
  onEnforced?(vpcId: string, version: number): void;
}

interface Waiter {
  /** What the push is for. A round that answers several is the first one's. */
  readonly trace: Trace | undefined;
  resolve(result: PushResult | undefined): void;
  reject(error: unknown): void;
}

/** What the region knows of one device and one VPC. */
interface Told {
  /** The version that the device confirmed, with all its parts; 0: unknown or incomplete. */
  version: number;
  /** A version that is too large for a message: not sent again. */
  refused: number;
  /** Set while a call is out. A device that is slow gets no second call before the first ends. */
  call: Promise<readonly string[]> | undefined;
  /** The round stopped waiting for the call that is out: later rounds do not wait for it either. */
  late: boolean;
}

/** About four times what one rule or port costs whoever handles the state, on a machine that has nothing else to do. */
const restMsPerEntry = 0.015;
/** On a busy machine a round takes longer, and so does its rest. */
const restPerRound = 3;
/** So much rest may be owed: a few changes of a large VPC, one after another, do not wait. */
const restlessMsMax = 2_000;
/** A VPC below this has no rest: some hundreds of entries. */
const restMsMin = 10;
const restMsMax = 2_000;

const restMsOf = ({ groups, ports }: VpcState, roundMs: number): number => {
  const rules = groups.reduce((sum, { ingress, egress }) => sum + ingress.length + egress.length, 0);
  const restMs = (rules + ports.length) * restMsPerEntry;
  return restMs < restMsMin ? 0 : Math.min(Math.max(restMs, roundMs * restPerRound), restMsMax);
};

export class Pusher {
  readonly #options: PusherOptions;
  readonly #lanes = new Map<string, Waiter[]>();
  /** Of large VPCs that changed lately. */
  readonly #restUntil = new Map<string, number>();
  readonly #devices = new Map<Device, Map<string, Told>>();

  constructor(options: PusherOptions) {
    this.#options = options;
  }

  /** A new device, which has nothing as far as we know. */
  add(device: Device): void {
    this.#devices.set(device, new Map());
  }

  drop(device: Device): void {
    this.#devices.delete(device);
  }

  /** Forgets what a device was told: it may have lost it. */
  forget(device: Device): void {
    for (const told of this.#devices.get(device)?.values() ?? []) told.version = 0;
  }

  /** Forgets what devices were told of a VPC: it was of a history that the store has lost. */
  forgetVpc(vpcId: string): void {
    for (const vpcs of this.#devices.values()) {
      const told = vpcs.get(vpcId);
      if (told !== undefined) told.version = 0;
    }
  }

  /** A device says that it has these VPCs, in some version: what it should not have will be removed. */
  assume(device: Device, vpcIds: readonly string[]): void {
    const vpcs = this.#devices.get(device);
    for (const vpcId of vpcIds)
      if (vpcs?.has(vpcId) === false)
        vpcs.set(vpcId, { version: 0, refused: 0, call: undefined, late: false });
  }

  /** The versions that a device has confirmed, by VPC. */
  confirmed(device: Device): ReadonlyMap<string, number> {
    const told = this.#devices.get(device) ?? new Map<string, Told>();
    return new Map([...told].map(([vpcId, { version }]) => [vpcId, version]));
  }

  /**
   * Pushes the state of a VPC as it is now or newer; resolves when its devices have it or the wait is over. Undefined: the
   * VPC is gone (devices were told to remove it).
   */
  push(vpcId: string): Promise<PushResult | undefined> {
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject, trace: currentTrace() };
      const waiting = this.#lanes.get(vpcId);
      if (waiting !== undefined) {
        waiting.push(waiter);
        return;
      }
      this.#lanes.set(vpcId, [waiter]);
      void this.#run(vpcId);
    });
  }

  async #run(vpcId: string): Promise<void> {
    for (;;) {
      const waiters = this.#lanes.get(vpcId) ?? [];
      if (waiters.length === 0) {
        this.#lanes.delete(vpcId);
        return;
      }
      this.#lanes.set(vpcId, []);
      let restMs = 0;
      const beganMs = monotonicMs();
      try {
        const result = await withTrace(waiters[0]?.trace, () => this.#round(vpcId));
        for (const waiter of waiters) waiter.resolve(result);
        restMs = result === undefined ? 0 : restMsOf(result.state, monotonicMs() - beganMs);
      } catch (error) {
        for (const waiter of waiters) waiter.reject(error);
      }
      await this.#rest(vpcId, restMs);
    }
  }

  /** A bucket of time: rounds fill it, it empties by itself, and above the brim the next round waits. */
  async #rest(vpcId: string, restMs: number): Promise<void> {
    const now = monotonicMs();
    for (const [id, until] of this.#restUntil) if (until <= now) this.#restUntil.delete(id);
    if (restMs === 0) return;
    const until = Math.max(now, this.#restUntil.get(vpcId) ?? 0) + restMs;
    this.#restUntil.set(vpcId, until);
    const waitMs = until - now - restlessMsMax;
    if (waitMs > 0) await delay(waitMs, undefined, { ref: false });
  }

  async #round(vpcId: string): Promise<PushResult | undefined> {
    const state = await this.#options.compile(vpcId);
    const calls = [...this.#devices].map(([device, vpcs]) => this.#tell(device, vpcs, vpcId, state));
    const unreachable = (await Promise.all(calls)).flat();
    if (state === undefined) return undefined;
    if (unreachable.length === 0) this.#options.onEnforced?.(vpcId, state.version);
    const here = [...this.#devices.keys()].flatMap((device) =>
      device.isHere !== false && device.wants(state) ? [device.name] : [],
    );
    return { state, here, unreachable };
  }

  /** Brings one device to `state`; resolves with the parts of it that do not have it after the bounded wait. */
  async #tell(
    device: Device,
    vpcs: Map<string, Told>,
    vpcId: string,
    state: VpcState | undefined,
  ): Promise<readonly string[]> {
    const wanted = state !== undefined && device.wants(state);
    const told = vpcs.get(vpcId);
    if (!wanted && told === undefined) return [];
    if (wanted && told !== undefined && told.version >= state.version) return [];
    const entry = told ?? { version: 0, refused: 0, call: undefined, late: false };
    vpcs.set(vpcId, entry);
    if (wanted && entry.refused === state.version) return [device.name];
    // The call that is out carries an older state; its end asks for another round.
    if (entry.call !== undefined) return [device.name];
    entry.call = (wanted ? this.#apply(device, entry, state) : this.#remove(device, vpcs, vpcId)).finally(
      () => {
        entry.call = undefined;
        if (entry.late) void this.push(vpcId).catch((error: unknown) => this.#report(error, vpcId));
        entry.late = false;
      },
    );
    return this.#bounded(entry, entry.call, device.name);
  }

  async #apply(device: Device, entry: Told, state: VpcState): Promise<readonly string[]> {
    const beganMs = monotonicMs();
    const tell = (outcome: 'ok' | 'partial' | 'failed'): void => {
      metrics.pushes.inc({ device: device.name, outcome });
      metrics.pushSeconds.observe({ device: device.name }, (monotonicMs() - beganMs) / 1000);
    };
    try {
      const unreachable = await device.apply(state);
      tell(unreachable.length === 0 ? 'ok' : 'partial');
      entry.version = unreachable.length === 0 ? state.version : 0;
      return unreachable;
    } catch (error) {
      tell('failed');
      entry.version = 0;
      if (error instanceof PandoError && error.code === 'MessageTooLarge') entry.refused = state.version;
      this.#report(error, `${device.name} was not told ${state.vpcId} version ${state.version}`);
      return [device.name];
    }
  }

  async #remove(device: Device, vpcs: Map<string, Told>, vpcId: string): Promise<readonly string[]> {
    try {
      await device.remove(vpcId);
      vpcs.delete(vpcId);
      return [];
    } catch (error) {
      this.#report(error, `${device.name} was not told to remove ${vpcId}`);
      return [device.name];
    }
  }

  async #bounded(entry: Told, call: Promise<readonly string[]>, name: string): Promise<readonly string[]> {
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<readonly string[]>((resolve) => {
      timer = setTimeout(() => {
        entry.late = true;
        resolve([name]);
      }, this.#options.waitMsMax);
    });
    try {
      return await Promise.race([call, over]);
    } finally {
      clearTimeout(timer);
    }
  }

  #report(error: unknown, what: string): void {
    this.#options.onError?.(error, what);
  }
}
