/**
 * VPCs whose namespace stays open for a while without ports: for packets of cards that have not heard yet that a port has left (S6.6),
 * and for the next port, which then needs no namespace to be made and no process to be started.
 */
import { monotonicMs } from '#base/monotonic.ts';
import { forwardsMsMin } from '#contracts/card.ts';
import { emptyVpcsKeptMax } from './limits.ts';

interface Kept {
  readonly sinceMs: number;
  /** At least so long, whatever else is kept. */
  readonly leastMs: number;
  readonly timer: NodeJS.Timeout;
}

export class EmptyVpcs {
  readonly #keptMs: number;
  readonly #over: (vpcId: string) => void;
  /** Without ports for the longest time first. */
  readonly #kept = new Map<string, Kept>();

  /** `over` is told of each VPC whose time has ended; not of one that was forgotten. */
  constructor(keptMs: number, over: (vpcId: string) => void) {
    this.#keptMs = keptMs;
    this.#over = over;
  }

  has(vpcId: string): boolean {
    return this.#kept.has(vpcId);
  }

  /** Whether forwarding is promised still. */
  forwards(vpcId: string): boolean {
    return this.#leastLeftMs(vpcId) > 0;
  }

  /** Its time begins now, also if it had begun before. `forwards`: it lasts at least as long as forwarding is promised. */
  keep(vpcId: string, { forwards }: { readonly forwards: boolean }): void {
    const leastMs = Math.max(forwards ? forwardsMsMin : 0, this.#leastLeftMs(vpcId));
    this.forget(vpcId);
    this.#set(vpcId, { sinceMs: monotonicMs(), leastMs }, this.#keptMs);
    const surplus = [...this.#kept].slice(0, Math.max(0, this.#kept.size - emptyVpcsKeptMax));
    for (const [oldest, kept] of surplus) {
      clearTimeout(kept.timer);
      this.#set(oldest, kept, 0);
    }
  }

  #leastLeftMs(vpcId: string): number {
    const kept = this.#kept.get(vpcId);
    return kept === undefined ? 0 : kept.leastMs - (monotonicMs() - kept.sinceMs);
  }

  forget(vpcId: string): void {
    clearTimeout(this.#kept.get(vpcId)?.timer);
    this.#kept.delete(vpcId);
  }

  #set(vpcId: string, { sinceMs, leastMs }: Omit<Kept, 'timer'>, keptMs: number): void {
    const over = (): void => {
      this.#kept.delete(vpcId);
      this.#over(vpcId);
    };
    const leftMs = Math.max(keptMs, leastMs) - (monotonicMs() - sinceMs);
    // A key that is there keeps its place in the order.
    this.#kept.set(vpcId, { sinceMs, leastMs, timer: setTimeout(over, Math.max(0, leftMs)).unref() });
  }
}
