/** People: who they are, what they have, what they allow. */
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Me, Privacy, Rules } from '../contract/people.ts';
import type { Currency, EstablishmentId, PersonId, PersonRef } from '../contract/primitives.ts';
import { balanceOf, findAccount, openAccount } from '../ledger/ledger.ts';
import { first, type Queryable, run } from '../store/pool.ts';

export const defaultRules: Rules = {
  mode: 'distance',
  thresholdM: 100,
  onFar: 'decline',
  onUnknown: 'step_up',
  allowBelowMinor: '0',
  stepUpBy: 'payee_device',
  carrierRequired: false,
  partner: { required: false, areas: [] },
  perPaymentMaxMinor: '50000',
  perDayMaxMinor: '200000',
};

export interface PersonRow {
  person_id: PersonId;
  handle: PersonRef['handle'];
  name: string;
  role: 'person' | 'merchant';
  currency: Currency;
  location_opt_in: boolean;
  visible_to_contacts: boolean;
  rules: Rules;
}

export interface NewPerson {
  readonly handle: string;
  readonly name: string;
  readonly currency: Currency;
  readonly role?: 'person' | 'merchant';
  readonly isDemo?: boolean;
}

/** Adds a person and opens the account. Error: `handle_taken`. */
export async function addPerson(unit: Unit, person: NewPerson): Promise<PersonId> {
  const personId = newId('per', unit.nowMs);
  const role = person.role ?? 'person';
  const rows = await run(
    unit.on,
    `insert into person (person_id, handle, name, role, currency, rules, is_demo, created_ms)
     values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (handle) do nothing returning person_id`,
    [
      personId,
      person.handle,
      person.name,
      role,
      person.currency,
      JSON.stringify(defaultRules),
      person.isDemo ?? false,
      unit.nowMs,
    ],
  );
  if (rows.length === 0)
    throw new PaymentsError('handle_taken', 'Somebody else has that handle. Choose another.');
  await openAccount(unit.on, unit.nowMs, { ownerId: personId, currency: person.currency, kind: role });
  return personId;
}

export async function personRow(on: Queryable, personId: string): Promise<PersonRow> {
  const row = await first<PersonRow>(on, 'select * from person where person_id = $1', [personId]);
  if (row === undefined) throw new PaymentsError('not_found', 'There is no such person.');
  return row;
}

export const refOf = (row: Pick<PersonRow, 'person_id' | 'handle' | 'name'>): PersonRef => ({
  personId: row.person_id,
  handle: row.handle,
  name: row.name,
});

/** Names of people by id. Only ask for those whom the reader may know of. */
export async function refsOf(on: Queryable, personIds: readonly string[]): Promise<Map<string, PersonRef>> {
  const rows = await run<PersonRow>(
    on,
    'select person_id, handle, name from person where person_id = any($1)',
    [[...new Set(personIds)]],
  );
  return new Map(rows.map((row) => [row.person_id, refOf(row)]));
}

export async function meOf(on: Queryable, personId: string): Promise<Me> {
  const row = await personRow(on, personId);
  const account = await findAccount(on, personId, row.currency);
  const balance =
    account === undefined ? { postedMinor: 0n, heldMinor: 0n } : await balanceOf(on, account.accountId);
  const establishment = await first<{ establishment_id: EstablishmentId }>(
    on,
    'select establishment_id from establishment where owner_id = $1 order by establishment_id limit 1',
    [personId],
  );
  return {
    ...refOf(row),
    role: row.role,
    currency: row.currency,
    availableMinor: (balance.postedMinor - balance.heldMinor).toString(),
    heldMinor: balance.heldMinor.toString(),
    privacy: { locationOptIn: row.location_opt_in, visibleToContacts: row.visible_to_contacts },
    ...(establishment && { establishmentId: establishment.establishment_id }),
  };
}

export async function setPrivacy(unit: Unit, personId: string, privacy: Privacy): Promise<void> {
  await run(
    unit.on,
    'update person set location_opt_in = $2, visible_to_contacts = $3 where person_id = $1',
    [personId, privacy.locationOptIn, privacy.visibleToContacts],
  );
  if (!privacy.locationOptIn) await eraseLocation(unit, personId);
}

/** Erases everything about the person's places at once; the bytes go with the ring. Answers how many rows. */
export async function eraseLocation(unit: Unit, personId: string): Promise<number> {
  let erased = 0;
  for (const statement of [
    'delete from position_fix where person_id = $1 returning 1',
    'delete from carrier_word where person_id = $1 returning 1',
    'delete from coarse_visit where person_id = $1 returning 1',
    'delete from co_location where a_id = $1 or b_id = $1 returning 1',
  ])
    erased += (await run(unit.on, statement, [personId])).length;
  return erased;
}
