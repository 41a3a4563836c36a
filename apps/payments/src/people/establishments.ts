/** Establishments: public places of merchants. */
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Establishment } from '../contract/people.ts';
import type { Currency, EstablishmentId, Position } from '../contract/primitives.ts';
import { type Account, type AccountRow, accountOf } from '../ledger/ledger.ts';
import type { NearbyIndex } from '../location/nearby-index.ts';
import { first, type Queryable, run } from '../store/pool.ts';
import { type PersonRow, refOf } from './people.ts';

export const establishmentsPerOwnerMax = 20;

interface EstablishmentRow extends PersonRow {
  establishment_id: EstablishmentId;
  place: string;
  latitude: number;
  longitude: number;
  radius_m: number;
}

const selected =
  'select e.establishment_id, e.name place, e.latitude, e.longitude, e.radius_m, p.person_id, p.handle, p.name';
const joined = 'from establishment e join person p on p.person_id = e.owner_id';
const select = `${selected} ${joined}`;

const viewOf = (row: EstablishmentRow): Establishment => ({
  establishmentId: row.establishment_id,
  name: row.place,
  position: { latitude: row.latitude, longitude: row.longitude },
  radiusM: row.radius_m,
  owner: refOf(row),
});

export async function establishmentOf(on: Queryable, establishmentId: string): Promise<Establishment> {
  const row = await first<EstablishmentRow>(on, `${select} where e.establishment_id = $1`, [establishmentId]);
  if (row === undefined) throw noSuchEstablishment();
  return viewOf(row);
}

/** As {@link establishmentOf}, with the account of its owner in a currency, in one look. */
export async function establishmentWithAccount(
  on: Queryable,
  establishmentId: string,
  currency: Currency,
): Promise<{ readonly place: Establishment; readonly account: Account | undefined }> {
  const row = await first<EstablishmentRow & (AccountRow | { account_id: null })>(
    on,
    `${selected}, a.account_id, a.owner_id, a.currency, a.kind, a.sub_accounts ${joined}
     left join ledger_account a on a.owner_id = e.owner_id and a.currency = $2 where e.establishment_id = $1`,
    [establishmentId, currency],
  );
  if (row === undefined) throw noSuchEstablishment();
  return { place: viewOf(row), account: row.account_id === null ? undefined : accountOf(row) };
}

const noSuchEstablishment = (): PaymentsError =>
  new PaymentsError('not_found', 'There is no such establishment.');

/** As {@link establishmentOf}, for its owner alone. */
export async function ownEstablishment(
  on: Queryable,
  ownerId: string,
  establishmentId: string,
): Promise<Establishment> {
  const establishment = await establishmentOf(on, establishmentId);
  if (establishment.owner.personId !== ownerId)
    throw new PaymentsError('not_found', 'You have no such establishment.');
  return establishment;
}

export async function establishmentsByIds(on: Queryable, ids: readonly string[]): Promise<Establishment[]> {
  const rows = await run<EstablishmentRow>(on, `${select} where e.establishment_id = any($1)`, [ids]);
  return rows.map(viewOf);
}

/** Errors: `state_conflict` for whoever is no merchant, `limit_reached`. */
export async function addEstablishment(
  unit: Unit,
  ownerId: string,
  place: { readonly name: string; readonly position: Position; readonly radiusM: number },
): Promise<Establishment> {
  const owner = await first<PersonRow>(unit.on, 'select * from person where person_id = $1 for update', [
    ownerId,
  ]);
  if (owner?.role !== 'merchant')
    throw new PaymentsError(
      'state_conflict',
      'Establishments belong to merchants. Ask the operator to make you one.',
    );
  const [count] = await run<{ n: bigint }>(
    unit.on,
    'select count(*) n from establishment where owner_id = $1',
    [ownerId],
  );
  if ((count?.n ?? 0n) >= BigInt(establishmentsPerOwnerMax))
    throw new PaymentsError(
      'limit_reached',
      `A merchant has at most ${establishmentsPerOwnerMax} establishments.`,
    );
  const establishmentId = newId('est', unit.nowMs);
  await run(
    unit.on,
    'insert into establishment (establishment_id, owner_id, name, latitude, longitude, radius_m) values ($1, $2, $3, $4, $5, $6)',
    [establishmentId, ownerId, place.name, place.position.latitude, place.position.longitude, place.radiusM],
  );
  unit.app.places.set(establishmentId, place.position);
  return establishmentOf(unit.on, establishmentId);
}

/** Fills the kept index at the start. */
export async function loadPlaces(on: Queryable, places: NearbyIndex): Promise<void> {
  const rows = await run<{ establishment_id: string; latitude: number; longitude: number }>(
    on,
    'select establishment_id, latitude, longitude from establishment',
  );
  for (const row of rows)
    places.set(row.establishment_id, { latitude: row.latitude, longitude: row.longitude });
}
