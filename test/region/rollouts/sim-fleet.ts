/** Devices in memory behind the contract of `NetworkDevice`: they refuse drift and old fences, and go back by themselves. */
import { setTimeout as delay } from 'node:timers/promises';
import { PandoError } from '#contracts/errors.ts';
import type { DeviceTransaction, NetworkDevice, NetworkObject } from '#contracts/network-objects.ts';
import type { Fleet } from '#region/rollouts/fleet.ts';
import type { FleetDevice } from '#rollout/waves.ts';

type Fence = NonNullable<DeviceTransaction['fence']>;
type OnDevice = Awaited<ReturnType<NetworkDevice['objects']>>;

const unreachable = (deviceId: string): PandoError =>
  new PandoError('HostUnreachable', `${deviceId} does not answer.`);

export class SimDevice implements NetworkDevice {
  readonly deviceId: string;
  readonly has = new Map<string, NetworkObject>();
  reachable = true;
  /** What it answers instead of the truth. */
  lie: ((answer: OnDevice) => OnDevice) | undefined;
  /** Cut off by what it was told, as a rule that drops its own control connection would. */
  cutBy: ((body: unknown) => boolean) | undefined;
  latencyMs = 0;
  transactions = 0;
  #fence: Fence = { epoch: 0, number: 0 };
  #pending:
    | {
        readonly id: string;
        readonly back: ReadonlyMap<string, NetworkObject>;
        readonly timer: NodeJS.Timeout;
      }
    | undefined;

  constructor(deviceId: string) {
    this.deviceId = deviceId;
  }

  get isCut(): boolean {
    return [...this.has.values()].some(({ body }) => this.cutBy?.(body) ?? false);
  }

  async objects(): Promise<OnDevice> {
    await this.#arrive();
    return this.#answer();
  }

  async transact(transaction: DeviceTransaction): Promise<OnDevice> {
    await this.#arrive();
    const { objects, fence, transactionId, confirmWithinMs } = transaction;
    if (fence !== undefined) this.#obey(fence);
    const isRepeated = this.#pending !== undefined && this.#pending.id === transactionId;
    if (this.#pending !== undefined && !isRepeated)
      throw new PandoError('Conflict', 'An unconfirmed transaction is in the way.');
    const before = new Map(this.has);
    for (const { kind, id, from, to } of objects) {
      const key = `${kind}/${id}`;
      const has = this.has.get(key)?.digest ?? null;
      if (has === (to?.digest ?? null)) continue;
      if (from !== undefined && has !== from) {
        this.#become(before);
        throw new PandoError('Conflict', 'It has something else.', {
          details: { has: JSON.stringify({ kind, id, current: { digest: has } }) },
        });
      }
      if (to === undefined) this.has.delete(key);
      else this.has.set(key, to);
    }
    this.transactions += 1;
    if (transactionId !== undefined && confirmWithinMs !== undefined && !isRepeated)
      this.#pending = {
        id: transactionId,
        back: before,
        timer: setTimeout(() => this.lapse(), confirmWithinMs).unref(),
      };
    if (!this.reachable || this.isCut) throw unreachable(this.deviceId);
    return this.#answer();
  }

  async confirm(transactionId: string, fence?: Fence): Promise<void> {
    await this.#arrive();
    // Only engines confirm.
    if (fence === undefined)
      throw new PandoError('InvalidParameterValue', 'It is not said whose word that is.');
    this.#obey(fence);
    if (this.#pending?.id !== transactionId)
      throw new PandoError('NotFound', 'No such transaction waits here.');
    clearTimeout(this.#pending.timer);
    this.#pending = undefined;
  }

  /** Nobody confirmed; also what the next start of its process does. */
  lapse(): void {
    if (this.#pending === undefined) return;
    clearTimeout(this.#pending.timer);
    this.#become(this.#pending.back);
    this.#pending = undefined;
  }

  async #arrive(): Promise<void> {
    if (this.latencyMs > 0) await delay(this.latencyMs);
    if (!this.reachable || this.isCut) throw unreachable(this.deviceId);
  }

  #obey(fence: Fence): void {
    const isOld =
      fence.epoch < this.#fence.epoch ||
      (fence.epoch === this.#fence.epoch && fence.number < this.#fence.number);
    if (isOld) throw new PandoError('StaleEpoch', `It obeys epoch ${this.#fence.epoch}.`);
    this.#fence = fence;
  }

  #become(state: ReadonlyMap<string, NetworkObject>): void {
    this.has.clear();
    for (const [key, object] of state) this.has.set(key, object);
  }

  #answer(): OnDevice {
    const objects = [...this.has.values()].map(({ kind, id, version, digest }) => ({
      kind,
      id,
      current: { version, digest },
    }));
    const answer = { objects, places: [] };
    return this.lie?.(answer) ?? answer;
  }
}

export class SimFleet implements Fleet {
  readonly all = new Map<string, SimDevice>();
  readonly #devices: FleetDevice[] = [];

  constructor(count: number, cells = 1) {
    for (let at = 0; at < count; at += 1) {
      const id = `card/10.0.0.${String(at).padStart(6, '0')}`;
      this.all.set(id, new SimDevice(id));
      this.#devices.push({ id, cell: `cell-${at % cells}`, zone: 'zone-a' });
    }
  }

  devices(): readonly FleetDevice[] {
    return this.#devices;
  }

  reachable(deviceId: string): boolean {
    const device = this.all.get(deviceId);
    return device?.reachable === true && !device.isCut;
  }

  device(deviceId: string): SimDevice | undefined {
    return this.all.get(deviceId);
  }

  at(index: number): SimDevice {
    const device = [...this.all.values()][index];
    if (device === undefined) throw new Error(`no device ${index}`);
    return device;
  }

  /** The MTU that each device has, by its object. */
  mtus(): (number | undefined)[] {
    return [...this.all.values()].map(({ has }) => {
      const body = has.get('fleet/fleet')?.body;
      return body !== null && typeof body === 'object' && 'mtu' in body ? Number(body.mtu) : undefined;
    });
  }
}
