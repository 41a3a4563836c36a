/**
 * A split's parts (S9.3):
 *
 *   asked → approved    the reimbursement is booked into the payer's account
 *         → declined    by whoever was asked
 *         → cancelled   by the payer
 *         → expired     nobody said anything in time
 */
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { PaymentId, SplitId } from '../contract/primitives.ts';
import type { PartState, Split, SplitMessage } from '../contract/splits.ts';
import { tell } from '../events/live.ts';
import { accountIn } from '../ledger/ledger.ts';
import { sideOfDevice } from '../location/fixes.ts';
import { decideFor, spentToday, storeDecided } from '../payments/decisions.ts';
import { book, lockPayer, toBoth } from '../payments/pay.ts';
import { type PaymentRow, unconfirmed } from '../payments/payment-rows.ts';
import { type KnownDevice, type SignedMessage, takeOnce } from '../people/devices.ts';
import { establishmentOf } from '../people/establishments.ts';
import { refsOf } from '../people/people.ts';
import { first, run } from '../store/pool.ts';
import { divide } from './divide.ts';
import { lookAgain, offered, remainingOf, splittablePayment } from './offer.ts';

const listMax = 50;

export interface SplitRow {
  split_id: SplitId;
  payment_id: PaymentId;
  payer_id: string;
  at_ms: bigint;
  expires_ms: bigint;
}

interface PartRow {
  split_id: SplitId;
  person_id: string;
  amount_minor: bigint;
  state: 'asked' | 'approved' | 'declined' | 'expired' | 'cancelled';
  reimbursement_id: PaymentId | null;
}

/** Asks for parts. Errors: `not_offered`, `split_exceeds_payment`, `amount_out_of_range`, `state_conflict`, `expired`. */
export async function makeSplit(unit: Unit, device: KnownDevice, message: SplitMessage): Promise<Split> {
  await takeOnce(unit, message);
  const { paymentId, division, expiresInHours } = message.payload;
  // The payment's row is locked: two splits at once could ask for more than the bill.
  const payment = await splittablePayment(unit, device.personId, paymentId, true);
  const parts = divide(payment.amount_minor, division);
  await lookAgain(unit, payment);
  const people = new Set((await offered(unit, payment)).map((person) => `${person.person_id}`));
  if (parts.some((part) => !people.has(part.personId)))
    throw new PaymentsError('not_offered', 'Only contacts who were there can be asked for a part.');
  if (parts.reduce((sum, part) => sum + part.amountMinor, 0n) > (await remainingOf(unit, payment)))
    throw new PaymentsError(
      'split_exceeds_payment',
      'With what was asked before, the parts are more than the bill.',
    );
  await refuseAskedTwice(
    unit,
    paymentId,
    parts.map((part) => part.personId),
  );
  const split: SplitRow = {
    split_id: newId('spl', unit.nowMs),
    payment_id: payment.payment_id,
    payer_id: payment.payer_id,
    at_ms: BigInt(unit.nowMs),
    expires_ms: BigInt(unit.nowMs + expiresInHours * 3_600_000),
  };
  await run(
    unit.on,
    'insert into split (split_id, payment_id, payer_id, at_ms, expires_ms) values ($1, $2, $3, $4, $5)',
    [split.split_id, split.payment_id, split.payer_id, split.at_ms, split.expires_ms],
  ); // prettier-ignore
  await run(
    unit.on,
    `insert into split_part (split_id, person_id, amount_minor, state)
     select $1, p, a, 'asked' from unnest($2::text[], $3::bigint[]) t(p, a)`,
    [split.split_id, parts.map((part) => part.personId), parts.map((part) => part.amountMinor)],
  );
  await tell(unit, [split.payer_id, ...parts.map((part) => part.personId)], {
    type: 'split',
    splitId: split.split_id,
    state: 'asked',
  });
  return splitView(unit, device.personId, split);
}

async function refuseAskedTwice(unit: Unit, paymentId: string, people: readonly string[]): Promise<void> {
  const asked = await run(
    unit.on,
    `select 1 from split_part join split using (split_id)
     where payment_id = $1 and person_id = any($2) and state in ('asked', 'approved') limit 1`,
    [paymentId, people],
  );
  if (asked.length > 0)
    throw new PaymentsError('state_conflict', 'Somebody has been asked for a part of this bill already.');
}

/** Books the reimbursement. Errors: `expired`, `state_conflict`, `insufficient_funds`, `currency_mismatch`. */
export async function approvePart(
  unit: Unit,
  device: KnownDevice,
  message: SignedMessage,
  splitId: string,
): Promise<Split> {
  await takeOnce(unit, message);
  const { split, part } = await openPart(unit, device.personId, splitId);
  const bill = await billOf(unit, split);
  const payer = await lockPayer(unit, device.personId);
  const money = { amountMinor: part.amount_minor.toString(), currency: bill.currency };
  const paymentId = newId('pay', unit.nowMs);
  const made = await decideFor(unit, {
    payerId: device.personId,
    payeeId: split.payer_id,
    establishmentId: null,
    money,
    rules: payer.rules,
    payer: await sideOfDevice(unit, device.personId, device.deviceId),
    payee: { suspect: false },
    coLocatedAtBill: true,
    spentTodayMinor: await spentToday(unit, device.personId, bill.currency),
  });
  const isAllowed = made.decision.answer === 'allow';
  const row: PaymentRow = {
    payment_id: paymentId,
    kind: 'reimbursement',
    payer_id: device.personId,
    payee_id: split.payer_id,
    establishment_id: null,
    currency: bill.currency,
    amount_minor: part.amount_minor,
    note: '',
    state: isAllowed ? 'completed' : 'declined',
    reasons: [...made.decision.reasons],
    decision_id: made.decisionId,
    ask_id: null,
    split_id: split.split_id,
    device_id: device.deviceId,
    ...unconfirmed,
    at_ms: BigInt(unit.nowMs),
  };
  await storeDecided(unit, row, made, toBoth(row));
  if (isAllowed) {
    await book(unit, row, {
      from: await accountIn(unit.on, device.personId, bill.currency),
      to: await accountIn(unit.on, split.payer_id, bill.currency),
    });
    await leave(unit, part, 'approved', paymentId);
    await tellParts(unit, split, device.personId, 'approved');
  }
  return splitView(unit, device.personId, split);
}

export async function declinePart(
  unit: Unit,
  device: KnownDevice,
  message: SignedMessage,
  splitId: string,
): Promise<Split> {
  await takeOnce(unit, message);
  const { split, part } = await openPart(unit, device.personId, splitId);
  await leave(unit, part, 'declined');
  await tellParts(unit, split, device.personId, 'declined');
  return splitView(unit, device.personId, split);
}

/** The payer takes back what nobody has answered yet. */
export async function cancelSplit(
  unit: Unit,
  device: KnownDevice,
  message: SignedMessage,
  splitId: string,
): Promise<Split> {
  await takeOnce(unit, message);
  const split = await splitRow(unit, splitId);
  if (split?.payer_id !== device.personId) throw new PaymentsError('not_found', 'You have no such split.');
  const cancelled = await run<{ person_id: string }>(
    unit.on,
    `update split_part set state = 'cancelled' where split_id = $1 and state = 'asked' returning person_id`,
    [splitId],
  );
  for (const part of cancelled) await tellParts(unit, split, part.person_id, 'cancelled');
  return splitView(unit, device.personId, split);
}

/** The person's part, locked, still to be answered. */
async function openPart(
  unit: Unit,
  personId: string,
  splitId: string,
): Promise<{ split: SplitRow; part: PartRow }> {
  const part = await first<PartRow>(
    unit.on,
    'select * from split_part where split_id = $1 and person_id = $2 for update',
    [splitId, personId],
  );
  const split = part && (await splitRow(unit, splitId));
  if (part === undefined || split === undefined)
    throw new PaymentsError('not_found', 'You have no part in such a split.');
  if (part.state === 'expired' || (part.state === 'asked' && Number(split.expires_ms) <= unit.nowMs))
    throw new PaymentsError('expired', 'The time to answer has passed. Nothing was paid.');
  if (part.state !== 'asked')
    throw new PaymentsError('state_conflict', `Your part is ${part.state} already.`);
  return { split, part };
}

const splitRow = (unit: Unit, splitId: string): Promise<SplitRow | undefined> =>
  first<SplitRow>(unit.on, 'select * from split where split_id = $1', [splitId]);

async function billOf(unit: Unit, split: SplitRow): Promise<PaymentRow> {
  const bill = await first<PaymentRow>(unit.on, 'select * from payment where payment_id = $1', [
    split.payment_id,
  ]);
  if (bill === undefined) throw new Error(`${split.split_id} has no payment`);
  return bill;
}

async function leave(unit: Unit, part: PartRow, state: PartState, reimbursementId?: string): Promise<void> {
  await run(
    unit.on,
    'update split_part set state = $3, reimbursement_id = $4 where split_id = $1 and person_id = $2',
    [part.split_id, part.person_id, state, reimbursementId ?? null],
  );
}

const tellParts = (unit: Unit, split: SplitRow, personId: string, state: PartState): Promise<void> =>
  tell(unit, [split.payer_id, personId], { type: 'split', splitId: split.split_id, state });

export async function oneSplit(unit: Unit, personId: string, splitId: string): Promise<Split> {
  const split = await splitRow(unit, splitId);
  const view = split && (await splitView(unit, personId, split));
  if (view === undefined || (split?.payer_id !== personId && view.parts.length === 0))
    throw new PaymentsError('not_found', 'You have no part in such a split.');
  return view;
}

export async function splitsOf(unit: Unit, personId: string): Promise<Split[]> {
  const rows = await run<SplitRow>(
    unit.on,
    `select * from split s where payer_id = $1
       or exists (select 1 from split_part p where p.split_id = s.split_id and p.person_id = $1)
     order by split_id desc limit $2`,
    [personId, listMax],
  );
  const views: Split[] = [];
  for (const row of rows) views.push(await splitView(unit, personId, row));
  return views;
}

/** The payer sees every part, anybody else sees their own. */
async function splitView(unit: Unit, personId: string, split: SplitRow): Promise<Split> {
  const parts = await run<PartRow>(
    unit.on,
    'select * from split_part where split_id = $1 and (person_id = $2 or $2 = $3) order by person_id',
    [split.split_id, personId, split.payer_id],
  );
  const bill = await billOf(unit, split);
  const refs = await refsOf(unit.on, [split.payer_id, bill.payee_id, ...parts.map((part) => part.person_id)]);
  const payer = refs.get(split.payer_id);
  if (payer === undefined) throw new Error('a split has no payer');
  return {
    splitId: split.split_id,
    paymentId: split.payment_id,
    payer,
    paidTo: await paidTo(unit, personId, bill, refs.get(bill.payee_id)?.name ?? ''),
    currency: bill.currency,
    at: Number(split.at_ms),
    expiresAt: Number(split.expires_ms),
    parts: parts.flatMap((part) => {
      const person = refs.get(part.person_id);
      if (person === undefined) return [];
      const isOver = part.state === 'asked' && Number(split.expires_ms) <= unit.nowMs;
      return {
        person,
        amountMinor: part.amount_minor.toString(),
        state: isOver ? 'expired' : part.state,
        ...(part.reimbursement_id !== null && { reimbursementId: part.reimbursement_id }),
        mine: part.person_id === personId,
      };
    }),
  };
}

/** A person who was paid may be a stranger to those who are asked: their name is told to the payer alone. */
async function paidTo(unit: Unit, readerId: string, bill: PaymentRow, name: string): Promise<string> {
  if (bill.establishment_id !== null) return (await establishmentOf(unit.on, bill.establishment_id)).name;
  return readerId === bill.payer_id ? name : '';
}
