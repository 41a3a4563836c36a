/** One rollout, step by step. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeviceOrder, Order, World } from '#rollout/orders.ts';
import type { Outcome } from '#rollout/record.ts';
import { waitsFor } from '#rollout/rules.ts';
import { RolloutRun } from '#rollout/run.ts';
import { policyOf, rolloutOf } from './support.ts';

const waves = [['card/1'], ['card/2', 'card/3', 'card/4']];
const spec = { waves: [{ rest: true as const }], bakeMs: 1_000, confirmMs: 2_000 };
const health = {
  checks: ['overlay' as const],
  ...{ lossMax: 0.02, latencyFactorMax: 5, strikes: 2, everyMs: 100 },
};

/** A run, its clock, and devices that do as they are told unless the test says otherwise. */
class Bench {
  readonly run: RolloutRun;
  readonly away = new Set<string>();
  readonly answers = new Map<string, Outcome>();
  readonly sent: string[] = [];
  nowMs = 0;

  constructor(run: RolloutRun) {
    this.run = run;
  }

  static of(policy: Parameters<typeof policyOf>[0]): Bench {
    const { record, devices } = rolloutOf(policyOf(policy), waves);
    return new Bench(new RolloutRun(record, devices, 'engine/1'));
  }

  get world(): World {
    const { away, nowMs } = this;
    return { nowMs, wallMs: nowMs, reachable: (id) => !away.has(id), exists: () => true, turn: () => 'go' };
  }

  /** Orders of one look are answered before the next. */
  look(measured: 'healthy' | 'unhealthy' | 'unknown' = 'healthy'): readonly Order[] {
    const orders = this.run.next(this.world);
    for (const order of orders) this.#answer(order, measured);
    this.nowMs += 100;
    return orders;
  }

  until(phase: string, measured?: 'healthy' | 'unhealthy' | 'unknown'): void {
    for (let at = 0; at < 500 && this.run.record.phase !== phase; at += 1) this.look(measured);
    assert.equal(this.run.record.phase, phase);
  }

  states(): string[] {
    return [...this.run.devices.all()].map(({ state }) => state);
  }

  #answer(order: Order, kind: 'healthy' | 'unhealthy' | 'unknown'): void {
    if (order.kind !== 'measure') {
      this.sent.push(`${order.kind} ${order.deviceId}`);
      const outcome = this.answers.get(`${order.kind} ${order.deviceId}`) ?? ({ kind: 'ok' } as const);
      this.run.answered(order satisfies DeviceOrder, outcome, this.nowMs);
    } else if (order.baseline) {
      this.run.baselineMeasured({}, { kind: 'healthy', detail: '', beganMs: this.nowMs }, this.nowMs);
    } else this.run.measured({ kind, detail: 'metadata is gone', beganMs: this.nowMs }, this.nowMs);
  }
}

test('S8.3 wave after wave, the canary first; the next one begins when the one before has baked and was measured healthy', () => {
  const bench = Bench.of({ ...spec, health });
  bench.until('baking');
  assert.deepEqual(bench.sent, ['apply card/1', 'confirm card/1']);
  const settledMs = bench.nowMs;
  bench.until('applying');
  assert.ok(bench.nowMs - settledMs >= spec.bakeMs);
  bench.until('done');
  assert.deepEqual(bench.states(), Array(4).fill('confirmed'));
});

test('S8.3 a wave that cannot be measured does not pass', () => {
  const bench = Bench.of({ ...spec, health });
  bench.until('baking');
  bench.until('rolling-back', 'unknown');
  bench.until('rolled-back');
  assert.deepEqual(bench.states(), ['reverted', 'planned', 'planned', 'planned']);
});

test('S8.3 unhealthy as often as the policy says: back in reverse order, each read back', () => {
  const bench = Bench.of({ ...spec, health, concurrency: 1 });
  bench.until('baking');
  bench.until('applying');
  bench.until('baking');
  bench.until('rolled-back', 'unhealthy');
  assert.deepEqual(
    bench.sent.filter((sent) => sent.startsWith('revert')),
    ['revert card/4', 'revert card/3', 'revert card/2', 'revert card/1'],
  );
  assert.equal(bench.run.record.failure?.kind, 'unhealthy');
  assert.match(bench.run.record.failure?.detail ?? '', /metadata is gone/);
});

test('S8.3 the error threshold is a fraction of the wave', () => {
  const failing = (errorThreshold: number): Bench => {
    const bench = Bench.of({ ...spec, errorThreshold, onFailure: 'halt' });
    bench.answers.set('apply card/3', { kind: 'refused', detail: 'no such device' });
    return bench;
  };
  failing(0.34).until('done');
  const halted = failing(0.3);
  halted.until('halted');
  assert.equal(halted.run.record.failure?.kind, 'errors');
  halted.run.resume('operator/alice', halted.nowMs);
  halted.until('done');
});

test('S8.2 a device that has neither state refuses, is told apart, and is not touched by the rollback', () => {
  const bench = Bench.of(spec);
  bench.answers.set('apply card/1', { kind: 'drift', detail: 'it has 77' });
  bench.answers.set('revert card/1', { kind: 'drift', detail: 'it has 77' });
  bench.until('rolled-back');
  assert.equal(bench.run.devices.get('card/1')?.state, 'drifted');
  assert.equal(bench.run.devices.get('card/1')?.detail, 'it has 77');
});

test('S8.4 a device that went back by itself counts as failed', () => {
  const bench = Bench.of(spec);
  bench.answers.set('confirm card/1', { kind: 'lapsed', detail: 'nobody confirmed in time' });
  bench.until('rolled-back');
  assert.equal(bench.run.record.failure?.kind, 'errors');
});

test('S8.4 a device whose connection the change broke is lost, and the rollout goes back', () => {
  const bench = Bench.of(spec);
  bench.run.next(bench.world);
  bench.run.next(bench.world);
  bench.run.answered({ kind: 'apply', deviceId: 'card/1' }, { kind: 'ok' }, bench.nowMs);
  bench.away.add('card/1');
  bench.until('rolling-back');
  bench.until('rolled-back');
  assert.equal(bench.run.devices.get('card/1')?.state, 'reverting', 'it is brought back when it returns');
});

test('S8.3 a first wave that nobody of was reached shows nothing: the rollout does not go on to the next', () => {
  const bench = Bench.of(spec);
  bench.away.add('card/1');
  bench.until('rolled-back');
  assert.deepEqual(bench.sent, []);
});

test('S8.3 a device that is away is skipped, and told when it returns while the rollout runs', () => {
  const bench = Bench.of({ ...spec, bakeMs: 20_000 });
  bench.away.add('card/3');
  bench.until('baking');
  bench.until('applying');
  bench.until('baking');
  assert.equal(bench.run.devices.get('card/3')?.state, 'away');
  const strict = Bench.of({ ...spec, unreachable: 'fail' });
  strict.away.add('card/3');
  strict.until('rolled-back');
});

test('S8.5 paused: nothing new begins, what has applied is confirmed; resumed it goes on; aborted it goes back', () => {
  const bench = Bench.of({ ...spec, concurrency: 1 });
  bench.look();
  bench.run.pause('operator/alice', bench.nowMs);
  const before = bench.sent.length;
  for (let at = 0; at < 50; at += 1) bench.look();
  assert.deepEqual(bench.sent.slice(before), ['confirm card/1']);
  bench.run.resume('operator/alice', bench.nowMs);
  bench.until('baking');
  bench.run.abort('operator/alice', bench.nowMs);
  bench.until('rolled-back');
  assert.throws(() => bench.run.resume('operator/alice', bench.nowMs), /WrongPhase/);
});

test('S8.1 an approval from who may not give it changes nothing', () => {
  const bench = Bench.of({ ...spec, approval: { before: 'second', by: ['alice'] } });
  bench.until('baking');
  bench.until('applying');
  for (let at = 0; at < 20; at += 1) bench.look();
  assert.match(
    waitsFor(bench.run.record, bench.run.devices, bench.world) ?? '',
    /approval of wave 2 by alice/,
  );
  bench.run.drain();
  assert.throws(() => bench.run.approve('operator/mallory', ['mallory'], bench.nowMs), /NotAnApprover/);
  assert.deepEqual(bench.run.drain(), { record: undefined, devices: [], audits: [] });
  bench.run.approve('operator/alice', ['alice'], bench.nowMs);
  bench.until('done');
  assert.throws(() => bench.run.approve('operator/alice', ['alice'], bench.nowMs), /NotAwaitingApproval/);
});

test('S8.1 outside of its time window nothing begins', () => {
  const bench = Bench.of({ ...spec, window: { from: '01:00', to: '02:00' } });
  for (let at = 0; at < 20; at += 1) bench.look();
  assert.deepEqual(bench.sent, []);
  bench.nowMs = 3_600_000;
  bench.until('done');
});

test('S8.5 every transition of a device leaves a record: who, what, from, to, when', () => {
  const bench = Bench.of(spec);
  bench.until('done');
  const { audits } = bench.run.drain();
  const first = audits
    .filter(({ deviceId }) => deviceId === 'card/1')
    .map(({ from, to }) => `${from} → ${to}`);
  assert.deepEqual(first, ['planned → commanded', 'commanded → applied', 'applied → confirmed']);
  assert.ok(audits.every(({ who, atMs }) => who === 'engine/1' && atMs >= 0));
});
