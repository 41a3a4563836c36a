/** Token buckets by account or address: bounded in number, filled by the clock. */
import type { Clock } from '../base/clock.ts';
import { PaymentsError } from '../base/errors.ts';

const bucketsMax = 100_000;

interface Bucket {
  tokens: number;
  atMs: number;
}

export class RateLimit {
  readonly #buckets = new Map<string, Bucket>();
  readonly #clock: Clock;
  readonly #perS: number;
  readonly #burst: number;

  constructor(clock: Clock, perS: number, burst: number) {
    this.#clock = clock;
    this.#perS = perS;
    this.#burst = burst;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes a token of the key's bucket. Error: `rate_limited`, with when to come again. */
  take(key: string): void {
    const nowMs = this.#clock();
    const old = this.#buckets.get(key);
    const filled =
      old === undefined ? this.#burst : old.tokens + (Math.max(0, nowMs - old.atMs) / 1000) * this.#perS;
    const tokens = Math.min(this.#burst, filled);
    // Deleted and set again: the map's order is by last use, so that the first entry is the one to forget.
    this.#buckets.delete(key);
    if (this.#buckets.size >= bucketsMax) this.#buckets.delete(this.#buckets.keys().next().value ?? '');
    this.#buckets.set(key, { tokens: tokens < 1 ? tokens : tokens - 1, atMs: nowMs });
    if (tokens >= 1) return;
    const retryAfterS = Math.ceil((1 - tokens) / this.#perS);
    throw new PaymentsError('rate_limited', `Too many requests. Try again in ${retryAfterS} s.`, {
      retryAfterS,
    });
  }
}
