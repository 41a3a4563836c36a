/** Asking for money: of a contact, or of whoever scans the code (an establishment's counter, or a person's phone). */
import { randomBytes } from 'node:crypto';
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { openAsksMax } from '../contract/limits.ts';
import type { Ask } from '../contract/payments.ts';
import type { AskId, EstablishmentId, Money, Party, PersonRef } from '../contract/primitives.ts';
import { tell } from '../events/live.ts';
import { accountIn } from '../ledger/ledger.ts';
import { isMutual } from '../people/contacts.ts';
import { establishmentsByIds } from '../people/establishments.ts';
import { refsOf } from '../people/people.ts';
import { run } from '../store/pool.ts';
import { type AskRow, askRowFor } from './ask-rows.ts';

const listMax = 100;

export interface NewAsk {
  readonly money: Money;
  readonly note: string;
  readonly expiresInMinutes: number;
  readonly from?: string;
  readonly establishmentId?: EstablishmentId;
}

/** Errors: `payee_not_available` (no mutual contact), `currency_mismatch`, `limit_reached`. */
export async function makeAsk(unit: Unit, personId: string, ask: NewAsk): Promise<Ask> {
  await accountIn(unit.on, personId, ask.money.currency);
  if (ask.from !== undefined && !(await isMutual(unit.on, personId, ask.from)))
    throw new PaymentsError('payee_not_available', 'You can ask your contacts, or show a code.');
  await run(unit.on, 'select 1 from person where person_id = $1 for update', [personId]);
  const [open] = await run<{ n: bigint }>(
    unit.on,
    `select count(*) n from ask where payee_id = $1 and state = 'open' and expires_ms > $2`,
    [personId, unit.nowMs],
  );
  if ((open?.n ?? 0n) >= BigInt(openAsksMax))
    throw new PaymentsError('limit_reached', `At most ${openAsksMax} asks are open at once. Cancel some.`);
  const askId = newId('ask', unit.nowMs);
  const [row] = await run<AskRow>(
    unit.on,
    `insert into ask (ask_id, payee_id, establishment_id, from_id, currency, amount_minor, note, token, state, at_ms, expires_ms)
     values ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9, $10) returning *`,
    [
      askId,
      personId,
      ask.establishmentId ?? null,
      ask.from ?? null,
      ask.money.currency,
      ask.money.amountMinor,
      ask.note,
      randomBytes(16).toString('base64url'),
      unit.nowMs,
      unit.nowMs + ask.expiresInMinutes * 60_000,
    ],
  );
  if (row === undefined) throw new Error('no ask was made');
  if (ask.from !== undefined) await tell(unit, [ask.from], { type: 'ask', askId, state: 'open' });
  return askView(unit, personId, row);
}

export async function asksOf(unit: Unit, personId: string): Promise<Ask[]> {
  const rows = await run<AskRow>(
    unit.on,
    `(select * from ask where payee_id = $1 order by ask_id desc limit $2)
     union (select * from ask where from_id = $1 order by ask_id desc limit $2) order by ask_id desc limit $2`,
    [personId, listMax],
  );
  return askViews(unit, personId, rows);
}

/** Open asks of an establishment's counter. */
export async function openAsksAt(unit: Unit, ownerId: string, establishmentId: string): Promise<Ask[]> {
  const rows = await run<AskRow>(
    unit.on,
    `select * from ask where establishment_id = $1 and state = 'open' and expires_ms > $2 order by ask_id desc limit $3`,
    [establishmentId, unit.nowMs, listMax],
  );
  return askViews(unit, ownerId, rows);
}

export async function lookAtAsk(unit: Unit, personId: string, askId: string, token?: string): Promise<Ask> {
  const row = await askRowFor(unit, askId, personId, token);
  if (row === undefined) throw noSuchAsk();
  return askView(unit, personId, row);
}

const noSuchAsk = (): PaymentsError =>
  new PaymentsError('not_found', 'There is no such ask, or it is not for you.');

/** By whom it is made out to: declined. By whoever made it: cancelled. Again: the same answer. */
export async function closeAsk(unit: Unit, personId: string, askId: string): Promise<Ask> {
  const row = await askRowFor(unit, askId, personId);
  if (row === undefined) throw noSuchAsk();
  const state = row.payee_id === personId ? 'cancelled' : 'declined';
  if (row.state === state) return askView(unit, personId, row);
  if (row.state !== 'open') throw new PaymentsError('state_conflict', `The ask is ${row.state} already.`);
  await run(unit.on, 'update ask set state = $2 where ask_id = $1', [askId, state]);
  await tell(unit, [row.payee_id, ...(row.from_id === null ? [] : [row.from_id])], {
    type: 'ask',
    askId: row.ask_id,
    state,
  });
  return askView(unit, personId, { ...row, state });
}

/** Marks it paid. The row was locked when the payee was resolved, so that two payments do not both do this. */
export async function settleAsk(unit: Unit, ask: AskRow, paymentId: string): Promise<void> {
  const rows = await run(
    unit.on,
    `update ask set state = 'paid', payment_id = $2 where ask_id = $1 and state = 'open' returning 1`,
    [ask.ask_id, paymentId],
  );
  if (rows.length === 0)
    throw new PaymentsError('state_conflict', 'What was asked has been paid or closed meanwhile.');
  await tell(unit, [ask.payee_id, ...(ask.from_id === null ? [] : [ask.from_id])], {
    type: 'ask',
    askId: ask.ask_id,
    state: 'paid',
  });
}

const askView = async (unit: Unit, personId: string, row: AskRow): Promise<Ask> => {
  const [view] = await askViews(unit, personId, [row]);
  if (view === undefined) throw new Error('an ask has no view');
  return view;
};

async function askViews(unit: Unit, personId: string, rows: readonly AskRow[]): Promise<Ask[]> {
  const refs = await refsOf(
    unit.on,
    rows.flatMap((row) => [row.payee_id, row.from_id ?? row.payee_id]),
  );
  const places = new Map(
    (
      await establishmentsByIds(
        unit.on,
        rows.flatMap((row) => row.establishment_id ?? []),
      )
    ).map((place) => [`${place.establishmentId}`, place]),
  );
  return rows.map((row) => viewOf(unit, personId, row, refs, places.get(row.establishment_id ?? '')?.name));
}

function viewOf(
  unit: Unit,
  personId: string,
  row: AskRow,
  refs: ReadonlyMap<string, PersonRef>,
  placeName: string | undefined,
): Ask {
  const mine = row.payee_id === personId;
  const from = row.from_id === null ? undefined : refs.get(row.from_id);
  const isOpen = row.state === 'open' && Number(row.expires_ms) > unit.nowMs;
  return {
    askId: row.ask_id,
    state: row.state === 'open' && !isOpen ? 'expired' : row.state,
    direction: mine ? 'by_me' : 'to_me',
    payee: partyOf(refs.get(row.payee_id), row.establishment_id, placeName),
    ...(from && { from }),
    money: { amountMinor: row.amount_minor.toString(), currency: row.currency },
    note: row.note,
    at: Number(row.at_ms),
    expiresAt: Number(row.expires_ms),
    ...(row.payment_id !== null && { paymentId: row.payment_id }),
    ...(mine && isOpen && row.from_id === null && { qr: qrOf(row.ask_id, row.token) }),
  };
}

const qrOf = (askId: AskId, token: string): string => `pando-pay:1:${askId}:${token}`;

export function partyOf(
  person: PersonRef | undefined,
  establishmentId: EstablishmentId | null,
  placeName: string | undefined,
): Party {
  if (establishmentId !== null && placeName !== undefined)
    return { kind: 'establishment', establishmentId, name: placeName };
  if (person === undefined) throw new Error('a party has no name');
  return { kind: 'person', ...person };
}
