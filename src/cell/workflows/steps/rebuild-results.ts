/** What a step of a rebuild leaves in its workflow's results. */
import type { StepOutcome } from '#contracts/rebuild.ts';

export interface Carried extends StepOutcome {
  readonly skipped: false;
  readonly ms: number;
}

export type StepResult = Carried | { readonly skipped: true; readonly why: string };
