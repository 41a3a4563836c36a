/** Changes of an interface that exists: its groups, its source/destination check, its description. */
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import { type Actor, changeVpc } from './change.ts';
import { findGroups } from './launch.ts';
import { notFound } from './not-found.ts';
import type { Row } from './schema.ts';

/** An interface by its own id, or by its instance's. */
export type InterfaceName = { readonly eniId: string } | { readonly instanceId: string };

export interface InterfaceChange {
  /** The whole new set, one at least. */
  readonly groupIds?: readonly string[] | undefined;
  readonly sourceDestCheck?: boolean | undefined;
  readonly description?: string | undefined;
}

export interface ChangedInterface {
  readonly groups: { groupId: string; groupName: string }[];
  readonly sourceDestCheck: boolean;
  /** The VPC's version with this change. */
  readonly version: number;
}

/** The caller's interface. @throws InvalidNetworkInterfaceID.NotFound, also where an instance has none (yet, or any more) */
export const requireInterface = async (actor: Actor, name: InterfaceName): Promise<Row<'eni'>> => {
  const own = actor.region.db.selectFrom('eni').selectAll().where('account_id', '=', actor.accountId);
  const found =
    'eniId' in name
      ? own.where('eni_id', '=', parseId('networkInterface', name.eniId))
      : own.where('instance_id', '=', parseId('instance', name.instanceId));
  const eni = await found.executeTakeFirst();
  if (eni === undefined) throw notFound('networkInterface', 'eniId' in name ? name.eniId : name.instanceId);
  return eni;
};

/**
 * Changes an interface under the lock of its VPC, whose devices are told before this returns.
 *
 * @throws InvalidGroup.NotFound, SecurityGroupsPerInterfaceLimitExceeded, InvalidParameterValue (no group), DryRunOperation
 */
export const changeInterface = async (
  actor: Actor,
  name: InterfaceName,
  change: InterfaceChange,
  dryRun: boolean,
): Promise<ChangedInterface> => {
  const eni = await requireInterface(actor, name);
  if (change.groupIds?.length === 0)
    throw new PandoError('InvalidParameterValue', 'An interface must have at least one security group.');
  return changeVpc(actor, { DryRun: dryRun }, eni.vpc_id, async (tx, vpc) => {
    // Looked up under the VPC's lock: a group that is deleted at the same time is either gone here or kept by this use.
    const groupIds = change.groupIds ?? eni.group_ids;
    const groups = await findGroups(
      tx,
      actor.region.config.limits,
      { accountId: actor.accountId, groupIds, groupNames: [] },
      vpc.vpc_id,
    );
    const changed = await tx
      .updateTable('eni')
      .set({
        ...(change.groupIds === undefined ? {} : { group_ids: groups.map((group) => group.group_id) }),
        ...(change.sourceDestCheck === undefined ? {} : { source_dest_check: change.sourceDestCheck }),
        description: change.description ?? eni.description,
      })
      .where('eni_id', '=', eni.eni_id)
      .returning('source_dest_check')
      .executeTakeFirst();
    if (changed === undefined) throw notFound('networkInterface', eni.eni_id);
    return {
      groups: groups.map((group) => ({ groupId: group.group_id, groupName: group.name })),
      sourceDestCheck: changed.source_dest_check,
      version: vpc.version,
    };
  });
};
