/** One step's attempts in memory: a deadline each, back-off between. What takes longer is for a parked workflow. */
import { PandoError, type RetryClass } from '#contracts/errors.ts';
import type { Clock } from '../clock.ts';
import type { RetryPolicy } from './definition.ts';
import { retryClassOf } from './retry.ts';

export interface AttemptOptions {
  readonly policy: RetryPolicy;
  readonly clock: Clock;
  readonly stop: AbortSignal;
  /** Stops retrying (not the attempt that runs) when aborted. */
  readonly giveUp?: AbortSignal;
  /** The step cannot be given up: an undo, or one beyond the point of no return. */
  readonly persistent: boolean;
  /** Whether the workflow may be parked between attempts. */
  readonly parks: boolean;
  /** It was parked at this step before: one attempt, and it is parked again. */
  readonly parkedBefore: boolean;
  /** How long it is tried in memory before that. */
  readonly inMemoryMs: number;
  /** Told of each failure that is followed by another attempt, now or later. */
  onFailure?(failed: RetryClass): void;
}

/** The execution was taken over: named by the executor, which throws it through. */
export class Lost extends Error {}

/** Thrown by a step that is otherwise tried until it succeeds, when it has taken itself back and the rest is to be undone. */
export class TakenBack extends PandoError {
  constructor(message: string) {
    super('Cancelled', message);
  }
}

/** The attempts in memory are used up, and a later one may succeed. */
export class TryLater extends Error {
  readonly failed: RetryClass;

  constructor(cause: unknown, failed: RetryClass) {
    super('tried again later', { cause });
    this.failed = failed;
  }
}

const endsAtOnce = (error: unknown): boolean => error instanceof Lost || error instanceof TakenBack;

/** Runs `work` until it succeeds. @throws its last error when the step has failed, `TryLater` when the workflow is to be parked. */
export const attempt = async <T>(
  work: (signal: AbortSignal) => Promise<T>,
  options: AttemptOptions,
): Promise<T> => {
  const { policy, clock, stop, giveUp } = options;
  const began = clock.monotonicMs();
  let backoffMs = policy.backoffMsMin;
  for (let attempts = 1; ; attempts++) {
    try {
      return await withDeadline(work, policy.deadlineMs, clock, stop);
    } catch (error) {
      if (stop.aborted || giveUp?.aborted || endsAtOnce(error)) throw error;
      const failed = retryClassOf(error);
      options.onFailure?.(failed);
      decide(error, failed, attempts, clock.monotonicMs() - began, options);
      await clock.sleep(backoffMs, giveUp === undefined ? stop : AbortSignal.any([stop, giveUp]));
      if (stop.aborted || giveUp?.aborted) throw error;
      backoffMs = Math.min(backoffMs * 2, policy.backoffMsMax);
    }
  }
};

/** Returns where another attempt is due now; throws where the step has failed, or is for later. */
const decide = (
  error: unknown,
  failed: RetryClass,
  attempts: number,
  elapsedMs: number,
  { policy, persistent, parks, parkedBefore, inMemoryMs }: AttemptOptions,
): void => {
  const waits = failed === 'unreachable' || failed === 'busy';
  if (!persistent && failed === 'refused') throw error;
  if (!persistent && failed === 'fault' && attempts >= policy.attemptsMax) throw error;
  if (!parks) {
    if (!persistent && waits && elapsedMs >= policy.unreachableMs) throw error;
    return;
  }
  if ((waits || persistent) && (parkedBefore || elapsedMs >= inMemoryMs)) throw new TryLater(error, failed);
};

/** A reason of its own: without one, each attempt that ends in time would make an error with its stack. */
const isDone = 'done';

/** The attempt is told by its signal; if it does not listen, it is left behind, and its late effect is what undo must expect. */
const withDeadline = async <T>(
  work: (signal: AbortSignal) => Promise<T>,
  deadlineMs: number,
  clock: Clock,
  stop: AbortSignal,
): Promise<T> => {
  const late = new AbortController();
  const done = new AbortController();
  const onStop = (): void => {
    late.abort(stop.reason);
    done.abort(isDone);
  };
  if (stop.aborted) onStop();
  else stop.addEventListener('abort', onStop, { once: true });
  const expiry = clock.sleep(deadlineMs, done.signal).then(() => {
    if (done.signal.aborted && !stop.aborted) return new Promise<never>(() => undefined);
    const error = new PandoError(
      'DeadlineExceeded',
      stop.aborted ? 'The processor stops.' : `Not done in ${deadlineMs} ms.`,
    );
    late.abort(error);
    throw error;
  });
  try {
    return await Promise.race([work(late.signal), expiry]);
  } finally {
    stop.removeEventListener('abort', onStop);
    done.abort(isDone);
  }
};
