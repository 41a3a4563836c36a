/** Paying, asking, the merchant's counter, and activity. */
import { z } from 'zod';
import { reasonCodes } from './codes.ts';
import * as limits from './limits.ts';
import {
  AskId,
  DecisionId,
  DeviceId,
  EstablishmentId,
  EstablishmentRef,
  Money,
  Note,
  Party,
  PaymentId,
  PersonId,
  PersonRef,
  SplitId,
  TimeMs,
} from './primitives.ts';
import { signed } from './signing.ts';

export const Reason = z.enum(reasonCodes);

/** Whom to pay: a mutual contact, or an ask (what a QR code holds: its id and its token). */
export const Payee = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('contact'), personId: PersonId }),
  z.strictObject({ kind: z.literal('ask'), askId: AskId, token: z.string().max(64) }),
  z.strictObject({ kind: z.literal('establishment'), establishmentId: EstablishmentId }),
]);
export type Payee = z.infer<typeof Payee>;

/** Goes with an `Idempotency-Key` header. A retry sends the very same bytes (keep the signed message in the outbox). */
export const PayMessage = signed('payment', {
  payee: Payee,
  money: Money,
  note: Note.default(''),
});
export type PayMessage = z.infer<typeof PayMessage>;

/**
 * A payment's states:
 *   completed                                        allowed and booked
 *   awaiting_confirmation → completed | declined     stepped up: the amount is held, the other device confirms or refuses
 *                         → expired                  nobody did in time; the hold is released
 *   declined                                         nothing was booked
 */
export const PaymentState = z.enum(['completed', 'awaiting_confirmation', 'declined', 'expired']);
export type PaymentState = z.infer<typeof PaymentState>;

export const Payment = z.strictObject({
  paymentId: PaymentId,
  state: PaymentState,
  direction: z.enum(['out', 'in']),
  counterpart: Party,
  money: Money,
  note: Note,
  at: TimeMs,
  reasons: z.array(Reason),
  /** Shown to the payer alone. */
  decisionId: DecisionId.optional(),
  askId: AskId.optional(),
  /** Of a reimbursement: the split that it is a part of. */
  splitId: SplitId.optional(),
  /** While `awaiting_confirmation`. The code is shown to the payer alone when the payee's device confirms. */
  confirmation: z
    .strictObject({
      by: z.enum(['payee_device', 'own_device']),
      code: z.string().optional(),
      expiresAt: TimeMs,
      /** Whether the person who asks may confirm it. */
      mine: z.boolean(),
      /** Shown to the payer: the device that pays, which is the one that cannot confirm. */
      payingDeviceId: DeviceId.optional(),
    })
    .optional(),
  /** Whether the payer can still split it. */
  splittable: z.boolean(),
});
export type Payment = z.infer<typeof Payment>;

/**
 * A wrong code leaves the payment `awaiting_confirmation` (the answer says so); the third one ends it `declined`. Each try has an
 * `Idempotency-Key` of its own.
 */
export const ConfirmMessage = signed('payment.confirm', {
  paymentId: PaymentId,
  code: z.string().max(12).default(''),
});
export const RefuseMessage = signed('payment.refuse', { paymentId: PaymentId });

/** To one contact, or open to whoever has its token (QR code). */
export const AskMessage = signed('ask', {
  from: PersonId.optional(),
  money: Money,
  note: Note.default(''),
  expiresInMinutes: z.int().min(1).max(limits.askMinutesMax).default(60),
});
export type AskMessage = z.infer<typeof AskMessage>;

export const AskState = z.enum(['open', 'paid', 'declined', 'cancelled', 'expired']);
export const Ask = z.strictObject({
  askId: AskId,
  state: AskState,
  direction: z.enum(['to_me', 'by_me']),
  payee: Party,
  from: PersonRef.optional(),
  money: Money,
  note: Note,
  at: TimeMs,
  expiresAt: TimeMs,
  paymentId: PaymentId.optional(),
  /** Only in the answer to whoever asks: what the QR code of it holds, `pando-pay:1:<askId>:<token>`. */
  qr: z.string().optional(),
});
export type Ask = z.infer<typeof Ask>;

/** `pando-pay:1:<askId>:<token>` → its parts; undefined for any other text. */
export function parseQr(text: string): { askId: AskId; token: string } | undefined {
  const [scheme, version, askId, token, ...rest] = text.split(':');
  const id = AskId.safeParse(askId);
  if (scheme !== 'pando-pay' || version !== '1' || !id.success || !token || rest.length > 0) return undefined;
  return { askId: id.data, token };
}

/** The counter of an establishment: what is asked now and what came in. */
export const Counter = z.strictObject({
  establishment: EstablishmentRef,
  open: z.array(Ask),
  received: z.array(Payment),
});
export type Counter = z.infer<typeof Counter>;
export const CounterAskMessage = signed('counter.ask', {
  establishmentId: EstablishmentId,
  money: Money,
  note: Note.default(''),
  expiresInMinutes: z.int().min(1).max(60).default(10),
});

export const Activity = z.strictObject({
  items: z.array(Payment),
  /** Give it back as `before` for the page that follows; absent on the last. */
  next: z.string().optional(),
});
export type Activity = z.infer<typeof Activity>;
