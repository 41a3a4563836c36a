/** Times of single calls, and rates of many at once. */
import { setTimeout as delay } from 'node:timers/promises';

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;

/** `p50 1.20 ms, p99 3.40 ms` of times in milliseconds. */
export function latencies(times: readonly number[]): string {
  const sorted = [...times].sort((a, b) => a - b);
  return `p50 ${quantile(sorted, 0.5).toFixed(2)} ms, p99 ${quantile(sorted, 0.99).toFixed(2)} ms`;
}

/** Runs work on so many lanes for a time; answers how often a second. */
export async function perSecond(
  lanes: number,
  forMs: number,
  work: (lane: number) => Promise<unknown>,
): Promise<number> {
  const begun = performance.now();
  let done = 0;
  await Promise.all(
    Array.from({ length: lanes }, async (_, lane) => {
      while (performance.now() - begun < forMs) {
        await work(lane);
        done += 1;
      }
    }),
  );
  return (done * 1_000) / (performance.now() - begun);
}

/**
 * Begins work at a fixed rate, whether or not what was begun before has ended (an open loop): a stall is felt by everything that comes
 * during it. At most `unfinishedMax` run at once; more throws, since the rate is then more than what is measured can do.
 */
export async function atRate(
  perS: number,
  count: number,
  unfinishedMax: number,
  work: (at: number) => Promise<unknown>,
): Promise<void> {
  const running = new Set<Promise<unknown>>();
  const begun = performance.now();
  for (let at = 0; at < count; at += 1) {
    const early = begun + (at * 1_000) / perS - performance.now();
    if (early > 0) await delay(early);
    if (running.size >= unfinishedMax)
      throw new Error(`${running.size} are unfinished at ${perS.toFixed(0)} a second: it cannot do so many`);
    const one = work(at).finally(() => running.delete(one));
    running.add(one);
  }
  await Promise.all(running);
}
