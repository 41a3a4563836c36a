/** Wilcoxon's signed-rank test: do two paired samples differ, whatever their distribution is? */

/** Standard deviations of the rank sum from what chance gives; positive where the differences are. Ties share their mean rank. */
export function signedRankZ(differences: readonly number[]): number {
  const sorted = differences.filter((each) => each !== 0).sort((a, b) => Math.abs(a) - Math.abs(b));
  const count = sorted.length;
  if (count === 0) return 0;
  let positive = 0;
  let tied = 0;
  for (let from = 0; from < count; ) {
    const size = Math.abs(sorted[from] ?? 0);
    let to = from;
    while (to < count && Math.abs(sorted[to] ?? 0) === size) to += 1;
    const rank = (from + 1 + to) / 2;
    for (const each of sorted.slice(from, to)) if (each > 0) positive += rank;
    tied += (to - from) ** 3 - (to - from);
    from = to;
  }
  const mean = (count * (count + 1)) / 4;
  const variance = (count * (count + 1) * (2 * count + 1)) / 24 - tied / 48;
  return (positive - mean) / Math.sqrt(variance);
}
