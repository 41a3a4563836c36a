/**
 * How well evidence has stood in for steps (S5.4), by host class, step and kind of evidence. The failure probability of a skip is a Beta
 * posterior over outcomes that were seen; a skip is allowed while its upper bound is under a limit. What is old counts less, so that a
 * class whose evidence goes bad is noticed however long it was good.
 *
 * Stated bounds (test/reconfiguration/feedback.test.ts proves them): whatever came before, `failuresToWithdraw` failures one after the
 * other withdraw a skip; from there `successesToReturn` successes one after the other make it eligible again, after failures without end.
 */
import { betaUpper } from './beta.ts';
import { type EvidenceKind, evidenceKinds } from './evidence.ts';
import { type SkippableStep, skippableSteps } from './steps.ts';

export const riskLimit = 0.05;
export const riskConfidence = 0.95;
/** An outcome's weight fades by one part in so many with each that follows: more than this many never count together. */
export const rememberedOutcomes = 100;
/** After so many skips of which nobody saw whether they were right, the step is carried out once, to see. */
export const spotCheckEvery = 20;
export const failuresToWithdraw = 2;
/** A skip that was well proved before is back after some 25. */
export const successesToReturn = 410;
/** Classes are an operator's; a limit all the same, since each is kept. */
export const feedbackKeysMax = 10_000;

export interface FeedbackKey {
  readonly hostClass: string;
  readonly step: SkippableStep;
  readonly kind: EvidenceKind;
}

/** What is kept for a key: weights of outcomes, and skips since the last one that was seen. */
export interface Tally {
  readonly failures: number;
  readonly successes: number;
  readonly unseen: number;
}

export interface Verdict {
  readonly allowed: boolean;
  readonly spotCheckDue: boolean;
  readonly riskMax: number;
}

/** Jeffreys' prior: what nothing is known of. It does not fade. */
const floor = 0.5;

/**
 * Successes that a kind of evidence begins with. What is measured at the moment of the rebuild may stand in at once; what is remembered
 * of a host has to prove itself first.
 */
export const priorSuccesses: Readonly<Record<EvidenceKind, number>> = {
  'image-digest': 60,
  'same-layout': 60,
  'same-network': 60,
  'firmware-digest': 45,
  'clean-start': 30,
  'diagnostics-passed': 30,
};

export const initialTally = (kind: EvidenceKind): Tally => ({
  failures: 0,
  successes: priorSuccesses[kind],
  unseen: 0,
});

export type Outcome = 'right' | 'wrong' | 'unseen';

const fade = 1 - 1 / rememberedOutcomes;

export const after = (tally: Tally, outcome: Outcome): Tally => {
  if (outcome === 'unseen') return { ...tally, unseen: tally.unseen + 1 };
  return {
    failures: tally.failures * fade + (outcome === 'wrong' ? 1 : 0),
    successes: tally.successes * fade + (outcome === 'right' ? 1 : 0),
    unseen: 0,
  };
};

export const riskMaxOf = ({ failures, successes }: Tally): number =>
  betaUpper(floor + failures, floor + successes, riskConfidence);

export const verdictOf = (tally: Tally): Verdict => {
  const riskMax = riskMaxOf(tally);
  return { allowed: riskMax < riskLimit, spotCheckDue: tally.unseen >= spotCheckEvery, riskMax };
};

export interface KeptTally extends FeedbackKey, Tally {}

const nameOf = ({ hostClass, step, kind }: FeedbackKey): string => `${step}/${kind}/${hostClass}`;

const steps: ReadonlySet<string> = new Set(skippableSteps);
const kinds: ReadonlySet<string> = new Set(evidenceKinds);
const sound = (kept: KeptTally): boolean =>
  steps.has(kept.step) &&
  kinds.has(kept.kind) &&
  [kept.failures, kept.successes, kept.unseen].every((value) => Number.isFinite(value) && value >= 0);

/** All that is known; immutable, so that a strategy says by what it was worked out. */
export class Feedback {
  readonly #tallies: ReadonlyMap<string, KeptTally>;

  constructor(kept: readonly KeptTally[] = []) {
    this.#tallies = new Map(
      kept
        .filter(sound)
        .slice(-feedbackKeysMax)
        .map((each) => [nameOf(each), each]),
    );
  }

  get all(): readonly KeptTally[] {
    return [...this.#tallies.values()];
  }

  tally(key: FeedbackKey): Tally {
    return this.#tallies.get(nameOf(key)) ?? initialTally(key.kind);
  }

  verdict(key: FeedbackKey): Verdict {
    return verdictOf(this.tally(key));
  }

  noted(key: FeedbackKey, outcome: Outcome): Feedback {
    const next = { ...key, ...after(this.tally(key), outcome) };
    return new Feedback([...this.all.filter((each) => nameOf(each) !== nameOf(key)), next]);
  }
}
