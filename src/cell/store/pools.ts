/** Rows of pools. */
import type { Pool, SlotLayout } from '#reconfiguration/pools.ts';
import type { Sql } from './sql.ts';

interface PoolRow {
  readonly name: string;
  readonly slot_type: string;
  readonly host_class: string | null;
  readonly low: number;
  readonly target: number;
  readonly layout: SlotLayout;
}

export const listPools = async (sql: Sql): Promise<Pool[]> =>
  (await sql.query<PoolRow>('select * from pools order by name')).map((row) => ({
    ...{ name: row.name, slotType: row.slot_type, low: row.low, target: row.target, layout: row.layout },
    ...(row.host_class === null ? {} : { hostClass: row.host_class }),
  }));

export const putPool = async (tx: Sql, pool: Pool): Promise<void> => {
  await tx.query(
    `insert into pools (name, slot_type, host_class, low, target, layout) values ($1, $2, $3, $4, $5, $6)
     on conflict (name) do update set slot_type = excluded.slot_type, host_class = excluded.host_class, low = excluded.low,
       target = excluded.target, layout = excluded.layout`,
    [pool.name, pool.slotType, pool.hostClass ?? null, pool.low, pool.target, JSON.stringify(pool.layout)],
  );
};

/** The pool is no more; its hosts are anybody's, cut as they are. */
export const dropPool = async (tx: Sql, name: string): Promise<boolean> => {
  await tx.query('update hosts set pool = null where pool = $1', [name]);
  return (await tx.query('delete from pools where name = $1 returning name', [name])).length > 0;
};

/**
 * These pools, and no others, wait for event windows now. Gives those that have for longer than may be, once: they count anew from then
 * on.
 */
export const markWindowsSince = async (
  sql: Sql,
  waiting: readonly string[],
  patienceMs: number,
): Promise<readonly string[]> => {
  const late = await sql.query<{ name: string }>(
    `update pools set windows_since = now()
     where name = any($1) and windows_since < now() - make_interval(secs => $2) returning name`,
    [waiting, patienceMs / 1000],
  );
  await sql.query(
    `update pools set windows_since = case when name = any($1) then now() end
     where (windows_since is not null) <> (name = any($1))`,
    [waiting],
  );
  return late.map(({ name }) => name);
};
