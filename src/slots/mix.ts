/**
 * Slots of one host. *Actual* slots are carved out of its free capacity side by side: they can all be taken. What no actual slot uses is
 * the remainder. *Potential* slots are what could be carved instead: of the remainder, and of actual slots that would go (potential.ts).
 *
 * The best mix gives each type slots in proportion to its share of demand: the next slot goes to the type that has the least for its
 * share (D'Hondt's rule, which is the greedy way to the greatest sum of share × logarithm of slots), as long as anything fits.
 */
import { type Amount, clamped, countOf, fits, minus, plus } from './amount.ts';
import type { DemandedType } from './demand.ts';

export interface Mix {
  readonly types: readonly DemandedType[];
  /** Actual slots, by the type's place in `types`. */
  readonly counts: readonly number[];
  readonly remainder: Amount;
}

/** How many of a type may be published; `Infinity` where nothing speaks against it (adverse.ts). */
export type CountLimit = (type: string) => number;
const unlimited: CountLimit = () => Number.POSITIVE_INFINITY;

/** Slots that are given one by one, after the bulk; beyond them the rest goes to single types in bulk. */
const singleStepsMax = 256;

const isBigger = (a: Amount, b: Amount): boolean =>
  a.vcpusMilli > b.vcpusMilli || (a.vcpusMilli === b.vcpusMilli && a.memoryMib > b.memoryMib);

const sumOf = (types: readonly DemandedType[]): Amount =>
  types.reduce((sum, { amount, weight }) => plus(sum, amount, weight), {
    vcpusMilli: 0,
    memoryMib: 0,
    diskMib: 0,
    networkMbps: 0,
  });

/** The most of `part`, as a real number, that fits into `free`. */
const scaleOf = (free: Amount, part: Amount): number => {
  const scale = Math.min(
    part.vcpusMilli > 0 ? free.vcpusMilli / part.vcpusMilli : Number.POSITIVE_INFINITY,
    part.memoryMib > 0 ? free.memoryMib / part.memoryMib : Number.POSITIVE_INFINITY,
    part.diskMib > 0 ? free.diskMib / part.diskMib : Number.POSITIVE_INFINITY,
    part.networkMbps > 0 ? free.networkMbps / part.networkMbps : Number.POSITIVE_INFINITY,
  );
  // A hair less: a sum of rounded parts must not exceed what there is.
  return Number.isFinite(scale) ? Math.max(0, scale) * (1 - 1e-9) : 0;
};

/** Two shares that are the same but for rounding. */
const sameShare = 1e-9;

/**
 * The type that is due: of those that fit and may have more, the one with the most share for its next slot, of equal ones the biggest,
 * which would not fit later; -1: none.
 */
const dueType = (
  types: readonly DemandedType[],
  counts: readonly number[],
  room: Amount,
  limit: CountLimit,
): number => {
  let best = -1;
  let bestShare = 0;
  for (const [at, { type, amount, weight }] of types.entries()) {
    const next = (counts[at] ?? 0) + 1;
    const share = weight / next;
    if (share < bestShare * (1 - sameShare) || next > limit(type) || !fits(room, amount)) continue;
    const other = types[best]?.amount;
    if (other === undefined || share > bestShare * (1 + sameShare) || isBigger(amount, other)) {
      best = at;
      bestShare = share;
    }
  }
  return best;
};

/** Adds slots of what is left until nothing fits. What is there already stays. */
export const refill = (mix: Mix, limit: CountLimit = unlimited): Mix => {
  const { types } = mix;
  const counts = [...mix.counts];
  let room = clamped(mix.remainder);
  for (let step = 0; step < singleStepsMax; step++) {
    const at = dueType(types, counts, room, limit);
    const due = types[at];
    if (due === undefined) return { types, counts, remainder: room };
    counts[at] = (counts[at] ?? 0) + 1;
    room = minus(room, due.amount);
  }
  for (const [at, { type, amount }] of types.entries()) {
    const more = Math.max(0, Math.min(countOf(room, amount), limit(type) - (counts[at] ?? 0)));
    counts[at] = (counts[at] ?? 0) + more;
    room = minus(room, amount, more);
  }
  return { types, counts, remainder: room };
};

/** The best mix for a free vector; parts of it that are negative count as nothing. */
export const determine = (
  free: Amount,
  types: readonly DemandedType[],
  limit: CountLimit = unlimited,
): Mix => {
  const room = clamped(free);
  const scale = scaleOf(room, sumOf(types));
  const counts = types.map(({ type, weight }) =>
    Math.max(0, Math.min(Math.floor(weight * scale), limit(type))),
  );
  const taken = types.reduce((left, { amount }, at) => minus(left, amount, counts[at] ?? 0), room);
  return refill({ types, counts, remainder: taken }, limit);
};

/** What all actual slots and the remainder are together: the free vector. */
export const freeOf = ({ types, counts, remainder }: Mix): Amount =>
  types.reduce((sum, { amount }, at) => plus(sum, amount, counts[at] ?? 0), remainder);

/** A VM has left: what it had is free again, and neighbours become bigger slots where these are due. */
export const returned = (mix: Mix, amount: Amount, limit?: CountLimit): Mix =>
  determine(plus(freeOf(mix), amount), mix.types, limit);
