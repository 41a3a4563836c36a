/** What an instance's claims say beside their amount, and what its group asks of hosts, read under the group's lock. */
import { startAgain } from '#base/postgres/transaction.ts';
import type { Amount } from '#slots/amount.ts';
import { duePartitions, type GroupNeeds, type Needs, othersOf, type Strategy } from '#slots/constraints.ts';
import { findSize } from '../instance-types.ts';
import type { ClaimPurpose, NewClaim } from '../store/claims.ts';
import type { InstanceRow } from '../store/instances.ts';
import { knowGroup, listMembers, lockGroup, type PlacementGroupRow } from '../store/placement-groups.ts';
import type { Sql } from '../store/sql.ts';

type Constrained = Pick<InstanceRow, 'id' | 'account_id'> & {
  readonly spec: Pick<InstanceRow['spec'], 'instanceType' | 'placementGroup' | 'tenancy' | 'dedicatedHost'>;
};

/** An instance's claim for this purpose. */
export const claimOf = (
  { id, account_id, spec }: Constrained,
  purpose: Extract<ClaimPurpose, 'instance' | 'migration'>,
  amount: Amount,
): NewClaim & { readonly type: string } => {
  const { instanceType: type, placementGroup, tenancy, dedicatedHost } = spec;
  const capabilities = findSize(type)?.needs ?? [];
  return {
    // A dedicated host is a tenant of its own: not even its account's other instances may be there.
    ...{ purpose, holder: id, type, amount, accountId: dedicatedHost?.hostId ?? account_id },
    ...(tenancy === undefined ? {} : { dedicated: true }),
    ...(capabilities.length === 0 ? {} : { capabilities }),
    ...(placementGroup === undefined ? {} : { group: groupOf(placementGroup) }),
  };
};

const groupOf = ({ groupId, partition }: NonNullable<Constrained['spec']['placementGroup']>) => ({
  groupId,
  ...(partition === undefined ? {} : { partition }),
});

/** The group as this cell keeps it; undefined where a region of the last release did not say what it is. */
export const groupRowOf = (
  group:
    | {
        readonly groupId: string;
        readonly strategy?: Strategy | undefined;
        readonly partitionCount?: number | undefined;
      }
    | undefined,
): PlacementGroupRow | undefined =>
  group?.strategy === undefined
    ? undefined
    : {
        ...{ group_id: group.groupId, strategy: group.strategy },
        partition_count: group.partitionCount ?? null,
      };

/** What the claim asks of a host, without its group. */
export const needsOf = ({ accountId, dedicated, capabilities }: NewClaim): Needs => ({
  ...(accountId === undefined ? {} : { accountId }),
  ...(dedicated === undefined ? {} : { dedicated }),
  ...(capabilities === undefined ? {} : { capabilities }),
});

/** Takes the lock of a group, which this makes known where the caller knows what it is. Undefined: nobody here does. */
export const lockKnown = async (
  tx: Sql,
  groupId: string,
  known: PlacementGroupRow | undefined,
): Promise<PlacementGroupRow | undefined> => {
  const found = await lockGroup(tx, groupId);
  if (found !== undefined || known === undefined) return found;
  await knowGroup(tx, known);
  const made = await lockGroup(tx, groupId);
  // It was forgotten again between the two statements.
  if (made === undefined) throw startAgain('a placement group was forgotten just now');
  return made;
};

/**
 * The group's constraint for this claim, by the members of this moment. For a member of a partition group without a number there is one
 * for each partition, in the order in which they are due.
 */
export const groupNeeds = async (
  tx: Sql,
  { holder, group }: Pick<NewClaim, 'holder' | 'group'>,
  row: PlacementGroupRow,
): Promise<readonly GroupNeeds[]> => {
  const { group_id: groupId, strategy } = row;
  const members = othersOf(strategy, await listMembers(tx, groupId), holder);
  if (strategy !== 'partition') return [{ groupId, strategy, members }];
  const partitions =
    group?.partition === undefined ? duePartitions(row.partition_count ?? 1, members) : [group.partition];
  return partitions.map((partition) => ({ groupId, strategy, partition, members }));
};
