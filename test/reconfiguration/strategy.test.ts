/** S5.2, S5.3: each step is kept or left out with its reason, and some are never left out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { evidenceAgeMsMax, evidenceOf, type HostFacts, type Measured } from '#reconfiguration/evidence.ts';
import { Feedback } from '#reconfiguration/feedback.ts';
import { firstLevel, nextLevel, passLevels, strategyAt } from '#reconfiguration/passes.ts';
import { isSkippable, rebuildSteps, skippableSteps } from '#reconfiguration/steps.ts';
import {
  expectedMs,
  fullStrategy,
  isThorough,
  type Strategy,
  skippedSteps,
  skips,
  withSuspicion,
  workOutStrategy,
} from '#reconfiguration/strategy.ts';
import { seeded } from '../slots/support.ts';
import { bothWays } from './support/fleet.ts';
import { wanted } from './support/model-host.ts';

const measured = (digest: string, bootId = 'b1', ageMs = 1_000): Measured => ({ digest, ageMs, bootId });

/** A host of which everything speaks for itself. */
const clean: HostFacts = {
  ...{ hostId: 'h-1', hostClass: 'rack', bootId: 'b1', dirty: [], errors: 3 },
  cleanStart: { ageMs: 1_000, bootId: 'b1' },
  firmware: measured(wanted.firmwareDigest),
  diagnostics: { passed: true, ageMs: 1_000, errors: 3 },
  image: measured(wanted.imageDigest),
  layout: measured(wanted.layoutDigest),
  network: measured(wanted.networkDigest),
};

/** Feedback in which every kind of evidence has proved itself. */
const trusting = skippableSteps.reduce((feedback, step) => {
  const key = { hostClass: 'rack', step, kind: evidenceOf[step] };
  return Array.from({ length: 40 }).reduce<Feedback>((sum) => sum.noted(key, 'right'), feedback);
}, new Feedback());

test('a clean host is spared every step that evidence may stand in for; each says why', () => {
  const strategy = workOutStrategy(clean, wanted, trusting);
  assert.deepEqual(skippedSteps(strategy), skippableSteps);
  for (const step of rebuildSteps) assert.ok(strategy[step].why.length > 10, step);
  assert.ok(expectedMs(strategy) < expectedMs(fullStrategy('all')) / 2);
});

test('of a host that nothing was tried on yet, what is measured now stands in, what is remembered does not', () => {
  const strategy = workOutStrategy(clean, wanted, new Feedback());
  assert.equal(strategy.diagnostics.decision, 'keep');
  // A restart is not spared, so nothing is that a restart makes void.
  assert.deepEqual(skippedSteps(strategy), ['hostImage']);
});

test('a dirty host gets them all, and hears why', () => {
  const strategy = workOutStrategy({ ...clean, dirty: ['its agent crashed'] }, wanted, trusting);
  assert.deepEqual(skippedSteps(strategy), []);
  assert.equal(strategy.diagnostics.why, 'its agent crashed');
  assert.equal(firstLevel(strategy), 'full');
});

test('each kind of evidence counts only fresh, of this boot, and as wanted', () => {
  const spoiled: Readonly<Record<string, Partial<HostFacts>>> = {
    powerCycle: { cleanStart: { ageMs: 1_000, bootId: 'b0' } },
    firmwareCheck: { firmware: measured('other') },
    diagnostics: { errors: 4 },
    hostImage: { image: measured(wanted.imageDigest, 'b0') },
    slotLayout: { layout: measured(wanted.layoutDigest, 'b1', evidenceAgeMsMax['same-layout'] + 1) },
    networkConfiguration: { network: measured(wanted.networkDigest, 'b1', -1) },
  };
  for (const step of skippableSteps) {
    const strategy = workOutStrategy({ ...clean, ...spoiled[step] }, wanted, trusting);
    assert.equal(strategy[step].decision, 'keep', step);
  }
});

test('VMs that ended for no known reason void what diagnostics said, and ask for thorough ones; one guest’s panic does not', () => {
  const after = (...crashes: NonNullable<HostFacts['crashes']>) =>
    workOutStrategy({ ...clean, crashes }, wanted, trusting).diagnostics;
  const killed = { instanceId: 'i-1', cause: 'killed' } as const;
  const panicked = { instanceId: 'i-2', cause: 'panicked' } as const;
  assert.equal(after().decision, 'skip');
  assert.equal(after(panicked, panicked).decision, 'skip', 'a guest that panics again and again');
  for (const crashes of [[killed], [panicked, { ...panicked, instanceId: 'i-3' }]]) {
    const { decision, why, ...rest } = after(...crashes);
    const evidence = { kind: 'diagnostics-passed', ageMs: 1_000 };
    const against = { ...evidence, words: 'passed, and no error was counted since' };
    assert.deepEqual([decision, rest], ['keep', { thorough: true, against }]);
    for (const { instanceId } of crashes) assert.match(why, new RegExp(instanceId));
  }
  const all = withSuspicion(fullStrategy('all'), { crashes: [killed] });
  assert.ok(isThorough(all), 'also where every step is carried out anyway');
});

test('what a restart makes void is carried out after it', () => {
  const { cleanStart: _, ...rest } = clean;
  const strategy = workOutStrategy(rest, wanted, trusting);
  assert.deepEqual(skippedSteps(strategy), ['diagnostics', 'hostImage']);
  assert.match(strategy.slotLayout.why, /powerCycle/);
});

test('verify-empty, scrub and validation can not be left out (S5.3)', () => {
  const skip = {
    ...{ decision: 'skip', why: 'a test tries', riskMax: 0 },
    evidence: { kind: 'same-layout', ageMs: 0, words: '' },
  } as const;
  const kept = fullStrategy('all');
  // @ts-expect-error: there is no way to write it down.
  const noVerify: Strategy = { ...kept, verifyEmpty: skip };
  // @ts-expect-error: there is no way to write it down.
  const noScrub: Strategy = { ...kept, scrub: skip };
  // @ts-expect-error: there is no way to write it down.
  const noValidation: Strategy = { ...kept, validationLaunch: skip };
  // Who gets round the types (a row that was edited by hand) is not obeyed either.
  for (const strategy of [noVerify, noScrub, noValidation])
    for (const step of rebuildSteps) assert.equal(skips(strategy, step), false, step);
});

test('whatever is on record, essential steps are kept, and a skip names its evidence and a risk under the limit', () => {
  const digest = fc.constantFrom('firmware-2', 'image-2', 'layout-2', 'network-2', 'other');
  const some = fc.record({
    digest,
    ageMs: fc.integer({ min: -1, max: 4_000_000_000 }),
    bootId: fc.constantFrom('b1', 'b0'),
  });
  const facts = fc.record(
    {
      hostId: fc.constant('h-1'),
      hostClass: fc.constantFrom('rack', 'edge'),
      bootId: fc.constant('b1'),
      dirty: fc.array(fc.constant('dirt'), { maxLength: 1 }),
      errors: fc.nat(2),
      cleanStart: some,
      firmware: some,
      diagnostics: fc.record({ passed: fc.boolean(), ageMs: fc.nat(4_000_000_000), errors: fc.nat(2) }),
      image: some,
      layout: some,
      network: some,
    },
    { requiredKeys: ['hostId', 'hostClass', 'bootId', 'dirty', 'errors'] },
  );
  fc.assert(
    fc.property(facts, (host) => {
      const strategy = workOutStrategy(host, wanted, trusting);
      for (const step of rebuildSteps) {
        const decision = strategy[step];
        if (!isSkippable(step)) assert.equal(decision.decision, 'keep');
        if (decision.decision === 'skip') {
          assert.equal(host.dirty.length, 0);
          assert.ok(decision.riskMax < 0.05 && decision.evidence.ageMs >= 0);
        }
      }
    }),
    { numRuns: 2_000 },
  );
});

test('a pass that fails is followed by a fuller one, each once, and then by none (S5.5)', () => {
  const strategy = workOutStrategy(clean, wanted, trusting);
  assert.equal(firstLevel(strategy), 'reduced');
  assert.deepEqual(passLevels.map(nextLevel), ['full', 'diagnostics', 'outOfService']);
  for (const level of ['full', 'diagnostics'] as const)
    assert.deepEqual(skippedSteps(strategyAt(level, strategy)), []);
});

test('random host states end the same by the reduced and by the full way; half of the time is saved', () => {
  const figures = bothWays(10_000, seeded(5));
  assert.equal(figures.different, 0);
  assert.ok(figures.skips > 10_000, `${figures.skips} steps were skipped`);
  assert.ok(figures.saved >= 0.5, `${figures.saved}`);
});

test('hosts of rough lives end the same too, however little is saved there', () => {
  const figures = bothWays(2_000, seeded(6), 4);
  assert.equal(figures.different, 0);
  assert.ok(figures.outcomes.out !== undefined && figures.outcomes['not-empty'] !== undefined);
  assert.ok(figures.escalated > 0 && figures.saved > 0);
});
