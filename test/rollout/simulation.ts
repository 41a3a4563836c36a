/**
 * Whole rollouts in a world that does everything wrong: devices that fail, return, lie, are away; commands and answers that are lost,
 * late or repeated; engines that are killed or frozen and go on beside their successors; operators who pause, abort and approve.
 * I7 is looked at after every change of every device.
 */
import assert from 'node:assert/strict';
import type { Order } from '#rollout/orders.ts';
import { type DeviceRecord, endedPhases, type Outcome, type RolloutRecord } from '#rollout/record.ts';
import { waitsFor } from '#rollout/rules.ts';
import { RolloutRun } from '#rollout/run.ts';
import { objectKey, sayOf, turnOf } from '#rollout/schedule.ts';
import { type Answer, type Command, type Fence, SimDevice } from './fleet.ts';
import { policyOf, random, rolloutOf, version } from './support.ts';

interface Stored {
  record: RolloutRecord;
  readonly devices: Map<string, DeviceRecord>;
}

/** What survives engines: one writer at a time, by epoch. */
class Store {
  epoch = 0;
  readonly rollouts = new Map<string, Stored>();
  readonly desired = new Map<string, string>();
  readonly owed = new Set<string>();
}

interface Sent {
  readonly engine: Engine;
  readonly order: Exclude<Order, { kind: 'measure' }> | undefined;
  readonly device: SimDevice;
  readonly command: Command;
  readonly arrivesMs: number;
  readonly timesOutMs: number;
  arrived: boolean;
}

const timing = { awayMsMin: 2_000, backoffMsMin: 100, backoffMsMax: 1_000, revertTriesMax: 4 };
const stepsMax = 6_000;

class Engine {
  readonly epoch: number;
  readonly runs: Map<string, RolloutRun>;
  readonly world: Simulation;
  readonly outbox: (() => void)[] = [];
  #number = 0;
  fenced = false;

  constructor(world: Simulation) {
    this.world = world;
    this.epoch = ++world.store.epoch;
    this.runs = new Map(
      [...world.store.rollouts].map(([id, { record, devices }]) => [
        id,
        new RolloutRun(record, [...devices.values()], `engine/${this.epoch}`, timing),
      ]),
    );
  }

  nextFence(): Fence {
    return { epoch: this.epoch, number: ++this.#number };
  }

  /** One look: what is to be sent is written down first, and lies in the outbox until the next. */
  tick(): void {
    for (const send of this.outbox.splice(0)) send();
    if (this.fenced) return;
    for (const run of this.runs.values()) {
      const orders = run.next(this.world.viewOf(run, this));
      if (!this.#persist(run)) return;
      for (const order of orders) this.outbox.push(() => this.world.send(this, run, order));
    }
    this.world.reconcile(this);
  }

  #persist(run: RolloutRun): boolean {
    const { record, devices } = run.drain();
    if (this.world.store.epoch !== this.epoch) {
      this.fenced = true;
      return false;
    }
    const stored = this.world.store.rollouts.get(run.record.rolloutId);
    assert.ok(stored);
    if (record !== undefined) stored.record = record;
    for (const device of devices) stored.devices.set(device.deviceId, device);
    const all = endedPhases.has(stored.record.phase) && record !== undefined;
    for (const device of all ? stored.devices.values() : devices) this.world.settle(stored.record, device);
    return true;
  }
}

export class Simulation {
  readonly store = new Store();
  readonly devices = new Map<string, SimDevice>();
  nowMs = 1_000_000;
  applied = 0;
  #engine: Engine;
  #zombies: Engine[] = [];
  #wire: Sent[] = [];
  readonly #random: () => number;
  readonly #isBad: boolean;
  #healed = false;

  constructor(seed: number) {
    this.#random = random(seed);
    this.#isBad = this.#chance(0.4);
    const ids = Array.from({ length: 2 + this.#below(9) }, (_, at) => `card/${at}`);
    for (const id of ids) this.#addDevice(id);
    const count = this.#chance(0.5) ? 2 : 1;
    for (let seq = 1; seq <= count; seq += 1) this.#addRollout(seq, ids);
    this.#engine = new Engine(this);
  }

  run(): void {
    for (let step = 0; step < 60 + this.#below(200); step += 1) this.#step();
    this.#healed = true;
    this.#zombies = [];
    for (const device of this.devices.values()) device.reachable = true;
    for (let step = 0; step < stepsMax && !this.#isQuiet(); step += 1) this.#step();
    this.#assertConverged();
  }

  viewOf(run: RolloutRun, engine: Engine): Parameters<RolloutRun['next']>[0] {
    const key = 'fleet/fleet';
    return {
      nowMs: this.nowMs,
      wallMs: this.nowMs,
      reachable: (id) => this.devices.get(id)?.reachable ?? false,
      exists: (id) => this.devices.has(id),
      turn: (id) =>
        turnOf(run, id, [...engine.runs.values()], {
          digest: (device) => this.store.desired.get(`${device} ${key}`),
          owed: (device) => this.store.owed.has(`${device} ${key}`),
        }),
    };
  }

  send(engine: Engine, run: RolloutRun, order: Order): void {
    if (order.kind === 'measure') {
      this.#measure(run, order.baseline);
      return;
    }
    const device = this.devices.get(order.deviceId);
    const [transition] = run.record.transitions;
    assert.ok(device && transition?.from && transition.to);
    const { rolloutId, policy } = run.record;
    const command: Command = {
      ...{ kind: order.kind, rolloutId, key: objectKey(transition), confirmMs: policy.confirmMs },
      ...{ from: transition.from.digest, to: transition.to.digest, fence: engine.nextFence() },
    };
    this.#transmit(engine, order, device, command);
  }

  /** What the devices of a rollout should have by now, as the engine's transaction writes it. */
  settle(record: RolloutRecord, device: DeviceRecord): void {
    const [transition] = record.transitions;
    assert.ok(transition?.from && transition.to);
    const say = sayOf(record, device);
    if (say !== 'first' && say !== 'second') return;
    const key = `${device.deviceId} ${objectKey(transition)}`;
    this.store.desired.set(key, (say === 'first' ? transition.from : transition.to).digest);
    if (device.state !== 'confirmed' && device.state !== 'reverted') this.store.owed.add(key);
  }

  reconcile(engine: Engine): void {
    for (const device of this.devices.values()) {
      const key = `${device.id} fleet/fleet`;
      const wanted = this.store.desired.get(key);
      const busy = [...this.store.rollouts.values()].some(({ record, devices }) => {
        const own = devices.get(device.id);
        return own !== undefined && !endedPhases.has(record.phase) && sayOf(record, own) === 'busy';
      });
      if (!this.store.owed.has(key) || !device.reachable || busy || wanted === undefined) continue;
      if (this.#wire.some((sent) => sent.device === device && sent.engine === engine)) continue;
      const none = { rolloutId: '', key: 'fleet/fleet', from: '', confirmMs: 0 };
      this.#transmit(engine, undefined, device, {
        kind: 'reconcile',
        ...none,
        to: wanted,
        fence: engine.nextFence(),
      });
    }
  }

  #addDevice(id: string): void {
    const characters = ['claims', 'denies', 'nonsense'] as const;
    const liar = this.#chance(0.15) ? characters[this.#below(3)] : undefined;
    const device = new SimDevice(id, liar ?? 'honest');
    device.has.set('fleet/fleet', this.#chance(0.03) ? 'drift by hand' : version(1).digest);
    this.devices.set(id, device);
    this.store.desired.set(`${id} fleet/fleet`, version(1).digest);
  }

  #addRollout(seq: number, ids: readonly string[]): void {
    const waves: string[][] = [];
    for (const id of ids.filter(() => this.#chance(0.9))) {
      if (waves.length === 0 || this.#chance(0.35)) waves.push([]);
      waves.at(-1)?.push(id);
    }
    const policy = policyOf({
      waves: [{ rest: true }],
      concurrency: 1 + this.#below(4),
      bakeMs: this.#below(2_000),
      errorThreshold: this.#pick([0, 0, 0.34, 0.5, 1]),
      onFailure: this.#pick(['roll-back', 'roll-back', 'halt', 'go-on'] as const),
      unreachable: this.#pick(['skip', 'fail'] as const),
      health: {
        checks: this.#chance(0.7) ? ['overlay'] : [],
        ...{ lossMax: 0.1, latencyFactorMax: 3, strikes: 1 + this.#below(2), everyMs: 300 },
      },
      ...(this.#chance(0.3) && {
        approval: { before: this.#pick(['first', 'second', 'each'] as const), by: ['alice'] },
      }),
    });
    const made = rolloutOf(policy, waves, { seq, from: this.#chance(0.7) ? seq : 1, to: seq + 1 });
    const devices = new Map(made.devices.map((device) => [device.deviceId, device]));
    if (waves.length > 0) this.store.rollouts.set(made.record.rolloutId, { record: made.record, devices });
  }

  #step(): void {
    this.nowMs += 20 + this.#below(150);
    for (const device of this.devices.values()) device.tick(this.nowMs);
    this.#deliver();
    if (!this.#healed) this.#misfortune();
    this.#operator();
    this.#engine.tick();
    for (const zombie of this.#zombies) if (this.#chance(0.2)) zombie.tick();
    this.#assertI7();
  }

  #misfortune(): void {
    for (const device of this.devices.values()) {
      if (this.#chance(0.03)) device.reachable = !device.reachable;
      if (this.#chance(0.01)) device.crash();
    }
    if (!this.#chance(0.02)) return;
    // Killed, or frozen: then it goes on where it was, beside its successor.
    if (this.#chance(0.5)) this.#zombies.push(this.#engine);
    this.#engine = new Engine(this);
  }

  #operator(): void {
    for (const run of this.#engine.runs.values()) {
      const waits = waitsFor(run.record, run.devices, this.viewOf(run, this.#engine)) ?? '';
      if (waits.startsWith('approval') && this.#chance(0.2)) {
        assert.throws(() => run.approve('operator/mallory', ['mallory'], this.nowMs), /NotAnApprover/);
        run.approve('operator/alice', ['alice'], this.nowMs);
      } else if (run.record.phase === 'halted' && this.#chance(0.1)) {
        if (this.#chance(0.5)) run.resume('operator/alice', this.nowMs);
        else run.abort('operator/alice', this.nowMs);
      } else if (run.record.paused && this.#chance(0.1)) run.resume('operator/alice', this.nowMs);
      else if (!this.#healed) this.#interfere(run);
    }
  }

  #interfere(run: RolloutRun): void {
    if (run.ended || run.record.phase === 'rolling-back') return;
    if (this.#chance(0.003)) run.pause('operator/alice', this.nowMs);
    if (this.#chance(0.003)) run.abort('operator/alice', this.nowMs);
  }

  #measure(run: RolloutRun, baseline: boolean): void {
    const [transition] = run.record.transitions;
    const changed = [...this.devices.values()].some(
      (device) => device.has.get('fleet/fleet') === transition?.to?.digest,
    );
    const kind =
      this.#chance(0.05) && !this.#healed ? 'unknown' : this.#isBad && changed ? 'unhealthy' : 'healthy';
    const verdict = { kind, detail: 'as simulated', beganMs: this.nowMs } as const;
    if (baseline) run.baselineMeasured({}, { ...verdict, kind: 'healthy' }, this.nowMs);
    else run.measured(verdict, this.nowMs);
  }

  #transmit(engine: Engine, order: Sent['order'], device: SimDevice, command: Command): void {
    const base = { engine, order, device, command, arrived: false, timesOutMs: this.nowMs + 1_500 };
    this.#wire.push({ ...base, arrivesMs: this.nowMs + this.#below(this.#chance(0.05) ? 9_000 : 300) });
    // A repeated datagram, a retried call: the same command again, later.
    if (this.#chance(0.03))
      this.#wire.push({
        ...base,
        order: undefined,
        timesOutMs: 0,
        arrivesMs: this.nowMs + this.#below(6_000),
      });
  }

  #deliver(): void {
    const due = this.#wire.filter(({ arrivesMs }) => arrivesMs <= this.nowMs);
    for (const sent of due) {
      sent.arrived = true;
      const lost = !this.#healed && (!sent.device.reachable || this.#chance(0.05));
      const answer = lost ? undefined : this.#obey(sent);
      const answerLost = !this.#healed && this.#chance(0.05);
      this.#answer(sent, answerLost ? undefined : answer);
    }
    for (const sent of this.#wire)
      if (!sent.arrived && sent.timesOutMs <= this.nowMs) this.#answer(sent, undefined, true);
    this.#wire = this.#wire.filter(({ arrived }) => !arrived);
  }

  #obey({ device, command }: Sent): Answer {
    const answer = device.obey(command, this.nowMs);
    if (command.kind === 'apply' && answer === 'ok') this.applied += 1;
    this.#assertI7();
    return answer;
  }

  readonly #answered = new Set<Sent>();

  #answer(sent: Sent, answer: Answer | undefined, keeps = false): void {
    if (this.#answered.has(sent)) return;
    if (keeps) this.#answered.add(sent);
    const { engine, order, command, device } = sent;
    if (command.kind === 'reconcile' && answer === 'ok' && engine.epoch === this.store.epoch) {
      const key = `${device.id} ${command.key}`;
      if (this.store.desired.get(key) === command.to) this.store.owed.delete(key);
    }
    if (order === undefined) return;
    engine.runs.get(command.rolloutId)?.answered(order, outcomeOf(answer), this.nowMs);
  }

  #isQuiet(): boolean {
    const ended = [...this.store.rollouts.values()].every(({ record }) => endedPhases.has(record.phase));
    const owes = [...this.store.owed].some(
      (key) => this.devices.get(key.split(' ')[0] ?? '')?.character !== 'nonsense',
    );
    return ended && !owes && this.#wire.length === 0;
  }

  /** No device has a second state that its rollout's present wave does not allow; no two rollouts are at one device. */
  #assertI7(): void {
    for (const { record, devices } of this.store.rollouts.values()) {
      const second = record.transitions[0]?.to?.digest;
      const changed = [...this.devices.values()].filter(({ has }) => has.get('fleet/fleet') === second);
      if (endedPhases.has(record.phase) && record.phase !== 'rolled-back') continue;
      for (const { id } of changed) {
        const device = devices.get(id);
        assert.ok(device !== undefined && device.wave <= record.wave, `I7: ${id} in ${record.rolloutId}`);
        assert.notEqual(device.touched, undefined, `I7: ${id} was changed and nobody had written that down`);
      }
      const allowed = record.waveSizes.slice(0, record.wave + 1).reduce((sum, size) => sum + size, 0);
      assert.ok(changed.length <= allowed, `I7: ${changed.length} of ${allowed} in ${record.rolloutId}`);
    }
    for (const id of this.devices.keys()) {
      const at = [...this.store.rollouts.values()].filter(
        ({ record, devices }) => !endedPhases.has(record.phase) && devices.get(id)?.touched !== undefined,
      );
      assert.ok(at.length <= 1, `two rollouts at ${id}`);
    }
  }

  #assertConverged(): void {
    for (const { record } of this.store.rollouts.values())
      assert.ok(
        endedPhases.has(record.phase),
        `${record.rolloutId} is ${record.phase} after ${stepsMax} steps: ${this.describe()}`,
      );
    for (const device of this.devices.values()) {
      if (device.character === 'claims' || device.character === 'nonsense') continue;
      const has = device.has.get('fleet/fleet');
      if (has === 'drift by hand') continue;
      assert.equal(
        has,
        this.store.desired.get(`${device.id} fleet/fleet`),
        `${device.id} has what it should have`,
      );
    }
  }

  /** For a failure's message. */
  describe(): string {
    const devices = [...this.devices.values()].map(({ id, character, has }) => ({
      id,
      character,
      has: has.get('fleet/fleet'),
    }));
    const rollouts = [...this.store.rollouts.values()].map(({ record, devices: own }) => ({
      ...record,
      devices: [...own.values()],
    }));
    return JSON.stringify(
      { devices, rollouts, owed: [...this.store.owed], desired: [...this.store.desired] },
      null,
      1,
    );
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<T>(values: readonly [T, ...T[]]): T {
    return values[this.#below(values.length)] ?? values[0];
  }
}

const outcomeOf = (answer: Answer | undefined): Outcome => {
  const detail = `the device said ${answer}`;
  if (answer === undefined) return { kind: 'lost', detail };
  if (answer === 'ok') return { kind: 'ok' };
  return { kind: answer === 'nonsense' ? 'refused' : answer, detail };
};
