/** Rows about requests for one wish in cells of several zones: what the region is to be told of their offers, and who waits for one elsewhere. */
import type { OfferRow } from './capacity-requests.ts';
import type { Sql } from './sql.ts';

export interface UntoldOffer {
  readonly offerId: string;
  readonly requestId: string;
  readonly main: string;
  readonly open: boolean;
}

const isUntold = `(o.state = 'open' or o.told = 'open') and (r.companions is not null or r.companion_of is not null)
  and (o.told is null) = (o.state = 'open')`;
const isLinked = `state in ('waiting', 'offered') and (companions is not null or companion_of is not null)`;

/** Whether any request here has to do with one in another zone: mostly none has, and that is asked often. */
export const hasLinked = async (sql: Sql): Promise<boolean> =>
  (
    await sql.query<{ linked: boolean }>(
      `select exists (select from capacity_requests where ended_due) or exists (select from capacity_requests where ${isLinked})
         or exists (select from capacity_offers o join capacity_requests r on r.id = o.request_id where ${isUntold}) as linked`,
    )
  )[0]?.linked === true;

/** Offers of linked requests that are open and not known to the region, or known there as open and over. */
export const untoldOffers = (sql: Sql, limit: number): Promise<UntoldOffer[]> =>
  sql.query(
    `select o.id as "offerId", r.id as "requestId", coalesce(r.companion_of, r.id) as main, o.state = 'open' as open
     from capacity_offers o join capacity_requests r on r.id = o.request_id
     where ${isUntold} order by o.id limit $1`,
    [limit],
  );

export const markTold = async (sql: Sql, offers: readonly UntoldOffer[]): Promise<void> => {
  if (offers.length === 0) return;
  await sql.query(
    `update capacity_offers o set told = case when t.open then 'open' else 'over' end
     from unnest($1::text[], $2::boolean[]) as t (id, open)
     -- One that was over in the meantime is told again; one that is known to be over stays so.
     where o.id = t.id and o.told is distinct from 'over'`,
    [offers.map(({ offerId }) => offerId), offers.map(({ open }) => open)],
  );
};

/** Those of a request that the region knows of: between them and others' it has decided. One that accumulates is nobody's offer yet. */
export const withdrawable = (tx: Sql, requestId: string): Promise<OfferRow[]> =>
  tx.query(
    `select * from capacity_offers where request_id = $1
       and (state = 'accumulating' or (state = 'open' and told = 'open')) order by id`,
    [requestId],
  );

export const isOffered = async (tx: Sql, requestId: string): Promise<boolean> =>
  (await tx.query(`select 1 from capacity_offers where request_id = $1 and state = 'open'`, [requestId]))
    .length > 0;

export const setWaitsFor = async (tx: Sql, requestId: string, offerId: string | null): Promise<void> => {
  await tx.query('update capacity_requests set waits_for = $2 where id = $1', [requestId, offerId]);
};
