/** VMs that violate their group's constraint, as the cell has seen them (capacity/mending.ts). */
import type { ConstraintKind, Member, Strategy } from '#slots/constraints.ts';
import type { Cause } from '#slots/mending.ts';
import { mendingForgottenMs } from '../limits.ts';
import type { AmountColumns } from './hosts.ts';
import type { Sql } from './sql.ts';

/** One lock for the cell: two processors that count moves at once would each see room for the last one. */
const mendingLock = 0x6d_65_6e_64;

export interface MendingLock {
  /** Whether anything is written down of what was seen before. */
  readonly noted: boolean;
}

/** Until the transaction ends. Undefined: another processor mends just now. */
export const lockMending = async (tx: Sql): Promise<MendingLock | undefined> => {
  const [row] = await tx.query<MendingLock & { locked: boolean }>(
    'select pg_try_advisory_xact_lock($1) as locked, exists (select from violations) as noted',
    [mendingLock],
  );
  return row?.locked === true ? row : undefined;
};

/** An instance that could be moved: it runs, and nothing is being done to it. */
const movable = `i.state = 'running' and i.workflow_id is null
  and not exists (select 1 from claims m where m.holder = i.id and m.purpose = 'migration')`;

export interface GroupMember extends Member {
  readonly groupId: string;
  readonly strategy: Strategy;
  readonly movable: boolean;
}

/**
 * Members of groups that are violated, group by group, in the order in which their places are to be kept: what cannot move first, then
 * who was there first. Groups of which a member is moving are left alone until it has arrived.
 */
export const membersOfViolated = async (sql: Sql, groupsMax: number): Promise<GroupMember[]> => {
  const rows = await sql.query<{
    group_id: string;
    strategy: Strategy;
    holder: string;
    host_id: string;
    rack: string;
    group_partition: number | null;
    movable: boolean;
  }>(
    `with violated as (
       select g.group_id, g.strategy from placement_groups g join claims c using (group_id) join hosts h on h.id = c.host_id
       group by g.group_id, g.strategy
       having not bool_or(c.purpose = 'migration') and case g.strategy
         when 'spread' then count(distinct c.holder) > count(distinct c.host_id)
         when 'cluster' then count(distinct coalesce(h.rack, '')) > 1
         else count(distinct (c.host_id, c.group_partition)) > count(distinct c.host_id) end
       order by g.group_id limit $1)
     select v.group_id, v.strategy, c.holder, c.host_id, coalesce(h.rack, '') as rack, c.group_partition,
       coalesce(${movable}, false) as movable
     from violated v join claims c using (group_id) join hosts h on h.id = c.host_id left join instances i on i.id = c.holder
     order by v.group_id, movable, c.created_at, c.id`,
    [groupsMax],
  );
  return rows.map(({ group_id: groupId, host_id: hostId, group_partition: partition, ...row }) => ({
    ...{ groupId, hostId, strategy: row.strategy, holder: row.holder, rack: row.rack, movable: row.movable },
    ...(partition === null ? {} : { partition }),
  }));
};

export interface MovableRow extends AmountColumns {
  readonly id: string;
  readonly host_id: string;
}

/** Instances of these hosts that could be moved, the heaviest first. */
export const movableOn = (sql: Sql, hostIds: readonly string[], perHostMax: number): Promise<MovableRow[]> =>
  sql.query(
    `select id, host_id, vcpus_milli, memory_mib, disk_mib, network_mbps from (
       select i.*, row_number() over (partition by i.host_id order by i.vcpus_milli desc, i.memory_mib, i.id) as at
       from instances i where i.host_id = any($1) and ${movable}) found
     where at <= $2 order by host_id, at`,
    [hostIds, perHostMax],
  );

export interface Seen {
  readonly instanceId: string;
  readonly hostId: string;
  readonly cause: Cause;
}

const keeps =
  'v.cause is not distinct from excluded.cause and v.host_id is not distinct from excluded.host_id';

/** Writes down what was seen just now. Of one that has been seen before, for this cause and there, since when stays. */
export const noteSeen = async (tx: Sql, seen: readonly Seen[]): Promise<void> => {
  await tx.query(
    `insert into violations as v (instance_id, cause, host_id, since, seen_at)
     select instance_id, cause, host_id, now(), now()
     from unnest($1::text[], $2::text[], $3::text[]) as seen (instance_id, cause, host_id)
     on conflict (instance_id) do update set cause = excluded.cause, host_id = excluded.host_id, seen_at = now(),
       since = case when ${keeps} then v.since else now() end,
       tried_at = case when ${keeps} then v.tried_at end`,
    [
      seen.map(({ instanceId }) => instanceId),
      seen.map(({ cause }) => cause),
      seen.map(({ hostId }) => hostId),
    ],
  );
};

const constraintKinds: readonly ConstraintKind[] = [
  'spread',
  'cluster',
  'partition',
  'tenancy',
  'capability',
];

/**
 * Ends what was not seen any more: facts of the store at once, measurements once no processor has seen them for a while. Rows say
 * how long to rest after a move, and are forgotten after that.
 */
export const forgetUnseen = async (tx: Sql, seen: readonly string[], keptMs: number): Promise<void> => {
  await tx.query(
    `update violations set cause = null, host_id = null, since = null, seen_at = null, tried_at = null
     where cause is not null and instance_id <> all($1)
       and (cause = any($2) or seen_at < now() - make_interval(secs => $3))`,
    [seen, constraintKinds, mendingForgottenMs / 1000],
  );
  await tx.query(
    `delete from violations where cause is null
       and (moved_at is null or moved_at < now() - make_interval(secs => $1))`,
    [keptMs / 1000],
  );
};

export interface ViolationRow extends AmountColumns {
  readonly instance_id: string;
  readonly cause: Cause;
  readonly host_id: string;
  readonly stood_ms: number;
  readonly tried_ago_ms: number | null;
  readonly moved_ago_ms: number | null;
  readonly moved_cause: Cause | null;
  readonly moves: number;
}

const ago = (column: string): string => `extract(epoch from now() - ${column})::float8 * 1000`;

/** What is violated now by instances that are there; one alone where it is named. */
export const listViolations = (sql: Sql, instanceId?: string): Promise<ViolationRow[]> =>
  sql.query(
    `select v.instance_id, v.cause, v.host_id, ${ago('v.since')} as stood_ms, ${ago('v.tried_at')} as tried_ago_ms,
       ${ago('v.moved_at')} as moved_ago_ms, v.moved_cause, v.moves,
       i.vcpus_milli, i.memory_mib, i.disk_mib, i.network_mbps
     from violations v join instances i on i.id = v.instance_id and i.host_id = v.host_id
     where v.cause is not null and ($1::text is null or v.instance_id = $1) order by v.since, v.instance_id`,
    [instanceId ?? null],
  );

export interface MoveRow {
  readonly from_host: string;
  readonly to_host: string;
}

/** The two hosts of each instance that has, or may have, a copy on another one. */
export const listMoving = (sql: Sql): Promise<MoveRow[]> =>
  sql.query(
    `select coalesce(i.host_id, c.host_id) as from_host, c.host_id as to_host from claims c
     left join instances i on i.id = c.holder where c.purpose = 'migration'`,
  );

/** Hosts that took part in a move for performance within this time. */
export const listSettling = (
  sql: Sql,
  withinMs: number,
): Promise<{ readonly host_id: string; readonly ago_ms: number }[]> =>
  sql.query(
    `select host.id as host_id, ${ago('v.moved_at')} as ago_ms
     from violations v cross join lateral (values (v.moved_from), (v.moved_to)) as host (id)
     where v.moved_cause = 'performance' and v.moved_at > now() - make_interval(secs => $1)`,
    [withinMs / 1000],
  );

/** The instance begins to move. What it violated is over until it is seen again. */
export const noteMoved = async (tx: Sql, seen: Seen, to: string, moves: number): Promise<void> => {
  await tx.query(
    `update violations set cause = null, host_id = null, since = null, seen_at = null, tried_at = null,
       moved_at = now(), moved_cause = $2, moved_from = $3, moved_to = $4, moves = $5
     where instance_id = $1`,
    [seen.instanceId, seen.cause, seen.hostId, to, moves],
  );
};

/** No host has a slot for it. */
export const noteTried = async (sql: Sql, instanceId: string): Promise<void> => {
  await sql.query('update violations set tried_at = now() where instance_id = $1', [instanceId]);
};
