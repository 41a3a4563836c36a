/**
 * Images that were made present for a VM which does not stand on them yet: kept from eviction until its launch, for a bounded time.
 * In memory alone: after a restart such an image is still the one used last, which is evicted last.
 */
import { monotonicMs } from '#base/monotonic.ts';
import { type AgentConfig, sharesImages } from './config.ts';
import { imagePinMsMax, vmsPerHostMax } from './limits.ts';
import type { VmRecord } from './vm-record.ts';

interface Pin {
  readonly digest: string;
  readonly until: number;
}

export class ImagePins {
  readonly #pins = new Map<string, Pin>();
  readonly #now: () => number;

  constructor(now: () => number = monotonicMs) {
    this.#now = now;
  }

  pin(instanceId: string, digest: string): void {
    this.#pins.delete(instanceId);
    this.#pins.set(instanceId, { digest, until: this.#now() + imagePinMsMax });
    for (const oldest of this.#pins.keys()) {
      if (this.#pins.size <= vmsPerHostMax) break;
      this.#pins.delete(oldest);
    }
  }

  unpin(instanceId: string): void {
    this.#pins.delete(instanceId);
  }

  /** Digests that are pinned now. */
  digests(): string[] {
    const now = this.#now();
    for (const [instanceId, { until }] of this.#pins) if (until <= now) this.#pins.delete(instanceId);
    return [...this.#pins.values()].map(({ digest }) => digest);
  }
}

/**
 * Digests that VMs stand on, or will; undefined: not all are known. A record may have been lost with the image that its disk stands on, and
 * in a directory that hosts share others' VMs stand on images too.
 */
export const imagesInUse = (
  config: Pick<AgentConfig, 'stateDir' | 'imageCacheDir'>,
  records: readonly Pick<VmRecord, 'image' | 'recovered'>[],
  pins: ImagePins,
): ReadonlySet<string> | undefined => {
  const isLost = records.some(({ recovered, image }) => recovered === true && image === undefined);
  if (isLost || sharesImages(config)) return undefined;
  const used = records.flatMap(({ image }) => (image === undefined ? [] : [image.digest]));
  return new Set([...used, ...pins.digests()]);
};
