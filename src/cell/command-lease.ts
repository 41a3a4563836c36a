/**
 * Whether this processor may still command. Hosts and the region remember for a bounded time whom they must refuse (contracts/fences.ts):
 * that is sound because a processor that was frozen or cut off from its store for longer sends nothing.
 */
import { monotonicMs } from '#base/monotonic.ts';
import type { Caller } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import { commandAfterLapseMsMax } from '#contracts/fences.ts';
import type { regionContract } from '#contracts/region.ts';

export class CommandLease {
  /** Milliseconds that no change of the wall clock moves; they pass while a process is stopped. */
  readonly #now: () => number;
  #until: number;

  constructor(now: () => number = monotonicMs) {
    this.#now = now;
    this.#until = now() + commandAfterLapseMsMax;
  }

  /** The lease was renewed in the store, asked for at `askedAt` (of `now`), for `ttlMs`. */
  renewed(askedAt: number, ttlMs: number): void {
    this.#until = Math.max(this.#until, askedAt + ttlMs + commandAfterLapseMsMax);
  }

  now(): number {
    return this.#now();
  }

  get mayCommand(): boolean {
    return this.#now() < this.#until;
  }

  refusal(): PandoError {
    return new PandoError(
      'StaleEpoch',
      `This processor has had no lease for ${commandAfterLapseMsMax} ms: what it knows of its workflows is too old.`,
      // Told apart from a host's refusal, which says that the host has heard newer.
      { details: { lease: 'lapsed' } },
    );
  }
}

const effects: ReadonlySet<string> = new Set<keyof typeof regionContract>([
  'region.allocateInterface',
  'region.placeInterface',
  'region.changeInterface',
  'region.changePlacementGroup',
  'region.releaseInterface',
]);

/** The region, asked for effects only while this processor may command. */
export const leasedRegion = (
  region: Caller<typeof regionContract>,
  lease: CommandLease,
): Caller<typeof regionContract> => ({
  call: (method, params, options) =>
    effects.has(method) && !lease.mayCommand
      ? Promise.reject(lease.refusal())
      : region.call(method, params, options),
});
