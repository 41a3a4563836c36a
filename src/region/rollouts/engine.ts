/**
 * Drives the rollouts of a region (S8.3, S8.5). A look every so often, sooner when a device has answered: what each rollout wants is
 * written down under the lease first, and only then sent. So an engine that dies leaves nothing that its successor does not know of, and
 * the successor goes on at the same wave.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { transact } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import type { HealthCheck } from '#contracts/rollout-policy.ts';
import type { DeviceOrder, RunTiming, World } from '#rollout/orders.ts';
import type { RolloutRecord } from '#rollout/record.ts';
import { type Drained, RolloutRun, type Verdict } from '#rollout/run.ts';
import { turnOf } from '#rollout/schedule.ts';
import type { Database } from '../schema.ts';
import { DesiredBook, rowsOf } from './desired.ts';
import { carryOut, type Fence } from './device-orders.ts';
import type { Fleet } from './fleet.ts';
import { EngineLease } from './lease.ts';
import { Reconciliation } from './reconciliation.ts';
import { takeRequests, writeAnswers } from './requests.ts';
import { type DesiredRow, loadDesired, loadDevices, loadOpen, writeDesired, writeDrained } from './store.ts';

/** Measures whether devices do what they are there for. */
export interface HealthMeter {
  /** What can be measured: a policy that names another check is refused. */
  readonly measures: ReadonlySet<HealthCheck>;
  /** Before anything is changed: what is healthy at these devices, for later. */
  baseline(
    record: RolloutRecord,
    firstWave: readonly string[],
  ): Promise<{ readonly baseline: unknown; readonly verdict: Verdict }>;
  /** `changed`: devices that have the second state. */
  measure(record: RolloutRecord, changed: readonly string[]): Promise<Verdict>;
}

export interface EngineOptions {
  readonly db: Database;
  readonly fleet: Fleet;
  readonly meter: HealthMeter;
  readonly log: Logger;
  /** This life of this process. */
  readonly name: string;
  /** Milliseconds since 1970: bake times and records outlive the process. No step of a wall clock moves it within one. */
  now(): number;
  /** The wall clock, for time windows; default: the same. */
  wallNow?(): number;
  readonly tickMs?: number;
  readonly leaseTtlMs?: number;
  readonly timing?: Partial<RunTiming>;
}

const tickMsDefault = 200;
/** Where no rollout is under way, a look is this much rarer. */
const idleTicks = 5;
const leaseTtlMsDefault = 5_000;
/** Devices changed of which a measurement is told, at most. */
const measuredMax = 256;

export class RolloutEngine {
  readonly #options: EngineOptions;
  readonly #lease: EngineLease;
  readonly #stop = new AbortController();
  readonly #runs = new Map<string, RolloutRun>();
  #desired = new DesiredBook([]);
  #reconciliation: Reconciliation | undefined;
  #number = 0;
  #wake: (() => void) | undefined;
  #woken = false;
  #asked = false;
  #nextTickMs = 0;
  #loop: Promise<void> | undefined;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#lease = new EngineLease(options.db, options.name, options.leaseTtlMs ?? leaseTtlMsDefault);
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** Something was written for it: it looks now. */
  hint(): void {
    this.#asked = true;
    this.#lookSoon();
  }

  #lookSoon(): void {
    this.#woken = true;
    this.#wake?.();
  }

  get #tickMs(): number {
    const { tickMs = tickMsDefault } = this.#options;
    return this.#runs.size === 0 ? tickMs * idleTicks : tickMs;
  }

  /** Stops between looks and gives the lease back. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.hint();
    await this.#loop;
    await this.#lease.release().catch(() => undefined);
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#look();
      } catch (error) {
        // What was decided and not written is forgotten: the rows say where each rollout stands.
        this.#forget();
        this.#options.log.warn({ err: error }, 'rollouts: a look failed; the next one begins at the rows');
      }
      await this.#pause();
    }
  }

  async #pause(): Promise<void> {
    if (!this.#woken) {
      const over = new AbortController();
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await Promise.race([
        delay(this.#tickMs, undefined, { signal: over.signal, ref: false }).catch(() => undefined),
        woken,
      ]);
      over.abort();
    }
    this.#woken = false;
    this.#wake = undefined;
  }

  async #look(): Promise<void> {
    if (await this.#lease.keep()) await this.#takeUp();
    if (this.#lease.epoch === undefined) return;
    const { db, now } = this.#options;
    // Answers of devices bring many looks; what others have written is looked for at each tick alone.
    const isDue = this.#asked || monotonicMs() >= this.#nextTickMs;
    if (isDue) await this.#takeNew();
    const answers = isDue ? await takeRequests(db, this.#runs, now()) : new Map();
    if (isDue) this.#nextTickMs = monotonicMs() + this.#tickMs;
    this.#asked = false;
    for (const run of [...this.#runs.values()].sort((a, b) => a.record.seq - b.record.seq))
      await this.#advance(run);
    await writeAnswers(db, answers);
    if (isDue) await this.#reconciliation?.look(this.#isBusy);
  }

  /** A new epoch: everything is read anew. */
  async #takeUp(): Promise<void> {
    this.#forget();
    this.#number = 0;
    const { db, fleet, log } = this.#options;
    this.#desired = new DesiredBook(await loadDesired(db));
    this.#reconciliation = new Reconciliation({
      ...{ db, fleet, log, desired: this.#desired, nextFence: () => this.#nextFence() },
      now: () => this.#options.now(),
      write: (rows) => this.#writeDesired(rows),
    });
    log.info({ epoch: this.#lease.epoch }, 'rollouts: this process runs them');
  }

  #forget(): void {
    this.#runs.clear();
  }

  async #takeNew(): Promise<void> {
    const { db, name, fleet, timing = {} } = this.#options;
    const opened = await loadOpen(db, [...this.#runs.keys()]);
    // A device that only the process knows which took the rollout in would count as gone.
    if (opened.length > 0) await fleet.refresh?.();
    for (const record of opened) {
      const devices = await loadDevices(db, record.rolloutId);
      this.#runs.set(record.rolloutId, new RolloutRun(record, devices, `engine/${name}`, timing));
    }
  }

  async #advance(run: RolloutRun): Promise<void> {
    const orders = run.next(this.#worldOf(run));
    await this.#write(run, run.drain());
    for (const order of orders) {
      if (order.kind === 'measure') void this.#measure(run, order.baseline);
      else void this.#send(run, order);
    }
    if (run.ended) this.#runs.delete(run.record.rolloutId);
  }

  async #write(run: RolloutRun, drained: Drained): Promise<void> {
    const { record, devices, audits } = drained;
    if (record === undefined && devices.length === 0 && audits.length === 0) return;
    const rows = rowsOf(run.record, run.ended ? run.devices.all() : devices, this.#desired);
    await transact(this.#options.db, async (tx) => {
      await this.#lease.assertHeld(tx);
      await writeDrained(tx, run.record, drained);
      await writeDesired(tx, rows);
    });
    for (const row of rows) this.#desired.set(row);
  }

  async #writeDesired(rows: readonly DesiredRow[]): Promise<void> {
    await transact(this.#options.db, async (tx) => {
      await this.#lease.assertHeld(tx);
      await writeDesired(tx, rows);
    });
    for (const row of rows) this.#desired.set(row);
  }

  async #send(run: RolloutRun, order: DeviceOrder): Promise<void> {
    const device = this.#options.fleet.device(order.deviceId);
    const outcome =
      device === undefined
        ? ({ kind: 'lost', detail: 'it is no device any more' } as const)
        : await carryOut(device, run.record, order, this.#nextFence());
    run.answered(order, outcome, this.#options.now());
    this.#lookSoon();
  }

  async #measure(run: RolloutRun, baseline: boolean): Promise<void> {
    const { meter, now } = this.#options;
    const beganMs = now();
    const unknown = (error: unknown): Verdict => ({
      ...{ kind: 'unknown', detail: `not measured: ${PandoError.from(error).message}`, beganMs },
    });
    if (baseline) {
      const measured = await meter
        .baseline(run.record, firstOf(run))
        .catch((error: unknown) => ({ baseline: undefined, verdict: unknown(error) }));
      run.baselineMeasured(measured.baseline, measured.verdict, now());
    } else run.measured(await meter.measure(run.record, changedOf(run)).catch(unknown), now());
    this.#lookSoon();
  }

  #nextFence(): Fence {
    this.#number += 1;
    return { epoch: this.#lease.epoch ?? 0, number: this.#number };
  }

  #worldOf(run: RolloutRun): World {
    const { fleet, now, wallNow } = this.#options;
    const others = [...this.#runs.values()];
    return {
      nowMs: now(),
      wallMs: (wallNow ?? now)(),
      reachable: (id) => fleet.reachable(id),
      exists: (id) => fleet.device(id) !== undefined,
      turn: (id) => turnOf(run, id, others, this.#desired),
    };
  }

  /** Nobody else may touch a device while a rollout is at it. */
  readonly #isBusy = (deviceId: string): boolean =>
    [...this.#runs.values()].some((run) => {
      const device = run.devices.get(deviceId);
      return device !== undefined && isAt(run, device);
    });
}

const isAt = (run: RolloutRun, device: NonNullable<ReturnType<RolloutRun['devices']['get']>>): boolean =>
  device.touched !== undefined && device.state !== 'confirmed' && device.state !== 'reverted'
    ? true
    : run.record.phase === 'rolling-back' && device.touched !== undefined;

const firstOf = (run: RolloutRun): string[] =>
  run.devices
    .wave(0)
    .slice(0, measuredMax)
    .map(({ deviceId }) => deviceId);

const changedOf = (run: RolloutRun): string[] => {
  const changed: string[] = [];
  for (let wave = run.record.wave; wave >= 0; wave -= 1)
    for (const { deviceId, state } of run.devices.wave(wave))
      if (state === 'confirmed' && changed.length < measuredMax) changed.push(deviceId);
  return changed;
};
