/** How much the router takes on at once: what is above a limit gets `RequestLimitExceeded` at once, and is not queued. */
import { PandoError } from '#contracts/errors.ts';
import type { RouterLimits } from '../config.ts';

/** Gives back what was taken. */
export type Release = () => void;

export class Admission {
  readonly #limits: RouterLimits;
  readonly #byAccount = new Map<string, number>();
  #inFlight = 0;
  #unknown = 0;
  #bufferedBytes = 0;

  constructor(limits: RouterLimits) {
    this.#limits = limits;
  }

  /** A place for a request whose body has been read: slow senders take none. */
  enter(): Release {
    if (this.#inFlight >= this.#limits.inFlightMax) throw exceeded();
    this.#inFlight += 1;
    return () => {
      this.#inFlight -= 1;
    };
  }

  /** A place among those whose key has to be asked for: a region that is slow to answer must not let invented keys fill all places. */
  enterUnknown(): Release {
    if (this.#unknown >= this.#limits.unknownInFlightMax) throw exceeded();
    this.#unknown += 1;
    return () => {
      this.#unknown -= 1;
    };
  }

  /** A place among those of one account, so that its flood leaves the others theirs. */
  enterAccount(accountId: string): Release {
    const present = this.#byAccount.get(accountId) ?? 0;
    if (present >= this.#limits.accountInFlightMax) throw exceeded();
    this.#byAccount.set(accountId, present + 1);
    return () => {
      const rest = (this.#byAccount.get(accountId) ?? 1) - 1;
      if (rest > 0) this.#byAccount.set(accountId, rest);
      else this.#byAccount.delete(accountId);
    };
  }

  /** Counts bytes of bodies that are in memory. */
  reserve(bytes: number): void {
    if (this.#bufferedBytes + bytes > this.#limits.bufferedBytesMax) throw exceeded();
    this.#bufferedBytes += bytes;
  }

  release(bytes: number): void {
    this.#bufferedBytes -= bytes;
  }
}

const exceeded = (): PandoError => new PandoError('RequestLimitExceeded', 'Request limit exceeded.');
