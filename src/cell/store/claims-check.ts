/** Counters against claims, claims against instances: what must agree and does not. */
import { lockHosts } from './hosts.ts';
import type { Sql } from './sql.ts';

export interface Drift {
  readonly host_id: string;
  /** What the counters say, and what the claims are together: vCPUs (thousandths), memory, disk (MiB), network (Mbit/s), dedicated ones. */
  readonly counted: readonly number[];
  readonly claimed: readonly number[];
}

const sums = `
  select h.id, array[h.used_vcpus_milli, h.used_memory_mib, h.used_disk_mib, h.used_network_mbps,
      h.dedicated_claims]::float8[] as counted,
    array[coalesce(sum(c.vcpus_milli), 0), coalesce(sum(c.memory_mib), 0), coalesce(sum(c.disk_mib), 0),
      coalesce(sum(c.network_mbps), 0), count(*) filter (where c.dedicated)]::float8[] as claimed
  from hosts h left join claims c on c.host_id = h.id
  where $1::text is null or h.id = $1 group by h.id`;

/** Hosts whose counters are not the sums of their claims; one snapshot, so whoever is between two statements shows nothing. */
export const driftsOf = (sql: Sql, hostId?: string): Promise<Drift[]> =>
  sql.query(
    `select id as host_id, counted, claimed from (${sums}) both_ where counted is distinct from claimed order by id`,
    [hostId ?? null],
  );

/** Computes a host's counters anew from its claims, under its lock. Returns what they were where that changed them. */
export const recount = async (tx: Sql, hostId: string): Promise<Drift | undefined> => {
  await lockHosts(tx, [hostId]);
  const [drift] = await driftsOf(tx, hostId);
  if (drift === undefined) return undefined;
  const [vcpus, memory, disk, network, dedicated] = drift.claimed;
  await tx.query(
    `update hosts set used_vcpus_milli = $2, used_memory_mib = $3, used_disk_mib = $4, used_network_mbps = $5,
       dedicated_claims = $6, dedicated_to = case when $6::int = 0 then null else dedicated_to end where id = $1`,
    [hostId, vcpus, memory, disk, network, dedicated],
  );
  return drift;
};

export interface Misfit {
  readonly kind: 'no-instance' | 'not-claimed' | 'elsewhere' | 'beyond-capacity';
  /** An instance's id; of `beyond-capacity` the host's. */
  readonly subject: string;
  readonly host_id: string;
}

/**
 * Claims whose instance is not there, instances that run and are not claimed for or where they are not, hosts that promised more than
 * they have. An operator is told; nothing is removed on such a belief.
 */
export const misfitsOf = (sql: Sql, limit: number): Promise<Misfit[]> =>
  sql.query(
    `select 'no-instance' as kind, holder as subject, host_id from claims c
       where purpose in ('instance', 'migration') and not exists (select 1 from instances i where i.id = c.holder)
     union all
     select 'not-claimed', i.id, i.host_id from instances i
       where i.host_id is not null and i.state in ('pending', 'running', 'stopping', 'stopped')
         and not exists (select 1 from claims c where c.id = 'instance/' || i.id)
     union all
     select 'elsewhere', i.id, c.host_id from instances i join claims c on c.id = 'instance/' || i.id
       where i.host_id is distinct from c.host_id
     union all
     select 'beyond-capacity', id, id from hosts
       where used_vcpus_milli > limit_vcpus_milli or used_memory_mib > limit_memory_mib
         or used_disk_mib > capacity_disk_mib or used_network_mbps > limit_network_mbps
     limit $1`,
    [limit],
  );

export const countClaims = async (sql: Sql): Promise<number> =>
  (await sql.query<{ n: number }>('select count(*)::int as n from claims'))[0]?.n ?? 0;
