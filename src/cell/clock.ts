/** Time, as the cell reads it and waits in it: injected, so that tests decide how long a wait is. */
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
  // By hand: the timer of node:timers/promises makes an error, with its stack, of each wait that ends early, and most do.
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) {
        resolve();
        return;
      }
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal?.addEventListener('abort', end, { once: true });
    }),
};
