/** What came in and went out, newest first; and what an establishment's counter shows. */
import type { Unit } from '../app.ts';
import type { Activity, Counter } from '../contract/payments.ts';
import { ownEstablishment } from '../people/establishments.ts';
import { run } from '../store/pool.ts';
import { openAsksAt } from './asks.ts';
import { type PaymentRow, paymentViews } from './payment-rows.ts';

const counterMax = 30;

/** A payee does not see what was declined before it came to them. */
const visible = `(payer_id = $1 or (payee_id = $1 and (state <> 'declined' or confirm_by is not null)))`;

export async function activityOf(
  unit: Unit,
  personId: string,
  before: string | undefined,
  limit: number,
): Promise<Activity> {
  const rows = await run<PaymentRow>(
    unit.on,
    `select * from payment where ${visible} and payment_id < $2 order by payment_id desc limit $3`,
    [personId, before ?? `pay_${'z'.repeat(26)}`, limit + 1],
  );
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return {
    items: await paymentViews(unit, personId, page),
    ...(rows.length > limit && last !== undefined && { next: last.payment_id }),
  };
}

export async function counterOf(unit: Unit, ownerId: string, establishmentId: string): Promise<Counter> {
  const place = await ownEstablishment(unit.on, ownerId, establishmentId);
  const rows = await run<PaymentRow>(
    unit.on,
    `select * from payment where payee_id = $1 and establishment_id = $2 and (state <> 'declined' or confirm_by is not null)
     order by payment_id desc limit $3`,
    [ownerId, establishmentId, counterMax],
  );
  return {
    establishment: { establishmentId: place.establishmentId, name: place.name },
    open: await openAsksAt(unit, ownerId, establishmentId),
    received: await paymentViews(unit, ownerId, rows),
  };
}
