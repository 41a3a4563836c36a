/** Whom a payer can ask for a part: contacts who were there, most familiar first. Nobody else exists for this list (S9.3). */
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { splitOfferHoursMax } from '../contract/limits.ts';
import type { SplitOffer } from '../contract/splits.ts';
import { sidesOfPeople } from '../location/fixes.ts';
import { isSplittable, type PaymentRow, paymentRowFor } from '../payments/payment-rows.ts';
import { type PersonRow, personRow, refOf } from '../people/people.ts';
import { first, run } from '../store/pool.ts';
import { type Basis, rememberPresence } from './presence.ts';

/** A phone that was asleep when the bill was paid may report a little later: so long the finding is looked at again. */
const lateReportMs = 5 * 60_000;

/** The payer's own, completed and recent payment; locked where `lock`. */
export async function splittablePayment(
  unit: Unit,
  personId: string,
  paymentId: string,
  lock: boolean,
): Promise<PaymentRow> {
  const row = await paymentRowFor(unit, personId, paymentId, lock);
  if (row.payer_id !== personId) throw new PaymentsError('not_found', 'You have no such payment.');
  if (row.state !== 'completed' || row.kind !== 'payment')
    throw new PaymentsError('state_conflict', 'Only a completed payment can be split.');
  if (!isSplittable(row, unit.nowMs))
    throw new PaymentsError('expired', `A payment can be split for ${splitOfferHoursMax} hours.`);
  return row;
}

export async function splitOffer(unit: Unit, personId: string, paymentId: string): Promise<SplitOffer> {
  const row = await splittablePayment(unit, personId, paymentId, false);
  await lookAgain(unit, row);
  const people = await offered(unit, row);
  return {
    paymentId: row.payment_id,
    currency: row.currency,
    amountMinor: row.amount_minor.toString(),
    remainingMinor: (await remainingOf(unit, row)).toString(),
    people: people.map((person) => ({ ...refOf(person), basis: person.basis })),
    closesAt: Number(row.at_ms) + splitOfferHoursMax * 3_600_000,
  };
}

/** Finds out who was there, while the positions of the payment's moment are kept. */
export async function lookAgain(unit: Unit, row: PaymentRow): Promise<void> {
  if (unit.nowMs - Number(row.at_ms) > lateReportMs) return;
  // As of the payment's moment: whoever comes along afterwards was not there.
  const then: Unit = { ...unit, nowMs: Number(row.at_ms) };
  const side = (await sidesOfPeople(then, [row.payer_id], 'closest')).get(row.payer_id);
  if (side !== undefined) await rememberPresence(then, row, await personRow(unit.on, row.payer_id), side);
}

/** Found to be there, and still a mutual contact who has opted in and lets contacts see it. */
export async function offered(unit: Unit, row: PaymentRow): Promise<(PersonRow & { basis: Basis })[]> {
  return run<PersonRow & { basis: Basis }>(
    unit.on,
    `select p.*, x.basis from co_presence x join person p on p.person_id = x.person_id
     join contact c on c.person_id = $2 and c.other_id = x.person_id and c.state = 'mutual'
     where x.payment_id = $1 and p.location_opt_in and p.visible_to_contacts order by x.score desc, p.person_id`,
    [row.payment_id, row.payer_id],
  );
}

/** What nobody has been asked for yet, or has refused. */
export async function remainingOf(unit: Unit, row: PaymentRow): Promise<bigint> {
  const asked = await first<{ sum: string }>(
    unit.on,
    `select coalesce(sum(amount_minor), 0)::text sum from split_part join split using (split_id)
     where payment_id = $1 and state in ('asked', 'approved')`,
    [row.payment_id],
  );
  return row.amount_minor - BigInt(asked?.sum ?? 0);
}
