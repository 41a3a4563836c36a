/** The probability of being within a threshold: against numerical integration, and what accepting by it promises (S9.1). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { normalCdf, sigmaOf95, withinProbability } from '#payments/location/probability.ts';
import { normal as gaussian, seeded as random } from '#payments/simulation/random.ts';

/** P(length ≤ T) by integrating the density over the disc, row by row. */
function integrated(distance: number, threshold: number, sigma: number): number {
  const rows = 4_000;
  let sum = 0;
  for (let at = 0; at < rows; at += 1) {
    const x = -threshold + ((at + 0.5) / rows) * 2 * threshold;
    const half = Math.sqrt(threshold ** 2 - x ** 2);
    const column = 2 * normalCdf(half / sigma) - 1;
    const density = Math.exp(-((x - distance) ** 2) / (2 * sigma ** 2)) / (sigma * Math.sqrt(2 * Math.PI));
    sum += density * column * ((2 * threshold) / rows);
  }
  return sum;
}

test('agrees with numerical integration', () => {
  const metres = (max: number) => fc.double({ min: 0.5, max, noNaN: true });
  fc.assert(
    fc.property(metres(500), metres(500), metres(200), (distance, threshold, sigma) => {
      // The integration's own rows must be finer than the density.
      fc.pre(threshold / sigma < 200);
      const difference = Math.abs(
        withinProbability(distance, threshold, sigma) - integrated(distance, threshold, sigma),
      );
      assert.ok(difference < 2e-3, `differs by ${difference}`);
    }),
    { numRuns: 400 },
  );
});

test('known values', () => {
  assert.ok(Math.abs(withinProbability(0, 100, sigmaOf95(100)) - 0.95) < 1e-9, 'a 95 % radius holds 95 %');
  assert.equal(withinProbability(10, 10, 0), 1);
  assert.equal(withinProbability(10.001, 10, 0), 0);
  assert.equal(withinProbability(5, 0, 10), 0);
  assert.equal(withinProbability(1e7, 50, 10), 0);
  assert.equal(withinProbability(10, 1e7, 10), 1);
  assert.equal(withinProbability(10, 50, Number.POSITIVE_INFINITY), 0);
  for (const bad of [Number.NaN, -1]) assert.throws(() => withinProbability(bad, 50, 10), RangeError);
});

test('falls with the distance and rises with the threshold', () => {
  const value = fc.double({ min: 0, max: 1_000, noNaN: true });
  fc.assert(
    fc.property(
      value,
      value,
      value,
      fc.double({ min: 0.1, max: 500, noNaN: true }),
      (distance, more, threshold, sigma) => {
        // The two forms of Rice's distribution meet within 1e-3.
        const slack = 1e-3;
        const here = withinProbability(distance, threshold, sigma);
        assert.ok(withinProbability(distance + more, threshold, sigma) <= here + slack);
        assert.ok(withinProbability(distance, threshold + more, sigma) >= here - slack);
      },
    ),
    { numRuns: 2_000 },
  );
});

test('whatever the true distance beyond the threshold, accepting at P ≥ p errs with at most 1 − p', () => {
  const next = random(20261126);
  for (const nearFrom of [0.9, 0.95])
    for (const [threshold, sigma] of [
      [50, 5],
      [50, 20],
      [50, 45],
      [200, 60],
    ] as const)
      for (const beyond of [0, 5, 20, 60]) {
        const trials = 20_000;
        let accepted = 0;
        for (let at = 0; at < trials; at += 1) {
          const measured = Math.hypot(threshold + beyond + sigma * gaussian(next), sigma * gaussian(next));
          if (withinProbability(measured, threshold, sigma) >= nearFrom) accepted += 1;
        }
        const rate = accepted / trials;
        const bound = 1 - nearFrom;
        // Four standard errors of the estimate.
        assert.ok(
          rate <= bound + 4 * Math.sqrt((bound * (1 - bound)) / trials),
          `${rate} at ${threshold} ± ${sigma} + ${beyond}`,
        );
      }
});
