/** Whether a host's VMs find room on others: one by one, since what is free in pieces on many hosts carries none that is bigger. */
import { type Amount, countOf, minus } from '#slots/amount.ts';

/** VMs of one type. */
export interface Leaving {
  readonly type: string;
  /** Of each; without its disk. */
  readonly amount: Amount;
  readonly count: number;
}

export interface Room {
  readonly free: Amount;
  /** Types that its pool gives slots of; null: all. */
  readonly types: readonly string[] | null;
}

/** Biggest first, each where it fits: of those that find no room, one's type; undefined: all find some. Pure. */
export const withoutRoom = (leaving: readonly Leaving[], rooms: readonly Room[]): string | undefined => {
  const free = rooms.map((room) => ({ ...room }));
  for (const { type, amount, count } of leaving.toSorted((a, b) => b.amount.memoryMib - a.amount.memoryMib)) {
    let left = count;
    for (const room of free) {
      if (left === 0) break;
      if (room.types !== null && !room.types.includes(type)) continue;
      const taken = Math.min(left, countOf(room.free, amount));
      room.free = minus(room.free, amount, taken);
      left -= taken;
    }
    if (left > 0) return type;
  }
  return undefined;
};
