/**
 * Whom a payment goes to. A person can be paid by mutual contacts, or by whoever holds an ask of theirs; an establishment by anybody.
 * Everybody else gets one and the same answer before any position is looked at: whether a stranger exists, has opted in or is near
 * cannot be told by it (S9.3).
 */
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import type { Payee } from '../contract/payments.ts';
import type { Establishment } from '../contract/people.ts';
import type { EstablishmentId, Money, PersonRef } from '../contract/primitives.ts';
import type { Side } from '../decision/evidence.ts';
import { type Account, findAccount } from '../ledger/ledger.ts';
import { sideOfPerson, sideOfPlace } from '../location/fixes.ts';
import { isMutual } from '../people/contacts.ts';
import { establishmentOf, establishmentWithAccount } from '../people/establishments.ts';
import { refsOf } from '../people/people.ts';
import { type AskRow, askRowFor } from './ask-rows.ts';

export interface ResolvedPayee {
  /** Whose account receives. */
  readonly personId: string;
  readonly establishmentId: EstablishmentId | null;
  readonly ask: AskRow | undefined;
  /** The establishment, where one is paid. */
  readonly place: Establishment | undefined;
  /** Where it came with the establishment. */
  readonly account?: Account | undefined;
}

const notAvailable = (): PaymentsError =>
  new PaymentsError(
    'payee_not_available',
    'You can pay your contacts, establishments, and whoever shows you a code.',
  );

export async function resolvePayee(
  unit: Unit,
  payerId: string,
  payee: Payee,
  money: Money,
): Promise<ResolvedPayee> {
  const resolved = await lookUp(unit, payerId, payee, money);
  if (resolved.personId === payerId) throw new PaymentsError('invalid_request', 'You cannot pay yourself.');
  return resolved;
}

async function lookUp(unit: Unit, payerId: string, payee: Payee, money: Money): Promise<ResolvedPayee> {
  switch (payee.kind) {
    case 'contact':
      if (!(await isMutual(unit.on, payerId, payee.personId))) throw notAvailable();
      return { personId: payee.personId, establishmentId: null, ask: undefined, place: undefined };
    case 'establishment': {
      const { establishmentId: id } = payee;
      const { place, account } = await establishmentWithAccount(unit.on, id, money.currency);
      return { personId: place.owner.personId, establishmentId: id, ask: undefined, place, account };
    }
    case 'ask': {
      const ask = await askRowFor(unit, payee.askId, payerId, payee.token);
      if (ask === undefined) throw notAvailable();
      checkAsk(unit, ask, money);
      const { establishment_id: id } = ask;
      const place = id === null ? undefined : await establishmentOf(unit.on, id);
      return { personId: ask.payee_id, establishmentId: id, ask, place };
    }
  }
}

function checkAsk(unit: Unit, ask: AskRow, money: Money): void {
  if (ask.state !== 'open')
    throw new PaymentsError('state_conflict', `What was asked is ${ask.state} already.`);
  if (Number(ask.expires_ms) <= unit.nowMs)
    throw new PaymentsError('expired', 'What was asked has expired. Ask again.');
  if (ask.currency !== money.currency || ask.amount_minor.toString() !== money.amountMinor)
    throw new PaymentsError('state_conflict', 'The amount is not the one that was asked.');
}

/** What else a payment needs to know of its payee. */
export interface PayeeSide {
  /** The establishment's place, or the person's device. */
  readonly side: Side;
  /** Absent: there is none in the payment's currency. */
  readonly account: Account | undefined;
  /** The person's name, where no establishment is paid. */
  readonly ref: PersonRef | undefined;
}

export async function payeeSide(unit: Unit, payee: ResolvedPayee, money: Money): Promise<PayeeSide> {
  const { personId, place } = payee;
  const [side, account, refs] = await Promise.all([
    place === undefined ? sideOfPerson(unit, personId) : sideOfPlace(place, unit.nowMs),
    'account' in payee ? payee.account : findAccount(unit.on, personId, money.currency),
    place === undefined ? refsOf(unit.on, [personId]) : undefined,
  ]);
  return { side, account, ref: refs?.get(personId) };
}
