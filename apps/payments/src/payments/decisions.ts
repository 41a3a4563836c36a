/** Gathers what a decision is made from, makes it, and stores both (S9.1): it can be replayed, and the places are not in it. */
import type { Unit } from '../app.ts';
import { newId } from '../base/ids.ts';
import type { Rules } from '../contract/people.ts';
import type { DecisionId, Money } from '../contract/primitives.ts';
import { type Decision, type DecisionInputs, decide, engineVersion } from '../decision/decide.ts';
import { areaDistances, distanceBetween, evidenceOf, type Side } from '../decision/evidence.ts';
import type { Telling } from '../events/live.ts';
import { partnerStanding } from '../people/rules.ts';
import { first, run } from '../store/pool.ts';
import { insertPaymentText, type PaymentRow, paymentValues } from './payment-rows.ts';

const dayMs = 86_400_000;

export interface Question {
  readonly payerId: string;
  readonly payeeId: string;
  readonly establishmentId: string | null;
  readonly money: Money;
  readonly rules: Rules;
  readonly payer: Side;
  readonly payee: Side;
  readonly coLocatedAtBill: boolean;
  readonly spentTodayMinor: bigint;
}

export async function decisionInputs(unit: Unit, question: Question): Promise<DecisionInputs> {
  const { partner, ...rules } = question.rules;
  return {
    amountMinor: question.money.amountMinor,
    spentTodayMinor: question.spentTodayMinor.toString(),
    rules: { ...rules, partnerRequired: partner.required, areasNamed: partner.areas.length > 0 },
    partner: partner.required ? await partnerStanding(unit, question.payerId, question.payeeId) : 'not_named',
    areas: partner.required ? areaDistances(question.payer, partner.areas) : [],
    distanceM: distanceBetween(question.payer, question.payee),
    payer: evidenceOf(question.payer, unit.nowMs),
    payee: evidenceOf(question.payee, unit.nowMs),
    coLocatedAtBill: question.coLocatedAtBill,
    policy: unit.app.policy,
  };
}

/**
 * What left the account, or is held to leave it, in the last 24 hours. The payer's row must be locked: two payments at once would both
 * see a day's limit that only one may use up.
 */
export async function spentToday(unit: Unit, payerId: string, currency: string): Promise<bigint> {
  const row = await first<{ sum: string }>(unit.on, spentText('$1', '$2', '$3'), [
    payerId,
    spentSinceMs(unit),
    currency,
  ]);
  return BigInt(row?.sum ?? 0);
}

export const spentText = (payer: string, sinceMs: string, currency: string): string =>
  `select coalesce(sum(amount_minor), 0)::text sum from payment
   where payer_id = ${payer} and at_ms > ${sinceMs} and currency = ${currency} and state in ('completed', 'awaiting_confirmation')`;

export const spentSinceMs = (unit: Unit): number => unit.nowMs - dayMs;

/** A decision with its inputs, as it is stored. */
export interface MadeDecision {
  readonly decisionId: DecisionId;
  readonly decision: Decision;
  readonly inputs: DecisionInputs;
}

export async function decideFor(unit: Unit, question: Question): Promise<MadeDecision> {
  const inputs = await decisionInputs(unit, question);
  return { decisionId: newId('dec', unit.nowMs), decision: decide(inputs), inputs };
}

/** Writes a payment with the decision that it was made by, and what people are told of it: one statement, sent before this returns. */
export async function storeDecided(
  unit: Unit,
  row: PaymentRow,
  made: MadeDecision,
  { people, events }: Telling,
): Promise<void> {
  await run(
    unit.on,
    `with paid as (${insertPaymentText}),
     decided as (insert into decision (decision_id, payment_id, payer_id, payee_id, establishment_id, engine, inputs, outcome, answer,
       amount_minor, currency, at_ms) values ($11, $1, $3, $4, $5, $20, $21, $22, $23, $7, $6, $19))
     insert into live_event (person_id, data, at_ms) select p, e::jsonb, $19 from unnest($24::text[]) e, unnest($25::text[]) p`,
    [
      ...paymentValues(row),
      engineVersion,
      JSON.stringify(made.inputs),
      JSON.stringify(made.decision),
      made.decision.answer,
      events.map((event) => JSON.stringify(event)),
      people,
    ],
  );
  for (const person of people) unit.told.add(person);
}
