/** Times of single calls, and rates of many at once. */

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
