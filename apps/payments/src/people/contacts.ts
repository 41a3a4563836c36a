/** Contacts: asked for by handle, mutual once both have said so. Asking tells nothing about whether a handle exists. */
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { contactsMax } from '../contract/limits.ts';
import type { Contact } from '../contract/people.ts';
import type { PersonId } from '../contract/primitives.ts';
import { tell } from '../events/live.ts';
import { type Queryable, run } from '../store/pool.ts';
import { type PersonRow, personRow, refOf } from './people.ts';

interface PendingRow {
  handle: `@${string}`;
  asked_ms: bigint;
}

export async function contactsOf(
  on: Queryable,
  personId: string,
): Promise<{ contacts: Contact[]; pending: { handle: string; askedAt: number }[] }> {
  const rows = await run<PersonRow & { state: 'asks' | 'mutual' }>(
    on,
    `select p.person_id, p.handle, p.name, case c.state when 'asked' then 'asks' else 'mutual' end state
     from contact c join person p on p.person_id = c.person_id
     where c.other_id = $1 order by p.name, p.person_id`,
    [personId],
  );
  const pending = await run<PendingRow>(
    on,
    'select handle, asked_ms from contact_pending where person_id = $1 order by asked_ms desc',
    [personId],
  );
  return {
    contacts: rows.map((row) => ({ ...refOf(row), state: row.state })),
    pending: pending.map((row) => ({ handle: row.handle, askedAt: Number(row.asked_ms) })),
  };
}

/** The same statements run and the same answer is given whether or not anybody has the handle. Error: `limit_reached`. */
export async function addContact(unit: Unit, personId: string, handle: string): Promise<void> {
  const me = await personRow(unit.on, personId);
  const [count] = await run<{ n: bigint }>(
    unit.on,
    `select (select count(*) from contact_pending where person_id = $1)
          + (select count(*) from contact where person_id = $1 and state = 'mutual') n`,
    [personId],
  );
  if ((count?.n ?? 0n) >= BigInt(contactsMax))
    throw new PaymentsError(
      'limit_reached',
      `A person has at most ${contactsMax} contacts and open requests.`,
    );
  if (me.handle === handle) throw new PaymentsError('invalid_request', 'That is your own handle.');
  await run(
    unit.on,
    `insert into contact_pending (person_id, handle, asked_ms)
     select $1, $2, $3 where not exists (select 1 from contact c join person p on p.person_id = c.other_id
       where c.person_id = $1 and p.handle = $2 and c.state = 'mutual') on conflict do nothing`,
    [personId, handle, unit.nowMs],
  );
  const asked = await run<{ other_id: string }>(
    unit.on,
    `insert into contact (person_id, other_id, state, asked_ms) select $1, person_id, 'asked', $3 from person where handle = $2
     on conflict do nothing returning other_id`,
    [personId, handle, unit.nowMs],
  );
  await tell(
    unit,
    asked.map((row) => row.other_id),
    { type: 'contact', personId: me.person_id, state: 'asks' },
  );
}

/** Makes both mutual contacts. Error: `not_found` where the other has not asked. */
export async function acceptContact(unit: Unit, personId: PersonId, otherId: PersonId): Promise<Contact> {
  const asked = await run(
    unit.on,
    `update contact set state = 'mutual' where person_id = $1 and other_id = $2 returning 1`,
    [otherId, personId],
  );
  if (asked.length === 0)
    throw new PaymentsError('not_found', 'Nobody of that id has asked to be your contact.');
  await run(
    unit.on,
    `insert into contact (person_id, other_id, state, asked_ms) values ($1, $2, 'mutual', $3)
     on conflict (person_id, other_id) do update set state = 'mutual'`,
    [personId, otherId, unit.nowMs],
  );
  await run(
    unit.on,
    `delete from contact_pending where (person_id, handle) in
       (select $1, handle from person where person_id = $2 union all select $2, handle from person where person_id = $1)`,
    [personId, otherId],
  );
  await tell(unit, [otherId], { type: 'contact', personId, state: 'mutual' });
  return { ...refOf(await personRow(unit.on, otherId)), state: 'mutual' };
}

/** Ends it in both directions, with the memory of being together. */
export async function removeContact(unit: Unit, personId: string, otherId: string): Promise<void> {
  await run(
    unit.on,
    'delete from contact where (person_id = $1 and other_id = $2) or (person_id = $2 and other_id = $1)',
    [personId, otherId],
  );
  await run(unit.on, 'delete from co_location where a_id = least($1, $2) and b_id = greatest($1, $2)', [
    personId,
    otherId,
  ]);
}

export async function isMutual(on: Queryable, personId: string, otherId: string): Promise<boolean> {
  const rows = await run(
    on,
    `select 1 from contact where person_id = $1 and other_id = $2 and state = 'mutual'`,
    [personId, otherId],
  );
  return rows.length === 1;
}
