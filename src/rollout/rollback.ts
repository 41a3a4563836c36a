/** The way back (S8.3): second → first on every touched device, the latest first, until each is read back or cannot be reached. */
import type { PolicySpec } from '#contracts/rollout-policy.ts';
import type { DeviceBook } from './devices.ts';
import { backoffMs, type DeviceOrder, patienceMs, type RunTiming, type World } from './orders.ts';
import type { DeviceRecord, Outcome } from './record.ts';

export class WayBack {
  readonly #policy: PolicySpec;
  readonly #devices: DeviceBook;
  readonly #timing: RunTiming;
  /** The latest first; those that are through are taken out. */
  readonly #left: Set<DeviceRecord>;
  readonly #notBefore = new Map<string, number>();
  readonly #awaySince = new Map<string, number>();
  #open = 1;

  constructor(policy: PolicySpec, devices: DeviceBook, timing: RunTiming) {
    this.#policy = policy;
    this.#devices = devices;
    this.#timing = timing;
    // Who drifted did nothing, and what it has is not this rollout's to mend; what it may have done before, it takes back by itself.
    this.#left = new Set(devices.touchedLatestFirst().filter(({ state }) => state !== 'drifted'));
  }

  /** Nothing more can be done by now. */
  get isOver(): boolean {
    return this.#open === 0;
  }

  /** `out`: devices that have not answered yet, in either direction. */
  next(world: World, out: ReadonlySet<string>): DeviceOrder[] {
    const orders: DeviceOrder[] = [];
    this.#open = 0;
    for (const device of this.#left) {
      const { deviceId, state } = device;
      // The others' turn comes when one of these has answered: a fleet is not gone through for each answer.
      if (out.size + orders.length >= this.#policy.concurrency) {
        this.#open += 1;
        break;
      }
      if (state === 'reverted' || state === 'gone') this.#left.delete(device);
      else if (!world.exists(deviceId)) this.#devices.move(device, 'gone', world.nowMs);
      else if (out.has(deviceId) || world.reachable(deviceId) || !this.#isGivenUp(device, world)) {
        this.#open += 1;
        if (!out.has(deviceId) && world.reachable(deviceId)) orders.push(...this.#sendBack(device, world));
      }
    }
    return orders;
  }

  answered(device: DeviceRecord, outcome: Outcome, nowMs: number): void {
    if (outcome.kind === 'ok') this.#devices.move(device, 'reverted', nowMs);
    else if (outcome.kind === 'drift') this.#leave(device, 'drifted', outcome.detail, nowMs);
    else {
      this.#devices.tried(device, device.tries + 1);
      this.#notBefore.set(device.deviceId, nowMs + backoffMs(device.tries, this.#timing));
      if (device.tries >= this.#timing.revertTriesMax) this.#leave(device, 'lost', outcome.detail, nowMs);
    }
  }

  leftBehind(): string {
    const left = this.#devices.count(undefined, ['reverting', 'lost', 'drifted']);
    return left === 0
      ? 'every touched device is read back'
      : `${left} devices are brought back when they return`;
  }

  /** It has neither state, or would not go back however often it was told: the reconciliation and an operator have it. */
  #leave(device: DeviceRecord, state: 'drifted' | 'lost', detail: string, nowMs: number): void {
    this.#left.delete(device);
    this.#devices.move(device, state, nowMs, detail);
  }

  #sendBack(device: DeviceRecord, world: World): DeviceOrder[] {
    this.#awaySince.delete(device.deviceId);
    if ((this.#notBefore.get(device.deviceId) ?? 0) > world.nowMs) return [];
    if (device.state !== 'reverting') {
      this.#devices.tried(device, 0);
      this.#devices.move(device, 'reverting', world.nowMs);
    }
    return [{ kind: 'revert', deviceId: device.deviceId }];
  }

  /** Whoever cannot be reached is brought back by the reconciliation, when it returns. */
  #isGivenUp(device: DeviceRecord, world: World): boolean {
    const sinceMs = this.#awaySince.get(device.deviceId) ?? world.nowMs;
    this.#awaySince.set(device.deviceId, sinceMs);
    if (device.state !== 'reverting')
      this.#devices.move(device, 'reverting', world.nowMs, 'it cannot be reached');
    return world.nowMs - sinceMs >= patienceMs(this.#policy, this.#timing);
  }
}
