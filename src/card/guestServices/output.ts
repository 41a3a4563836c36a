/** What a process that answers guests may say to its card, a line each. A guest may have taken it over: whatever else it says ends it. */
import { monotonicMs } from '#base/monotonic.ts';
import { guestServicesLinesPerSMax } from '../limits.ts';
import type { GuestAsked } from './message.ts';

export type Output =
  | { readonly kind: 'ready' }
  | { readonly kind: 'ack'; readonly seq: number }
  | { readonly kind: 'asked'; readonly what: GuestAsked; readonly eniId: string };

const second = 1_000;

/** Of one life of the process. */
export class OutputReader {
  readonly #now: () => number;
  #isReady = false;
  #lines = 0;
  #sinceMs = Number.NEGATIVE_INFINITY;

  constructor(now: () => number = monotonicMs) {
    this.#now = now;
  }

  /** undefined: it may not say this, or says too much. */
  take(line: string): Output | undefined {
    if (!this.#isInTime()) return undefined;
    if (line === '{"ready":true}') return this.#becomeReady();
    const [, what, eniId] = /^\{"(dhcp|metadata)":"([a-z0-9-]{1,64})"\}$/.exec(line) ?? [];
    if ((what === 'dhcp' || what === 'metadata') && eniId !== undefined)
      return { kind: 'asked', what, eniId };
    const seq = /^\{"ack":(\d{1,15})\}$/.exec(line)?.[1];
    return seq === undefined ? undefined : { kind: 'ack', seq: Number(seq) };
  }

  /** Each line is work for the card, and each `ready` is answered with all that the process is to know. */
  #isInTime(): boolean {
    const now = this.#now();
    if (now - this.#sinceMs >= second) {
      this.#sinceMs = now;
      this.#lines = 0;
    }
    this.#lines += 1;
    return this.#lines <= guestServicesLinesPerSMax;
  }

  #becomeReady(): Output | undefined {
    if (this.#isReady) return undefined;
    this.#isReady = true;
    return { kind: 'ready' };
  }
}
