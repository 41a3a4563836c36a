/** Waiting on conditions, with a bound that ends in a message. */
import { setTimeout as pause } from 'node:timers/promises';

const pollMs = 100;
/** A probe that starts processes is slow: while it is asked so seldom, what it waits for has the processors. */
const restPerProbe = 2;
/** Virtual machines under emulation, on a machine that does other things too. */
export const patienceMs = 180_000;

/** Polls `probe` until it gives something other than undefined or false. An error counts as "not yet"; the last one is told. */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = patienceMs,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last = 'it was not so';
  while (performance.now() < deadline) {
    const begun = performance.now();
    try {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
      last = 'it was not so';
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    await pause(Math.max(pollMs, restPerProbe * (performance.now() - begun)));
  }
  throw new Error(`${what}: not within ${timeoutMs} ms; last: ${last}`);
}

/** Asserts that `probe` stays true over `times` looks: for what must not happen. */
export async function throughout(what: string, times: number, probe: () => Promise<boolean>): Promise<void> {
  for (let look = 0; look < times; look++) {
    if (!(await probe())) throw new Error(`${what}: broken at look ${look + 1} of ${times}`);
    await pause(pollMs);
  }
}
