/** Figures of a benchmark, and how they are printed. */

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
};

/** Median, least and most, in one cell of a table. */
export const spread = (values: readonly number[], digits = 0): string =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;

/** How often each side is measured: `BENCH_RUNS`, else `fallback`. */
export const runs = (fallback: number): number => Number(process.env.BENCH_RUNS ?? fallback);
