/** Randomness that can be played again: `PANDO_SEED=N` draws what a run with that seed drew. */
import { randomInt } from 'node:crypto';

export const seed = Number(process.env.PANDO_SEED ?? randomInt(1, 2 ** 31));

export interface Random {
  /** In [0, 1). */
  next(): number;
  /** A whole number from `from` to `to`, both included. */
  between(from: number, to: number): number;
  chance(share: number): boolean;
  pick<T>(choices: readonly [T, ...T[]]): T;
}

const stepOf = (state: number): number => (state + 0x6d2b79f5) | 0;
const mixed = (state: number): number => {
  let value = Math.imul(state ^ (state >>> 15), state | 1);
  value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
  return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
};

/** A sequence of its own for each name, so that who draws when does not change what another draws. */
export const randomOf = (name: string): Random => {
  let state = [...name].reduce((sum, char) => Math.imul(sum, 31) + char.charCodeAt(0), seed) | 0;
  const next = (): number => {
    state = stepOf(state);
    return mixed(state);
  };
  const between = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1));
  return {
    next,
    between,
    chance: (share) => next() < share,
    pick: (choices) => choices[between(0, choices.length - 1)] ?? choices[0],
  };
};
