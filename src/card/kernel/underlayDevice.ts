/** The device towards the underlay: what it has carried, and how fast it says that it is. */
import { readFile } from 'node:fs/promises';
import { exec } from '#base/exec.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { speedReadEveryMs } from '../limits.ts';
import { parseNetDev } from './netDev.ts';

export interface UnderlayCounters {
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Mbit/s; absent where the device does not know (a tunnel, a bridge without members). */
  readonly speedMbps?: number;
}

/** Of sysfs's file `speed`: it cannot be read, or says -1, where there is no such thing. */
export const parseSpeed = (text: string): number | undefined => {
  const speed = Number.parseInt(text, 10);
  return speed > 0 ? speed : undefined;
};

export class UnderlayDevice {
  readonly #netns: string;
  readonly #device: string;
  #speedMbps: number | undefined;
  #readAtMs = Number.NEGATIVE_INFINITY;

  /** `netns`: the namespace that this process runs in, by its name. */
  constructor(netns: string, device: string) {
    this.#netns = netns;
    this.#device = device;
  }

  /** Undefined: there is no such device just now. */
  async counters(): Promise<UnderlayCounters | undefined> {
    const traffic = parseNetDev(await readFile('/proc/self/net/dev', 'utf8')).get(this.#device);
    if (traffic === undefined) return undefined;
    await this.#readSpeed();
    const { rx, tx } = traffic;
    return {
      ...{ rxBytes: rx.bytes, txBytes: tx.bytes },
      ...(this.#speedMbps === undefined ? {} : { speedMbps: this.#speedMbps }),
    };
  }

  /** Now and then: a cable is changed. By way of `ip`, since the /sys that this process sees is its starter's. */
  async #readSpeed(): Promise<void> {
    if (monotonicMs() - this.#readAtMs < speedReadEveryMs) return;
    this.#readAtMs = monotonicMs();
    const path = `/sys/class/net/${this.#device}/speed`;
    this.#speedMbps = await exec('ip', ['netns', 'exec', this.#netns, 'cat', path]).then(
      ({ stdout }) => parseSpeed(stdout),
      () => undefined,
    );
  }
}
