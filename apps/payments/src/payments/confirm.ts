/**
 * Step-up: the amount is held, and the other device confirms (S9.1). The payee's device shows that the payer stands there, by the code
 * on the payer's screen; or another device of the payer's own does.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Payment } from '../contract/payments.ts';
import { accountIn, capture, release } from '../ledger/ledger.ts';
import { sideOfDevice } from '../location/fixes.ts';
import { type KnownDevice, type SignedMessage, takeOnce } from '../people/devices.ts';
import { personRow } from '../people/people.ts';
import { run } from '../store/pool.ts';
import { askRowFor } from './ask-rows.ts';
import { settleAsk } from './asks.ts';
import { presenceAfterwards, tellBoth, withReason } from './pay.ts';
import { type PaymentRow, paymentRowFor, paymentView } from './payment-rows.ts';

export const codeAttemptsMax = 3;

/** Errors: `state_conflict`, `expired`, `device_not_yours`. A wrong code is answered by the payment as it stands then. */
export async function confirmPayment(
  unit: Unit,
  device: KnownDevice,
  message: SignedMessage,
  paymentId: string,
  code: string,
): Promise<Payment> {
  await takeOnce(unit, message);
  const row = await paymentRowFor(unit, device.personId, paymentId, true);
  checkConfirmable(unit, row, device);
  if (row.confirm_code !== null && !sameCode(row.confirm_code, code)) return wrongCode(unit, device, row);
  await captureHeld(unit, row);
  const done = withReason(row, 'completed', 'confirmed_on_other_device');
  await save(unit, done);
  await settle(unit, done);
  await tellBoth(unit, done);
  return paymentView(unit, device.personId, done);
}

function checkConfirmable(unit: Unit, row: PaymentRow, device: KnownDevice): void {
  if (row.state !== 'awaiting_confirmation')
    throw new PaymentsError('state_conflict', `The payment is ${row.state}: there is nothing to confirm.`);
  if (Number(row.expires_ms) <= unit.nowMs)
    throw new PaymentsError('expired', 'The time to confirm has passed.');
  const isPayer = row.payer_id === device.personId;
  if (isPayer !== (row.confirm_by === 'own_device'))
    throw new PaymentsError('state_conflict', 'The other side confirms this payment.');
  if (row.device_id === device.deviceId)
    throw new PaymentsError('device_not_yours', 'Confirm on another device than the one that pays.');
}

const sameCode = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));

/** Counted, so that a code of six digits cannot be tried out; the count must stay, so this does not throw. */
async function wrongCode(unit: Unit, device: KnownDevice, row: PaymentRow): Promise<Payment> {
  const attempts = row.confirm_attempts + 1;
  if (attempts >= codeAttemptsMax) return end(unit, device.personId, row, 'declined');
  await run(unit.on, 'update payment set confirm_attempts = $2 where payment_id = $1', [
    row.payment_id,
    attempts,
  ]);
  return paymentView(unit, device.personId, { ...row, confirm_attempts: attempts });
}

async function captureHeld(unit: Unit, row: PaymentRow): Promise<void> {
  await capture(unit.on, row.payment_id, {
    transactionId: newId('ltx', unit.nowMs),
    kind: row.kind,
    reference: row.payment_id,
    from: await accountIn(unit.on, row.payer_id, row.currency),
    to: await accountIn(unit.on, row.payee_id, row.currency),
    amountMinor: row.amount_minor,
    atMs: unit.nowMs,
  });
}

async function settle(unit: Unit, row: PaymentRow): Promise<void> {
  if (row.ask_id !== null) {
    const ask = await askRowFor(unit, row.ask_id, row.payee_id);
    if (ask !== undefined) await settleAsk(unit, ask, row.payment_id);
  }
  const payer = await personRow(unit.on, row.payer_id);
  presenceAfterwards(unit, row, payer, await sideOfDevice(unit, row.payer_id, row.device_id ?? ''));
}

/** Either side refuses: the hold is released. */
export async function refusePayment(
  unit: Unit,
  device: KnownDevice,
  message: SignedMessage,
  paymentId: string,
): Promise<Payment> {
  await takeOnce(unit, message);
  const row = await paymentRowFor(unit, device.personId, paymentId, true);
  if (row.state !== 'awaiting_confirmation')
    throw new PaymentsError('state_conflict', `The payment is ${row.state}: there is nothing to refuse.`);
  return end(unit, device.personId, row, 'declined');
}

async function end(
  unit: Unit,
  personId: string,
  row: PaymentRow,
  state: 'declined' | 'expired',
): Promise<Payment> {
  return paymentView(unit, personId, await endHeld(unit, row, state));
}

/** Releases what is held and writes how it ended. The row is locked by the caller. */
export async function endHeld(
  unit: Unit,
  row: PaymentRow,
  state: 'declined' | 'expired',
): Promise<PaymentRow> {
  await release(unit.on, row.payment_id, unit.nowMs);
  const ended = withReason(row, state, state === 'expired' ? 'confirmation_expired' : 'confirmation_refused');
  await save(unit, ended);
  await tellBoth(unit, ended);
  return ended;
}

/** Compare-and-set: the row left its state at most once, whoever comes first. */
async function save(unit: Unit, row: PaymentRow): Promise<void> {
  const rows = await run(
    unit.on,
    `update payment set state = $2, reasons = $3 where payment_id = $1 and state = 'awaiting_confirmation' returning 1`,
    [row.payment_id, row.state, row.reasons],
  );
  if (rows.length === 0)
    throw new PaymentsError('state_conflict', 'The payment was confirmed or ended meanwhile.');
}
