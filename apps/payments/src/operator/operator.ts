/** What the operator sees: decisions with their inputs, replays, the ledger's health. */
import { z } from 'zod';
import type { App, Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import type { LedgerHealth, OperatorDecision, Replay } from '../contract/operator.ts';
import type { Currency, DecisionId, EstablishmentId, PaymentId } from '../contract/primitives.ts';
import { Currency as CurrencySchema } from '../contract/primitives.ts';
import { type Decision, type DecisionInputs, decide } from '../decision/decide.ts';
import { healthOf } from '../ledger/proof.ts';
import { partyOf } from '../payments/asks.ts';
import { establishmentsByIds } from '../people/establishments.ts';
import { refsOf } from '../people/people.ts';
import { first, run } from '../store/pool.ts';

const hourMs = 3_600_000;
const proofsShown = 14;

interface DecisionRow {
  decision_id: DecisionId;
  payment_id: PaymentId | null;
  payer_id: string;
  payee_id: string;
  establishment_id: EstablishmentId | null;
  engine: string;
  inputs: DecisionInputs;
  outcome: Decision;
  answer: Decision['answer'];
  amount_minor: bigint;
  currency: Currency;
  at_ms: bigint;
}

export async function decisionsPage(
  unit: Unit,
  page: { readonly before?: string; readonly limit: number; readonly answer?: string },
): Promise<{ decisions: OperatorDecision[]; next?: string }> {
  const rows = await run<DecisionRow>(
    unit.on,
    `select * from decision where decision_id < $1 and ($2::text is null or answer = $2)
     order by decision_id desc limit $3`,
    [page.before ?? `dec_${'z'.repeat(26)}`, page.answer ?? null, page.limit + 1],
  );
  const shown = rows.slice(0, page.limit);
  const refs = await refsOf(
    unit.on,
    shown.flatMap((row) => [row.payer_id, row.payee_id]),
  );
  const places = await establishmentsByIds(
    unit.on,
    shown.flatMap((row) => row.establishment_id ?? []),
  );
  const names = new Map(places.map((place) => [`${place.establishmentId}`, place.name]));
  const last = shown.at(-1);
  return {
    decisions: shown.flatMap((row) => {
      const payer = refs.get(row.payer_id);
      if (payer === undefined) return [];
      const payee = partyOf(
        refs.get(row.payee_id),
        row.establishment_id,
        names.get(row.establishment_id ?? ''),
      );
      return [viewOf(row, payer, payee)];
    }),
    ...(rows.length > page.limit && last !== undefined && { next: last.decision_id }),
  };
}

const viewOf = (
  row: DecisionRow,
  payer: OperatorDecision['payer'],
  payee: OperatorDecision['payee'],
): OperatorDecision => ({
  decisionId: row.decision_id,
  ...(row.payment_id !== null && { paymentId: row.payment_id }),
  at: Number(row.at_ms),
  engine: row.engine,
  payer,
  payee,
  amountMinor: row.amount_minor.toString(),
  currency: row.currency,
  proximity: row.outcome.proximity,
  probability: row.outcome.probability,
  distanceM: row.inputs.distanceM,
  thresholdM: row.inputs.rules.thresholdM,
  payerSide: row.inputs.payer,
  payeeSide: row.inputs.payee,
  answer: row.outcome.answer,
  reasons: [...row.outcome.reasons],
  inputs: { ...row.inputs },
});

/** Gives the stored inputs to today's engine. */
export async function replayDecision(unit: Unit, decisionId: string): Promise<Replay> {
  const row = await first<DecisionRow>(unit.on, 'select * from decision where decision_id = $1', [
    decisionId,
  ]);
  if (row === undefined) throw new PaymentsError('not_found', 'There is no such decision.');
  const now = decide(row.inputs);
  return {
    decisionId: row.decision_id,
    same:
      now.answer === row.outcome.answer &&
      `${now.reasons}` === `${row.outcome.reasons}` &&
      now.probability === row.outcome.probability,
    answer: now.answer,
    reasons: [...now.reasons],
    probability: now.probability,
  };
}

const Currencies = z.array(CurrencySchema);

export async function ledgerHealth(app: App): Promise<LedgerHealth> {
  const { pool } = app;
  const nowMs = app.clock();
  const health = await healthOf(pool);
  const held = await run<{ currency: string; n: bigint; held: string }>(
    pool,
    `select b.currency, count(*) n, sum(h.amount_minor)::text held from ledger_hold h join ledger_balance b using (account_id, sub)
     where not exists (select 1 from ledger_hold_end e where e.hold_id = h.hold_id) group by b.currency order by b.currency`,
  );
  const proofs = await run<{ day: string; postings: bigint; digest: string }>(
    pool,
    `select to_char(day, 'YYYY-MM-DD') as day, postings, encode(digest, 'hex') digest from ledger_day_proof
     order by ledger_day_proof.day desc limit $1`,
    [proofsShown],
  );
  const recent = await first<{ done: bigint; declined: bigint }>(
    pool,
    `select count(*) filter (where state = 'completed') done, count(*) filter (where state = 'declined') declined
     from payment where at_ms > $1`,
    [nowMs - hourMs],
  );
  const [sumCurrencies, heldCurrencies] = [health.sums, held].map((rows) =>
    Currencies.parse(rows.map((row) => row.currency)),
  );
  return {
    at: nowMs,
    sums: health.sums.map((sum, at) => ({
      currency: sumCurrencies?.[at] ?? 'EUR',
      sumMinor: sum.sumMinor.toString(),
      postings: sum.postings.toString(),
    })),
    drifted: [...health.drifted, ...health.unbalanced],
    openHolds: held.reduce((sum, row) => sum + Number(row.n), 0),
    heldMinor: held.map((row, at) => ({ currency: heldCurrencies?.[at] ?? 'EUR', amountMinor: row.held })),
    proofs: proofs.map((proof) => ({
      day: proof.day,
      postings: proof.postings.toString(),
      // A day that does not balance is not proved: see `ledger/proof.ts`.
      balanced: true,
      digest: proof.digest,
    })),
    paymentsLastHour: Number(recent?.done ?? 0),
    declinesLastHour: Number(recent?.declined ?? 0),
  };
}
