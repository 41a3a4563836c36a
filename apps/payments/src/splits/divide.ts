/** How a bill is divided. Pure; parts are whole minor units and never more than the bill together. */
import { assertNever, PaymentsError } from '../base/errors.ts';
import type { Division } from '../contract/splits.ts';

export interface Part {
  readonly personId: string;
  readonly amountMinor: bigint;
}

/** Errors: `split_exceeds_payment`, `amount_out_of_range` (a part below one minor unit), `invalid_request` (named twice). */
export function divide(billMinor: bigint, division: Division): readonly Part[] {
  const parts = partsOf(billMinor, division);
  if (new Set(parts.map((part) => part.personId)).size !== parts.length)
    throw new PaymentsError('invalid_request', 'Somebody is named twice.');
  if (parts.some((part) => part.amountMinor < 1n))
    throw new PaymentsError(
      'amount_out_of_range',
      'A part would be less than the smallest unit. Ask fewer people.',
    );
  if (parts.reduce((sum, part) => sum + part.amountMinor, 0n) > billMinor)
    throw new PaymentsError('split_exceeds_payment', 'The parts together are more than the bill.');
  return parts;
}

function partsOf(billMinor: bigint, division: Division): readonly Part[] {
  switch (division.by) {
    case 'equal': {
      const part = billMinor / BigInt(division.people.length + 1);
      return division.people.map((personId) => ({ personId, amountMinor: part }));
    }
    case 'amounts':
      return division.parts.map(({ personId, amountMinor }) => ({
        personId,
        amountMinor: BigInt(amountMinor),
      }));
    case 'shares': {
      const total = BigInt(division.own + division.parts.reduce((sum, part) => sum + part.share, 0));
      return division.parts.map(({ personId, share }) => ({
        personId,
        amountMinor: (billMinor * BigInt(share)) / total,
      }));
    }
    default:
      return assertNever(division);
  }
}
