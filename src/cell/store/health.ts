/** What is kept of how instances' VMs and their hosts are. */
import type { InstanceHealth } from '../health/judge.ts';
import type { Sql } from './sql.ts';

export interface JudgedRow {
  readonly id: string;
  readonly health: InstanceHealth | null;
}

/** Those of these instances that should run on this host. */
export const judgedRows = (sql: Sql, hostId: string, ids: readonly string[]): Promise<JudgedRow[]> =>
  sql.query(`select id, health from instances where id = any($1) and host_id = $2 and state = 'running'`, [
    ids,
    hostId,
  ]);

/**
 * Whether it was written: not when another has judged meanwhile, the instance is elsewhere or does not run any more, or its row is just
 * being changed: a report waits for nobody, the next one tells it again.
 */
export const writeHealth = async (
  sql: Sql,
  { id, hostId, health }: JudgedRow & { readonly hostId: string },
  next: InstanceHealth,
): Promise<boolean> => {
  const rows = await sql.query(
    `with free as materialized (select id from instances where id = $1 and host_id = $2 and state = 'running'
         and health is not distinct from $4::jsonb for update skip locked)
     update instances set health = $3 from free where instances.id = free.id returning instances.id`,
    [id, hostId, JSON.stringify(next), health === null ? null : JSON.stringify(health)],
  );
  return rows.length === 1;
};

export interface HostFacts {
  readonly id: string;
  readonly card: 'ok' | 'degraded';
  /** Since when the card is so; null: since before that was kept. */
  readonly card_changed_at: Date | null;
  readonly heard_at: Date;
  readonly card_ms: number | null;
  /** For how long no processor has heard of it; null: none has been there for long enough to say. */
  readonly silent_ms: number | null;
}

/**
 * The hosts that are silent for this long, or whose card is away: none in a healthy cell. Ages are by the store's clock. A host counts as
 * silent only where a processor has been there for as long, to hear it.
 */
export const ailingHosts = async (sql: Sql, patienceMs: number): Promise<ReadonlyMap<string, HostFacts>> => {
  const rows = await sql.query<HostFacts>(
    `select id, card, card_changed_at, heard_at,
       (extract(epoch from now() - card_changed_at) * 1000)::float8 as card_ms,
       case when exists (select 1 from processors where lease_until > now()
           and steady_since <= now() - make_interval(secs => $1))
         then (extract(epoch from now() - heard_at) * 1000)::float8 end as silent_ms
     from hosts where card <> 'ok' or heard_at < now() - make_interval(secs => $1)`,
    [patienceMs / 1000],
  );
  return new Map(rows.map((row) => [row.id, row]));
};
