/**
 * Images that were made present for a VM which does not stand on them yet: kept from eviction until its launch, for a bounded time.
 * In memory alone: after a restart such an image is still the one used last, which is evicted last.
 */
import { monotonicMs } from '#base/monotonic.ts';
import { imageHoldMsMax, vmsPerHostMax } from './limits.ts';

interface Hold {
  readonly digest: string;
  readonly until: number;
}

export class ImageHolds {
  readonly #holds = new Map<string, Hold>();
  readonly #now: () => number;

  constructor(now: () => number = monotonicMs) {
    this.#now = now;
  }

  hold(instanceId: string, digest: string): void {
    this.#holds.delete(instanceId);
    this.#holds.set(instanceId, { digest, until: this.#now() + imageHoldMsMax });
    for (const oldest of this.#holds.keys()) {
      if (this.#holds.size <= vmsPerHostMax) break;
      this.#holds.delete(oldest);
    }
  }

  release(instanceId: string): void {
    this.#holds.delete(instanceId);
  }

  /** Digests that are held now. */
  digests(): string[] {
    const now = this.#now();
    for (const [instanceId, { until }] of this.#holds) if (until <= now) this.#holds.delete(instanceId);
    return [...this.#holds.values()].map(({ digest }) => digest);
  }
}
