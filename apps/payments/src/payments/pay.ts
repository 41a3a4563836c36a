/**
 * Paying (S9.1, S9.5). One transaction: the payer's row is locked, the payee resolved, the decision made and stored, the money booked
 * or held, both sides told. It runs under an idempotency key, so it happens once or not at all.
 */
import { randomInt } from 'node:crypto';
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { found } from '../base/settled.ts';
import type { ReasonCode } from '../contract/codes.ts';
import { stepUpSMax } from '../contract/limits.ts';
import type { PayMessage, Payment } from '../contract/payments.ts';
import type { Establishment, Rules } from '../contract/people.ts';
import type { Currency, PaymentId } from '../contract/primitives.ts';
import type { Decision } from '../decision/decide.ts';
import type { Side } from '../decision/evidence.ts';
import { type Telling, tell } from '../events/live.ts';
import {
  type Account,
  checkHoldable,
  hold,
  legsOf,
  post,
  type Transfer,
  transfer,
} from '../ledger/ledger.ts';
import type { Signer } from '../people/devices.ts';
import type { PersonRow } from '../people/people.ts';
import { rememberPresenceAlone } from '../splits/presence.ts';
import { first } from '../store/pool.ts';
import { settleAsk } from './asks.ts';
import { decideFor, storeDecided } from './decisions.ts';
import { type PayeeSide, payeeSide, type ResolvedPayee, resolvePayee } from './payee.ts';
import { type Payer, payerOf } from './payer.ts';
import { type PaymentRow, payerView, unconfirmed } from './payment-rows.ts';

/** Sends the payment's first questions; the answer goes on once the idempotency key is known to be its own. */
export function beginPayment(
  unit: Unit,
  device: Signer,
  message: PayMessage,
): (unit: Unit) => Promise<Payment> {
  const { money, payee } = message.payload;
  // Both are waited for, whatever becomes of one: no question may still be on its way when the transaction ends.
  const known = Promise.allSettled([
    payerOf(unit, device, message, money.currency),
    resolvePayee(unit, device.personId, payee, money),
  ]);
  return async (claimed) => {
    const [payerFound, payeeFound] = await known;
    return pay(claimed, device, message, found(payerFound), found(payeeFound));
  };
}

async function pay(
  unit: Unit,
  device: Signer,
  message: PayMessage,
  payer: Payer,
  payee: ResolvedPayee,
): Promise<Payment> {
  const { money, note } = message.payload;
  const { person } = payer;
  const paymentId = newId('pay', unit.nowMs);
  const other = await payeeSide(unit, payee, money);
  const accounts = accountsOf(payer, other, money.currency);
  const made = await decideFor(unit, {
    payerId: person.person_id,
    payeeId: payee.personId,
    establishmentId: payee.establishmentId,
    money,
    rules: person.rules,
    payer: payer.side,
    payee: other.side,
    coLocatedAtBill: false,
    spentTodayMinor: payer.spentTodayMinor,
  });
  const draft: PaymentRow = {
    payment_id: paymentId,
    kind: 'payment',
    payer_id: person.person_id,
    payee_id: payee.personId,
    establishment_id: payee.establishmentId,
    currency: money.currency,
    amount_minor: BigInt(money.amountMinor),
    note,
    state: 'declined',
    reasons: [...made.decision.reasons],
    decision_id: made.decisionId,
    ask_id: payee.ask?.ask_id ?? null,
    split_id: null,
    device_id: device.deviceId,
    ...unconfirmed,
    at_ms: BigInt(unit.nowMs),
  };
  // The payer's row is locked, so nobody else spends meanwhile; the database refuses an overdraft all the same.
  const row =
    made.decision.answer !== 'decline' && payer.availableMinor < draft.amount_minor
      ? withReason(draft, 'declined', 'insufficient_funds')
      : outcomeOf(unit, draft, made.decision.answer, person.rules.stepUpBy);
  const move = await moveOf(unit, row, accounts);
  if (row.state === 'completed') {
    if (payee.ask !== undefined) await settleAsk(unit, payee.ask, paymentId);
    presenceAfterwards(unit, row, person, payer.side, payee.place);
  }
  // Each of the two sends one statement, here and now: COMMIT goes out behind them. It waits for the disk also where no money moves: a
  // decline that a crash undid would leave its key and nonce free, and the same bytes could pay after all.
  unit.behind(Promise.all([storeDecided(unit, row, made, toBoth(row)), move()]));
  return payerView(unit, row, other.ref, payee.place?.name);
}

interface Accounts {
  readonly from: Account;
  readonly to: Account;
}

function accountsOf({ account: from }: Payer, { account: to }: PayeeSide, currency: Currency): Accounts {
  if (from === undefined || to === undefined)
    throw new PaymentsError(
      'currency_mismatch',
      `One of the two has no account in ${currency}: currencies are not converted.`,
    );
  return { from, to };
}

/** Orders a payer's payments: limits and balances are seen by one at a time. */
export async function lockPayer(unit: Unit, personId: string): Promise<PersonRow> {
  const row = await first<PersonRow>(unit.on, 'select * from person where person_id = $1 for update', [
    personId,
  ]);
  if (row === undefined) throw new PaymentsError('not_found', 'There is no such person.');
  return row;
}

/** Who is there is found out after the answer: the payment does not wait for it, and an offer soon after looks again by itself. */
export function presenceAfterwards(
  unit: Unit,
  row: PaymentRow,
  payer: PersonRow,
  payerSide: Side,
  place?: Establishment,
): void {
  unit.afterwards.push((later) => rememberPresenceAlone(later, row, payer, payerSide, place));
}

/** The payment as the decision's answer makes it. */
function outcomeOf(
  unit: Unit,
  draft: PaymentRow,
  answer: Decision['answer'],
  by: Rules['stepUpBy'],
): PaymentRow {
  if (answer === 'decline') return draft;
  if (answer === 'allow') return { ...draft, state: 'completed' };
  return {
    ...draft,
    state: 'awaiting_confirmation',
    confirm_by: by,
    confirm_code: by === 'payee_device' ? randomInt(0, 1_000_000).toString().padStart(6, '0') : null,
    expires_ms: BigInt(unit.nowMs + stepUpSMax * 1000),
  };
}

/** Makes ready what is done with the money: booked where it is paid, held where it is to be confirmed. */
async function moveOf(unit: Unit, row: PaymentRow, accounts: Accounts): Promise<() => Promise<void>> {
  if (row.state === 'awaiting_confirmation') {
    checkHoldable(accounts.from);
    return () => holdFor(unit, row, accounts.from);
  }
  if (row.state !== 'completed') return async () => {};
  const order = transferOf(unit, row, accounts);
  const legs = await legsOf(unit.on, order);
  return () => post(unit.on, order, legs);
}

export const withReason = (row: PaymentRow, state: PaymentRow['state'], reason: ReasonCode): PaymentRow => ({
  ...row,
  state,
  reasons: [reason, ...row.reasons],
});

export const book = (unit: Unit, row: PaymentRow, accounts: Accounts): Promise<void> =>
  transfer(unit.on, transferOf(unit, row, accounts));

const transferOf = (unit: Unit, row: PaymentRow, { from, to }: Accounts): Transfer => ({
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
export function toBoth(row: PaymentRow): Telling {
  const event = { type: 'payment', paymentId: row.payment_id as PaymentId, state: row.state } as const;
  return {
    people:
      row.state === 'declined' && row.confirm_by === null ? [row.payer_id] : [row.payer_id, row.payee_id],
    events: row.state === 'declined' ? [event] : [event, { type: 'balance' } as const],
  };
}

export async function tellBoth(unit: Unit, row: PaymentRow): Promise<void> {
  const { people, events } = toBoth(row);
  await tell(unit, people, ...events);
}
