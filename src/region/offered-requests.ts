/**
 * What is offered to requests that wait in several zones for one wish: each cell tells its own offers, by their ids, and learns which goes before
 * all others. That is the first request's, since it is what the client asked for; else the one that was heard of first.
 */
import { sql } from 'kysely';
import type { ParsedParams, Result } from '#base/rpc/contract.ts';
import { cellNumberOf } from '#contracts/ids.ts';
import type { regionContract } from '#contracts/region.ts';
import type { Database } from './schema.ts';

type Offers = ParsedParams<typeof regionContract, 'region.endedRequests'>['offers'];
type Offered = Result<typeof regionContract, 'region.endedRequests'>['offered'];

/** Longer than any request waits. */
const keptDays = 32;
const purgedMax = 1_000;

/** Keeps what is offered by the cell itself. Repeatable, in any order: one that is over stays over. */
export const noteOffers = async (
  db: Database,
  cellNumber: number | undefined,
  offers: Offers,
): Promise<void> => {
  const own = offers.filter(({ requestId }) => cellNumberOf(requestId) === cellNumber);
  await sql`
    insert into wish_offer (offer_id, request_id, main_id, open)
    select * from unnest(${own.map(({ offerId }) => offerId)}::text[], ${own.map(({ requestId }) => requestId)}::text[],
      ${own.map(({ main }) => main)}::text[], ${own.map(({ open }) => open)}::boolean[])
    on conflict (offer_id) do update set open = false where not excluded.open`.execute(db);
  await sql`
    delete from wish_offer where offer_id in (
      select offer_id from wish_offer where noted_at < now() - make_interval(days => ${keptDays})
      order by noted_at limit ${purgedMax})`.execute(db);
};

/** The open ones of these wishes; of each, that which goes before the others comes first. */
export const offeredOf = async (db: Database, mains: readonly string[]): Promise<Offered> => {
  const { rows } = await sql<{ requestId: string; main: string; offerId: string }>`
    select w.request_id as "requestId", w.main_id as main, w.offer_id as "offerId"
    from wish_offer w where w.open and w.main_id = any(${[...mains]}::text[])
      and not exists (select from ended_request e where e.request_id = w.request_id)
    order by w.main_id, w.request_id <> w.main_id, w.place`.execute(db);
  return rows;
};
