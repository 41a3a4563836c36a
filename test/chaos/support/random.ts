/** Randomness that can be played again: `PANDO_SEED=N` draws what a run with that seed drew. */
import { randomInt } from 'node:crypto';
import { randomFrom } from '../../wire/random.ts';

export const seed = Number(process.env.PANDO_SEED ?? randomInt(1, 2 ** 31));

export interface Random {
  /** In [0, 1). */
  next(): number;
  /** A whole number from `from` to `to`, both included. */
  between(from: number, to: number): number;
  chance(share: number): boolean;
  pick<T>(choices: readonly [T, ...T[]]): T;
}

/** A sequence of its own for each name, so that who draws when does not change what another draws. */
export const randomOf = (name: string): Random => {
  const next = randomFrom([...name].reduce((sum, char) => Math.imul(sum, 31) + char.charCodeAt(0), seed));
  const between = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1));
  return {
    next,
    between,
    chance: (share) => next() < share,
    pick: (choices) => choices[between(0, choices.length - 1)] ?? choices[0],
  };
};
