/**
 * Potential slots: alternatives that overlap actual slots or one another. Taking one withdraws exactly those that it overlaps.
 *
 * A slot is made of whole actual slots and of a part of the remainder. Two slots overlap when both cannot be made: together they would
 * need more actual slots of a type than there are, or more of the remainder than there is.
 */
import { type Amount, fits, minus, nothing, plus } from './amount.ts';
import type { Mix } from './mix.ts';

export interface PotentialSlot {
  readonly type: string;
  readonly amount: Amount;
  /** Actual slots that it is made of, by the type's place in the mix. */
  readonly pieces: readonly number[];
  /** What it needs of the remainder. */
  readonly rest: Amount;
}

const positive = (amount: Amount): Amount => ({
  vcpusMilli: Math.max(0, amount.vcpusMilli),
  memoryMib: Math.max(0, amount.memoryMib),
  diskMib: Math.max(0, amount.diskMib),
  networkMbps: Math.max(0, amount.networkMbps),
});

const piecesAmount = ({ types }: Mix, pieces: readonly number[]): Amount =>
  types.reduce((sum, { amount }, at) => plus(sum, amount, pieces[at] ?? 0), nothing);

/** Adds actual slots, the least demanded first, until `amount` fits; undefined: even all are too little. */
const enough = (mix: Mix, amount: Amount): number[] | undefined => {
  const pieces = mix.types.map(() => 0);
  let room = mix.remainder;
  for (let at = mix.types.length - 1; at >= 0; at--) {
    const each = mix.types[at];
    for (let n = 0; each !== undefined && n < (mix.counts[at] ?? 0) && !fits(room, amount); n++) {
      pieces[at] = n + 1;
      room = plus(room, each.amount);
    }
  }
  return fits(room, amount) ? pieces : undefined;
};

/** Takes back the pieces that are not needed, the most demanded first. */
const prune = (mix: Mix, amount: Amount, pieces: number[]): void => {
  let room = plus(mix.remainder, piecesAmount(mix, pieces));
  for (const [at, each] of mix.types.entries())
    while ((pieces[at] ?? 0) > 0 && fits(minus(room, each.amount), amount)) {
      pieces[at] = (pieces[at] ?? 0) - 1;
      room = minus(room, each.amount);
    }
};

/** How a slot of this amount could be made here, at the least cost of demanded slots; undefined: it does not fit. */
export const potentialOf = (mix: Mix, type: string, amount: Amount): PotentialSlot | undefined => {
  const pieces = enough(mix, amount);
  if (pieces === undefined) return undefined;
  prune(mix, amount, pieces);
  return { type, amount, pieces, rest: positive(minus(amount, piecesAmount(mix, pieces))) };
};

/** The potential slot of each type that has no actual one here and would fit. */
export const potentialSlots = (mix: Mix): PotentialSlot[] =>
  mix.types.flatMap(({ type, amount }, at) => {
    const slot = (mix.counts[at] ?? 0) > 0 ? undefined : potentialOf(mix, type, amount);
    return slot === undefined ? [] : [slot];
  });

/** Whether both cannot be taken. */
export const overlap = (mix: Mix, a: PotentialSlot, b: PotentialSlot): boolean =>
  mix.counts.some((count, at) => (a.pieces[at] ?? 0) + (b.pieces[at] ?? 0) > count) ||
  !fits(mix.remainder, plus(a.rest, b.rest));

export interface Taken {
  /** What is left: the surviving actual slots, and a remainder that nothing has been made of yet (`refill`). */
  readonly mix: Mix;
  /** Actual slots that went with it, by the type's place in the mix; not the one that was taken. */
  readonly withdrawn: readonly number[];
}

/** Takes an actual slot of the type where there is one, else a potential one; undefined: neither. */
export const takeSlot = (mix: Mix, type: string, amount: Amount): Taken | undefined => {
  const own = mix.types.findIndex((each) => each.type === type);
  if (own >= 0 && (mix.counts[own] ?? 0) > 0) {
    const counts = mix.counts.map((count, at) => (at === own ? count - 1 : count));
    return { mix: { ...mix, counts }, withdrawn: mix.types.map(() => 0) };
  }
  const slot = potentialOf(mix, type, amount);
  return slot === undefined ? undefined : takePotential(mix, slot);
};

export const takePotential = (mix: Mix, slot: PotentialSlot): Taken => {
  const counts = mix.counts.map((count, at) => count - (slot.pieces[at] ?? 0));
  const remainder = minus(plus(mix.remainder, piecesAmount(mix, slot.pieces)), slot.amount);
  return { mix: { ...mix, counts, remainder }, withdrawn: slot.pieces };
};
