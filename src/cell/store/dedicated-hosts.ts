/** Rows of dedicated hosts: which machine is whose alone. The claim for the purpose `dedicated-host` keeps everybody else off it. */
import type { ValidTag } from '#wire/tags.ts';
import type { AmountColumns } from './hosts.ts';
import type { Sql } from './sql.ts';

export interface DedicatedHostRow {
  readonly id: string;
  readonly account_id: string;
  readonly token: string | null;
  readonly request_hash: string;
  /** The machine. */
  readonly host_id: string;
  readonly state: 'available' | 'released';
  /** One of the two: instances of one type, or of one family. */
  readonly type: string | null;
  readonly family: string | null;
  readonly zone: string;
  readonly zone_id: string | null;
  readonly auto_placement: 'on' | 'off';
  readonly host_recovery: 'on' | 'off';
  readonly host_maintenance: 'on' | 'off';
  readonly tags: readonly ValidTag[];
  readonly allocated_at: Date;
  readonly released_at: Date | null;
}

export type NewDedicatedHost = Omit<DedicatedHostRow, 'state' | 'allocated_at' | 'released_at'>;

export const insertDedicatedHost = async (tx: Sql, row: NewDedicatedHost): Promise<void> => {
  await tx.query(
    `insert into dedicated_hosts (id, account_id, token, request_hash, host_id, type, family, zone, zone_id, auto_placement,
       host_recovery, host_maintenance, tags)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::jsonb)`,
    [
      ...[row.id, row.account_id, row.token, row.request_hash, row.host_id, row.type, row.family, row.zone],
      ...[row.zone_id, row.auto_placement, row.host_recovery, row.host_maintenance, JSON.stringify(row.tags)],
    ],
  );
};

/** What a token's request made. */
export const listAllocatedBy = (sql: Sql, accountId: string, token: string): Promise<DedicatedHostRow[]> =>
  sql.query('select * from dedicated_hosts where account_id = $1 and token = $2 order by id', [
    accountId,
    token,
  ]);

export const countDedicatedHosts = async (sql: Sql, accountId: string): Promise<number> =>
  (
    await sql.query<{ n: number }>(
      `select count(*)::int as n from dedicated_hosts where account_id = $1 and state = 'available'`,
      [accountId],
    )
  )[0]?.n ?? 0;

/** Locks those of these ids, by id; without ids, all that take instances by themselves. In the lock order they stand with reservations. */
export const lockDedicatedHosts = (
  tx: Sql,
  accountId: string,
  ids: readonly string[] | undefined,
): Promise<DedicatedHostRow[]> =>
  tx.query(
    `select * from dedicated_hosts where account_id = $1 and case when $2::text[] is null
       then state = 'available' and auto_placement = 'on' else id = any($2) end order by id for update`,
    [accountId, ids ?? null],
  );

export const listDedicatedHosts = (
  sql: Sql,
  of: {
    readonly accountId: string;
    readonly ids?: readonly string[] | undefined;
    readonly after?: string | undefined;
    readonly limit: number;
  },
): Promise<DedicatedHostRow[]> =>
  sql.query(
    `select * from dedicated_hosts where account_id = $1 and ($2::text[] is null or id = any($2))
       and ($3::text is null or id > $3) order by id limit $4`,
    [of.accountId, of.ids ?? null, of.after ?? null, of.limit],
  );

export interface TenantInstance extends AmountColumns {
  readonly tenant: string;
  readonly id: string;
  readonly type: string;
}

/** The instances whose claims are on these dedicated hosts, those that only keep a disk included. */
export const listTenantInstances = (sql: Sql, rows: readonly DedicatedHostRow[]): Promise<TenantInstance[]> =>
  sql.query(
    `select account_id as tenant, holder as id, coalesce(type, '') as type, vcpus_milli, memory_mib, disk_mib, network_mbps from claims
     where host_id = any($1) and account_id = any($2) and purpose = 'instance' order by holder`,
    [rows.map((row) => row.host_id), rows.map(({ id }) => id)],
  );

/** How much a machine has for VMs, and what of it is taken. */
export interface Machine {
  readonly id: string;
  readonly vcpus_milli: number;
  readonly limit: readonly number[];
  readonly used: readonly number[];
}

export const listMachines = (sql: Sql, hostIds: readonly string[]): Promise<Machine[]> =>
  sql.query(
    `select id, capacity_vcpus_milli as vcpus_milli,
       array[limit_vcpus_milli, limit_memory_mib, capacity_disk_mib, limit_network_mbps]::float8[] as "limit",
       array[used_vcpus_milli, used_memory_mib, used_disk_mib, used_network_mbps]::float8[] as used
     from hosts where id = any($1)`,
    [hostIds],
  );

export const changeDedicatedHost = async (
  tx: Sql,
  { id, type, family, auto_placement, host_recovery, host_maintenance }: DedicatedHostRow,
): Promise<void> => {
  await tx.query(
    `update dedicated_hosts set type = $2, family = $3, auto_placement = $4, host_recovery = $5, host_maintenance = $6 where id = $1`,
    [id, type, family, auto_placement, host_recovery, host_maintenance],
  );
};

export const endDedicatedHost = async (tx: Sql, id: string): Promise<void> => {
  await tx.query(`update dedicated_hosts set state = 'released', released_at = now() where id = $1`, [id]);
};

export const purgeDedicatedHosts = async (sql: Sql, before: Date, limit: number): Promise<void> => {
  await sql.query(
    `delete from dedicated_hosts where id in (select id from dedicated_hosts where released_at < $1 limit $2 for update skip locked)`,
    [before, limit],
  );
};
