/**
 * Requests that were in flight when a processor was lost, so that one that kills is not offered to processor after processor.
 * Whoever repeats it that often in a short time is told to wait; a request that was only near when a machine failed is not.
 */
import { createHash } from 'node:crypto';
import { monotonicMs } from '#base/monotonic.ts';
import { Lru } from './lru.ts';
import { isRecord, unavailable } from './outcome.ts';
import type { BackendCall } from './processor.ts';

/** Processors that may be lost with the same request in flight, before it is refused. */
const lossesMax = 3;
/** How long it is refused, and how long a loss counts. */
const rememberedMs = 30_000;
const requestsMax = 1_000;
/** What is shorter cannot cost much, and many clients send it alike (a poll that was in flight at three failures is harmless). */
const shortCharsMax = 1_024;
/** Losses of one processor within this time are one: its stream broke once, under many equal requests. */
const sameLossMs = 1_000;

interface Loss {
  readonly backend: string;
  readonly atMs: number;
}

export class LethalRequests {
  readonly #losses = new Lru<string, readonly Loss[]>(requestsMax);
  readonly #now: () => number;

  /** @param now milliseconds of a clock that does not step. */
  constructor(now: () => number = monotonicMs) {
    this.#now = now;
  }

  /** A processor was lost while it had this request. */
  lost(call: BackendCall, backend: string): void {
    const key = keyOf(call);
    if (key === undefined) return;
    const known = this.#recent(key);
    const now = this.#now();
    if (known.some((loss) => loss.backend === backend && now - loss.atMs < sameLossMs)) return;
    this.#losses.set(key, [...known, { backend, atMs: now }].slice(-lossesMax));
  }

  /** @throws Unavailable for a request that has cost too many processors of late. */
  assertHarmless(call: BackendCall): void {
    // The key is a digest of the whole request: it is made only where something was lost at all.
    if (this.#losses.size === 0) return;
    const key = keyOf(call);
    if (key === undefined || this.#recent(key).length < lossesMax) return;
    throw unavailable(
      'The service was lost several times while it had this request. Wait a minute before you send it again.',
    );
  }

  #recent(key: string): readonly Loss[] {
    const now = this.#now();
    return (this.#losses.get(key) ?? []).filter(({ atMs }) => now - atMs < rememberedMs);
  }
}

/**
 * The same request again has the same key, also under another token: a client that gives none gets one of its request's.
 * `undefined`: too short to matter.
 */
const keyOf = ({ accountId, action, input }: BackendCall): string | undefined => {
  const { ClientToken: _token, ...rest } = isRecord(input) ? input : {};
  const text = JSON.stringify([accountId, action, rest]);
  return text.length <= shortCharsMax ? undefined : createHash('sha256').update(text).digest('base64');
};
