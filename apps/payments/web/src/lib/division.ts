/** How a bill will be divided, as the server does it, so that everybody's part is seen before it is asked for. */
import type { Currency, Division } from './contract.ts';
import { parseAmount } from './money.ts';

export type DivideBy = Division['by'];

export interface DivisionDraft {
  readonly by: DivideBy;
  readonly people: readonly string[];
  /** Person → what was typed: an amount or a number of shares. */
  readonly typed: Readonly<Record<string, string>>;
  /** The payer's own shares, as typed. */
  readonly own: string;
}

const shareMax = 1_000;
const wholeIn = (text: string, min: number): number | undefined => {
  const value = /^\d{1,4}$/.test(text.trim()) ? Number(text) : Number.NaN;
  return value >= min && value <= shareMax ? value : undefined;
};

/** The division as it is signed; undefined while a field has no usable value. */
export function divisionOf(draft: DivisionDraft, currency: Currency): Division | undefined {
  const people = draft.people.map((id) => id as `per_${string}`);
  if (people.length === 0) return undefined;
  if (draft.by === 'equal') return { by: 'equal', people };
  if (draft.by === 'amounts') {
    const parts = people.map((personId) => ({
      personId,
      amountMinor: parseAmount(draft.typed[personId] ?? '', currency),
    }));
    const known = parts.flatMap(({ personId, amountMinor }) =>
      amountMinor === undefined ? [] : [{ personId, amountMinor }],
    );
    return known.length < parts.length ? undefined : { by: 'amounts', parts: known };
  }
  const own = wholeIn(draft.own, 0);
  const shares = people.flatMap((personId) => {
    const share = wholeIn(draft.typed[personId] ?? '1', 1);
    return share === undefined ? [] : [{ personId, share }];
  });
  return own === undefined || shares.length < people.length
    ? undefined
    : { by: 'shares', own, parts: shares };
}

/** Person → minor units. What does not divide stays with the payer. */
export function partsOf(division: Division, totalMinor: bigint): Map<string, bigint> {
  switch (division.by) {
    case 'equal': {
      const each = totalMinor / BigInt(division.people.length + 1);
      return new Map(division.people.map((personId) => [personId, each]));
    }
    case 'amounts':
      return new Map(division.parts.map((part) => [part.personId, BigInt(part.amountMinor)]));
    case 'shares': {
      const all = BigInt(division.own + division.parts.reduce((sum, part) => sum + part.share, 0));
      return new Map(division.parts.map((part) => [part.personId, (totalMinor * BigInt(part.share)) / all]));
    }
  }
}
