/** What the network's operator sees: decisions with their inputs, figures of the simulation, the ledger's health. */
import { z } from 'zod';
import { reasonCodes } from './codes.ts';
import { Currency, DecisionId, MinorUnits, Party, PaymentId, PersonRef, TimeMs } from './primitives.ts';

/** One side of a decision. Positions are not kept: an H3 cell of about 500 m stands for them. */
export const SideEvidence = z.strictObject({
  source: z.enum(['registered', 'carrier', 'gnss', 'wifi', 'fused', 'cell']).nullable(),
  accuracyM: z.number().nullable(),
  ageS: z.number().nullable(),
  standing: z.enum(['trusted', 'suspect']),
  carrier: z.enum(['TRUE', 'FALSE', 'PARTIAL', 'NONE']),
  carrierMatchRate: z.number().nullable(),
  cell: z.string().nullable(),
});
export type SideEvidence = z.infer<typeof SideEvidence>;

export const OperatorDecision = z.strictObject({
  decisionId: DecisionId,
  paymentId: PaymentId.optional(),
  at: TimeMs,
  engine: z.string(),
  payer: PersonRef,
  payee: Party,
  amountMinor: MinorUnits,
  currency: Currency,
  proximity: z.enum(['near', 'far', 'unknown', 'not_asked']),
  /** That the two devices are within the threshold; null where it was not worked out. */
  probability: z.number().nullable(),
  distanceM: z.number().nullable(),
  thresholdM: z.number(),
  payerSide: SideEvidence,
  payeeSide: SideEvidence,
  answer: z.enum(['allow', 'decline', 'step_up']),
  reasons: z.array(z.enum(reasonCodes)),
  /** Everything that the engine was given, as it was stored. */
  inputs: z.looseObject({}),
});
export type OperatorDecision = z.infer<typeof OperatorDecision>;

export const Replay = z.strictObject({
  decisionId: DecisionId,
  /** Whether today's engine, given the stored inputs, answers as it did then. */
  same: z.boolean(),
  answer: z.enum(['allow', 'decline', 'step_up']),
  reasons: z.array(z.enum(reasonCodes)),
  probability: z.number().nullable(),
});
export type Replay = z.infer<typeof Replay>;

export const LedgerHealth = z.strictObject({
  at: TimeMs,
  /** Sum of all postings by currency: zero, or money was made or lost (I10). */
  sums: z.array(z.strictObject({ currency: Currency, sumMinor: MinorUnits, postings: MinorUnits })),
  /** Sub-accounts whose kept balance is not the sum of their postings. Empty. */
  drifted: z.array(z.string()),
  openHolds: z.int(),
  heldMinor: z.array(z.strictObject({ currency: Currency, amountMinor: MinorUnits })),
  /** Proofs of the last days, newest first. */
  proofs: z.array(
    z.strictObject({
      day: z.string(),
      postings: MinorUnits,
      balanced: z.boolean(),
      digest: z.string(),
    }),
  ),
  paymentsLastHour: z.int(),
  declinesLastHour: z.int(),
});
export type LedgerHealth = z.infer<typeof LedgerHealth>;

/** False accepts and false declines of the simulated town by threshold and mix of sources. */
export const SimulationFigures = z.strictObject({
  people: z.int(),
  seed: z.int(),
  rows: z.array(
    z.strictObject({
      mix: z.string(),
      thresholdM: z.number(),
      pairs: z.int(),
      falseAcceptRate: z.number(),
      falseDeclineRate: z.number(),
      unknownRate: z.number(),
    }),
  ),
});
export type SimulationFigures = z.infer<typeof SimulationFigures>;

/** The demo's map: where the simulated people really are. Demo mode only. */
export const DemoMap = z.strictObject({
  people: z.array(
    z.strictObject({ person: PersonRef, latitude: z.number(), longitude: z.number(), accuracyM: z.number() }),
  ),
  establishments: z.array(
    z.strictObject({ name: z.string(), latitude: z.number(), longitude: z.number(), radiusM: z.number() }),
  ),
});
export type DemoMap = z.infer<typeof DemoMap>;
