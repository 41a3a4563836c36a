/**
 * Adversarial location cases: whatever an attacker does that can be noticed is never allowed, honest errors are accepted falsely within
 * the stated probability, and everything that is not allowed has its reason (S9.1, S9.2, S9.4). `PANDO_LOCATION_CASES=100000` for all.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { reasonCodes } from '#payments/contract/codes.ts';
import type { SideEvidence } from '#payments/contract/operator.ts';
import type { Rules } from '#payments/contract/people.ts';
import { type DecisionInputs, decide } from '#payments/decision/decide.ts';
import { defaultPolicy } from '#payments/decision/policy.ts';
import { sigmaOf95 } from '#payments/location/probability.ts';
import { believedRadiusM } from '#payments/location/sources.ts';
import { defaultRules } from '#payments/people/people.ts';
import { normal as gaussian, seeded as random } from '#payments/simulation/random.ts';

const cases = Number(process.env.PANDO_LOCATION_CASES ?? 10_000);
const metres = (max: number) => fc.double({ min: 0, max, noNaN: true });
const source = fc.constantFrom('gnss', 'wifi', 'fused', 'cell', 'registered') satisfies fc.Arbitrary<
  SideEvidence['source']
>;

const side: fc.Arbitrary<SideEvidence> = fc.record({
  source: fc.option(source, { freq: 8 }),
  accuracyM: fc.double({ min: 0.001, max: 50_000, noNaN: true }),
  ageS: metres(1_000),
  standing: fc.constantFrom('trusted', 'trusted', 'trusted', 'suspect'),
  carrier: fc.constantFrom('NONE', 'NONE', 'TRUE', 'FALSE', 'PARTIAL'),
  carrierMatchRate: fc.option(fc.integer({ min: 1, max: 99 })),
  cell: fc.constant(null),
});
const answer = fc.constantFrom('allow', 'decline', 'step_up', 'allow_below') satisfies fc.Arbitrary<
  Rules['onFar']
>;
const minor = fc.bigInt({ min: 0n, max: 100_000_000n }).map(String);

const inputs: fc.Arbitrary<DecisionInputs> = fc.record({
  amountMinor: fc.bigInt({ min: 1n, max: 100_000_000n }).map(String),
  spentTodayMinor: minor,
  rules: fc.record({
    mode: fc.constantFrom('distance', 'distance', 'distance', 'off'),
    thresholdM: fc.double({ min: 5, max: 1_000, noNaN: true }),
    onFar: answer,
    onUnknown: answer,
    allowBelowMinor: minor,
    stepUpBy: fc.constantFrom('payee_device', 'own_device'),
    carrierRequired: fc.boolean(),
    perPaymentMaxMinor: minor,
    perDayMaxMinor: minor,
    partnerRequired: fc.boolean(),
    areasNamed: fc.boolean(),
  }),
  partner: fc.constantFrom('named', 'too_new', 'not_named'),
  areas: fc.array(
    fc.record({ distanceM: metres(3_000), radiusM: fc.double({ min: 1, max: 2_000, noNaN: true }) }),
    { maxLength: 3 },
  ),
  distanceM: fc.option(metres(3_000), { freq: 8 }),
  payer: side,
  payee: side,
  coLocatedAtBill: fc.constantFrom(false, false, false, false, true),
  policy: fc.constant(defaultPolicy),
});

test('what can be noticed is never allowed silently, and every refusal says why', () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(inputs, (given) => {
      const decision = decide(given);
      const { rules, payer, payee } = given;
      for (const reason of decision.reasons) seen.add(reason);
      assert.ok(
        decision.reasons.length > 0 && decision.reasons.every((reason) => reasonCodes.includes(reason)),
      );
      assert.deepEqual(decide(JSON.parse(JSON.stringify(given))), decision, 'a stored decision replays');
      if (decision.answer !== 'allow') return;
      // Limits and the partner rule hold for every yes.
      assert.ok(BigInt(given.amountMinor) <= BigInt(rules.perPaymentMaxMinor));
      assert.ok(BigInt(given.amountMinor) + BigInt(given.spentTodayMinor) <= BigInt(rules.perDayMaxMinor));
      if (rules.partnerRequired) {
        assert.equal(given.partner, 'named');
        if (rules.areasNamed)
          assert.ok(given.areas.length > 0 && payer.source !== null && payer.standing === 'trusted');
      }
      if (given.coLocatedAtBill || rules.mode === 'off') return;
      // Suspect devices and a carrier that contradicts: no rule makes a silent yes of it.
      for (const each of [payer, payee]) {
        assert.equal(each.standing, 'trusted');
        assert.notEqual(each.carrier, 'FALSE');
      }
      if (decision.proximity !== 'near') return;
      for (const each of [payer, payee])
        assert.ok(each.source !== null && (each.ageS ?? 1e9) <= defaultPolicy.ageSMax);
      if (rules.carrierRequired) assert.ok(['TRUE', 'PARTIAL'].includes(payer.carrier));
      assert.ok((decision.probability ?? 0) >= defaultPolicy.nearFrom);
      assert.ok((given.distanceM ?? 1e9) <= rules.thresholdM);
    }),
    { numRuns: cases },
  );
  for (const reason of [
    'near',
    'far',
    'too_uncertain',
    'payer_position_missing',
    'payee_position_stale',
    'payer_carrier_mismatch',
    'partner_not_named',
    'over_day_limit',
    'co_located_at_bill',
  ])
    assert.ok(seen.has(reason), `the cases reach ${reason}`);
});

test('devices beyond the threshold are called near at most as often as is stated', () => {
  const next = random(99);
  const { partner: _, ...rules } = defaultRules;
  const counts = { beyond: 0, accepted: 0 };
  const sources = ['gnss', 'wifi', 'fused', 'cell'] as const;
  for (let at = 0; at < cases * 2; at += 1) {
    const thresholdM = 20 + next() * 480;
    const truth = thresholdM * (1 + next() ** 3);
    const sides = [0, 1].map((): { evidence: SideEvidence; dx: number; dy: number } => {
      const from = sources[Math.floor(next() * 4)] ?? 'gnss';
      const accuracyM = 3 + next() * 80;
      const ageS = next() * 100;
      // Errors as large as is believed, and a walk since.
      const sigma = Math.hypot(sigmaOf95(believedRadiusM(from, accuracyM)), defaultPolicy.driftMps * ageS);
      return {
        evidence: {
          source: from,
          accuracyM,
          ageS,
          standing: 'trusted',
          carrier: 'NONE',
          carrierMatchRate: null,
          cell: null,
        },
        dx: sigma * gaussian(next),
        dy: sigma * gaussian(next),
      };
    });
    const [a, b] = sides;
    assert.ok(a && b);
    const decision = decide({
      amountMinor: '100',
      spentTodayMinor: '0',
      rules: { ...rules, thresholdM, partnerRequired: false, areasNamed: false },
      partner: 'not_named',
      areas: [],
      distanceM: Math.hypot(truth + a.dx - b.dx, a.dy - b.dy),
      payer: a.evidence,
      payee: b.evidence,
      coLocatedAtBill: false,
      policy: defaultPolicy,
    });
    counts.beyond += 1;
    if (decision.answer === 'allow') counts.accepted += 1;
  }
  const bound = 1 - defaultPolicy.nearFrom;
  assert.ok(counts.accepted / counts.beyond <= bound, `${counts.accepted} of ${counts.beyond}`);
});
