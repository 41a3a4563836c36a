/** Faults to order on a simulated host, by method (`vm.launch`, `card.redirectPort`), each for a number of calls. */
import { PandoError } from '#contracts/errors.ts';

export type HostFault =
  /** Answers with an error; nothing was done. */
  | { readonly kind: 'fail'; readonly error?: PandoError }
  /** Never answers; nothing was done. */
  | { readonly kind: 'hang' }
  /** The agent dies before it does anything: the caller's stream breaks. */
  | { readonly kind: 'crash-before' }
  /** The agent dies after it did it: the answer is lost. */
  | { readonly kind: 'crash-after' }
  /** Delivered twice; the caller gets the second answer. */
  | { readonly kind: 'duplicate' };

interface Ordered {
  readonly fault: HostFault;
  left: number;
}

export class HostFaults {
  readonly #ordered = new Map<string, Ordered[]>();

  /** Orders a fault for the next `times` calls of a method. */
  order(method: string, fault: HostFault, times = 1): void {
    this.#ordered.set(method, [...(this.#ordered.get(method) ?? []), { fault, left: times }]);
  }

  clear(): void {
    this.#ordered.clear();
  }

  /** The fault of this call, if one is ordered; it is used up. */
  take(method: string): HostFault | undefined {
    const queue = this.#ordered.get(method);
    const next = queue?.[0];
    if (next === undefined) return undefined;
    next.left--;
    if (next.left <= 0) queue?.shift();
    return next.fault;
  }
}

export const orderedFailure = (): PandoError => new PandoError('InternalError', 'This failure was ordered.');
