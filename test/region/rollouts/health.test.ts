/** What is healthy, against what was measured before. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProbeReport } from '#contracts/card-probe.ts';
import type { HealthSpec } from '#contracts/rollout-policy.ts';
import { baselineOf, complaintsOf } from '#region/rollouts/health.ts';
import { addressOf } from '#region/rollouts/probe-meter.ts';

const spec = (checks: HealthSpec['checks']): HealthSpec => ({
  ...{ checks, lossMax: 0.1, latencyFactorMax: 5, strikes: 2, everyMs: 1_000 },
});
const fine: ProbeReport = {
  peers: [
    { ip: '198.19.0.2', sent: 20, received: 20, latencyMs: 1, tcp: { ok: true, ms: 10 } },
    { ip: '198.19.0.3', sent: 20, received: 20, latencyMs: 2, tcp: { ok: true, ms: 20 } },
  ],
  metadata: { ok: true, ms: 3 },
  counters: { packets: 1_000, dropped: 5 },
};
const deviceId = 'card/10.0.0.1';
const baseline = baselineOf([{ deviceId, report: fine }]);
const [first, second] = fine.peers;
assert.ok(first !== undefined && second !== undefined);

const said = (checks: HealthSpec['checks'], report: Partial<ProbeReport>): string =>
  complaintsOf(spec(checks), baseline, { deviceId, report: { ...fine, ...report } }).join('; ');

const all: HealthSpec['checks'] = ['overlay', 'tcp', 'metadata', 'counters'];

test('S8.3 what is as before is healthy', () => assert.equal(said(all, {}), ''));

test('S8.3 only the checks that the policy names are looked at', () => {
  const broken: ProbeReport = {
    peers: [{ ...first, received: 0, tcp: { ok: false, ms: 1_500 } }],
    metadata: { ok: false, ms: 1_500, detail: 'late' },
    counters: { packets: 1_100, dropped: 505 },
  };
  assert.match(
    said(['overlay'], broken),
    /^card\/10.0.0.1: overlay: 100 % of datagrams lost, 0 % before[^;]*; nothing from 198.19.0.2$/,
  );
  assert.match(said(['tcp'], broken), /^card\/10.0.0.1: tcp to 198.19.0.2: not measured$/);
  assert.equal(said(['metadata'], broken), 'card/10.0.0.1: metadata: late');
  assert.match(said(['counters'], broken), /500 packets dropped \(83 %\)/);
  assert.equal(said(['control'], broken), '');
});

test('S8.3 a latency is measured against the baseline, a lossy baseline excuses as much loss', () => {
  const slow = { ...first, latencyMs: 400 };
  assert.match(said(['overlay'], { peers: [slow] }), /latency 400.0 ms, 2.0 ms before/);
  const lossy = baselineOf([{ deviceId, report: { ...fine, peers: [{ ...first, received: 10 }] } }]);
  const half = { deviceId, report: { ...fine, peers: [{ ...first, received: 9 }] } };
  assert.deepEqual(complaintsOf(spec(['overlay']), lossy, half), []);
  assert.equal(complaintsOf(spec(['overlay']), baseline, half).length, 1);
});

test('S8.3 what was not measured is not healthy', () => {
  const { metadata: _, counters: __, ...none } = fine;
  const report = { deviceId, report: none };
  assert.equal(complaintsOf(spec(['metadata', 'counters']), baseline, report).length, 2);
});

test('a guest’s address comes of its card’s, and another one where that is taken', () => {
  assert.equal(addressOf('10.0.1.7'), '198.19.1.7');
  assert.notEqual(addressOf('10.0.1.7', 1), addressOf('10.0.1.7'));
  assert.match(addressOf('10.0.255.255', 9), /^198\.19\.\d+\.\d+$/);
});
