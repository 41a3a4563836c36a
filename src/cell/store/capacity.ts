/** What placement reads of hosts: small, since it is read every second. */
import { hostSilenceMsMax } from '../limits.ts';
import type { HostCounters } from './claims.ts';
import { heardWithin } from './hosts.ts';
import type { Sql } from './sql.ts';

export interface CapacityRow extends HostCounters {
  readonly zone: string;
  readonly accelerator: string;
  readonly capacity_vcpus_milli: number;
  readonly capacity_memory_mib: number;
  readonly capacity_disk_mib: number;
  readonly limit_vcpus_milli: number;
  readonly limit_memory_mib: number;
  readonly limit_network_mbps: number | null;
  readonly state: 'active' | 'draining';
  readonly card: string;
  /** Instance types that its pool gives slots of; null: all. */
  readonly slot_types: readonly string[] | null;
  readonly rack: string | null;
  readonly capabilities: readonly string[];
  readonly dedicated_to: string | null;
  /** Active, and heard lately. */
  readonly open: boolean;
}

export const readCapacity = (sql: Sql): Promise<CapacityRow[]> =>
  sql.query(
    `select id, vtep, epoch, zone, accelerator, state, card, slot_types, capacity_vcpus_milli, capacity_memory_mib, capacity_disk_mib,
       limit_vcpus_milli, limit_memory_mib, limit_network_mbps, used_vcpus_milli, used_memory_mib, used_disk_mib,
       used_network_mbps, rack, capabilities, dedicated_to, state = 'active' and ${heardWithin('$1')} as open
     from hosts`,
    [hostSilenceMsMax / 1000],
  );

/** What is on a host. */
export interface Occupants {
  /** How many VMs of which type run there, and are on their way to it. */
  readonly running: ReadonlyMap<string, number>;
  /** Whose claims it has, those of stopped VMs included; '' stands for nobody's. */
  readonly accounts: ReadonlySet<string>;
}

export const readOccupants = async (
  sql: Sql,
  hostIds: readonly string[],
): Promise<Map<string, Occupants>> => {
  const rows = await sql.query<{ host_id: string; type: string; n: number; accounts: string[] }>(
    `select host_id, coalesce(type, '') as type,
       count(*) filter (where purpose in ('instance', 'migration') and memory_mib > 0)::int as n,
       array_agg(distinct coalesce(account_id, '')) as accounts
     from claims where host_id = any($1) and purpose <> 'reserve' group by host_id, type`,
    [hostIds],
  );
  const found = new Map(
    hostIds.map((id) => [id, { running: new Map<string, number>(), accounts: new Set<string>() }]),
  );
  for (const { host_id: hostId, type, n, accounts } of rows) {
    const occupants = found.get(hostId);
    if (n > 0) occupants?.running.set(type, n);
    for (const account of accounts) occupants?.accounts.add(account);
  }
  return found;
};

/** Whether no processor has been at the store long enough to have written whom it heard: then silence says nothing. */
export const nobodyListened = async (sql: Sql): Promise<boolean> =>
  (
    await sql.query(
      `select 1 from processors where lease_until > now() and steady_since <= now() - make_interval(secs => $1) limit 1`,
      [hostSilenceMsMax / 1000],
    )
  ).length === 0;
