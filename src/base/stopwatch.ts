/** Times the parts of something, by a clock that is given. */
import { monotonicMs } from './monotonic.ts';

export class Stopwatch {
  /** In the order in which they ended; milliseconds, rounded. */
  readonly parts: { part: string; ms: number }[] = [];
  readonly #now: () => number;

  constructor(now: () => number = monotonicMs) {
    this.#now = now;
  }

  async time<T>(part: string, work: () => Promise<T>): Promise<T> {
    const began = this.#now();
    try {
      return await work();
    } finally {
      this.parts.push({ part, ms: Math.round(this.#now() - began) });
    }
  }

  /** Takes over what another has timed. */
  add(parts: readonly { part: string; ms: number }[]): void {
    this.parts.push(...parts);
  }
}
