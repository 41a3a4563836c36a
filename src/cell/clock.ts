/** Time, as the cell reads it and waits in it: injected, so that tests decide how long a wait is. */
import { setTimeout as delay } from 'node:timers/promises';

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after `ms`, or at once when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    signal?.aborted
      ? Promise.resolve()
      : delay(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined),
};
