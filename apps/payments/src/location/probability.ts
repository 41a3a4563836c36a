/**
 * The probability that two devices are within a threshold of each other, given the distance of their fixes and how uncertain the
 * fixes are.
 *
 * Each fix's error is taken as a round normal distribution on the ground. So the true offset of the two devices is normal around the
 * measured one, and its length follows Rice's distribution: P(length ≤ T) = 1 − Q₁(d/σ, T/σ), Q₁ being Marcum's function.
 *
 * What accepting at P ≥ p promises: whatever the true distance is, if it is T or more, the chance of being accepted is at most 1 − p.
 * (The accepted measurements form a disc; it lies in the half plane beside its own edge; for that half plane the chance is the normal
 * tail that P ≥ p bounds.) It holds for each payment by itself, without a guess about where people usually are.
 */

/** A radius that holds a round normal distribution with 95 % is this many σ. */
const sigmasAt95 = Math.sqrt(-2 * Math.log(0.05));

/** σ on each axis of a fix whose radius holds the truth with 95 %. */
export const sigmaOf95 = (radiusM: number): number => radiusM / sigmasAt95;

/** Beyond this argument Rice's distribution is normal for all that matters here (error below 1e-3, checked by a test). */
const normalFrom = 40;
const termsMax = 4_000;

/** P(length ≤ thresholdM) of an offset with mean length `distanceM` and `sigmaM` on each axis. In [0, 1], monotone in all three. */
export function withinProbability(distanceM: number, thresholdM: number, sigmaM: number): number {
  if (!(distanceM >= 0) || !(thresholdM >= 0) || !(sigmaM >= 0))
    throw new RangeError(`no probability for ${distanceM} m within ${thresholdM} m ± ${sigmaM} m`);
  if (sigmaM === 0) return distanceM <= thresholdM ? 1 : 0;
  const a = distanceM / sigmaM;
  const b = thresholdM / sigmaM;
  if (a > b + normalFrom) return 0;
  if (b > a + normalFrom) return 1;
  return clamp(a > normalFrom || b > normalFrom ? riceNormal(a, b) : riceSeries(a, b));
}

const clamp = (p: number): number => Math.min(1, Math.max(0, p));

/** Far from the origin only the component along the offset matters; the other lengthens it by 1/(2a). */
const riceNormal = (a: number, b: number): number => normalCdf(b - Math.hypot(a, 1));

/** Σ over k of Poisson(k; a²/2) · P(Gamma(k+1) ≤ b²/2): all terms positive, so that nothing cancels. */
function riceSeries(a: number, b: number): number {
  const x = (a * a) / 2;
  const y = (b * b) / 2;
  // Both distributions go on by recurrence, in logarithms, since e^-x is too small for large x.
  let logPoisson = -x;
  let logTail = -y;
  let tail = Math.exp(logTail);
  let sum = 0;
  let mass = 0;
  for (let k = 0; k < termsMax; k += 1) {
    const weight = Math.exp(logPoisson);
    sum += weight * (1 - Math.min(1, tail));
    mass += weight;
    if (k > x && 1 - mass < 1e-12) break;
    logPoisson += x === 0 ? -Infinity : Math.log(x / (k + 1));
    logTail += y === 0 ? -Infinity : Math.log(y / (k + 1));
    tail += Math.exp(logTail);
  }
  return sum;
}

/** Φ, by the complementary error function's continued form (Abramowitz and Stegun 7.1.26, error below 1.5e-7). */
export function normalCdf(z: number): number {
  const t = 1 / (1 + 0.3275911 * Math.abs(z) * Math.SQRT1_2);
  const poly =
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = (poly * Math.exp((-z * z) / 2)) / 2;
  return z >= 0 ? 1 - tail : tail;
}
