/** Work that no answer waits for: bounded in number, and few at once, so that it does not take the connections of those who wait. */

export const backgroundMax = 1_000;
export const backgroundAtOnceMax = 2;

export class Background {
  readonly #waiting: (() => Promise<void>)[] = [];
  readonly #idle: (() => void)[] = [];
  #running = 0;

  get size(): number {
    return this.#waiting.length + this.#running;
  }

  /** Runs it when its turn comes. False: there is too much, and it is left. `work` must not reject. */
  add(work: () => Promise<void>): boolean {
    if (this.size >= backgroundMax) return false;
    this.#waiting.push(work);
    if (this.#running < backgroundAtOnceMax) void this.#lane();
    return true;
  }

  /** Resolves once nothing is left. */
  async done(): Promise<void> {
    if (this.size === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  async #lane(): Promise<void> {
    this.#running += 1;
    try {
      for (let work = this.#waiting.shift(); work !== undefined; work = this.#waiting.shift()) await work();
    } finally {
      this.#running -= 1;
      if (this.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }
}
