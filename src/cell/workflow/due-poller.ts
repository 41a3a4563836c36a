/**
 * Looks for waiting workflows that are due: by the clock, a little irregularly so that processors take turns, and sooner when this
 * processor knows of one. It keeps one time and no list, however many wait.
 */
import type { Logger } from '#base/log.ts';
import type { Clock } from '../clock.ts';
import { jittered } from './timing.ts';

export interface DuePollerOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly stop: AbortSignal;
  readonly everyMs: number;
  /** Takes what is due; `hinted`: something is known to be. Returns whether there may be more now. */
  turn(hinted: boolean): Promise<boolean>;
}

export class DuePoller {
  readonly #options: DuePollerOptions;
  #wake = new AbortController();
  /** By the monotonic clock: when the next look is due, at the latest. */
  #nextAtMs = 0;
  #looks = 0;
  #hinted = false;

  constructor(options: DuePollerOptions) {
    this.#options = options;
  }

  /** How often it has looked: for tests that count. */
  get looks(): number {
    return this.#looks;
  }

  /** Something is due after `ms`: no later than that it is looked for. */
  hint(ms = 0): void {
    const atMs = this.#options.clock.monotonicMs() + Math.max(0, ms);
    if (atMs >= this.#nextAtMs) return;
    this.#nextAtMs = atMs;
    this.#hinted = true;
    this.#wake.abort();
  }

  /** Looks until stopped. */
  async run(): Promise<void> {
    const { clock, log, stop, everyMs } = this.#options;
    let failing = false;
    while (!stop.aborted) {
      const pauseMs = jittered(everyMs);
      // Set before the look: a hint that comes during it is for the next one.
      this.#nextAtMs = clock.monotonicMs() + pauseMs;
      try {
        this.#looks++;
        const hinted = this.#hinted;
        this.#hinted = false;
        if (await this.#options.turn(hinted)) this.hint();
        failing = false;
      } catch (error) {
        if (!failing && !stop.aborted)
          log.warn({ err: error }, 'waiting workflows could not be looked at: tried again');
        failing = true;
        this.#nextAtMs = clock.monotonicMs() + pauseMs;
      }
      await this.#rest();
    }
  }

  async #rest(): Promise<void> {
    const { clock, stop } = this.#options;
    for (;;) {
      const leftMs = this.#nextAtMs - clock.monotonicMs();
      if (leftMs <= 0 || stop.aborted) return;
      this.#wake = new AbortController();
      await clock.sleep(leftMs, AbortSignal.any([this.#wake.signal, stop]));
    }
  }
}
