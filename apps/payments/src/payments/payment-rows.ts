/** Payments as they are stored, and as each of the two sides sees them. */
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import type { ReasonCode } from '../contract/codes.ts';
import { splitOfferHoursMax } from '../contract/limits.ts';
import type { Payment, PaymentState } from '../contract/payments.ts';
import type {
  AskId,
  Currency,
  DecisionId,
  DeviceId,
  EstablishmentId,
  PaymentId,
  PersonRef,
  SplitId,
} from '../contract/primitives.ts';
import { establishmentsByIds } from '../people/establishments.ts';
import { refsOf } from '../people/people.ts';
import { first } from '../store/pool.ts';
import { partyOf } from './asks.ts';

export interface PaymentRow {
  payment_id: PaymentId;
  kind: 'payment' | 'reimbursement' | 'top_up';
  payer_id: string;
  payee_id: string;
  establishment_id: EstablishmentId | null;
  currency: Currency;
  amount_minor: bigint;
  note: string;
  state: PaymentState;
  reasons: ReasonCode[];
  decision_id: DecisionId | null;
  ask_id: AskId | null;
  split_id: SplitId | null;
  device_id: DeviceId | null;
  confirm_by: 'payee_device' | 'own_device' | null;
  confirm_code: string | null;
  confirm_attempts: number;
  expires_ms: bigint | null;
  at_ms: bigint;
}

/** Of a payment that waits for nobody's confirmation. */
export const unconfirmed = {
  confirm_by: null,
  confirm_code: null,
  confirm_attempts: 0,
  expires_ms: null,
} as const;

/** With {@link paymentValues}, which are its parameters in order. */
export const insertPaymentText = `insert into payment (payment_id, kind, payer_id, payee_id, establishment_id, currency, amount_minor,
  note, state, reasons, decision_id, ask_id, split_id, device_id, confirm_by, confirm_code, confirm_attempts, expires_ms, at_ms)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`;

export const paymentValues = (row: PaymentRow): unknown[] => [
  row.payment_id,
  row.kind,
  row.payer_id,
  row.payee_id,
  row.establishment_id,
  row.currency,
  row.amount_minor,
  row.note,
  row.state,
  row.reasons,
  row.decision_id,
  row.ask_id,
  row.split_id,
  row.device_id,
  row.confirm_by,
  row.confirm_code,
  row.confirm_attempts,
  row.expires_ms,
  row.at_ms,
];

/** The payment, for its payer; and for its payee unless it was declined before it came to them. */
export async function paymentRowFor(
  unit: Unit,
  personId: string,
  paymentId: string,
  lock = false,
): Promise<PaymentRow> {
  const row = await first<PaymentRow>(
    unit.on,
    `select * from payment where payment_id = $1
       and (payer_id = $2 or (payee_id = $2 and (state <> 'declined' or confirm_by is not null)))${lock ? ' for update' : ''}`,
    [paymentId, personId],
  );
  if (row === undefined) throw new PaymentsError('not_found', 'You have no such payment.');
  return row;
}

export async function paymentView(unit: Unit, personId: string, row: PaymentRow): Promise<Payment> {
  const [view] = await paymentViews(unit, personId, [row]);
  if (view === undefined) throw new Error('a payment has no view');
  return view;
}

export async function paymentViews(
  unit: Unit,
  personId: string,
  rows: readonly PaymentRow[],
): Promise<Payment[]> {
  const named = rows.flatMap((row) =>
    row.payer_id !== personId ? row.payer_id : row.establishment_id === null ? row.payee_id : [],
  );
  const refs = named.length === 0 ? new Map<string, PersonRef>() : await refsOf(unit.on, named);
  const ids = rows.flatMap((row) => row.establishment_id ?? []);
  const places = ids.length === 0 ? [] : await establishmentsByIds(unit.on, ids);
  const names = new Map(places.map((place) => [`${place.establishmentId}`, place.name]));
  return rows.map((row) => viewOf(unit, personId, row, refs, names));
}

/** The payer's own view, where the payee is known already. */
export const payerView = (
  unit: Unit,
  row: PaymentRow,
  payee: PersonRef | undefined,
  placeName: string | undefined,
): Payment =>
  viewOf(
    unit,
    row.payer_id,
    row,
    new Map(payee && [[row.payee_id, payee]]),
    new Map(
      row.establishment_id !== null && placeName !== undefined ? [[row.establishment_id, placeName]] : [],
    ),
  );

/** Money that enters the network comes from nobody in particular. */
const world: PersonRef = { personId: 'per_00000000000000000000000000', handle: '@pando', name: 'Pando' };

function viewOf(
  unit: Unit,
  personId: string,
  row: PaymentRow,
  refs: ReadonlyMap<string, PersonRef>,
  places: ReadonlyMap<string, string>,
): Payment {
  const isOut = row.payer_id === personId;
  const counterpart = isOut
    ? partyOf(refs.get(row.payee_id), row.establishment_id, places.get(row.establishment_id ?? ''))
    : partyOf(refs.get(row.payer_id) ?? world, null, undefined);
  return {
    paymentId: row.payment_id,
    state: row.state,
    direction: isOut ? 'out' : 'in',
    counterpart,
    money: { amountMinor: row.amount_minor.toString(), currency: row.currency },
    note: row.note,
    at: Number(row.at_ms),
    // Why the payer's account declined is the payer's alone: it may tell where the payer was.
    reasons: isOut ? row.reasons : [],
    ...(isOut && row.decision_id !== null && { decisionId: row.decision_id }),
    ...(row.ask_id !== null && { askId: row.ask_id }),
    ...(row.split_id !== null && { splitId: row.split_id }),
    ...confirmationOf(row, isOut),
    splittable: isOut && isSplittable(row, unit.nowMs),
  };
}

export const isSplittable = (row: PaymentRow, nowMs: number): boolean =>
  row.kind === 'payment' &&
  row.state === 'completed' &&
  nowMs < Number(row.at_ms) + splitOfferHoursMax * 3_600_000;

function confirmationOf(row: PaymentRow, isOut: boolean): Pick<Payment, 'confirmation'> {
  if (row.state !== 'awaiting_confirmation' || row.confirm_by === null) return {};
  return {
    confirmation: {
      by: row.confirm_by,
      ...(isOut && row.confirm_code !== null && { code: row.confirm_code }),
      expiresAt: Number(row.expires_ms),
      mine: isOut === (row.confirm_by === 'own_device'),
      // Which of the payer's devices cannot confirm: the payer's to know.
      ...(isOut && row.device_id !== null && { payingDeviceId: row.device_id }),
    },
  };
}
