/** An account's rules and named partners (S9.2). Both are signed by a device: a stolen session alone cannot loosen them. */
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { partnersMax } from '../contract/limits.ts';
import type { Rules } from '../contract/people.ts';
import type { PersonId, PersonRef } from '../contract/primitives.ts';
import { first, type Queryable, run } from '../store/pool.ts';
import { isMutual } from './contacts.ts';
import { type PersonRow, personRow, refOf } from './people.ts';

export interface PartnerView extends PersonRef {
  readonly namedAt: number;
  readonly effectiveAt: number;
}

export async function setRules(unit: Unit, personId: string, rules: Rules): Promise<Rules> {
  if (rules.partner.required && rules.mode === 'off' && rules.partner.areas.length > 0)
    throw new PaymentsError('invalid_request', 'Allowed areas need the location: set the mode to distance.');
  await run(unit.on, 'update person set rules = $2 where person_id = $1', [personId, JSON.stringify(rules)]);
  return rules;
}

export async function partnersOf(unit: Unit, personId: string): Promise<PartnerView[]> {
  const rows = await run<PersonRow & { named_ms: bigint }>(
    unit.on,
    `select p.person_id, p.handle, p.name, n.named_ms from partner n join person p on p.person_id = n.partner_id
     where n.person_id = $1 order by p.name, p.person_id`,
    [personId],
  );
  return rows.map((row) => ({
    ...refOf(row),
    namedAt: Number(row.named_ms),
    effectiveAt: Number(row.named_ms) + unit.app.partnerRestMs,
  }));
}

/** Names a mutual contact, or a merchant (merchants are public). Anybody else: `payee_not_available`. */
export async function namePartner(unit: Unit, personId: string, partnerId: PersonId): Promise<PartnerView> {
  const merchant = await first(unit.on, `select 1 from person where person_id = $1 and role = 'merchant'`, [
    partnerId,
  ]);
  if (merchant === undefined && !(await isMutual(unit.on, personId, partnerId)))
    throw new PaymentsError('payee_not_available', 'Partners are your contacts, or merchants.');
  if ((await partnersOf(unit, personId)).length >= partnersMax)
    throw new PaymentsError('limit_reached', `An account has at most ${partnersMax} partners.`);
  await run(
    unit.on,
    'insert into partner (person_id, partner_id, named_ms) values ($1, $2, $3) on conflict do nothing',
    [personId, partnerId, unit.nowMs],
  );
  const named = (await partnersOf(unit, personId)).find((partner) => partner.personId === partnerId);
  if (named === undefined) throw new PaymentsError('not_found', 'There is no such person.');
  return named;
}

export async function dropPartner(unit: Unit, personId: string, partnerId: string): Promise<void> {
  await run(unit.on, 'delete from partner where person_id = $1 and partner_id = $2', [personId, partnerId]);
}

/** How the payee stands to the payer's partner rule. */
export async function partnerStanding(
  unit: Unit,
  payerId: string,
  payeeId: string,
): Promise<'named' | 'too_new' | 'not_named'> {
  const row = await first<{ named_ms: bigint }>(
    unit.on,
    'select named_ms from partner where person_id = $1 and partner_id = $2',
    [payerId, payeeId],
  );
  if (row === undefined) return 'not_named';
  return Number(row.named_ms) + unit.app.partnerRestMs <= unit.nowMs ? 'named' : 'too_new';
}

export async function rulesOf(on: Queryable, personId: string): Promise<Rules> {
  return (await personRow(on, personId)).rules;
}
