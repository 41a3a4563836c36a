/**
 * What this replica knows of recent launches by (account, client token): a help against carrying one out twice
 * (I4) when a client repeats it, never the only one: cells keep tokens durably.
 */
import { monotonicMs } from '#base/monotonic.ts';
import { Lru } from './lru.ts';

/**
 * `accepted`: a cell has it. `refused`: every cell that was asked at that attempt said no. `uncertain`: a cell was asked
 * and did not answer.
 */
export type LaunchFate =
  | { readonly state: 'accepted' | 'uncertain' }
  | { readonly state: 'refused'; readonly attempt: number };

const launchesMax = 20_000;
const fateMsMax = 15 * 60_000;

export class LaunchMemory {
  readonly #fates = new Lru<string, { fate: LaunchFate; atMs: number }>(launchesMax);
  readonly #running = new Map<string, Promise<void>>();
  readonly #now: () => number;
  readonly #completeAtMs: number;

  /** `repeatsWithinMs`: how long after its start a replica may be asked again for what one before it was asked for. */
  constructor(repeatsWithinMs: number, now: () => number = monotonicMs) {
    this.#now = now;
    this.#completeAtMs = now() + repeatsWithinMs;
  }

  /** Whether a token that is not known here was probably not sent before: a replica that has just started cannot say. */
  get complete(): boolean {
    return this.#now() >= this.#completeAtMs;
  }

  /**
   * Runs launches of one token one after another: a second one that began while the first was being refused by its first
   * cell could find room there, and the first by then elsewhere.
   */
  async oneByOne<T>(accountId: string, token: string, run: () => Promise<T>): Promise<T> {
    const key = `${accountId}/${token}`;
    const before = this.#running.get(key) ?? Promise.resolve();
    const mine = before.then(run, run);
    const settled = mine.then(
      () => undefined,
      () => undefined,
    );
    this.#running.set(key, settled);
    try {
      return await mine;
    } finally {
      if (this.#running.get(key) === settled) this.#running.delete(key);
    }
  }

  get(accountId: string, token: string): LaunchFate | undefined {
    const known = this.#fates.get(`${accountId}/${token}`);
    return known !== undefined && this.#now() - known.atMs < fateMsMax ? known.fate : undefined;
  }

  set(accountId: string, token: string, fate: LaunchFate): void {
    this.#fates.set(`${accountId}/${token}`, { fate, atMs: this.#now() });
  }
}
