/**
 * What is asked for, by type: launches that came, launches that found nothing, requests that wait. Each counts, and what is old counts
 * less: half after `halfLifeMs`. The weights say which slots are worth keeping open.
 */
import type { Amount } from './amount.ts';

export interface DemandedType {
  readonly type: string;
  readonly amount: Amount;
  /** Its share of all demand, 0..1. */
  readonly weight: number;
}

export interface DemandOptions {
  readonly halfLifeMs?: number;
  /** Types that are remembered; of more, the least demanded is forgotten. */
  readonly typesMax?: number;
}

interface Entry {
  readonly amount: Amount;
  score: number;
  pending: number;
}

export const demandHalfLifeMsDefault = 6 * 3_600_000;
export const demandTypesMaxDefault = 64;
/** A refused launch says more than one that found its place: what it wanted was missing. */
const refusalWorth = 2;

export class Demand {
  readonly #halfLifeMs: number;
  readonly #typesMax: number;
  readonly #entries = new Map<string, Entry>();
  #atMs = 0;

  constructor({
    halfLifeMs = demandHalfLifeMsDefault,
    typesMax = demandTypesMaxDefault,
  }: DemandOptions = {}) {
    this.#halfLifeMs = halfLifeMs;
    this.#typesMax = typesMax;
  }

  /** A launch of this type came (`arrival`), or found no place (`refusal`). */
  note(type: string, amount: Amount, kind: 'arrival' | 'refusal', nowMs: number, count = 1): void {
    this.#decay(nowMs);
    this.#entry(type, amount).score += count * (kind === 'refusal' ? refusalWorth : 1);
  }

  /** How many of this type are waited for just now; 0: none. */
  setPending(type: string, amount: Amount, count: number): void {
    this.#entry(type, amount).pending = count;
  }

  /** Every demanded type with its share, the most demanded first; equal ones by name. */
  types(nowMs: number): DemandedType[] {
    this.#decay(nowMs);
    const all = [...this.#entries].map(([type, entry]) => ({
      type,
      amount: entry.amount,
      weight: entry.score + refusalWorth * entry.pending,
    }));
    const sum = all.reduce((total, { weight }) => total + weight, 0);
    if (sum <= 0) return [];
    return all
      .filter(({ weight }) => weight > 0)
      .map((each) => ({ ...each, weight: each.weight / sum }))
      .sort((a, b) => b.weight - a.weight || (a.type < b.type ? -1 : 1));
  }

  #entry(type: string, amount: Amount): Entry {
    const known = this.#entries.get(type);
    if (known !== undefined) return known;
    if (this.#entries.size >= this.#typesMax) this.#forgetLeast();
    const made = { amount, score: 0, pending: 0 };
    this.#entries.set(type, made);
    return made;
  }

  #forgetLeast(): void {
    const worth = ({ score, pending }: Entry): number => score + refusalWorth * pending;
    const [least] = [...this.#entries].sort(([, a], [, b]) => worth(a) - worth(b));
    if (least !== undefined) this.#entries.delete(least[0]);
  }

  #decay(nowMs: number): void {
    const elapsedMs = nowMs - this.#atMs;
    // Many notes a second cost one pass now and then; a clock that stands still costs none.
    if (elapsedMs < this.#halfLifeMs / 256) return;
    const factor = 2 ** (-elapsedMs / this.#halfLifeMs);
    for (const entry of this.#entries.values()) entry.score *= factor;
    this.#atMs = nowMs;
  }
}
