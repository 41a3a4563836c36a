/** Notices that a copy no longer gets on: a peer that is gone without a word, a network that swallows. */
import { monotonicMs } from '#base/monotonic.ts';

/** The copy has stood still for too long. */
export class StoodStill extends Error {
  constructor(ms: number) {
    super(`nothing was copied for ${ms} ms: the target does not answer`);
  }
}

export class Standstill {
  readonly #msMax: number;
  readonly #now: () => number;
  #mark: string | undefined;
  #since = 0;

  constructor(msMax: number, now: () => number = monotonicMs) {
    this.#msMax = msMax;
    this.#now = now;
  }

  /** Throws {@link StoodStill} once the mark has been the same for longer than the limit. */
  look(mark: string): void {
    const now = this.#now();
    if (mark !== this.#mark) {
      this.#mark = mark;
      this.#since = now;
    } else if (now - this.#since > this.#msMax) throw new StoodStill(this.#msMax);
  }
}
