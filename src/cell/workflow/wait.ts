/**
 * What a step answers when it is not done: the workflow is parked as a row and takes no slot and no memory. When it is woken, on
 * whichever processor, the step's `do` runs again, and looks at its context for what has come.
 */
import { childrenPerStepMax, waitMsMax } from '../limits.ts';

/** A workflow that a step starts and may await. `key` is the parent's name for it, once per parent. */
export interface NewChild {
  readonly key: string;
  readonly kind: string;
  readonly version?: number;
  readonly subjectKind: string;
  readonly subject: string;
  readonly input: unknown;
}

export interface WaitTerms {
  /** From now. */
  readonly wakeInMs?: number;
  readonly wakeAt?: Date;
  /** From the step's first wait: repeated waits of a step share one deadline. */
  readonly withinMs?: number;
  readonly signals?: readonly string[];
  /** Wakes when all children of the workflow have ended. */
  readonly children?: boolean;
  /** Started in the transaction that parks. */
  readonly start?: readonly NewChild[];
  /** How long after the end of the wait an operator is told that the workflow still stands there. */
  readonly alarmAfterMs?: number;
}

export class Wait {
  readonly terms: WaitTerms;

  constructor(terms: WaitTerms) {
    const { wakeInMs, wakeAt, withinMs, start = [] } = terms;
    if (wakeInMs === undefined && wakeAt === undefined && withinMs === undefined)
      throw new RangeError('A wait without an end would never be looked at again.');
    for (const ms of [wakeInMs, withinMs])
      if (ms !== undefined && !(ms <= waitMsMax)) throw new RangeError(`A wait is ${waitMsMax} ms at most.`);
    if (start.length > childrenPerStepMax)
      throw new RangeError(`A step starts ${childrenPerStepMax} workflows at most.`);
    this.terms = terms;
  }
}

/** Runs the step again after `ms` from now. */
export const sleepFor = (ms: number): Wait => new Wait({ wakeInMs: ms });

/** Runs the step again at a time by the wall clock. */
export const sleepUntil = (time: Date): Wait => new Wait({ wakeAt: time });

/** Runs the step again when a signal of one of these names has come, or `withinMs` after the step first waited (`timedOut`). */
export const waitForSignal = (names: readonly string[], withinMs: number): Wait =>
  new Wait({ signals: names, withinMs });

/** Starts workflows once, and runs the step again when all of the workflow's children have ended, or after `withinMs`. */
export const startChildren = (start: readonly NewChild[], withinMs: number): Wait =>
  new Wait({ start, children: true, withinMs });

/** Goes on waiting for children that were started before. */
export const awaitChildren = (withinMs: number): Wait => new Wait({ children: true, withinMs });
