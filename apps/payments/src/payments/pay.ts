/**
 * Paying (S9.1, S9.5). One transaction: the payer's row is locked, the payee resolved, the decision made and stored, the money booked
 * or held, both sides told. It runs under an idempotency key, so it happens once or not at all.
 */
import { randomInt } from 'node:crypto';
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { ReasonCode } from '../contract/codes.ts';
import { stepUpSMax } from '../contract/limits.ts';
import type { PayMessage, Payment } from '../contract/payments.ts';
import type { PaymentId } from '../contract/primitives.ts';
import type { Side } from '../decision/evidence.ts';
import { tell } from '../events/live.ts';
import { type Account, accountsFor, hold, transfer } from '../ledger/ledger.ts';
import { sideOfDevice } from '../location/fixes.ts';
import { type KnownDevice, takeOnce } from '../people/devices.ts';
import type { PersonRow } from '../people/people.ts';
import { rememberPresence } from '../splits/presence.ts';
import { first } from '../store/pool.ts';
import { settleAsk } from './asks.ts';
import { decideFor, spentToday } from './decisions.ts';
import { payeeSide, type ResolvedPayee, resolvePayee } from './payee.ts';
import { insertPayment, type PaymentRow, paymentView, unconfirmed } from './payment-rows.ts';

export async function pay(unit: Unit, device: KnownDevice, message: PayMessage): Promise<Payment> {
  const { money, note } = message.payload;
  const [payer] = await Promise.all([lockPayer(unit, device.personId), takeOnce(unit, message)]);
  const payee = await resolvePayee(unit, payer.person_id, message.payload.payee, money);
  const paymentId = newId('pay', unit.nowMs);
  const [accounts, payerSide, otherSide, spentTodayMinor] = await Promise.all([
    accountsFor(unit.on, payer.person_id, payee.personId, money.currency),
    sideOfDevice(unit, payer.person_id, device.deviceId),
    payeeSide(unit, payee),
    spentToday(unit, payer.person_id, money.currency),
  ]);
  const { decisionId, decision, store } = await decideFor(
    unit,
    {
      payerId: payer.person_id,
      payeeId: payee.personId,
      establishmentId: payee.establishmentId,
      money,
      rules: payer.rules,
      payer: payerSide,
      payee: otherSide,
      coLocatedAtBill: false,
      spentTodayMinor,
    },
    paymentId,
  );
  const draft: PaymentRow = {
    payment_id: paymentId,
    kind: 'payment',
    payer_id: payer.person_id,
    payee_id: payee.personId,
    establishment_id: payee.establishmentId,
    currency: money.currency,
    amount_minor: BigInt(money.amountMinor),
    note,
    state: 'declined',
    reasons: [...decision.reasons],
    decision_id: decisionId,
    ask_id: payee.ask?.ask_id ?? null,
    split_id: null,
    device_id: device.deviceId,
    ...unconfirmed,
    at_ms: BigInt(unit.nowMs),
  };
  const row = await carryOut(unit, draft, decision.answer, payer, payee, accounts);
  if (row.state === 'completed') presenceAfterwards(unit, row, payer, payerSide);
  const [view] = await Promise.all([
    paymentView(unit, payer.person_id, row),
    insertPayment(unit, row),
    tellBoth(unit, row),
    store(),
  ]);
  return view;
}

/** Orders a payer's payments: limits and balances are seen by one at a time. */
export async function lockPayer(unit: Unit, personId: string): Promise<PersonRow> {
  const row = await first<PersonRow>(unit.on, 'select * from person where person_id = $1 for update', [
    personId,
  ]);
  if (row === undefined) throw new PaymentsError('not_found', 'There is no such person.');
  return row;
}

type Accounts = Awaited<ReturnType<typeof accountsFor>>;

/** Who is there is found out after the answer: the payment does not wait for it, and an offer soon after looks again by itself. */
export function presenceAfterwards(unit: Unit, row: PaymentRow, payer: PersonRow, payerSide: Side): void {
  unit.afterwards.push((later) => rememberPresence(later, row, payer, payerSide));
}

/** What the decision asks for, or a decline where the money is not there. */
async function carryOut(
  unit: Unit,
  draft: PaymentRow,
  answer: 'allow' | 'decline' | 'step_up',
  payer: PersonRow,
  payee: ResolvedPayee,
  accounts: Accounts,
): Promise<PaymentRow> {
  if (answer === 'decline') return draft;
  // The payer's row is locked, so nobody else spends meanwhile; the database refuses an overdraft all the same.
  if (accounts.availableMinor < draft.amount_minor)
    return withReason(draft, 'declined', 'insufficient_funds');
  await (answer === 'allow' ? book(unit, draft, accounts) : holdFor(unit, draft, accounts.from));
  if (answer === 'allow') {
    if (payee.ask !== undefined) await settleAsk(unit, payee.ask, draft.payment_id);
    return { ...draft, state: 'completed' };
  }
  const by = payer.rules.stepUpBy;
  return {
    ...draft,
    state: 'awaiting_confirmation',
    confirm_by: by,
    confirm_code: by === 'payee_device' ? randomInt(0, 1_000_000).toString().padStart(6, '0') : null,
    expires_ms: BigInt(unit.nowMs + stepUpSMax * 1000),
  };
}

export const withReason = (row: PaymentRow, state: PaymentRow['state'], reason: ReasonCode): PaymentRow => ({
  ...row,
  state,
  reasons: [reason, ...row.reasons],
});

export const book = (
  unit: Unit,
  row: PaymentRow,
  { from, to }: Pick<Accounts, 'from' | 'to'>,
): Promise<void> =>
  transfer(unit.on, {
    transactionId: newId('ltx', unit.nowMs),
    kind: row.kind,
    reference: row.payment_id,
    from,
    to,
    amountMinor: row.amount_minor,
    atMs: unit.nowMs,
  });

const holdFor = (unit: Unit, row: PaymentRow, account: Account): Promise<void> =>
  hold(unit.on, { holdId: row.payment_id, account, amountMinor: row.amount_minor, atMs: unit.nowMs });

/** The payee hears of what is booked or to be confirmed; a decline is the payer's alone. */
export async function tellBoth(unit: Unit, row: PaymentRow): Promise<void> {
  const event = { type: 'payment', paymentId: row.payment_id as PaymentId, state: row.state } as const;
  const concerned =
    row.state === 'declined' && row.confirm_by === null ? [row.payer_id] : [row.payer_id, row.payee_id];
  const events = row.state === 'declined' ? [event] : [event, { type: 'balance' } as const];
  await tell(unit, concerned, ...events);
}
