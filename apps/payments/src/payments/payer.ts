/**
 * The payer's side of a payment, in one question: the payer's row is locked, the message's nonce taken, and what the decision needs is
 * read behind the lock, so that the day's limit and the balance are seen by one payment at a time.
 */
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import type { Currency } from '../contract/primitives.ts';
import type { Side } from '../decision/evidence.ts';
import { type Account, type AccountRow, accountOf } from '../ledger/ledger.ts';
import {
  preciseKeptMs,
  type SideRow,
  sideColumns,
  sideJoins,
  sideOf,
  unknownSide,
} from '../location/fixes.ts';
import { checkTime, replayed, type SignedMessage, type Signer } from '../people/devices.ts';
import type { PersonRow } from '../people/people.ts';
import type { SchemaStep } from '../store/migrate.ts';
import { first } from '../store/pool.ts';
import { spentSinceMs, spentText } from './decisions.ts';

/**
 * A function's statements each see what has been committed by then: what is read after the lock was waited for is what the payment
 * before left. One statement with all of it would read as of before the wait.
 */
export const payerSchema: SchemaStep = {
  name: '0008-payment-payer',
  up: `
create function payment_payer(who text, wanted_device text, wanted_nonce text, now_ms bigint, spent_since_ms bigint, fixes_since_ms bigint,
    wanted_currency text) returns json language plpgsql as $$
declare
  payer json;
  is_fresh boolean;
  spent text;
  account json;
  side json;
begin
  select to_json(p) into payer from person p where p.person_id = who for update;
  insert into nonce (device_id, nonce, at_ms) values (wanted_device, wanted_nonce, now_ms) on conflict do nothing;
  is_fresh := found;
  spent := (${spentText('who', 'spent_since_ms', 'wanted_currency')});
  select to_json(r) into account from (select a.account_id, a.owner_id, a.currency, a.kind, a.sub_accounts,
      (select sum(posted_minor - held_minor) from ledger_balance b where b.account_id = a.account_id)::text available
    from ledger_account a where a.owner_id = who and a.currency = wanted_currency) r;
  select to_json(r) into side from (select ${sideColumns('now_ms')} from position_fix f ${sideJoins}
    where f.person_id = who and f.device_id = wanted_device and f.at_ms > fixes_since_ms order by f.at_ms desc limit 1) r;
  return json_build_object('payer', payer, 'isFresh', is_fresh, 'spent', spent, 'account', account, 'side', side);
end $$;
`,
};

export interface Payer {
  readonly person: PersonRow;
  readonly side: Side;
  readonly spentTodayMinor: bigint;
  /** Absent: there is none in the payment's currency. */
  readonly account: Account | undefined;
  readonly availableMinor: bigint;
}

interface Known {
  readonly payer: PersonRow | null;
  readonly isFresh: boolean;
  readonly spent: string;
  readonly account: (AccountRow & { readonly available: string }) | null;
  readonly side: SideRow | null;
}

/** Errors: `message_from_future`, `message_too_old`, `message_replayed`. */
export async function payerOf(
  unit: Unit,
  device: Signer,
  message: SignedMessage,
  currency: Currency,
): Promise<Payer> {
  checkTime(message.payload.at, unit.nowMs);
  const row = await first<{ known: Known }>(
    unit.on,
    'select payment_payer($1, $2, $3, $4, $5, $6, $7) known',
    [
      device.personId,
      device.deviceId,
      message.payload.nonce,
      unit.nowMs,
      spentSinceMs(unit),
      unit.nowMs - preciseKeptMs,
      currency,
    ],
  );
  const { payer = null, isFresh, spent, account, side } = row?.known ?? {};
  if (payer === null) throw new PaymentsError('not_found', 'There is no such person.');
  if (isFresh !== true) throw replayed();
  return {
    person: payer,
    side: side ? sideOf(side) : unknownSide,
    spentTodayMinor: BigInt(spent ?? 0),
    account: account ? accountOf(account) : undefined,
    availableMinor: BigInt(account?.available ?? 0),
  };
}
