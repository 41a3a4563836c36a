/**
 * ModifyInstancePlacement: which placement group a stopped instance is in. The region, which keeps groups from being deleted while they
 * are in use, is told first; then the row and the claim follow. An instance that starts where its group does not want it is moved
 * (capacity/mending.ts), since its disk is where it is.
 */
import { PandoError } from '#contracts/errors.ts';
import { notFound, parseId } from '#contracts/ids.ts';
import type { In, Out } from '#wire/types.ts';
import { groupNeeds, groupRowOf, lockKnown } from '../capacity/constrained.ts';
import { permit } from '../instance-states.ts';
import { assertNotMigrating } from '../lifecycle.ts';
import { regroupClaim } from '../store/claims.ts';
import { listDedicatedHosts } from '../store/dedicated-hosts.ts';
import { changeInstance, type InstanceRow, type InstanceSpec } from '../store/instances.ts';
import type { Sql } from '../store/sql.ts';
import type { CellContext } from './context.ts';
import { findInstances, lockOne } from './find.ts';
import { checkAffinity } from './host-placement.ts';
import { checkPartition, type ResolvedGroup } from './launch-placement.ts';

type Input = In<'ModifyInstancePlacement'>;

/** @throws UnsupportedOperation for what is another instance's host, MissingParameter where nothing is asked for */
const readGroup = (input: Input): { id?: string; name?: string } | undefined => {
  if (input.GroupId !== undefined && input.GroupName !== undefined)
    throw new PandoError(
      'InvalidParameterCombination',
      'Either a GroupId or a GroupName of a placement group must be given, not both.',
    );
  if (input.GroupId !== undefined) return { id: input.GroupId };
  // An empty name takes the instance out of its group.
  if (input.GroupName !== undefined) return input.GroupName === '' ? undefined : { name: input.GroupName };
  throw new PandoError(
    'MissingParameter',
    'The request must contain a placement group: the parameter GroupName or GroupId.',
  );
};

interface Wanted {
  readonly instanceId: string;
  /** Undefined: out of every group. */
  readonly group?: { readonly id?: string; readonly name?: string } | undefined;
  readonly partition?: number | undefined;
  readonly tenancy?: string | undefined;
  readonly host: { readonly hostId: string | undefined; readonly affinity: string | undefined } | undefined;
  /** Whether its group is to change at all. */
  readonly regroup: boolean;
}

const readInput = (input: Input): Wanted => {
  const { InstanceId: instanceId, PartitionNumber: partition, Tenancy: tenancy } = input;
  const { HostId: hostId, Affinity: affinity } = input;
  if (input.HostResourceGroupArn !== undefined)
    throw new PandoError('UnsupportedOperation', 'The parameter HostResourceGroupArn is not supported.');
  checkAffinity(affinity);
  const host = hostId === undefined && affinity === undefined ? undefined : { hostId, affinity };
  const grouped = input.GroupId !== undefined || input.GroupName !== undefined || partition !== undefined;
  const regroup = grouped || (host === undefined && tenancy === undefined);
  return { instanceId, partition, tenancy, host, ...(regroup ? { group: readGroup(input) } : {}), regroup };
};

/**
 * Its disk lies on its dedicated host, so it stays with that one; whether it is bound to it may change.
 *
 * @throws InvalidParameterCombination, UnsupportedOperation
 */
const rehosted = (row: InstanceRow, { hostId, affinity }: NonNullable<Wanted['host']>): InstanceSpec => {
  const { dedicatedHost } = row.spec;
  if (dedicatedHost === undefined)
    throw new PandoError(
      'InvalidParameterCombination',
      `The instance '${row.id}' does not have the tenancy host: HostId and Affinity do not apply to it.`,
    );
  if (hostId !== undefined && hostId !== dedicatedHost.hostId)
    throw new PandoError(
      'UnsupportedOperation',
      `The instance '${row.id}' has its disk on the Dedicated Host '${dedicatedHost.hostId}' and cannot change to another one.`,
    );
  const bound = (affinity ?? dedicatedHost.affinity ?? 'default') === 'host';
  return {
    ...row.spec,
    dedicatedHost: { hostId: dedicatedHost.hostId, ...(bound ? { affinity: 'host' } : {}) },
  };
};

const checkTenancy = ({ tenancy }: Wanted, row: InstanceRow): void => {
  if (tenancy !== undefined && tenancy !== (row.spec.tenancy ?? 'default'))
    throw new PandoError(
      'InvalidParameterValue',
      `The tenancy of an instance cannot be changed to '${tenancy.slice(0, 64)}'.`,
    );
};

const checkState = (row: InstanceRow): void => {
  permit('modifyStopped', row.id, row.state);
  assertNotMigrating(row, 'modifyStopped');
};

/** The specification with this group, and without the former one. */
const regrouped = (
  { placementGroup: _former, ...spec }: InstanceSpec,
  group: InstanceSpec['placementGroup'],
): InstanceSpec => (group === undefined ? spec : { ...spec, placementGroup: group });

/** Row and claim, under the group's lock: a member of a partition group gets its number. */
const write = async (
  tx: Sql,
  row: InstanceRow,
  group: ResolvedGroup | undefined,
  partition: number | undefined,
): Promise<void> => {
  const known = groupRowOf(group);
  const locked = group && (await lockKnown(tx, group.groupId, known));
  const wanted = group && { groupId: group.groupId, ...(partition === undefined ? {} : { partition }) };
  const [needs] =
    locked === undefined
      ? []
      : await groupNeeds(tx, { holder: row.id, ...(wanted && { group: wanted }) }, locked);
  const own = needs?.partition === undefined ? {} : { partition: needs.partition };
  await regroupClaim(tx, row.id, group && { groupId: group.groupId, ...own });
  await changeInstance(tx, row.id, {
    spec: regrouped(row.spec, group && { groupId: group.groupId, groupName: group.groupName, ...own }),
  });
};

/** @throws InvalidHostID.NotFound, InvalidHostID.Malformed */
const checkHost = async ({ request, services }: CellContext, { host }: Wanted): Promise<void> => {
  if (host?.hostId === undefined) return;
  const id = parseId('host', host.hostId);
  const { accountId } = request;
  const found = await listDedicatedHosts(services.db, { accountId, ids: [id], limit: 1 });
  if (found.length === 0) throw notFound('host', id);
};

const changeHost = async (
  context: CellContext,
  { instanceId, host }: Wanted,
): Promise<Out<'ModifyInstancePlacement'>> => {
  await context.services.db.transaction(async (tx) => {
    const row = await lockOne(context, tx, instanceId);
    checkState(row);
    if (host !== undefined) await changeInstance(tx, row.id, { spec: rehosted(row, host) });
  });
  return { Return: true };
};

export const modifyInstancePlacement = async (
  input: Input,
  context: CellContext,
): Promise<Out<'ModifyInstancePlacement'>> => {
  const { db, region } = context.services;
  const wanted = readInput(input);
  const [seen] = await findInstances(context, [wanted.instanceId]);
  if (seen === undefined) return {};
  await checkHost(context, wanted);
  checkTenancy(wanted, seen);
  if (!wanted.regroup) return changeHost(context, wanted);
  const { account_id: accountId, id: instanceId } = seen;
  const tell = async (group: Wanted['group'], check = false): Promise<ResolvedGroup | undefined> =>
    (await region.call('region.changePlacementGroup', { accountId, instanceId, group, check }))
      .placementGroup;
  checkPartition(wanted, { placementGroup: await tell(wanted.group, true) });
  checkState(seen);
  const former = seen.spec.placementGroup;
  const group = await tell(wanted.group);
  try {
    await db.transaction(async (tx) => {
      const row = await lockOne(context, tx, instanceId);
      checkState(row);
      const spec = wanted.host === undefined ? row.spec : rehosted(row, wanted.host);
      await write(tx, { ...row, spec }, group, wanted.partition);
    });
  } catch (error) {
    // What was told is taken back; where that fails too, the instance's next start tells it.
    await tell(former && { id: former.groupId }).catch(() => undefined);
    throw error;
  }
  return { Return: true };
};
