/** One pass over the steps, what follows a pass that failed (S5.5), and what passes tell of the evidence they went by (S5.4). */
import { evidenceOf } from './evidence.ts';
import type { FeedbackKey, Outcome } from './feedback.ts';
import { type SkippableStep, seenByValidation, skippableSteps } from './steps.ts';
import { fullStrategy, type Strategy } from './strategy.ts';

/**
 * reduced → full → diagnostics → out of service, with an alarm. Each at most once: a host that fails for ever ends.
 * `diagnostics` is a full pass whose diagnostics are the thorough ones.
 */
export const passLevels = ['reduced', 'full', 'diagnostics'] as const;
export type PassLevel = (typeof passLevels)[number];

const following = {
  reduced: 'full',
  full: 'diagnostics',
  diagnostics: 'outOfService',
} as const satisfies Record<PassLevel, PassLevel | 'outOfService'>;

export const nextLevel = (level: PassLevel): PassLevel | 'outOfService' => following[level];

/** A strategy that leaves nothing out is a full pass already: repeating it would be the same again. */
export const firstLevel = (strategy: Strategy): PassLevel =>
  skippableSteps.some((step) => strategy[step].decision === 'skip') ? 'reduced' : 'full';

export const strategyAt = (level: PassLevel, strategy: Strategy): Strategy =>
  level === 'reduced' ? strategy : fullStrategy(`a ${level} pass`);

/** What a step found when it was carried out. `changed`: the host was not yet as the step leaves it. */
export interface Found {
  readonly ok: boolean;
  readonly changed: boolean;
}

export interface Learnt {
  readonly key: FeedbackKey;
  readonly outcome: Outcome;
}

/**
 * What a rebuild tells of its evidence, once it ended. `first`: the strategy it began with; `found`: what each step found in whichever
 * pass carried it out first. `validated`: whether the first pass ended well.
 */
export const learn = (
  hostClass: string,
  first: Strategy,
  found: Readonly<Partial<Record<SkippableStep, Found>>>,
  validated: boolean,
): readonly Learnt[] =>
  skippableSteps.flatMap((step): readonly Learnt[] => {
    const decision = first[step];
    const skipped = decision.decision === 'skip';
    const evidence = decision.decision === 'skip' ? decision.evidence : decision.against;
    if (evidence === undefined) return [];
    const key = { hostClass, step, kind: evidenceOf[step] };
    const seen = found[step];
    if (seen !== undefined) return [{ key, outcome: seen.ok && !seen.changed ? 'right' : 'wrong' }];
    if (!skipped) return [];
    return [{ key, outcome: validated && seenByValidation[step] ? 'right' : 'unseen' }];
  });
