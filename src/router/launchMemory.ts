/**
 * What this replica knows of recent launches by (account, client token): a help against carrying one out twice
 * (I4) when a client repeats it, never the only one: cells keep tokens durably.
 */
import { Lru } from './lru.ts';

/** `refused`: every cell that was asked said no. `uncertain`: a cell was asked and did not answer. */
export type LaunchFate = 'refused' | 'uncertain';

const launchesMax = 20_000;
const fateMsMax = 15 * 60_000;

export class LaunchMemory {
  readonly #fates = new Lru<string, { fate: LaunchFate; atMs: number }>(launchesMax);
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  get(accountId: string, token: string): LaunchFate | undefined {
    const known = this.#fates.get(`${accountId}/${token}`);
    return known !== undefined && this.#now() - known.atMs < fateMsMax ? known.fate : undefined;
  }

  set(accountId: string, token: string, fate: LaunchFate): void {
    this.#fates.set(`${accountId}/${token}`, { fate, atMs: this.#now() });
  }

  delete(accountId: string, token: string): void {
    this.#fates.delete(`${accountId}/${token}`);
  }
}
