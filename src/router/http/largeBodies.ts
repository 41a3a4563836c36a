/**
 * Large bodies get a fair share of the processor and no more: they are worked on in slices, one slice at a time, and each waits until the
 * small requests that are ready have had their turn. A client's large body costs its neighbours one slice, however long it is.
 *
 *   source ─(places)→ body read in slices ─ signature ─ account ─(one at a time, few wait)→ form read in slices → its backend
 */
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Release } from './admission.ts';
import { sourceOf } from './sources.ts';

export interface LargeBodyLimits {
  readonly largeBodyBytes: number;
  readonly largePerSourceMax: number;
  readonly largePerAccountMax: number;
}

/** What is worked on between two turns of the event loop. */
export const bodySliceBytes = 16 * 1024;
/** Between two slices while small requests are about: these wait for their backends most of that time, and are ready at its end. */
const pacedMs = 1;
/** A client that has just been answered is likely to ask again. */
const smallRememberedMs = 20;

/** Buffers that are kept for the next large body: memory that is got anew for each has the collector stop everything for it. */
const spareBuffersMax = 2;
/** So long after the last large body. Then a router at rest is as small as before. */
const spareKeptMs = 5_000;

export interface LargeBodyDependencies {
  /** Milliseconds of a clock that does not step. */
  readonly now: () => number;
  readonly nextTurn: () => Promise<unknown>;
  readonly delay: (ms: number) => Promise<unknown>;
}

export class LargeBodies {
  readonly #limits: LargeBodyLimits;
  readonly #dependencies: LargeBodyDependencies;
  readonly #bySource = new Map<string, number>();
  /** Of each account: those admitted or waiting, and when the last of them ends. */
  readonly #byAccount = new Map<string, { present: number; last: Promise<void> }>();
  #spare: Buffer[] = [];
  #spareTimer: NodeJS.Timeout | undefined;
  #small = 0;
  #smallAtMs = Number.NEGATIVE_INFINITY;
  #lastSlice: Promise<unknown> = Promise.resolve();

  constructor(limits: LargeBodyLimits, dependencies: Partial<LargeBodyDependencies> = {}) {
    this.#limits = limits;
    this.#dependencies = { now: monotonicMs, nextTurn, delay, ...dependencies };
  }

  /** By what its headers say; one that does not say its length may be as long as any. */
  isLarge(headers: Readonly<Record<string, string | string[] | undefined>>): boolean {
    if (headers['transfer-encoding'] !== undefined) return true;
    return Number(headers['content-length'] ?? 0) > this.#limits.largeBodyBytes;
  }

  /** A request that is not large has begun. */
  enterSmall(): Release {
    this.#small += 1;
    return () => {
      this.#small -= 1;
      this.#smallAtMs = this.#dependencies.now();
    };
  }

  /** Memory for a large body of at most so many bytes. It is another's once it is given back: nothing may keep a part of it. */
  takeBuffer(bytes: number, release: DisposableStack): Buffer {
    const at = this.#spare.findIndex(({ length }) => length >= bytes);
    const [buffer = Buffer.allocUnsafeSlow(bytes)] = at === -1 ? [] : this.#spare.splice(at, 1);
    release.defer(() => this.#keepBuffer(buffer));
    return buffer.subarray(0, bytes);
  }

  #keepBuffer(buffer: Buffer): void {
    this.#spare.push(buffer);
    // The longest are of use to most.
    if (this.#spare.length > spareBuffersMax) this.#spare.sort((a, b) => b.length - a.length).pop();
    clearTimeout(this.#spareTimer);
    this.#spareTimer = setTimeout(() => {
      this.#spare = [];
    }, spareKeptMs).unref();
  }

  /** A place for a large body of that address. @throws RequestLimitExceeded */
  enterSource(address: string | undefined): Release {
    const source = sourceOf(address);
    const present = this.#bySource.get(source) ?? 0;
    if (present >= this.#limits.largePerSourceMax) throw tooManyLarge();
    this.#bySource.set(source, present + 1);
    return () => {
      const rest = (this.#bySource.get(source) ?? 1) - 1;
      if (rest > 0) this.#bySource.set(source, rest);
      else this.#bySource.delete(source);
    };
  }

  /** Waits until the account's large requests before this one are answered. @throws RequestLimitExceeded where as many wait as may */
  async enterAccount(accountId: string): Promise<Release> {
    const before = this.#byAccount.get(accountId) ?? { present: 0, last: Promise.resolve() };
    if (before.present >= this.#limits.largePerAccountMax) throw tooManyLarge();
    const ended = Promise.withResolvers<void>();
    const queue = { present: before.present + 1, last: ended.promise };
    this.#byAccount.set(accountId, queue);
    await before.last;
    return () => {
      ended.resolve();
      const now = this.#byAccount.get(accountId);
      if (now === undefined || now.present <= 1) this.#byAccount.delete(accountId);
      else now.present -= 1;
    };
  }

  /** Waits for the next slice: what its caller does then, without a pause, is at most `bodySliceBytes` of work. */
  slice(): Promise<void> {
    // One after another over all requests, so that many large ones take no more than one does.
    const mine = this.#lastSlice.then(() => this.#pause());
    this.#lastSlice = mine;
    return mine;
  }

  async #pause(): Promise<void> {
    const { now, nextTurn: turn, delay: wait } = this.#dependencies;
    const paced = this.#small > 0 || now() - this.#smallAtMs < smallRememberedMs;
    if (paced) await wait(pacedMs);
    // A timer that is due runs before what has arrived is read: the turn lets it be read and served first.
    await turn();
  }
}

/** Does work that yields after each slice, with a turn for others between. */
export const inSlices = async <T>(work: Generator<undefined, T>, slices: LargeBodies): Promise<T> => {
  for (;;) {
    await slices.slice();
    const step = work.next();
    if (step.done === true) return step.value;
  }
};

const tooManyLarge = (): PandoError =>
  new PandoError('RequestLimitExceeded', 'Request limit exceeded: too many large requests at once.');
