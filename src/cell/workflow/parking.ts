/** How a workflow is parked: as its step asked, or for another try after a failure. Pure: the executor writes it. */
import type { PandoError } from '#contracts/errors.ts';
import { faultParksMax } from '../limits.ts';
import type { Park } from '../store/workflow-waits.ts';
import type { WorkflowError } from '../store/workflows.ts';
import { TryLater } from './attempt.ts';
import { Poisoned } from './mover.ts';
import { hindranceOf, retryClassOf, retryClassOfCode, workflowErrorOf } from './retry.ts';
import { type EngineTiming, parkPauseMs } from './timing.ts';
import type { WaitTerms } from './wait.ts';

/** What is particular to one park; the executor adds where the row stands. */
export type ParkTerms = Omit<Park, 'resume' | 'cursor' | 'step' | 'results' | 'timings' | 'error'>;

/** The error of a step, without what the engine wrapped it in. */
export const causeOf = (thrown: unknown): unknown =>
  thrown instanceof TryLater || thrown instanceof Poisoned ? thrown.cause : thrown;

/** The step answered that it waits. */
export const askedTerms = (terms: WaitTerms, alarmAfterMs: number): ParkTerms => {
  const { wakeInMs, wakeAt, withinMs, signals, children } = terms;
  return {
    ...{ attempts: 0, away: false, alarmAfterMs: terms.alarmAfterMs ?? alarmAfterMs },
    ...(wakeInMs === undefined ? {} : { wakeInMs }),
    ...(wakeAt === undefined ? {} : { wakeAt }),
    ...(withinMs === undefined ? {} : { deadlineInMs: withinMs }),
    ...(signals === undefined ? {} : { signals }),
    ...(children ? { children } : {}),
  };
};

/**
 * How long the step had waited when what it waits for became busy. What was away is often busy when it is back, for all that waited for
 * it come at once: that it was away so long is then no reason to give up.
 */
export const busyAfterMs = (last: WorkflowError | null, awayMs: number): number =>
  last === null ? 0 : (last.busyAfterMs ?? awayMs);

export interface Failed {
  readonly thrown: unknown;
  readonly step: string;
  /** Why it was parked before, if it was. */
  readonly last: WorkflowError | null;
  /** How often in a row. */
  readonly parks: number;
  readonly awayMs: number;
  /** How long it waits for what is away. */
  readonly patienceMs: number;
  readonly busyAfterMs?: number | undefined;
  readonly timing: EngineTiming;
  reaches(resource: string): boolean;
}

export type FailedOutcome =
  | { readonly kind: 'park'; readonly terms: ParkTerms; readonly error: WorkflowError }
  | { readonly kind: 'stuck'; readonly error: WorkflowError; readonly cause: unknown };

/** Parks a failed step for another try; stuck where a fault has outlived its tries. What is away is waited for however long. */
export const failedOutcome = (of: Failed): FailedOutcome => {
  const cause = causeOf(of.thrown);
  const busy = of.busyAfterMs === undefined ? {} : { busyAfterMs: of.busyAfterMs };
  const error = { ...workflowErrorOf(cause, of.step), ...busy };
  const waits = isWait(retryClassOf(cause));
  // Faults count on their own: a host that was away for an hour is no reason to give the first fault after it less patience.
  const parks = of.last !== null && isWait(retryClassOfCode(of.last.code)) === waits ? of.parks : 0;
  if (!waits && parks >= faultParksMax) return { kind: 'stuck', error, cause };
  const leftMs = of.patienceMs - of.awayMs;
  const pauseMs = parkPauseMs(parks, of.timing);
  const hindrance = hindranceOf(cause);
  const terms: ParkTerms = {
    ...{ attempts: parks + 1, away: true, lastError: error },
    wakeInMs: waits && leftMs > 0 ? Math.min(pauseMs, leftMs) : pauseMs,
    // Who reaches it now and failed all the same comes back by the clock alone.
    ...(hindrance === undefined || of.reaches(hindrance) ? {} : { waitsOn: hindrance }),
  };
  return { kind: 'park', terms, error };
};

const isWait = (failed: PandoError['class']): boolean => failed === 'unreachable' || failed === 'busy';
