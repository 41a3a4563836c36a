/** S5.4: a skip that fails is withdrawn, one that succeeds becomes eligible, within stated bounds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { betaCdf, betaUpper } from '#reconfiguration/beta.ts';
import { evidenceKinds } from '#reconfiguration/evidence.ts';
import {
  after,
  Feedback,
  failuresToWithdraw,
  initialTally,
  type KeptTally,
  riskLimit,
  spotCheckEvery,
  successesToReturn,
  type Tally,
  verdictOf,
} from '#reconfiguration/feedback.ts';
import { learn } from '#reconfiguration/passes.ts';
import { skippableSteps } from '#reconfiguration/steps.ts';
import { fullStrategy } from '#reconfiguration/strategy.ts';
import { lyingRun, wrongSkipsMax } from './support/lying.ts';

/** P(X ≥ a) of Binomial(a + b − 1, x): what the incomplete beta function is for whole numbers. */
const binomialTail = (x: number, a: number, b: number): number => {
  const n = a + b - 1;
  let sum = 0;
  let choose = 1;
  for (let k = 0; k <= n; k++) {
    if (k >= a) sum += choose * x ** k * (1 - x) ** (n - k);
    choose = (choose * (n - k)) / (k + 1);
  }
  return sum;
};

test('the Beta distribution is right: by the binomial one, and at its ends', () => {
  const whole = fc.integer({ min: 1, max: 30 });
  fc.assert(
    fc.property(whole, whole, fc.double({ min: 0, max: 1, noNaN: true }), (a, b, x) => {
      assert.ok(Math.abs(betaCdf(x, a, b) - binomialTail(x, a, b)) < 1e-8);
      const upper = betaUpper(a, b, 0.95);
      assert.ok(Math.abs(betaCdf(upper, a, b) - 0.95) < 1e-6);
    }),
  );
  // Jeffreys' upper bounds, as the tables have them: 0 of 10, and 1 of 20.
  assert.ok(Math.abs(betaUpper(0.5, 10.5, 0.975) - 0.2172) < 1e-3);
  assert.deepEqual([betaCdf(0, 2, 3), betaCdf(1, 2, 3)], [0, 1]);
});

const outcomes = fc.array(
  fc.tuple(fc.constantFrom('right' as const, 'wrong' as const, 'unseen' as const), fc.nat(60)),
  { maxLength: 12 },
);
const reached = fc
  .tuple(fc.constantFrom(...evidenceKinds), outcomes)
  .map(([kind, runs]) =>
    runs.reduce<Tally>(
      (tally, [outcome, times]) =>
        Array.from({ length: times }).reduce<Tally>((sum) => after(sum, outcome), tally),
      initialTally(kind),
    ),
  );
const times = (tally: Tally, outcome: 'right' | 'wrong', count: number): Tally =>
  Array.from({ length: count }).reduce<Tally>((sum) => after(sum, outcome), tally);

test('whatever came before, the stated number of failures withdraws a skip, of successes makes it eligible again', () => {
  fc.assert(
    fc.property(reached, (tally) => {
      const withdrawn = times(tally, 'wrong', failuresToWithdraw);
      assert.equal(verdictOf(withdrawn).allowed, false);
      assert.equal(verdictOf(times(withdrawn, 'right', successesToReturn)).allowed, true);
    }),
    { numRuns: 500 },
  );
});

test('the bounds are tight: one failure of a well-proved skip does not withdraw it, and it is soon back', () => {
  const proved = times(initialTally('same-layout'), 'right', 200);
  const withdrawn = times(proved, 'wrong', failuresToWithdraw);
  assert.equal(verdictOf(times(withdrawn, 'right', 10)).allowed, false);
  assert.equal(verdictOf(times(withdrawn, 'right', 25)).allowed, true);
  assert.equal(verdictOf(after(proved, 'wrong')).allowed, true);
  assert.ok(verdictOf(proved).riskMax < riskLimit / 2);
});

test('skips that nobody looks at are looked at now and then', () => {
  let tally = times(initialTally('diagnostics-passed'), 'right', 40);
  for (let at = 0; at < spotCheckEvery; at++) {
    assert.equal(verdictOf(tally).spotCheckDue, false);
    tally = after(tally, 'unseen');
  }
  assert.equal(verdictOf(tally).spotCheckDue, true);
  assert.equal(verdictOf(after(tally, 'right')).spotCheckDue, false);
});

test('a class learns for itself, and what is kept comes back as it was', () => {
  const key = { hostClass: 'rack', step: 'slotLayout', kind: 'same-layout' } as const;
  const feedback = new Feedback().noted(key, 'wrong').noted(key, 'wrong');
  assert.equal(feedback.verdict(key).allowed, false);
  assert.equal(feedback.verdict({ ...key, hostClass: 'edge' }).allowed, true);
  const kept: unknown = JSON.parse(JSON.stringify(feedback.all));
  assert.deepEqual(new Feedback(kept as KeptTally[]).verdict(key), feedback.verdict(key));
});

test('rows that no release wrote are not believed', () => {
  const key = { hostClass: 'rack', step: 'slotLayout', kind: 'same-layout' } as const;
  const odd = { ...key, failures: Number.NaN, successes: -4, unseen: 0 };
  assert.deepEqual(new Feedback([odd]).tally(key), initialTally('same-layout'));
});

test('a rebuild teaches only what somebody saw', () => {
  const strategy = {
    ...fullStrategy('all'),
    diagnostics: {
      decision: 'skip',
      why: '',
      riskMax: 0.01,
      evidence: { kind: 'diagnostics-passed', ageMs: 1, words: '' },
    },
    slotLayout: {
      decision: 'skip',
      why: '',
      riskMax: 0.01,
      evidence: { kind: 'same-layout', ageMs: 1, words: '' },
    },
    hostImage: { decision: 'keep', why: '', against: { kind: 'image-digest', ageMs: 1, words: '' } },
  } as const;
  const told = (found: Parameters<typeof learn>[2], validated: boolean) =>
    Object.fromEntries(
      learn('rack', strategy, found, validated).map(({ key, outcome }) => [key.step, outcome]),
    );
  const fine = { ok: true, changed: false };
  assert.deepEqual(told({ hostImage: fine }, true), {
    ...{ diagnostics: 'unseen', hostImage: 'right', slotLayout: 'right' },
  });
  assert.deepEqual(
    told({ hostImage: fine, slotLayout: { ok: true, changed: true }, diagnostics: fine }, false),
    { diagnostics: 'right', hostImage: 'right', slotLayout: 'wrong' },
  );
  assert.deepEqual(told({ hostImage: { ok: false, changed: false } }, false).hostImage, 'wrong');
  assert.ok(skippableSteps.length === 6);
});

test('a class whose evidence begins to lie loses the skip within the bound, however long it was true, and gets it back', () => {
  for (const step of ['slotLayout', 'diagnostics'] as const) {
    const run = lyingRun(step, { liesFrom: 300, liesUntil: 400, rebuilds: 900 });
    const most = wrongSkipsMax(step, failuresToWithdraw);
    assert.ok(run.skipped.slice(200, 300).filter(Boolean).length > 80, `${step} is skipped while it is true`);
    assert.ok(run.wrongSkips > 0 && run.wrongSkips <= most, `${run.wrongSkips} wrong skips of ${step}`);
    assert.ok(run.skipped.slice(860).some(Boolean), `${step} comes back`);
    // What a validation launch sees is mended before the host serves.
    if (step === 'slotLayout') assert.equal(run.wrongHosts, 0);
  }
});

test('memory that no counter tells of: the hosts serve whose VMs felt nothing, and no others', () => {
  const times = { liesFrom: 300, liesUntil: 400, rebuilds: 500 };
  const served = [0, 0.5, 1].map((feltShare) => lyingRun('diagnostics', { ...times, feltShare }).wrongHosts);
  const [none = 0, half = 0, all] = served;
  assert.ok(none > 0, 'what nobody feels is found by spot checks alone');
  assert.ok(half < none, `${half} of ${none}: what some felt is held against the evidence of all`);
  assert.equal(all, 0);
});
