/**
 * Work that runs once at a time, and once more for whoever asked meanwhile. Whether it is asked for is looked at in the same turn in
 * which it ends: who asks right then is not told of a run that began before.
 */
export class Coalesced {
  readonly #work: () => Promise<void>;
  readonly #roundsMax: number;
  #isAsked = false;
  #running: Promise<void> | undefined;

  /** `roundsMax`: after that many runs in a row it ends all the same; who has asked by then asks again. */
  constructor(work: () => Promise<void>, { roundsMax = Number.POSITIVE_INFINITY } = {}) {
    this.#work = work;
    this.#roundsMax = roundsMax;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Asks for a run that begins after this call. Resolves when nothing more is asked for. @throws what the work throws */
  run(): Promise<void> {
    this.#isAsked = true;
    this.#running ??= this.#rounds();
    return this.#running;
  }

  async #rounds(): Promise<void> {
    try {
      for (let round = 0; round < this.#roundsMax && this.#isAsked; round++) {
        this.#isAsked = false;
        await this.#work();
      }
    } finally {
      this.#running = undefined;
    }
  }
}
