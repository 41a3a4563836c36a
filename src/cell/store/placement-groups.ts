/**
 * Placement groups as the cell knows them. A group's row is its lock: who places a member holds it until the commit, and reads the
 * members after it was had. So two that place members of one group at once see each other, whichever hosts they have in mind.
 */
import type { Member, Strategy } from '#slots/constraints.ts';
import type { Sql } from './sql.ts';

export interface PlacementGroupRow {
  readonly group_id: string;
  readonly strategy: Strategy;
  /** Of the strategy `partition`. */
  readonly partition_count: number | null;
}

/** Makes the row known; what a group is never changes. */
export const knowGroup = async (sql: Sql, group: PlacementGroupRow): Promise<void> => {
  await sql.query(
    'insert into placement_groups (group_id, strategy, partition_count) values ($1, $2, $3) on conflict do nothing',
    [group.group_id, group.strategy, group.partition_count],
  );
};

/** The group, locked; undefined: this cell has not been told what it is. */
export const lockGroup = async (tx: Sql, groupId: string): Promise<PlacementGroupRow | undefined> =>
  (
    await tx.query<PlacementGroupRow>('select * from placement_groups where group_id = $1 for update', [
      groupId,
    ])
  )[0];

export const findGroup = async (sql: Sql, groupId: string): Promise<PlacementGroupRow | undefined> =>
  (await sql.query<PlacementGroupRow>('select * from placement_groups where group_id = $1', [groupId]))[0];

interface MemberRow {
  readonly holder: string;
  readonly host_id: string;
  readonly rack: string;
  readonly group_partition: number | null;
}

/** Where the group's members are: the ones that were there first come first. A member that moves has two places. */
export const listMembers = async (sql: Sql, groupId: string): Promise<Member[]> => {
  const rows = await sql.query<MemberRow>(
    `select c.holder, c.host_id, coalesce(h.rack, '') as rack, c.group_partition
     from claims c left join hosts h on h.id = c.host_id where c.group_id = $1 order by c.created_at, c.id`,
    [groupId],
  );
  return rows.map(({ holder, host_id: hostId, rack, group_partition: partition }) => ({
    ...{ holder, hostId, rack },
    ...(partition === null ? {} : { partition }),
  }));
};

/** Groups of claims of which this cell does not know what they are: claims of the last release, a row that was forgotten. */
export const unknownGroups = async (sql: Sql, limit: number): Promise<string[]> =>
  (
    await sql.query<{ group_id: string }>(
      `select distinct group_id from claims c where group_id is not null
         and not exists (select 1 from placement_groups g where g.group_id = c.group_id)
       order by group_id limit $1`,
      [limit],
    )
  ).map((row) => row.group_id);

/**
 * Forgets groups without members. A member that is being placed holds the row's lock; one that was placed just before is found
 * again by `unknownGroups`.
 */
export const purgeGroups = async (sql: Sql, limit: number): Promise<void> => {
  await sql.query(
    `delete from placement_groups where group_id in (
       select group_id from placement_groups g where not exists (select 1 from claims c where c.group_id = g.group_id)
       order by group_id limit $1 for update skip locked)`,
    [limit],
  );
};
