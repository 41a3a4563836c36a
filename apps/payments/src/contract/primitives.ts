/** Ids, money, time and places as they go over the wire. */
import { z } from 'zod';
import * as limits from './limits.ts';

const idOf = <Prefix extends string>(prefix: Prefix) =>
  z.templateLiteral([`${prefix}_`, z.string().regex(/^[0-9a-z]{26}$/)]);

/** Ids: a prefix that names the kind, then 26 characters of a ULID in lower case. */
export const PersonId = idOf('per');
export const DeviceId = idOf('dev');
export const EstablishmentId = idOf('est');
export const PaymentId = idOf('pay');
export const AskId = idOf('ask');
export const SplitId = idOf('spl');
export const DecisionId = idOf('dec');
export const ChallengeId = idOf('chl');
export type PersonId = z.infer<typeof PersonId>;
export type DeviceId = z.infer<typeof DeviceId>;
export type EstablishmentId = z.infer<typeof EstablishmentId>;
export type PaymentId = z.infer<typeof PaymentId>;
export type AskId = z.infer<typeof AskId>;
export type SplitId = z.infer<typeof SplitId>;
export type DecisionId = z.infer<typeof DecisionId>;
export type ChallengeId = z.infer<typeof ChallengeId>;

/** ISO 4217 code → digits after the point. */
export const currencyDigits = { EUR: 2, USD: 2, GBP: 2, CHF: 2, JPY: 0, KWD: 3 } as const;
export const Currency = z.enum(['EUR', 'USD', 'GBP', 'CHF', 'JPY', 'KWD']);
export type Currency = z.infer<typeof Currency>;

/** A whole number of minor units (cents) as decimal text: JSON numbers round beyond 2^53. May be negative or zero. */
export const MinorUnits = z
  .string()
  .regex(/^(0|-?[1-9][0-9]{0,17})$/, 'a whole number of minor units, as text');

/** What can be paid, asked or split: at least one minor unit, at most `amountMinorMax`. */
export const Amount = MinorUnits.refine(
  (text) => /^[0-9]+$/.test(text) && BigInt(text) >= 1n && BigInt(text) <= limits.amountMinorMax,
  `from 1 to ${limits.amountMinorMax} minor units`,
);
/** A limit or allowance: as an amount, and zero is allowed. */
export const Allowance = MinorUnits.refine(
  (text) => /^[0-9]+$/.test(text) && BigInt(text) <= limits.amountMinorMax,
  `from 0 to ${limits.amountMinorMax} minor units`,
);

export const Money = z.strictObject({ amountMinor: Amount, currency: Currency });
export type Money = z.infer<typeof Money>;

/** Milliseconds since 1970, by the clock of whoever says so. */
export const TimeMs = z.int().min(0).max(4_102_444_800_000);

/** WGS 84 degrees. JSON has no NaN; what overflows to infinity is refused by the bounds. */
export const Position = z.strictObject({
  latitude: z.number().min(-90).max(90),
  longitude: z.number().min(-180).max(180),
});
export type Position = z.infer<typeof Position>;

export const Area = z.strictObject({
  center: Position,
  radiusM: z.number().min(1).max(limits.areaRadiusMMax),
});
export type Area = z.infer<typeof Area>;

/** `@` and 3 to 30 of a-z, 0-9, dot and underscore. */
export const Handle = z.string().regex(/^@[a-z0-9][a-z0-9._]{2,29}$/);
/** A name as it is shown: no control characters, no directional overrides that could disguise it. */
export const DisplayName = z
  .string()
  .trim()
  .min(1)
  .max(limits.nameCharsMax)
  .regex(/^[^\p{Cc}\p{Cf}]+$/u);
export const Note = z
  .string()
  .max(limits.noteCharsMax)
  .regex(/^[^\p{Cc}\p{Cf}]*$/u);

export const PersonRef = z.strictObject({ personId: PersonId, handle: Handle, name: DisplayName });
export type PersonRef = z.infer<typeof PersonRef>;
export const EstablishmentRef = z.strictObject({ establishmentId: EstablishmentId, name: DisplayName });
export type EstablishmentRef = z.infer<typeof EstablishmentRef>;

/** The counterpart of a payment: a person or an establishment. */
export const Party = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('person'), ...PersonRef.shape }),
  z.strictObject({ kind: z.literal('establishment'), ...EstablishmentRef.shape }),
]);
export type Party = z.infer<typeof Party>;
