/** Placement groups as launches need them. */
import { sql } from 'kysely';
import { transact } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import { cellNumberOf, parseId } from '#contracts/ids.ts';
import { notFound } from './not-found.ts';
import type { Region } from './region.ts';
import type { Database, RegionTransaction, Row } from './schema.ts';

export interface PlacementGroupName {
  readonly id?: string | undefined;
  readonly name?: string | undefined;
}

/** EC2's bound on instances of a spread group in one zone. */
const spreadPerZoneMax = 7;

export const unknownPlacementGroup = (name: string): PandoError =>
  new PandoError('InvalidPlacementGroup.Unknown', `The Placement Group '${name.slice(0, 255)}' is unknown.`);

export const findPlacementGroup = async (
  db: Database,
  accountId: string,
  { id, name }: PlacementGroupName,
): Promise<Row<'placement_group'>> => {
  if (id !== undefined && name !== undefined)
    throw new PandoError(
      'InvalidParameterCombination',
      'Either a GroupId or a GroupName of a placement group must be given, not both.',
    );
  const own = db.selectFrom('placement_group').selectAll().where('account_id', '=', accountId);
  const group = await (id === undefined
    ? own.where('name', '=', name ?? '')
    : own.where('group_id', '=', parseId('placementGroup', id))
  ).executeTakeFirst();
  if (group === undefined) throw unknownPlacementGroup(id ?? name ?? '');
  return group;
};

export interface ResolvedPlacementGroup {
  readonly groupId: string;
  readonly groupName: string;
  readonly strategy: 'cluster' | 'spread' | 'partition';
  readonly partitionCount?: number;
}

const resolved = (group: Row<'placement_group'>): ResolvedPlacementGroup => ({
  ...{ groupId: group.group_id, groupName: group.name, strategy: group.strategy },
  ...(group.partition_count === null ? {} : { partitionCount: group.partition_count }),
});

/** How many instances the group has, by zone; but for this one. */
const countByZone = async (
  db: Database,
  groupId: string,
  exceptEniId = '',
): Promise<ReadonlyMap<string, number>> => {
  const { rows } = await sql<{ zone: string; count: number }>`
    select subnet.zone, count(*)::int as count from eni join subnet using (subnet_id)
    where eni.placement_group_id = ${groupId} and eni.eni_id <> ${exceptEniId} group by subnet.zone`.execute(
    db,
  );
  return new Map(rows.map(({ zone, count }) => [zone, count]));
};

/**
 * Whether so many more may join in a zone: a spread group has seven there at most, a cluster group is in one zone alone.
 *
 * @throws InstanceLimitExceeded, InvalidParameterValue
 */
const assertMayJoin = (
  group: Row<'placement_group'>,
  zone: string,
  more: number,
  byZone: ReadonlyMap<string, number>,
): void => {
  const after = (byZone.get(zone) ?? 0) + more;
  if (group.strategy === 'spread' && after > spreadPerZoneMax)
    throw new PandoError(
      'InstanceLimitExceeded',
      `A spread placement group has ${spreadPerZoneMax} instances in an availability zone at most, '${group.name}' would have ${after}.`,
    );
  const other = [...byZone].find(([name, count]) => name !== zone && count > 0);
  if (group.strategy === 'cluster' && other !== undefined)
    throw new PandoError(
      'InvalidParameterValue',
      `The placement group '${group.name}' is in use in another availability zone: ${other[0]}.`,
    );
};

/** The cells' numbers that the group has instances of, but for this one. */
const cellsOf = async (db: Database, groupId: string, exceptEniId = ''): Promise<ReadonlySet<number>> => {
  const members = await db
    .selectFrom('eni')
    .select('instance_id')
    .where('placement_group_id', '=', groupId)
    .where('eni_id', '<>', exceptEniId)
    .execute();
  return new Set(members.flatMap(({ instance_id: id }) => (id === null ? [] : cellNumberOf(id))));
};

/** Racks are a cell's own, so a cluster group stays in one cell. @throws Unavailable with the cell that has it */
const assertOwnCell = async (db: Database, groupId: string, cellId: string): Promise<void> => {
  const [number] = await cellsOf(db, groupId);
  if (number === undefined) return;
  const cell = await db.selectFrom('cell').select('cell_id').where('number', '=', number).executeTakeFirst();
  if (cell === undefined || cell.cell_id === cellId) return;
  throw new PandoError(
    'Unavailable',
    'The instances of this placement group are in another cell. Retry your request.',
    { details: { tokenCellId: cell.cell_id } },
  );
};

/** The group of a launch. What is looked at here is looked at again when the interface joins: this is for the error that EC2 gives at once. */
export const resolvePlacementGroup = async (
  region: Region,
  request: {
    readonly accountId: string;
    readonly count?: number | undefined;
    readonly cellId?: string | undefined;
  },
  named: PlacementGroupName,
  zone: string,
): Promise<ResolvedPlacementGroup> => {
  const group = await findPlacementGroup(region.db, request.accountId, named);
  if (group.strategy === 'cluster' && request.cellId !== undefined)
    await assertOwnCell(region.db, group.group_id, request.cellId);
  if (group.strategy !== 'partition')
    assertMayJoin(group, zone, request.count ?? 1, await countByZone(region.db, group.group_id));
  return resolved(group);
};

/**
 * Puts an interface's instance into a group. The group's lock orders those that join at once, so none exceeds what may be.
 *
 * @throws InvalidPlacementGroup.Unknown if it was deleted meanwhile, InstanceLimitExceeded
 */
export const joinPlacementGroup = async (
  tx: RegionTransaction,
  accountId: string,
  eniId: string,
  groupId: string,
): Promise<ResolvedPlacementGroup> => {
  const group = await tx
    .selectFrom('placement_group')
    .selectAll()
    .where('group_id', '=', groupId)
    .where('account_id', '=', accountId)
    .forUpdate()
    .executeTakeFirst();
  if (group === undefined) throw unknownPlacementGroup(groupId);
  const eni = await tx
    .selectFrom('eni')
    .innerJoin('subnet', 'subnet.subnet_id', 'eni.subnet_id')
    .select(['subnet.zone', 'eni.instance_id'])
    .where('eni.eni_id', '=', eniId)
    .executeTakeFirstOrThrow();
  const cells = group.strategy === 'cluster' ? [...(await cellsOf(tx, groupId, eniId))] : [];
  if (cells.some((number) => eni.instance_id === null || number !== cellNumberOf(eni.instance_id)))
    throw new PandoError(
      'InsufficientInstanceCapacity',
      `The instances of the placement group '${group.name}' are in another cell, which alone has hosts near them.`,
    );
  if (group.strategy !== 'partition')
    assertMayJoin(group, eni.zone, 1, await countByZone(tx, groupId, eniId));
  await tx.updateTable('eni').set({ placement_group_id: groupId }).where('eni_id', '=', eniId).execute();
  return resolved(group);
};

/**
 * Moves a stopped instance into another group, or out of all. Its cell writes the same into its row; where it does not come to that, the
 * instance's next start says again which group it is in.
 *
 * @throws InvalidPlacementGroup.Unknown, InstanceLimitExceeded, InvalidNetworkInterfaceID.NotFound
 */
export const changePlacementGroup = (
  region: Region,
  request: {
    readonly accountId: string;
    readonly instanceId: string;
    readonly group?: PlacementGroupName | undefined;
    /** Nothing is changed: the group is only looked up. */
    readonly check?: boolean | undefined;
  },
): Promise<ResolvedPlacementGroup | undefined> =>
  transact(region.db, async (tx) => {
    if (request.check === true)
      return request.group && resolved(await findPlacementGroup(tx, request.accountId, request.group));
    const eni = await tx
      .selectFrom('eni')
      .select('eni_id')
      .where('account_id', '=', request.accountId)
      .where('instance_id', '=', parseId('instance', request.instanceId))
      .forUpdate()
      .executeTakeFirst();
    if (eni === undefined) throw notFound('networkInterface', request.instanceId);
    if (request.group === undefined) {
      await tx
        .updateTable('eni')
        .set({ placement_group_id: null })
        .where('eni_id', '=', eni.eni_id)
        .execute();
      return undefined;
    }
    const { group_id: groupId } = await findPlacementGroup(tx, request.accountId, request.group);
    return joinPlacementGroup(tx, request.accountId, eni.eni_id, groupId);
  });

/** What these groups are, for cells that have members of them; those that are no more are left out. */
export const describePlacementGroups = async (
  db: Database,
  groupIds: readonly string[],
): Promise<ResolvedPlacementGroup[]> =>
  (
    await db
      .selectFrom('placement_group')
      .selectAll()
      .where('group_id', '=', (row) => row.fn.any(row.val([...groupIds])))
      .execute()
  ).map(resolved);
