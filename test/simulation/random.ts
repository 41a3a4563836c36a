/** Seeded randomness of a simulation: streams that do not disturb each other, since each part draws from its own. */
import { seeded } from '../slots/support.ts';

export interface Random {
  /** 0 ≤ n < 1 */
  next(): number;
  /** A whole number, `min` ≤ n < `max`. */
  between(min: number, max: number): number;
  chance(probability: number): boolean;
  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T;
  bytes(count: number): Buffer;
}

/** FNV-1a: which stream of a seed. */
const mixed = (seed: number, name: string): number => {
  let hash = 0x811c9dc5 ^ seed;
  for (const character of name) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  return hash >>> 0;
};

/** The stream called `name` of a seed. */
export const randomOf = (seed: number, name: string): Random => {
  const next = seeded(mixed(seed, name));
  const between = (min: number, max: number): number => min + Math.floor(next() * (max - min));
  return {
    next,
    between,
    chance: (probability) => next() < probability,
    pick: (list) => {
      const chosen = list[between(0, list.length)];
      if (chosen === undefined) throw new RangeError('nothing to choose from');
      return chosen;
    },
    bytes: (count) => {
      const made = Buffer.alloc(count);
      for (let at = 0; at < count; at++) made[at] = between(0, 256);
      return made;
    },
  };
};
