/** Host rows: capacity, the counters of what is claimed of it (claims.ts), and when the host was last heard. */
import type { VmRequirement } from '#contracts/host.ts';
import type { Amount } from '#slots/amount.ts';
import type { Crash } from './crashes.ts';
import type { Sql } from './sql.ts';

export interface HostRow {
  readonly id: string;
  readonly zone: string;
  readonly vtep: string;
  readonly accelerator: string;
  readonly state: 'active' | 'draining';
  readonly card: 'ok' | 'degraded';
  readonly capacity_vcpus_milli: number;
  readonly capacity_memory_mib: number;
  readonly capacity_disk_mib: number;
  readonly limit_vcpus_milli: number;
  readonly limit_memory_mib: number;
  readonly used_vcpus_milli: number;
  readonly used_memory_mib: number;
  readonly used_disk_mib: number;
  /** Null: the host told of none, so it is not counted. */
  readonly capacity_network_mbps: number | null;
  readonly limit_network_mbps: number | null;
  readonly used_network_mbps: number;
  /** Grows with each change of what is claimed or may be. */
  readonly epoch: number;
  readonly heard_at: Date;
  /** The cell that it is on its way to (homes.ts). */
  readonly leaving_to: string | null;
  readonly pool: string | null;
  /** Of a draining host: why. Null: an operator of the last release drains it. */
  readonly phase: 'draining' | 'rebuilding' | 'out-of-service' | null;
  /** For people: what made it so. */
  readonly phase_reason: string;
  /** Of its rebuilds; grows with each pass. */
  readonly generation: number;
  /** The workflow that has the host: a drain, a rebuild. */
  readonly rebuild_id: string | null;
  readonly rests_until: Date | null;
  readonly slot_types: readonly string[] | null;
  readonly rack: string | null;
  readonly capabilities: readonly string[];
  /** The account whose dedicated instances it has; nobody else's come to it. */
  readonly dedicated_to: string | null;
  readonly crashes: readonly Crash[];
}

export interface HostCapacity {
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly diskMib: number;
  /** Mbit/s of its uplink. Absent: not counted. */
  readonly networkMbps?: number | undefined;
}

export interface HostHello {
  readonly hostId: string;
  readonly zone: string;
  readonly vtep: string;
  readonly accelerator: string;
  readonly capacity: HostCapacity;
  readonly card: 'ok' | 'degraded';
  /** Hosts of one rack are near each other. */
  readonly rack?: string | undefined;
  /** What it can do, beside running VMs with its accelerator. */
  readonly capabilities?: readonly string[] | undefined;
}

/** How much of a host's vCPUs, memory and bandwidth may be promised: 1, the default, is none beyond what it has (S1.7, I3). */
export interface Oversubscription {
  readonly vcpus: number;
  readonly memory: number;
  readonly network?: number;
}

const networkLimit = (mbps: number | undefined, { network = 1 }: Oversubscription): number | null =>
  mbps === undefined ? null : Math.floor(mbps * network);

export interface JoinedHost {
  /** Under which move it came to this cell. */
  readonly home_generation: number;
  /** Whether it has a claim for its own reserve. */
  readonly has_reserve: boolean;
}

export const upsertHost = async (
  sql: Sql,
  hello: HostHello,
  over: Oversubscription,
): Promise<JoinedHost | undefined> => {
  const milli = Math.floor(hello.capacity.vcpus * 1000);
  const [joined] = await sql.query<JoinedHost>(
    `insert into hosts (id, zone, vtep, accelerator, card, capacity_vcpus_milli, capacity_memory_mib, capacity_disk_mib,
       limit_vcpus_milli, limit_memory_mib, capacity_network_mbps, limit_network_mbps, rack, capabilities,
       heard_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $14, $12, $13, now())
     on conflict (id) do update set zone = excluded.zone, vtep = excluded.vtep, accelerator = excluded.accelerator,
       card_changed_at = case when hosts.card is distinct from excluded.card then now() else hosts.card_changed_at end,
       card = excluded.card, capacity_vcpus_milli = excluded.capacity_vcpus_milli,
       capacity_memory_mib = excluded.capacity_memory_mib, capacity_disk_mib = excluded.capacity_disk_mib,
       limit_vcpus_milli = coalesce(floor(excluded.capacity_vcpus_milli * hosts.vcpu_oversubscription), excluded.limit_vcpus_milli),
       limit_memory_mib = coalesce(floor(excluded.capacity_memory_mib * hosts.memory_oversubscription), excluded.limit_memory_mib),
       capacity_network_mbps = excluded.capacity_network_mbps, limit_network_mbps = excluded.limit_network_mbps,
       rack = excluded.rack, capabilities = excluded.capabilities, heard_at = now()
     returning home_generation, exists (select from claims where host_id = hosts.id and purpose = 'reserve') as has_reserve`,
    [
      hello.hostId,
      hello.zone,
      hello.vtep,
      hello.accelerator,
      hello.card,
      milli,
      hello.capacity.memoryMib,
      hello.capacity.diskMib,
      Math.floor(milli * over.vcpus),
      Math.floor(hello.capacity.memoryMib * over.memory),
      hello.capacity.networkMbps === undefined ? null : Math.floor(hello.capacity.networkMbps),
      hello.rack ?? null,
      [...new Set([hello.accelerator, ...(hello.capabilities ?? [])])],
      networkLimit(hello.capacity.networkMbps, over),
    ],
  );
  return joined;
};

export const findHost = async (sql: Sql, id: string): Promise<HostRow | undefined> =>
  (await sql.query<HostRow>('select * from hosts where id = $1', [id]))[0];

/** The host whose card has this end of the tunnels. */
export const hostAt = async (sql: Sql, vtep: string): Promise<string | undefined> =>
  (await sql.query<{ id: string }>('select id from hosts where vtep = $1', [vtep]))[0]?.id;

export const listHosts = (sql: Sql): Promise<HostRow[]> => sql.query('select * from hosts order by id');

/**
 * Whether a host, of the table `of`, was heard within so many seconds (SQL). A time that is yet to come is of before the store's clock was
 * stepped back: who lives has told again since.
 */
export const heardWithin = (seconds: string, of = 'hosts'): string =>
  `(${of}.heard_at between now() - make_interval(secs => ${seconds}) and now() + make_interval(secs => ${seconds}))`;

/** The hosts that were heard within this time. */
export const listHeardHosts = async (sql: Sql, withinMs: number): Promise<string[]> =>
  (
    await sql.query<{ id: string }>(`select id from hosts where ${heardWithin('$1')} order by id`, [
      withinMs / 1000,
    ])
  ).map((row) => row.id);

export interface Heard {
  readonly hostId: string;
  readonly card: string;
  /** What its disk can take of VMs in all; undefined: as it said at its hello. */
  readonly diskCapacityMib?: number | undefined;
  /** Bandwidth that its VMs share; undefined: as it said at its hello. */
  readonly networkMbps?: number | undefined;
}

/**
 * Records that these hosts were heard just now, and their card's health: first those whose rows are free, in one statement that waits for
 * nobody; then those that a placement has locked, each in a statement of its own, so that no lock is held while waiting for one.
 */
export const touchHosts = async (
  sql: Sql,
  heard: readonly Heard[],
  over: Oversubscription,
): Promise<void> => {
  const touched = await touch(sql, heard, over, 'for update skip locked');
  const left = heard.filter(({ hostId }) => !touched.has(hostId));
  for (const host of left) await touch(sql, [host], over, 'for update');
};

const touch = async (
  sql: Sql,
  heard: readonly Heard[],
  over: Oversubscription,
  lock: string,
): Promise<ReadonlySet<string>> => {
  const rows = await sql.query<{ id: string }>(
    `with free as materialized (select id from hosts where id = any($1) order by id ${lock})
     update hosts set heard_at = now(), card = heard.card,
       card_changed_at = case when hosts.card is distinct from heard.card then now() else card_changed_at end,
       capacity_disk_mib = coalesce(heard.disk_mib, capacity_disk_mib),
       capacity_network_mbps = coalesce(heard.network_mbps, capacity_network_mbps),
       limit_network_mbps = coalesce(heard.network_limit, limit_network_mbps)
     from free join unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
       as heard (id, card, disk_mib, network_mbps, network_limit) using (id)
     where hosts.id = free.id returning hosts.id`,
    [
      heard.map((host) => host.hostId),
      heard.map((host) => host.card),
      heard.map((host) => host.diskCapacityMib ?? null),
      heard.map(({ networkMbps: mbps }) => (mbps === undefined ? null : Math.floor(mbps))),
      heard.map((host) => networkLimit(host.networkMbps, over)),
    ],
  );
  return new Set(rows.map(({ id }) => id));
};

/** Locks hosts in the order of their ids, for a transaction that takes capacity on several whose names it knows. */
export const lockHosts = async (tx: Sql, ids: readonly string[]): Promise<void> => {
  await tx.query('select 1 from hosts where id = any($1) order by id for update', [ids]);
};

export interface AmountColumns {
  readonly vcpus_milli: number;
  readonly memory_mib: number;
  readonly disk_mib: number;
  readonly network_mbps: number;
}

export const amountOf = (row: AmountColumns): Amount => ({
  vcpusMilli: row.vcpus_milli,
  memoryMib: row.memory_mib,
  diskMib: row.disk_mib,
  networkMbps: row.network_mbps,
});

export const requirementOf = (amount: Amount): VmRequirement => ({
  vcpus: amount.vcpusMilli / 1000,
  memoryMib: amount.memoryMib,
  rootDiskMib: amount.diskMib,
});

/** What a stopped instance keeps: its disk. */
export const diskOf = ({ diskMib }: Amount): Amount => ({
  vcpusMilli: 0,
  memoryMib: 0,
  diskMib,
  networkMbps: 0,
});
