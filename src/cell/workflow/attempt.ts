/** One step's attempts: a deadline each, back-off between, an end. */
import { storeFaultOf } from '#base/postgres/faults.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Clock } from '../clock.ts';
import { storeAwayMsMax } from '../limits.ts';
import type { RetryPolicy } from './definition.ts';

export interface AttemptOptions {
  readonly policy: RetryPolicy;
  readonly clock: Clock;
  readonly stop: AbortSignal;
  /** Stops retrying (not the attempt that runs) when aborted. */
  readonly giveUp?: AbortSignal;
  /** Beyond the point of no return: tried for as long as the processor lives. */
  readonly forever: boolean;
  /** Also errors that say that the same request cannot succeed are tried again: an undo has no other way. */
  readonly evenIfFinal?: boolean;
}

/** The execution was taken over: named by the executor, which throws it through. */
export class Lost extends Error {}

/** Thrown by a step that is otherwise tried until it succeeds, when it has taken itself back and the rest is to be undone. */
export class TakenBack extends PandoError {
  constructor(message: string) {
    super('Cancelled', message);
  }
}

const endsAtOnce = (error: unknown): boolean => error instanceof Lost || error instanceof TakenBack;

/** Runs `work` until it succeeds, fails for good, or its attempts are used up. Rejects with its last error. */
export const attempt = async <T>(
  work: (signal: AbortSignal) => Promise<T>,
  options: AttemptOptions,
): Promise<T> => {
  const { policy, clock, stop, giveUp } = options;
  const began = clock.now();
  let backoffMs = policy.backoffMsMin;
  for (let attempts = 1; ; attempts++) {
    try {
      return await withDeadline(work, policy.deadlineMs, clock, stop);
    } catch (error) {
      const final = error instanceof PandoError && !error.retryable && !options.evenIfFinal;
      // The store is away: that says nothing of the step, and a failover takes longer than a few attempts.
      const waits = storeFaultOf(error) !== undefined && clock.now() - began < storeAwayMsMax;
      const over = !options.forever && (final || (attempts >= policy.attemptsMax && !waits));
      if (stop.aborted || over || giveUp?.aborted || endsAtOnce(error)) throw error;
      await clock.sleep(backoffMs, giveUp === undefined ? stop : AbortSignal.any([stop, giveUp]));
      if (stop.aborted || giveUp?.aborted) throw error;
      backoffMs = Math.min(backoffMs * 2, policy.backoffMsMax);
    }
  }
};

/** The attempt is told by its signal; if it does not listen, it is left behind, and its late effect is what undo must expect. */
const withDeadline = async <T>(
  work: (signal: AbortSignal) => Promise<T>,
  deadlineMs: number,
  clock: Clock,
  stop: AbortSignal,
): Promise<T> => {
  const late = new AbortController();
  const done = new AbortController();
  const signal = AbortSignal.any([late.signal, stop]);
  const expiry = clock.sleep(deadlineMs, AbortSignal.any([done.signal, stop])).then(() => {
    if (done.signal.aborted) return new Promise<never>(() => undefined);
    const error = new PandoError(
      'DeadlineExceeded',
      stop.aborted ? 'The processor stops.' : `Not done in ${deadlineMs} ms.`,
    );
    late.abort(error);
    throw error;
  });
  try {
    return await Promise.race([work(signal), expiry]);
  } finally {
    done.abort();
  }
};
