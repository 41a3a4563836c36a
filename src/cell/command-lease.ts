/**
 * Whether this processor may still command. Hosts and the region remember for a bounded time whom they must refuse (contracts/fences.ts):
 * that is sound because a processor that was frozen or cut off from its store for longer sends nothing, and asks the store what it still
 * owns before it sends again.
 */
import { monotonicMs } from '#base/monotonic.ts';
import type { Caller } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import { commandAfterLapseMsMax } from '#contracts/fences.ts';
import type { CommandKey } from '#contracts/host.ts';
import type { regionContract } from '#contracts/region.ts';

/** A workflow under one of its owners. */
export type Owned = Pick<CommandKey, 'workflowId' | 'epoch'>;

/** What is at work in a processor twenty times over: it had no lease so often. The oldest fall out. */
const lostRememberedMax = 10_000;

export class CommandLease {
  /** Milliseconds that no change of the wall clock moves; they pass while a process is stopped. */
  readonly #now: () => number;
  #until: number;
  /** What it still owns is to be asked first. */
  #inDoubt = false;
  /** What others took meanwhile. Whoever still works on it here sends nothing. */
  readonly #lost = new Set<string>();

  constructor(now: () => number = monotonicMs) {
    this.#now = now;
    this.#until = now() + commandAfterLapseMsMax;
  }

  /** The lease was renewed in the store, asked for at `askedAt` (of `now`), for `ttlMs`. */
  renewed(askedAt: number, ttlMs: number): void {
    this.#until = Math.max(this.#until, askedAt + ttlMs + commandAfterLapseMsMax);
  }

  /**
   * After the lease was renewed in the store and before it counts here. `awayMs`: since the renewal before, by the store, which also goes on
   * while this machine is suspended; undefined: the store knows of none. `lost`: what was at work here and is another's.
   */
  async settleDoubt(awayMs: number | undefined, lost: () => Promise<readonly Owned[]>): Promise<void> {
    this.#inDoubt ||= !this.mayCommand || awayMs === undefined || awayMs > commandAfterLapseMsMax;
    if (!this.#inDoubt) return;
    for (const owned of await lost()) this.#lost.add(nameOf(owned));
    for (const oldest of this.#lost) {
      if (this.#lost.size <= lostRememberedMax) break;
      this.#lost.delete(oldest);
    }
    this.#inDoubt = false;
  }

  now(): number {
    return this.#now();
  }

  get mayCommand(): boolean {
    return !this.#inDoubt && this.#now() < this.#until;
  }

  /** Whether this command may be sent. */
  allows(command: Owned): boolean {
    return this.mayCommand && !this.#lost.has(nameOf(command));
  }

  refusal(): PandoError {
    return new PandoError(
      'StaleEpoch',
      `This processor had no lease for ${commandAfterLapseMsMax} ms: what it knows of its workflows is too old.`,
      // Told apart from a host's refusal, which says that the host has heard newer.
      { details: { lease: 'lapsed' } },
    );
  }
}

const nameOf = ({ workflowId, epoch }: Owned): string => `${workflowId} ${epoch}`;

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
