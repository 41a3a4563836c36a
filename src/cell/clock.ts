/** Time, as the cell reads it and waits in it: injected, so that tests decide how long a wait is. */
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';

export interface Clock {
  /** Wall time, milliseconds since the epoch: for what people read and the store keeps, never to measure. */
  now(): number;
  /** Milliseconds of a clock that nobody steps: what is measured (patience, budgets, downtime, ages) is measured by it. */
  monotonicMs(): number;
  /** Resolves after `ms`, or at once when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  // Whole milliseconds: they are shown to people in a workflow's result.
  monotonicMs: () => Math.round(monotonicMs()),
  sleep: (ms, signal) =>
    signal?.aborted
      ? Promise.resolve()
      : delay(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined),
};
