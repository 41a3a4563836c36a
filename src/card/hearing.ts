/** When this card has heard of the guests behind its ports, and in what way. In memory: a new process hears anew. */
import { monotonicMs } from '#base/monotonic.ts';
import type { Result } from '#base/rpc/contract.ts';
import type { cardContract } from '#contracts/card.ts';

export type HeardIn = 'dhcp' | 'metadata' | 'arp';
export type HeardPort = Result<typeof cardContract, 'card.heard'>['ports'][number];

interface Entry {
  readonly since: number;
  readonly at: Map<HeardIn, number>;
}

export class Hearing {
  readonly #now: () => number;
  readonly #ports = new Map<string, Entry>();

  constructor(now: () => number = monotonicMs) {
    this.#now = now;
  }

  /** From now on; what was heard of an earlier tap of this port is over. */
  listen(eniId: string): void {
    this.#ports.set(eniId, { since: this.#now(), at: new Map() });
  }

  forget(eniId: string): void {
    this.#ports.delete(eniId);
  }

  heard(how: HeardIn, eniId: string): void {
    this.#ports.get(eniId)?.at.set(how, this.#now());
  }

  /** Undefined: nobody listens for this port. */
  of(eniId: string): HeardPort | undefined {
    const entry = this.#ports.get(eniId);
    if (entry === undefined) return undefined;
    const now = this.#now();
    const age = (how: HeardIn): number | undefined => {
      const at = entry.at.get(how);
      return at === undefined ? undefined : now - at;
    };
    return {
      eniId,
      listenedMs: now - entry.since,
      dhcpMs: age('dhcp'),
      metadataMs: age('metadata'),
      arpMs: age('arp'),
    };
  }
}
