/** Placement groups as launches need them. */
import { sql } from 'kysely';
import { violatedConstraint } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
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
    : own.where('group_id', '=', id)
  ).executeTakeFirst();
  if (group === undefined) throw unknownPlacementGroup(id ?? name ?? '');
  return group;
};

/** The group of a launch. A zone has a bounded number of a spread group's instances; which hosts they get is not looked at yet. */
export const resolvePlacementGroup = async (
  region: Region,
  request: { readonly accountId: string; readonly count?: number | undefined },
  named: PlacementGroupName,
  zone: string,
): Promise<{ groupId: string; groupName: string }> => {
  const group = await findPlacementGroup(region.db, request.accountId, named);
  if (group.strategy === 'spread') {
    const { rows } = await sql<{ count: number }>`
      select count(*)::int as count from eni join subnet using (subnet_id)
      where eni.placement_group_id = ${group.group_id} and subnet.zone = ${zone}`.execute(region.db);
    const after = (rows[0]?.count ?? 0) + (request.count ?? 1);
    if (after > spreadPerZoneMax)
      throw new PandoError(
        'InstanceLimitExceeded',
        `A spread placement group has ${spreadPerZoneMax} instances in an availability zone at most, '${group.name}' would have ${after}.`,
      );
  }
  return { groupId: group.group_id, groupName: group.name };
};

/** Puts a new interface's instance into a group. @throws InvalidPlacementGroup.Unknown if it was deleted meanwhile */
export const joinPlacementGroup = async (
  tx: RegionTransaction,
  accountId: string,
  eniId: string,
  groupId: string,
): Promise<void> => {
  const joined = await sql`
    update eni set placement_group_id = g.group_id from placement_group g
    where eni.eni_id = ${eniId} and g.group_id = ${groupId} and g.account_id = ${accountId}`
    .execute(tx)
    .catch((error: unknown) => {
      if (violatedConstraint(error) === 'eni_placement_group_id_fkey') throw unknownPlacementGroup(groupId);
      throw error;
    });
  if (joined.numAffectedRows !== 1n) throw unknownPlacementGroup(groupId);
};
