/** Gathers what a decision is made from, makes it, and stores both (S9.1): it can be replayed, and the places are not in it. */
import type { Unit } from '../app.ts';
import { newId } from '../base/ids.ts';
import type { Rules } from '../contract/people.ts';
import type { DecisionId, Money } from '../contract/primitives.ts';
import { type Decision, type DecisionInputs, decide, engineVersion } from '../decision/decide.ts';
import { areaDistances, distanceBetween, evidenceOf, type Side } from '../decision/evidence.ts';
import { partnerStanding } from '../people/rules.ts';
import { first, run } from '../store/pool.ts';

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
  const row = await first<{ sum: string }>(
    unit.on,
    `select coalesce(sum(amount_minor), 0)::text sum from payment
     where payer_id = $1 and at_ms > $2 and currency = $3 and state in ('completed', 'awaiting_confirmation')`,
    [payerId, unit.nowMs - dayMs, currency],
  );
  return BigInt(row?.sum ?? 0);
}

/** Decides; `store` writes the decision with its inputs, and must be awaited before the transaction ends. */
export async function decideFor(
  unit: Unit,
  question: Question,
  paymentId: string,
): Promise<{ decisionId: DecisionId; decision: Decision; store(): Promise<unknown> }> {
  const inputs = await decisionInputs(unit, question);
  const decision = decide(inputs);
  const decisionId = newId('dec', unit.nowMs);
  const store = (): Promise<unknown> =>
    run(
      unit.on,
      `insert into decision (decision_id, payment_id, payer_id, payee_id, establishment_id, engine, inputs, outcome, answer,
       amount_minor, currency, at_ms)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
      [
        decisionId,
        paymentId,
        question.payerId,
        question.payeeId,
        question.establishmentId,
        engineVersion,
        JSON.stringify(inputs),
        JSON.stringify(decision),
        decision.answer,
        question.money.amountMinor,
        question.money.currency,
        unit.nowMs,
      ], // prettier-ignore
    );
  return { decisionId, decision, store };
}
