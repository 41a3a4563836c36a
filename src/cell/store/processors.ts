/** Processor leases: rows, by the database's clock, so that processors need not agree on the time. */
import type { Sql } from './sql.ts';

/** Renews (or begins) the lease of one life of a processor. */
export const renewLease = async (
  sql: Sql,
  owner: string,
  processorId: string,
  ttlMs: number,
): Promise<void> => {
  await sql.query(
    `insert into processors (owner, processor_id, lease_until) values ($1, $2, now() + make_interval(secs => $3))
     on conflict (owner) do update set lease_until = excluded.lease_until`,
    [owner, processorId, ttlMs / 1000],
  );
};

/** Gives up the lease: the other processors take over at once. */
export const dropLease = async (sql: Sql, owner: string): Promise<void> => {
  await sql.query('delete from processors where owner = $1', [owner]);
};

/** A new life of a processor ends the lease of its earlier ones, and long-dead rows go. */
export const supersedeLeases = async (sql: Sql, owner: string, processorId: string): Promise<void> => {
  await sql.query(
    `delete from processors where (processor_id = $2 and owner <> $1) or lease_until < now() - interval '1 hour'`,
    [owner, processorId],
  );
};
