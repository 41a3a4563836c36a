/**
 * The cell's own time: how long it has been at work, counted by one processor at a time from its monotonic clock into the queue's row.
 * What runs out by it runs out by no step of a wall clock, and not while nobody could have claimed it.
 */

export interface TimeRow {
  readonly elapsed_ms: number;
  readonly ticker: string;
  readonly ticks: number;
}

/** A processor that has not counted for this long has stopped: another goes on. */
const tickerSilenceMsMax = 3_000;
/**
 * More is never counted at once. A processor that stood still has not counted meanwhile, and an offer that another one made then has a
 * deadline by a count that lags: all of the lag at once would end the offer early. What is left out makes offers last longer.
 */
const countedMsMax = 2_000;

export class CellTime {
  readonly #owner: string;
  /** When this processor last counted, or saw another count. */
  #seen: { readonly ticks: number; readonly atMs: number } | undefined;

  constructor(owner: string) {
    this.#owner = owner;
  }

  /** What is to be written; `counted` is called once that is committed. Undefined: another processor counts. */
  next(row: TimeRow, nowMs: number): { readonly addMs: number; counted(): void } | undefined {
    const seen = this.#seen;
    if (seen === undefined || seen.ticks !== row.ticks) {
      this.#seen = { ticks: row.ticks, atMs: nowMs };
      return undefined;
    }
    const sinceMs = Math.max(0, Math.round(nowMs - seen.atMs));
    const others = row.ticker !== '' && row.ticker !== this.#owner;
    if (others && sinceMs < tickerSilenceMsMax) return undefined;
    return {
      addMs: Math.min(sinceMs, countedMsMax),
      counted: () => {
        this.#seen = { ticks: row.ticks + 1, atMs: nowMs };
      },
    };
  }
}
