/** What is kept of how instances' VMs and their hosts are. */
import type { InstanceHealth } from '../health/judge.ts';
import { purgeBatchMax } from '../limits.ts';
import { heardWithin } from './hosts.ts';
import type { Sql } from './sql.ts';

export interface JudgedRow {
  readonly id: string;
  readonly health: InstanceHealth | null;
  readonly place_epoch: number;
}

const judgement = `left join instance_health on instance_id = instances.id and launched_at = launch_time`;

/** Those of these instances that should run on this host. */
export const judgedRows = (sql: Sql, hostId: string, ids: readonly string[]): Promise<JudgedRow[]> =>
  sql.query(
    `select id, health, place_epoch from instances ${judgement} where id = any($1) and host_id = $2 and state = 'running'`,
    [ids, hostId],
  );

/** How these instances were judged last; of others than running ones nothing. */
export const healthOf = async (
  sql: Sql,
  ids: readonly string[],
): Promise<ReadonlyMap<string, InstanceHealth>> => {
  if (ids.length === 0) return new Map();
  const rows = await sql.query<Omit<JudgedRow, 'place_epoch'>>(
    `select id, health from instances ${judgement} where id = any($1) and state = 'running' and health is not null`,
    [ids],
  );
  return new Map(rows.flatMap(({ id, health }) => (health === null ? [] : [[id, health]])));
};

export interface JudgedAnew extends JudgedRow {
  readonly next: InstanceHealth;
}

/**
 * Which of them were written: not those that another has judged meanwhile, nor instances that are elsewhere or do not run any more. In the
 * order of their ids: both processors write what one host has told.
 */
export const writeHealth = async (
  sql: Sql,
  hostId: string,
  judged: readonly JudgedAnew[],
): Promise<ReadonlySet<string>> => {
  const rows = await sql.query<{ instance_id: string }>(
    `insert into instance_health as known (instance_id, launched_at, health)
       select i.id, i.launch_time, told.health
       from unnest($2::text[], $3::jsonb[]) as told (id, health) join instances i on i.id = told.id
       where i.host_id = $1 and i.state = 'running' order by i.id
     on conflict (instance_id) do update set launched_at = excluded.launched_at, health = excluded.health
       where known.launched_at <> excluded.launched_at
         or known.health = ($4::jsonb[])[array_position($2::text[], known.instance_id)]
     returning instance_id`,
    [
      hostId,
      judged.map(({ id }) => id),
      judged.map(({ next }) => JSON.stringify(next)),
      judged.map(({ health }) => (health === null ? null : JSON.stringify(health))),
    ],
  );
  return new Set(rows.map(({ instance_id: id }) => id));
};

/** Of instances that have ended, or are not known any more. */
export const purgeHealth = async (sql: Sql): Promise<void> => {
  await sql.query(
    `delete from instance_health where instance_id in (
       select instance_id from instance_health left join instances on instances.id = instance_id
       where instances.id is null or terminated_at is not null order by instance_id limit $1)`,
    [purgeBatchMax],
  );
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
    `select id, card, card_changed_at, least(heard_at, now()) as heard_at,
       (extract(epoch from now() - card_changed_at) * 1000)::float8 as card_ms,
       case when exists (select 1 from processors where lease_until > now()
           and steady_since <= now() - make_interval(secs => $1))
         then case when heard_at > now() + make_interval(secs => $1) then 'infinity'
           else (extract(epoch from now() - heard_at) * 1000)::float8 end end as silent_ms
     from hosts where card <> 'ok' or not ${heardWithin('$1')}`,
    [patienceMs / 1000],
  );
  return new Map(rows.map((row) => [row.id, row]));
};
