/** Policies and waves: what is refused, by what name, and that no device is in two waves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PandoError } from '#contracts/errors.ts';
import { type PolicySpec, policySpec } from '#contracts/rollout-policy.ts';
import { checkPolicy, defaultPolicies } from '#rollout/policy.ts';
import { type FleetDevice, planWaves } from '#rollout/waves.ts';
import { isOpen } from '#rollout/window.ts';
import { policyOf } from './support.ts';

const fleetOf = (cells: number, perCell: number): FleetDevice[] =>
  Array.from({ length: cells * perCell }, (_, at) => ({
    id: `card/10.0.${Math.floor(at / perCell)}.${at % perCell}`,
    cell: `cell-${Math.floor(at / perCell)}`,
    zone: `zone-${Math.floor(at / perCell) % 2}`,
  }));

const refused = (name: string, work: () => unknown): void => {
  assert.throws(
    work,
    (error: unknown) =>
      error instanceof PandoError && error.details?.refusal === name && error.message.startsWith(`${name}: `),
    name,
  );
};

const bad: readonly [string, Partial<PolicySpec> & Pick<PolicySpec, 'waves'>][] = [
  ['NoDevices', { waves: [] }],
  ['NoDevices', { waves: [{}] }],
  ['NoDevices', { waves: [{ devices: [] }] }],
  ['WavesOverlap', { waves: [{ devices: ['card/1'] }, { devices: ['card/2', 'card/1'] }] }],
  ['WavesOverlap', { waves: [{ cells: ['a'] }, { cells: ['a'] }] }],
  ['WavesOverlap', { waves: [{ percent: 60 }, { percent: 50 }] }],
  ['WavesOverlap', { waves: [{ rest: true }, { percent: 50 }] }],
  ['WavesOverlap', { waves: [{ percent: 5, cells: ['a'] }] }],
  ['PercentageOfZero', { waves: [{ percent: 0 }] }],
  ['PercentageOfZero', { waves: [{ percent: -3 }] }],
  ['ValueOutOfRange', { waves: [{ percent: 101 }] }],
  ['ThresholdOutOfRange', { waves: [{ rest: true }], errorThreshold: 1.1 }],
  ['ThresholdOutOfRange', { waves: [{ rest: true }], errorThreshold: -0.1 }],
  ['ValueOutOfRange', { waves: [{ rest: true }], concurrency: 0 }],
  ['ValueOutOfRange', { waves: [{ rest: true }], window: { from: '25:00', to: '03:00' } }],
  ['NotAnApprover', { waves: [{ rest: true }], approval: { before: 'first', by: [] } }],
];

for (const [name, spec] of bad)
  test(`S8.1 a policy is refused as ${name}: ${JSON.stringify(spec)}`, () =>
    refused(name, () => checkPolicy(policyOf(spec))));

test('S8.1 a policy that does not fit the fleet is refused by name', () => {
  const fleet = fleetOf(2, 2);
  const start = (waves: PolicySpec['waves'], devices = fleet) => planWaves(policyOf({ waves }), devices);
  refused('NoDevices', () => start([{ rest: true }], []));
  refused('UnknownDevice', () => start([{ devices: ['card/9.9.9.9'] }]));
  refused('NoDevices', () => start([{ cells: ['cell-7'] }]));
  refused('WavesOverlap', () => start([{ devices: ['card/10.0.0.1'] }, { cells: ['cell-0'] }]));
  refused('WavesOverlap', () => start([{ cells: ['cell-0'] }, { zones: ['zone-0'] }]));
  refused('PercentageOfZero', () => start([{ cells: ['cell-0', 'cell-1'] }, { percent: 10 }]));
});

test('S8.1, S3.12 the default policy begins with the canary cell, and fits any fleet', () => {
  for (const spec of Object.values(defaultPolicies)) checkPolicy(policySpec.parse(spec));
  const [canary, ...others] = planWaves(defaultPolicies.fleet, fleetOf(3, 4));
  assert.deepEqual(
    canary,
    fleetOf(1, 4).map(({ id }) => id),
  );
  assert.equal(others.flat().length, 8);
  for (const devices of [1, 2, 3, 50]) {
    const waves = planWaves(defaultPolicies.fleet, fleetOf(1, devices));
    assert.equal(waves[0]?.length, 1, 'one device of the only cell is the canary');
    assert.equal(waves.flat().length, devices);
  }
  const named = planWaves(
    policyOf({ waves: [{ canaryCell: true }, { rest: true }], canaryCell: 'cell-2' }),
    fleetOf(3, 2),
  );
  assert.deepEqual(named[0], ['card/10.0.2.0', 'card/10.0.2.1']);
});

test('S8.1 whatever the percentages, each device is in one wave at most, and each percentage is rounded up', () => {
  const percents = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 3 });
  const orders = fc.constantFrom('as-listed', 'by-name', 'spread' as const);
  fc.assert(
    fc.property(
      percents,
      orders,
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 9 }),
      (list, order, cells, per) => {
        const sum = list.reduce((total, each) => total + each, 0);
        fc.pre(sum <= 100);
        const fleet = fleetOf(cells, per);
        const waves = planWaves(
          policyOf({
            waves: [...list.map((percent) => ({ percent })), { rest: true }],
            order: order as 'spread',
          }),
          fleet,
        );
        const all = waves.flat();
        assert.equal(new Set(all).size, all.length);
        assert.equal(all.length, fleet.length);
        assert.equal(
          waves[0]?.length,
          Math.min(fleet.length, Math.ceil((fleet.length * (list[0] ?? 0)) / 100)),
        );
      },
    ),
  );
});

test('S8.1 a time window knows days, and the night between two of them', () => {
  const at = (text: string): number => Date.parse(`${text}:00Z`);
  const nights = { days: ['fri' as const], from: '22:00', to: '02:30' };
  assert.equal(isOpen(nights, at('2026-11-27T21:59')), false);
  assert.equal(isOpen(nights, at('2026-11-27T22:00')), true);
  assert.equal(isOpen(nights, at('2026-11-28T02:29')), true, 'the night that began on Friday');
  assert.equal(isOpen(nights, at('2026-11-28T02:30')), false);
  assert.equal(isOpen(nights, at('2026-11-27T01:00')), false, 'the night that began on Thursday');
  assert.equal(isOpen({ from: '00:00', to: '24:00' }, at('2026-11-27T12:00')), true);
  assert.equal(isOpen(undefined, 0), true);
});
