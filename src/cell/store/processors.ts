/**
 * Processor leases: rows, by the database's clock, so that processors need not agree on the time.
 *
 * `steady_since` is when a processor began to renew without a gap. Only a steady one takes over from others: whoever was away from the
 * store cannot tell whether the others were, too, and have just not come back yet.
 */
import type { Sql } from './sql.ts';

/** A gap between two renewals of more than this part of the lease's time: the processor was away. */
const gapPart = 0.5;

/**
 * Whether the lease of row `p` has lapsed, where leases last `$2` seconds (SQL, for a WHERE). One that was renewed later than it can be by
 * now is of before the store's clock was stepped back: who lives has renewed since.
 */
export const hasLapsed = `(p.lease_until <= now() or p.renewed_at > now() + make_interval(secs => $2))`;

/** Renews (or begins) the lease of one life of a processor. Answers how long ago it was renewed before; undefined: there was none. */
export const renewLease = async (
  sql: Sql,
  owner: string,
  processorId: string,
  ttlMs: number,
): Promise<number | undefined> => {
  const [row] = await sql.query<{ away_ms: number | null }>(
    `with former as (select renewed_at from processors where owner = $1)
     insert into processors as p (owner, processor_id, lease_until, renewed_at, steady_since)
       values ($1, $2, now() + make_interval(secs => $3), now(), now())
     on conflict (owner) do update set lease_until = excluded.lease_until, renewed_at = now(),
       steady_since = case when p.renewed_at between now() - make_interval(secs => $4) and now() + make_interval(secs => $3)
         then p.steady_since else now() end
     returning (select (extract(epoch from now() - former.renewed_at) * 1000)::float8 from former) as away_ms`,
    [owner, processorId, ttlMs / 1000, (ttlMs * gapPart) / 1000],
  );
  return row?.away_ms ?? undefined;
};

/** Gives up the lease: the other processors take over at once. */
export const dropLease = async (sql: Sql, owner: string): Promise<void> => {
  await sql.query('delete from processors where owner = $1', [owner]);
};

/** A new life of a processor ends the lease of its earlier ones, and long-dead rows go. */
export const supersedeLeases = async (sql: Sql, owner: string, processorId: string): Promise<void> => {
  // In the order of owners: two processors that start at once wait for each other in one direction only.
  await sql.query(
    `delete from processors where owner in (select owner from processors where (processor_id = $2 and owner <> $1) or lease_until < now() - interval '1 day'
       order by owner for update)`,
    [owner, processorId],
  );
};

/**
 * True of the processor `$1` that may take over from others (SQL, for a WHERE): it holds its own lease, renewed without a gap for a
 * whole lease's time (`$2`, seconds), in which everybody who lives has renewed as well.
 */
export const isSteady = `exists (
  select 1 from processors me where me.owner = $1 and me.lease_until > now()
    and me.renewed_at > now() - make_interval(secs => $2 * ${gapPart})
    and me.steady_since <= now() - make_interval(secs => $2))`;
