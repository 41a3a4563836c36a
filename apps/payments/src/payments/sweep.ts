/** What ends by time: payments that nobody confirmed, asks, parts of splits. Reads treat them as ended from the moment on. */
import type { App } from '../app.ts';
import type { SplitId } from '../contract/primitives.ts';
import { tell } from '../events/live.ts';
import { first, run } from '../store/pool.ts';
import { inUnit } from '../unit.ts';
import type { AskRow } from './ask-rows.ts';
import { endHeld } from './confirm.ts';
import type { PaymentRow } from './payment-rows.ts';

const rowsPerSweepMax = 200;

/** One look, since a sweep comes every second and mostly finds nothing. */
async function isSomethingDue(app: App): Promise<boolean> {
  const row = await first<{ due: boolean }>(
    app.pool,
    `select exists (select 1 from payment where state = 'awaiting_confirmation' and expires_ms <= $1)
       or exists (select 1 from ask where state = 'open' and expires_ms <= $1)
       or exists (select 1 from split_part q join split t using (split_id) where q.state = 'asked' and t.expires_ms <= $1) due`,
    [app.clock()],
  );
  return row?.due === true;
}

/** One sweep; answers how much it ended. Several processes may sweep: locked rows are left to whoever has them. */
export async function sweep(app: App): Promise<number> {
  if (!(await isSomethingDue(app))) return 0;
  const payments = await inUnit(app, async (unit) => {
    const due = await run<PaymentRow>(
      unit.on,
      `select * from payment where state = 'awaiting_confirmation' and expires_ms <= $1
       order by payment_id limit $2 for update skip locked`,
      [unit.nowMs, rowsPerSweepMax],
    );
    for (const row of due) await endHeld(unit, row, 'expired');
    return due.length;
  });
  const asks = await inUnit(app, async (unit) => {
    const due = await run<AskRow>(
      unit.on,
      `update ask set state = 'expired' where ask_id in (select ask_id from ask where state = 'open' and expires_ms <= $1
         limit $2 for update skip locked) returning *`,
      [unit.nowMs, rowsPerSweepMax],
    );
    for (const row of due)
      await tell(unit, [row.payee_id, ...(row.from_id === null ? [] : [row.from_id])], {
        type: 'ask',
        askId: row.ask_id,
        state: 'expired',
      });
    return due.length;
  });
  const parts = await inUnit(app, async (unit) => {
    const due = await run<{ split_id: SplitId; person_id: string; payer_id: string }>(
      unit.on,
      `update split_part p set state = 'expired' from split s
       where s.split_id = p.split_id and (p.split_id, p.person_id) in
         (select q.split_id, q.person_id from split_part q join split t using (split_id)
          where q.state = 'asked' and t.expires_ms <= $1 limit $2 for update of q skip locked)
       returning p.split_id, p.person_id, s.payer_id`,
      [unit.nowMs, rowsPerSweepMax],
    );
    for (const row of due)
      await tell(unit, [row.payer_id, row.person_id], {
        type: 'split',
        splitId: row.split_id,
        state: 'expired',
      });
    return due.length;
  });
  return payments + asks + parts;
}
