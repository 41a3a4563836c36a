/** People: sign-up and sign-in by passkey, devices, privacy, contacts, partners, rules, establishments. */
import { z } from 'zod';
import * as limits from './limits.ts';
import {
  Allowance,
  Area,
  ChallengeId,
  Currency,
  DeviceId,
  DisplayName,
  EstablishmentId,
  Handle,
  MinorUnits,
  Money,
  PersonId,
  PersonRef,
  Position,
  TimeMs,
} from './primitives.ts';
import { PublicKeyJwk, signed } from './signing.ts';

export const Privacy = z.strictObject({
  /** Nothing about places is kept or used before the person says so. */
  locationOptIn: z.boolean(),
  /** Contacts may see that the person is near (never where). */
  visibleToContacts: z.boolean(),
});
export type Privacy = z.infer<typeof Privacy>;

export const Me = z.strictObject({
  ...PersonRef.shape,
  role: z.enum(['person', 'merchant']),
  currency: Currency,
  /** What can be spent now: booked less held. */
  availableMinor: MinorUnits,
  heldMinor: MinorUnits,
  privacy: Privacy,
  establishmentId: EstablishmentId.optional(),
});
export type Me = z.infer<typeof Me>;

/** Options and responses of WebAuthn are @simplewebauthn's JSON forms; the server's library checks them in full. */
export const WebAuthnJson = z.looseObject({});
export const SignUpOptionsBody = z.strictObject({ handle: Handle, name: DisplayName, currency: Currency });
export const PasskeyOptions = z.strictObject({ challengeId: ChallengeId, options: WebAuthnJson });
export const PasskeyResponse = z.strictObject({ challengeId: ChallengeId, response: WebAuthnJson });

export const DemoPerson = z.strictObject({ ...PersonRef.shape, role: z.enum(['person', 'merchant']) });
export type DemoPerson = z.infer<typeof DemoPerson>;

export const Device = z.strictObject({
  deviceId: DeviceId,
  name: DisplayName,
  addedAt: TimeMs,
  lastReportAt: TimeMs.optional(),
});
export type Device = z.infer<typeof Device>;
export const NewDevice = z.strictObject({
  name: DisplayName,
  publicKey: PublicKeyJwk,
  /** By which the carrier knows the device (E.164); without it there is no carrier evidence. */
  phoneNumber: z
    .string()
    .regex(/^\+[1-9][0-9]{4,14}$/)
    .optional(),
});

export const Contact = z.strictObject({
  ...PersonRef.shape,
  /** `asks`: they asked us and we have not accepted; only `mutual` contacts pay and split. */
  state: z.enum(['asks', 'mutual']),
});
export type Contact = z.infer<typeof Contact>;
/** What we asked for by a handle: listed as we typed it, so that it does not tell whether that handle exists. */
export const PendingContact = z.strictObject({ handle: Handle, askedAt: TimeMs });

export const Partner = z.strictObject({
  ...PersonRef.shape,
  namedAt: TimeMs,
  /** From when payments to the partner pass the rule. */
  effectiveAt: TimeMs,
});
export const NamePartner = signed('partner.name', { personId: PersonId });
export const DropPartner = signed('partner.drop', { personId: PersonId });

/** What happens when the devices are near, far, or it cannot be told. */
export const Answer = z.enum(['allow', 'decline', 'step_up', 'allow_below']);
export type Answer = z.infer<typeof Answer>;

export const Rules = z.strictObject({
  /** `off`: location is not asked for. `distance`: the two devices must be within the threshold. */
  mode: z.enum(['off', 'distance']),
  thresholdM: z.number().min(limits.thresholdMMin).max(limits.thresholdMMax),
  onFar: Answer,
  onUnknown: Answer,
  /** For `allow_below`: up to this amount it is allowed, above it declined. */
  allowBelowMinor: Allowance,
  /** Who confirms a step-up: the payee's device (with the code that the payer's shows), or another of one's own. */
  stepUpBy: z.enum(['payee_device', 'own_device']),
  /** Without a carrier's TRUE about the payer's device the distance counts as unknown. */
  carrierRequired: z.boolean(),
  partner: z.strictObject({
    /** Decline unless the payee was named beforehand. */
    required: z.boolean(),
    /** And the paying device is in one of these; empty: anywhere. */
    areas: z.array(Area).max(limits.areasMax),
  }),
  perPaymentMaxMinor: Allowance,
  perDayMaxMinor: Allowance,
});
export type Rules = z.infer<typeof Rules>;
export const SetRules = signed('rules.set', { rules: Rules });

export const Establishment = z.strictObject({
  establishmentId: EstablishmentId,
  name: DisplayName,
  position: Position,
  /** The premises reach this far from the position. */
  radiusM: z.number().min(5).max(500),
  owner: PersonRef,
});
export type Establishment = z.infer<typeof Establishment>;
export const NewEstablishment = z.strictObject({
  name: DisplayName,
  position: Position,
  radiusM: z.number().min(5).max(500),
});

export const Statement = z.strictObject({
  /** Part of what each entry's hash covers. */
  accountId: z.string(),
  currency: Currency,
  openingMinor: MinorUnits,
  closingMinor: MinorUnits,
  /** `openingMinor` + all amounts = `closingMinor`, and each entry's balance follows from the one before it. */
  entries: z.array(
    z.strictObject({
      /** Counts from 1 in each sub-account without a gap. */
      sequence: z.int(),
      subAccount: z.int(),
      transactionId: z.string(),
      kind: z.string(),
      at: TimeMs,
      amountMinor: MinorUnits,
      balanceMinor: MinorUnits,
      /** SHA-256 chain of the sub-account, hex: see the ledger's README for what is hashed. */
      hash: z.string(),
    }),
  ),
});
export type Statement = z.infer<typeof Statement>;

export const About = z.strictObject({
  /** `demo`: anybody may sign in as one of the demo people. Never on a network with real money. */
  mode: z.enum(['demo', 'live']),
  currencies: z.array(Currency),
  serverTime: TimeMs,
  retention: z.strictObject({
    /** Exact positions are gone after this. */
    precisePositionMinutes: z.number(),
    /** Coarse cells and co-location counts are gone after these. */
    coarseCellDays: z.number(),
    coLocationDays: z.number(),
  }),
  topUpMax: Money.optional(),
});
export type About = z.infer<typeof About>;
