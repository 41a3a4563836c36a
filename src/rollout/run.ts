/**
 * One rollout under way (S8.3): what is to be done next, given the world; and what came of it. No input or output of its own: whoever
 * drives it writes down what `drain` gives, and only then sends the orders that `next` gave.
 *
 * I7: a device gets the order to apply only if its wave is not later than the present one, and the present wave grows only when it is
 * complete, baked and measured healthy. From that order on the device counts as changed, whatever it says, until it is read back.
 */
import { DeviceBook } from './devices.ts';
import {
  backoffMs,
  baselineTriesMax,
  type Order,
  patienceMs,
  type RunTiming,
  restartMs,
  timingDefault,
  triesMax,
  type World,
} from './orders.ts';
import type { AuditRecord, DeviceRecord, Failure, Outcome, Phase, RolloutRecord } from './record.ts';
import { endedPhases } from './record.ts';
import { refusal } from './refuse.ts';
import { WayBack } from './rollback.ts';
import { failuresOf, isApproved, restartsCards } from './rules.ts';
import { isOpen } from './window.ts';

export interface Drained {
  /** Absent: as it was. */
  readonly record: RolloutRecord | undefined;
  readonly devices: readonly DeviceRecord[];
  readonly audits: readonly AuditRecord[];
}

/** Whether the devices are healthy. `unknown` proves nothing, and so does not let a wave pass. */
export interface Verdict {
  readonly kind: 'healthy' | 'unhealthy' | 'unknown';
  readonly detail: string;
  /** By the same clock as the world's. */
  readonly beganMs: number;
}

export class RolloutRun {
  readonly #record: RolloutRecord;
  readonly #devices: DeviceBook;
  readonly #timing: RunTiming;
  /** Orders that are out. In memory: who takes the rollout over gives them again, and repeated is the same as once. */
  readonly #out = new Set<string>();
  readonly #notBefore = new Map<string, number>();
  readonly #awaySince = new Map<string, number>();
  /** undefined: not going back. */
  #wayBack: WayBack | undefined;
  #measuring = false;
  #baselineTries = 0;
  #measuredMs = Number.NEGATIVE_INFINITY;
  #strikes = 0;
  #healthySinceMs = Number.NEGATIVE_INFINITY;
  #changed = false;
  readonly #restarts: boolean;

  constructor(
    record: RolloutRecord,
    devices: readonly DeviceRecord[],
    who: string,
    timing: Partial<RunTiming> = {},
  ) {
    this.#record = { ...record };
    this.#restarts = restartsCards(record);
    this.#devices = new DeviceBook(
      devices.map((device) => ({ ...device })),
      who,
    );
    this.#timing = { ...timingDefault, ...timing };
  }

  get record(): Readonly<RolloutRecord> {
    return this.#record;
  }

  get devices(): Pick<DeviceBook, 'get' | 'all' | 'wave' | 'count' | 'size'> {
    return this.#devices;
  }

  get ended(): boolean {
    return endedPhases.has(this.#record.phase);
  }

  /** Orders to be sent, each once; what they presume is in `drain`. */
  next(world: World): Order[] {
    if (this.ended) return [];
    if (this.#record.phase === 'rolling-back') return this.#rollBack(world);
    // What has applied is told to stay also while nothing new begins: otherwise it would go back by itself.
    const orders = this.#confirmations(world);
    if (this.#record.paused || this.#record.phase === 'halted') return orders;
    if (this.#record.phase === 'pending') orders.push(...this.#begin(world));
    if (this.#record.phase === 'applying') orders.push(...this.#forward(world));
    if (this.#phaseIs('applying', 'baking')) orders.push(...this.#measure(world));
    if (this.#phaseIs('baking')) this.#bake(world);
    return orders;
  }

  /** What came of an order to a device. */
  answered(order: Order, outcome: Outcome, nowMs: number): void {
    if (order.kind === 'measure') return;
    const device = this.#devices.get(order.deviceId);
    this.#out.delete(order.deviceId);
    if (device === undefined || this.ended) return;
    if (order.kind === 'revert') this.#wayBack?.answered(device, outcome, nowMs);
    else if (order.kind === 'confirm') this.#confirmed(device, outcome, nowMs);
    else this.#applied(device, outcome, nowMs);
    this.#checkErrors(device, nowMs);
  }

  baselineMeasured(baseline: unknown, verdict: Verdict, nowMs: number): void {
    this.#measuring = false;
    if (this.#record.phase !== 'pending') return;
    // Who cannot be asked now may be in a moment.
    this.#baselineTries += 1;
    this.#measuredMs = nowMs;
    if (verdict.kind === 'unknown' && this.#baselineTries < baselineTriesMax) return;
    if (verdict.kind !== 'healthy') {
      this.#set({ failure: { kind: 'no-baseline', detail: verdict.detail, atMs: nowMs } });
      this.#enter('refused', nowMs, verdict.detail);
      return;
    }
    this.#set({ baseline });
  }

  measured(verdict: Verdict, nowMs: number): void {
    this.#measuring = false;
    this.#measuredMs = nowMs;
    if (!this.#phaseIs('applying', 'baking') || this.#record.policy.onFailure === 'go-on') return;
    if (verdict.kind === 'healthy') {
      this.#strikes = 0;
      this.#healthySinceMs = verdict.beganMs;
      return;
    }
    this.#strikes += 1;
    if (this.#strikes < this.#record.policy.health.strikes) {
      // A second look comes at once: the first may have been chance.
      this.#measuredMs = Number.NEGATIVE_INFINITY;
      return;
    }
    this.#fail({ kind: 'unhealthy', detail: verdict.detail, atMs: nowMs });
  }

  pause(who: string, nowMs: number): void {
    if (this.ended || this.#record.phase === 'rolling-back') throw this.#wrongPhase('paused');
    this.#set({ paused: true });
    this.#recordAction(who, 'pause', nowMs);
  }

  /** Also accepts what has failed in a halted rollout's wave so far. */
  resume(who: string, nowMs: number): void {
    const { phase, paused, wave } = this.#record;
    if (this.ended || (!paused && phase !== 'halted')) throw this.#wrongPhase('resumed');
    this.#set({ paused: false });
    this.#recordAction(who, 'resume', nowMs);
    if (phase !== 'halted') return;
    this.#set({ forgiven: failuresOf(this.#record, this.#devices, wave), settledMs: undefined });
    this.#strikes = 0;
    this.#enter('applying', nowMs, 'resumed');
  }

  /** Goes back to the first state everywhere; ends at once where nothing was touched. */
  abort(who: string, nowMs: number): void {
    if (this.ended || this.#record.phase === 'rolling-back') throw this.#wrongPhase('aborted');
    this.#recordAction(who, 'abort', nowMs);
    this.#set({ paused: false, failure: { kind: 'aborted', detail: `by ${who}`, atMs: nowMs } });
    this.#enter('rolling-back', nowMs, `aborted by ${who}`);
  }

  /** The wave that waits for it. @throws `NotAnApprover`, `NotAwaitingApproval`; nothing is changed then. */
  approve(who: string, names: readonly string[], nowMs: number): number {
    const { policy, wave, approved } = this.#record;
    if (this.ended || isApproved(this.#record, wave) || !this.#phaseIs('pending', 'applying'))
      throw refusal(
        'NotAwaitingApproval',
        `${this.#record.rolloutId} waits for no approval.`,
        'IncorrectState',
      );
    if (!policy.approval?.by.some((name) => names.includes(name)))
      throw refusal(
        'NotAnApprover',
        `${names.join(', ')} may not approve; ${policy.approval?.by.join(' or ')} may.`,
        'UnauthorizedOperation',
      );
    this.#set({ approved: [...approved, wave] });
    this.#recordAction(who, `approve wave ${wave + 1}`, nowMs);
    return wave;
  }

  /** What is to be written down before the orders go out; asked for once. */
  drain(): Drained {
    const record = this.#changed ? { ...this.#record } : undefined;
    this.#changed = false;
    return { record, ...this.#devices.drain() };
  }

  #begin(world: World): Order[] {
    const { policy, baseline } = this.#record;
    const waits = this.#devices.wave(0).some(({ deviceId }) => world.turn(deviceId) === 'wait');
    if (waits || !this.#mayCommand(world)) return [];
    if (policy.health.checks.length > 0 && baseline === undefined)
      return world.nowMs - this.#measuredMs < this.#baselinePauseMs ? [] : this.#measureOnce(true);
    this.#enter('applying', world.nowMs, 'wave 1');
    return [];
  }

  get #baselinePauseMs(): number {
    return this.#baselineTries === 0 ? 0 : this.#record.policy.health.everyMs;
  }

  /** Devices of the present wave and of earlier ones, as many as may be told at the same time. */
  #forward(world: World): Order[] {
    const orders: Order[] = [];
    const { wave, policy } = this.#record;
    if (this.#mayCommand(world))
      for (let at = 0; at <= wave && this.#out.size < policy.concurrency; at += 1)
        for (const device of this.#devices.open(at)) {
          if (this.#out.size >= policy.concurrency) break;
          orders.push(...this.#command(device, world));
          if (!this.#phaseIs('applying')) return orders;
        }
    if (this.#phaseIs('applying')) this.#settle(world);
    return orders;
  }

  #command(device: DeviceRecord, world: World): Order[] {
    const { deviceId, state } = device;
    if (state !== 'planned' && state !== 'away' && state !== 'commanded') return [];
    if (this.#out.has(deviceId)) return [];
    if (!world.exists(deviceId)) return this.#none(() => this.#devices.move(device, 'gone', world.nowMs));
    const turn = state === 'commanded' ? 'go' : world.turn(deviceId);
    if (turn === 'wait') return [];
    if (turn === 'stale') return this.#none(() => this.#stale(device, world.nowMs));
    if (turn === 'owed' || !world.reachable(deviceId))
      return this.#none(() => this.#unreached(device, world.nowMs));
    this.#awaySince.delete(deviceId);
    if ((this.#notBefore.get(deviceId) ?? 0) > world.nowMs) return [];
    if (state !== 'commanded') this.#devices.move(device, 'commanded', world.nowMs);
    this.#devices.touch(device);
    return [this.#send('apply', deviceId)];
  }

  #none(work: () => void): [] {
    work();
    return [];
  }

  #stale(device: DeviceRecord, nowMs: number): void {
    this.#devices.move(device, 'drifted', nowMs, 'by now it should have something else than the first state');
    this.#checkErrors(device, nowMs);
  }

  /** A moment's silence is no absence: after this process began, or a stream broke, everything is silent. */
  #unreached(device: DeviceRecord, nowMs: number): void {
    const sinceMs = this.#awaySince.get(device.deviceId) ?? nowMs;
    this.#awaySince.set(device.deviceId, sinceMs);
    if (nowMs - sinceMs < this.#patienceMs(device) || device.state === 'away') return;
    const lost = device.state === 'commanded';
    this.#devices.move(device, lost ? 'lost' : 'away', nowMs, 'it cannot be reached');
    this.#checkErrors(device, nowMs);
  }

  /** For how long it may be silent. */
  #patienceMs({ state }: DeviceRecord): number {
    const ms = patienceMs(this.#record.policy, this.#timing);
    return this.#restarts && (state === 'commanded' || state === 'applied') ? ms + restartMs : ms;
  }

  #settle(world: World): void {
    const { wave, settledMs } = this.#record;
    const open = this.#devices.count(wave, ['planned', 'commanded', 'applied']);
    if (open > 0 || settledMs !== undefined) return;
    if (this.#devices.count(wave, ['confirmed']) === 0) {
      // Nothing was tried, so nothing was shown: the next wave would be the first.
      if (this.#devices.count(wave, ['gone']) < this.#devices.wave(wave).length)
        this.#fail({
          kind: 'errors',
          detail: `no device of wave ${wave + 1} was changed`,
          atMs: world.nowMs,
        });
      return;
    }
    this.#set({ settledMs: world.nowMs });
    this.#enter('baking', world.nowMs, `wave ${wave + 1} is complete`);
  }

  #bake(world: World): void {
    const { policy, settledMs = world.nowMs, wave, waveSizes } = this.#record;
    if (world.nowMs < settledMs + policy.bakeMs) return;
    const needsProof = policy.health.checks.length > 0 && policy.onFailure !== 'go-on';
    if (needsProof && this.#healthySinceMs < settledMs) return;
    if (wave + 1 >= waveSizes.length) {
      this.#enter('done', world.nowMs, 'every wave is through');
      return;
    }
    this.#set({ wave: wave + 1, settledMs: undefined, forgiven: 0 });
    this.#enter('applying', world.nowMs, `wave ${wave + 2}`);
  }

  #measure(world: World): Order[] {
    const { policy, wave } = this.#record;
    if (policy.health.checks.length === 0 || this.#measuring) return [];
    if (this.#devices.count(wave, ['confirmed']) === 0) return [];
    // A card that begins anew has no guest to measure from or to: it would be blamed on those that have.
    if (this.#restarts && this.#devices.count(wave, ['commanded', 'applied']) > 0) return [];
    return world.nowMs - this.#measuredMs < policy.health.everyMs ? [] : this.#measureOnce(false);
  }

  #measureOnce(baseline: boolean): Order[] {
    if (this.#measuring) return [];
    this.#measuring = true;
    return [{ kind: 'measure', baseline }];
  }

  #confirmations(world: World): Order[] {
    const orders: Order[] = [];
    for (const device of this.#devices.applied) {
      if (this.#out.has(device.deviceId) || (this.#notBefore.get(device.deviceId) ?? 0) > world.nowMs)
        continue;
      if (!world.reachable(device.deviceId)) this.#unconfirmed(device, world.nowMs);
      else orders.push(this.#send('confirm', device.deviceId));
    }
    return orders;
  }

  /** It has gone back by itself by now, or it is cut off: not ours to know. */
  #unconfirmed(device: DeviceRecord, nowMs: number): void {
    if (nowMs - device.changedMs < this.#patienceMs(device)) return;
    this.#devices.move(device, 'lost', nowMs, 'it cannot be reached since it applied');
    this.#checkErrors(device, nowMs);
  }

  #applied(device: DeviceRecord, outcome: Outcome, nowMs: number): void {
    if (device.state !== 'commanded') return;
    if (outcome.kind === 'ok') this.#devices.move(device, 'applied', nowMs);
    else if (outcome.kind === 'drift') this.#devices.move(device, 'drifted', nowMs, outcome.detail);
    else if (outcome.kind === 'lost') this.#again(device, outcome.detail, nowMs);
    else this.#devices.move(device, 'refused', nowMs, outcome.detail);
  }

  #confirmed(device: DeviceRecord, outcome: Outcome, nowMs: number): void {
    if (device.state !== 'applied') return;
    if (outcome.kind === 'ok') this.#devices.move(device, 'confirmed', nowMs);
    else if (outcome.kind === 'lost') this.#again(device, outcome.detail, nowMs);
    else this.#devices.move(device, 'refused', nowMs, outcome.detail);
  }

  /** One lost answer may be chance. */
  #again(device: DeviceRecord, detail: string, nowMs: number): void {
    this.#devices.tried(device, device.tries + 1);
    this.#notBefore.set(device.deviceId, nowMs + backoffMs(device.tries, this.#timing));
    // Its process is being replaced: it answers once that is over, or never.
    const restarts = this.#restarts && nowMs - device.changedMs < this.#patienceMs(device);
    if (device.tries >= triesMax && !restarts) this.#devices.move(device, 'lost', nowMs, detail);
  }

  #rollBack(world: World): Order[] {
    this.#wayBack ??= new WayBack(this.#record.policy, this.#devices, this.#timing);
    const orders = this.#wayBack.next(world, this.#out);
    for (const { deviceId } of orders) this.#out.add(deviceId);
    if (this.#wayBack.isOver && this.#out.size === 0)
      this.#enter('rolled-back', world.nowMs, this.#wayBack.leftBehind());
    return orders;
  }

  #send(kind: 'apply' | 'confirm' | 'revert', deviceId: string): Order {
    this.#out.add(deviceId);
    return { kind, deviceId };
  }

  #mayCommand(world: World): boolean {
    return isApproved(this.#record, this.#record.wave) && isOpen(this.#record.policy.window, world.wallMs);
  }

  #checkErrors({ wave, deviceId, detail = '' }: DeviceRecord, nowMs: number): void {
    const { policy, waveSizes, wave: present, forgiven } = this.#record;
    if (!this.#phaseIs('applying', 'baking') || policy.onFailure === 'go-on') return;
    const failures = failuresOf(this.#record, this.#devices, wave) - (wave === present ? forgiven : 0);
    if (failures <= policy.errorThreshold * (waveSizes[wave] ?? 0)) return;
    const what = `${failures} of ${waveSizes[wave]} devices of wave ${wave + 1} failed`;
    this.#fail({ kind: 'errors', detail: `${what}; ${deviceId}: ${detail}`, atMs: nowMs });
  }

  #fail(failure: Failure): void {
    const { onFailure } = this.#record.policy;
    if (onFailure === 'go-on') {
      this.#goOn(failure);
      return;
    }
    // Who paused it did not mean that it should not go back.
    this.#set({ failure, paused: false });
    this.#enter(onFailure === 'halt' ? 'halted' : 'rolling-back', failure.atMs, failure.detail);
  }

  /** The policy says that nothing stops it. */
  #goOn({ detail, atMs }: Failure): void {
    this.#set({ settledMs: atMs });
    this.#enter('baking', atMs, detail);
  }

  #phaseIs(...phases: readonly Phase[]): boolean {
    return phases.includes(this.#record.phase);
  }

  #enter(phase: Phase, nowMs: number, detail: string): void {
    this.#devices.audit({
      atMs: nowMs,
      deviceId: undefined,
      what: 'phase',
      from: this.#record.phase,
      to: phase,
      detail,
    });
    this.#set({ phase, ...(endedPhases.has(phase) && { endedMs: nowMs }) });
    if (phase === 'applying') this.#strikes = 0;
  }

  #set(change: Partial<RolloutRecord>): void {
    Object.assign(this.#record, change);
    this.#changed = true;
  }

  #recordAction(who: string, what: string, nowMs: number): void {
    const { phase } = this.#record;
    this.#devices.audit({
      atMs: nowMs,
      who,
      deviceId: undefined,
      what,
      from: phase,
      to: phase,
      detail: undefined,
    });
  }

  #wrongPhase(what: string): Error {
    const { rolloutId, phase } = this.#record;
    return refusal('WrongPhase', `${rolloutId} is ${phase}: it cannot be ${what}.`, 'IncorrectState');
  }
}
