/** What of a rebuild a host would need just now (S5.2): kept or left out, step by step, each with its reason. */
import {
  type Evidence,
  evidenceOf,
  type HostFacts,
  judgeEvidence,
  suspicionOf,
  type WantedHost,
} from './evidence.ts';
import type { Feedback } from './feedback.ts';
import {
  type EssentialStep,
  invalidates,
  isSkippable,
  type RebuildStep,
  rebuildSteps,
  type SkippableStep,
  skippableSteps,
  typicalMs,
} from './steps.ts';

export interface Keep {
  readonly decision: 'keep';
  readonly why: string;
  /** There is evidence, and yet the step is carried out: what it finds tells how good such evidence is. */
  readonly against?: Evidence;
  /** Of diagnostics: all that can be tested, rather than a share of it. */
  readonly thorough?: boolean;
}

export interface Skip {
  readonly decision: 'skip';
  readonly why: string;
  readonly evidence: Evidence;
  /** Upper bound of the probability that leaving it out is wrong, when it was decided. */
  readonly riskMax: number;
}

/** S5.3: an essential step has no `skip` to be written down. */
export type Strategy = { readonly [S in EssentialStep]: Keep } & {
  readonly [S in SkippableStep]: Keep | Skip;
};
export type Decision<S extends RebuildStep> = Strategy[S];

const essentials = {
  verifyEmpty: { decision: 'keep', why: 'nothing is done to a host that is not proved empty' },
  isolate: { decision: 'keep', why: 'nothing reaches a host that is being changed' },
  scrub: { decision: 'keep', why: 'no byte of a former tenant stays (I8)' },
  validationLaunch: { decision: 'keep', why: 'a host serves only after a VM of its own has answered' },
  returnToService: { decision: 'keep', why: 'the end of every rebuild' },
} as const satisfies { readonly [S in EssentialStep]: Keep };

/** Whether diagnostics test all that can be tested, rather than a share of it. */
export const isThorough = ({ diagnostics }: Pick<Strategy, 'diagnostics'>): boolean =>
  diagnostics.decision === 'keep' && diagnostics.thorough === true;

/** Every step, whatever is on record. */
export const fullStrategy = (why: string): Strategy => ({
  ...essentials,
  ...allKept({ decision: 'keep', why }),
});

const allKept = (keep: Keep): { readonly [S in SkippableStep]: Keep } => ({
  powerCycle: keep,
  firmwareCheck: keep,
  diagnostics: keep,
  hostImage: keep,
  slotLayout: keep,
  networkConfiguration: keep,
});

/** Where VMs ended for no known reason, a share of the memory is not enough. */
export const withSuspicion = (
  strategy: Strategy,
  facts: Pick<HostFacts, 'crashes'>,
  against?: Evidence,
): Strategy => {
  const why = suspicionOf(facts);
  if (why === undefined) return strategy;
  // What stood before the VMs ended: if it lied here, it may lie on others of the class, whose VMs have felt nothing yet.
  const evidence = against === undefined ? {} : { against };
  return { ...strategy, diagnostics: { decision: 'keep', why, thorough: true, ...evidence } };
};

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

const decide = (
  step: SkippableStep,
  facts: HostFacts,
  wanted: WantedHost,
  feedback: Feedback,
): Keep | Skip => {
  const judged = judgeEvidence(step, facts, wanted);
  if (!judged.ok) return { decision: 'keep', why: judged.why };
  const { evidence } = judged;
  const key = { hostClass: facts.hostClass, step, kind: evidenceOf[step] };
  const verdict = feedback.verdict(key);
  if (!verdict.allowed)
    return {
      ...{ decision: 'keep', against: evidence },
      why: `${evidence.kind} failed too often on ${facts.hostClass} (up to ${percent(verdict.riskMax)})`,
    };
  if (verdict.spotCheckDue)
    return { decision: 'keep', against: evidence, why: `${evidence.kind} is spot-checked now and then` };
  return { decision: 'skip', why: evidence.words, evidence, riskMax: verdict.riskMax };
};

/** Works a host's strategy out. Pure: the same facts and the same outcomes give the same strategy. */
export const workOutStrategy = (facts: HostFacts, wanted: WantedHost, feedback: Feedback): Strategy => {
  const decided = new Map<SkippableStep, Keep | Skip>();
  for (const step of skippableSteps) {
    const by = skippableSteps.find(
      (each) => decided.get(each)?.decision === 'keep' && invalidates[each]?.includes(step),
    );
    decided.set(
      step,
      by === undefined
        ? decide(step, facts, wanted, feedback)
        : { decision: 'keep', why: `${by} makes what is on record void` },
    );
  }
  const of = (step: SkippableStep): Keep | Skip =>
    decided.get(step) ?? { decision: 'keep', why: 'nothing is known' };
  const strategy: Strategy = {
    ...essentials,
    powerCycle: of('powerCycle'),
    firmwareCheck: of('firmwareCheck'),
    diagnostics: of('diagnostics'),
    hostImage: of('hostImage'),
    slotLayout: of('slotLayout'),
    networkConfiguration: of('networkConfiguration'),
  };
  const before = judgeEvidence('diagnostics', { ...facts, crashes: [] }, wanted);
  return withSuspicion(strategy, facts, before.ok ? before.evidence : undefined);
};

export const skippedSteps = (strategy: Strategy): readonly SkippableStep[] =>
  skippableSteps.filter((step) => strategy[step].decision === 'skip');

/** Whether the strategy leaves a step out; of an essential one always false. */
export const skips = (strategy: Strategy, step: RebuildStep): boolean =>
  isSkippable(step) && strategy[step].decision === 'skip';

/** Milliseconds that the strategy is expected to take. `took`: the host's own times, where it has some. */
export const expectedMs = (
  strategy: Strategy,
  took: Readonly<Partial<Record<RebuildStep, number>>> = {},
): number =>
  rebuildSteps.reduce((sum, step) => sum + (skips(strategy, step) ? 0 : (took[step] ?? typicalMs[step])), 0);
