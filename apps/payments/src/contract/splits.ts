/** Splitting a bill: a payment's payer asks contacts who were there for a part each. */
import { z } from 'zod';
import * as limits from './limits.ts';
import {
  Amount,
  Currency,
  MinorUnits,
  PaymentId,
  PersonId,
  PersonRef,
  SplitId,
  TimeMs,
} from './primitives.ts';
import { signed } from './signing.ts';

/** Contacts who were at the same establishment or within the threshold when the payment was made. Nobody else. */
export const SplitOffer = z.strictObject({
  paymentId: PaymentId,
  currency: Currency,
  amountMinor: MinorUnits,
  /** What has not been asked from anybody yet. */
  remainingMinor: MinorUnits,
  /** The most probable first. */
  people: z.array(
    z.strictObject({
      ...PersonRef.shape,
      basis: z.enum(['same_establishment', 'within_threshold', 'often_together']),
    }),
  ),
  closesAt: TimeMs,
});
export type SplitOffer = z.infer<typeof SplitOffer>;

const people = z.array(PersonId).min(1).max(limits.splitPartsMax);
/**
 * How the bill is divided. `equal`: over those named and the payer. `amounts`: each as said, the payer bears the rest.
 * `shares`: by weight; the payer's weight is `own`. Minor units that do not divide go to the payer.
 */
export const Division = z.discriminatedUnion('by', [
  z.strictObject({ by: z.literal('equal'), people }),
  z.strictObject({
    by: z.literal('amounts'),
    parts: z
      .array(z.strictObject({ personId: PersonId, amountMinor: Amount }))
      .min(1)
      .max(limits.splitPartsMax),
  }),
  z.strictObject({
    by: z.literal('shares'),
    own: z.int().min(0).max(1_000),
    parts: z
      .array(z.strictObject({ personId: PersonId, share: z.int().min(1).max(1_000) }))
      .min(1)
      .max(limits.splitPartsMax),
  }),
]);
export type Division = z.infer<typeof Division>;

/** Goes with an `Idempotency-Key` header. */
export const SplitMessage = signed('split', {
  paymentId: PaymentId,
  division: Division,
  expiresInHours: z.int().min(1).max(limits.splitHoursMax).default(24),
});
export type SplitMessage = z.infer<typeof SplitMessage>;

export const PartState = z.enum(['asked', 'approved', 'declined', 'expired', 'cancelled']);
export type PartState = z.infer<typeof PartState>;
export const Split = z.strictObject({
  splitId: SplitId,
  paymentId: PaymentId,
  payer: PersonRef,
  /** Name of who was paid; empty for a person whom the reader may not know. */
  paidTo: z.string(),
  currency: Currency,
  at: TimeMs,
  expiresAt: TimeMs,
  /** The payer sees every part, anybody else sees their own. */
  parts: z.array(
    z.strictObject({
      person: PersonRef,
      amountMinor: MinorUnits,
      state: PartState,
      reimbursementId: PaymentId.optional(),
      mine: z.boolean(),
    }),
  ),
});
export type Split = z.infer<typeof Split>;

/** Goes with an `Idempotency-Key` header: the reimbursement is booked into the payer's account. */
export const ApproveMessage = signed('split.approve', { splitId: SplitId });
export const DeclineMessage = signed('split.decline', { splitId: SplitId });
export const CancelMessage = signed('split.cancel', { splitId: SplitId });
