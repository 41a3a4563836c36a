/** Placement groups: kept and described. Which hosts their instances get is decided by cells, under these groups' strategies. */
import { violatedConstraint } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import { newId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { applyFilters, type FilterSpec } from '#wire/filters.ts';
import type { Handlers, In, Out } from '#wire/types.ts';
import { change, lockAccount } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { findAll, withTags } from '../describe.ts';
import { findPlacementGroup, unknownPlacementGroup } from '../placement-groups.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOnCreate } from '../resource-tags.ts';
import type { RegionTransaction, Row } from '../schema.ts';

type PlacementGroup = NonNullable<Out<'CreatePlacementGroup'>['PlacementGroup']>;
type GroupRow = Row<'placement_group'> & Tagged;

const groupsPerAccountMax = 500;
const nameCharsMax = 255;
const partitionsDefault = 2;
const partitionsMax = 7;
const strategies = ['cluster', 'spread', 'partition'] as const;
type Strategy = (typeof strategies)[number];

const arnOf = (context: ActionContext, name: string): string =>
  `arn:aws:ec2:${context.region.config.regionName}:${context.accountId}:placement-group/${name}`;

const spreadLevelOf = (group: GroupRow) => (group.strategy === 'spread' ? ('rack' as const) : undefined);

const show = (context: ActionContext, group: GroupRow): PlacementGroup => ({
  GroupId: group.group_id,
  GroupName: group.name,
  GroupArn: arnOf(context, group.name),
  State: 'available',
  Strategy: group.strategy,
  ...(group.partition_count === null ? {} : { PartitionCount: group.partition_count }),
  ...(group.strategy === 'spread' ? { SpreadLevel: spreadLevelOf(group) } : {}),
  Tags: group.tags,
});

const invalid = (name: string, value: string | number, expected: string): PandoError =>
  new PandoError(
    'InvalidParameterValue',
    `Value (${String(value).slice(0, 64)}) for parameter ${name} is invalid. ${expected}`,
  );

const readStrategy = (given: string | undefined): Strategy => {
  if (given === undefined) return 'cluster';
  const strategy = strategies.find((one) => one === given);
  if (strategy === undefined) throw invalid('strategy', given, `Expecting one of ${strategies.join(', ')}.`);
  return strategy;
};

const readPartitions = (strategy: Strategy, count: number | undefined): number | null => {
  if (strategy !== 'partition') {
    if (count !== undefined)
      throw new PandoError(
        'InvalidParameterCombination',
        `A group of the strategy '${strategy}' has no partitions.`,
      );
    return null;
  }
  const partitions = count ?? partitionsDefault;
  if (partitions < 1 || partitions > partitionsMax)
    throw invalid('partitionCount', partitions, `Expecting 1 to ${partitionsMax}.`);
  return partitions;
};

const refuseOthers = (input: In<'CreatePlacementGroup'>, strategy: Strategy): void => {
  const found = (['LinkedGroupId', 'Operator', 'ParentGroupId'] as const).find(
    (name) => input[name] !== undefined,
  );
  if (found !== undefined)
    throw new PandoError('UnsupportedOperation', `The parameter ${found} is not supported.`);
  if (input.SpreadLevel === undefined) return;
  if (strategy !== 'spread')
    throw new PandoError(
      'InvalidParameterCombination',
      `A group of the strategy '${strategy}' has no spread level.`,
    );
  if (input.SpreadLevel !== 'rack')
    throw invalid('spreadLevel', input.SpreadLevel, "Expecting 'rack': there are no outposts.");
};

const checkName = (name: string | undefined): string => {
  if (name === undefined || name === '')
    throw new PandoError('MissingParameter', 'The request must contain the parameter groupName');
  if (name.length > nameCharsMax || !/^[\x20-\x7e]*$/.test(name))
    throw invalid('groupName', name, `Expecting up to ${nameCharsMax} ASCII characters.`);
  return name;
};

const checkRoom = async (tx: RegionTransaction, accountId: string, name: string): Promise<void> => {
  await lockAccount(tx, accountId);
  const own = await tx
    .selectFrom('placement_group')
    .select('name')
    .where('account_id', '=', accountId)
    .execute();
  if (own.some((group) => group.name === name))
    throw new PandoError('InvalidPlacementGroup.Duplicate', `The placement group '${name}' already exists.`);
  if (own.length >= groupsPerAccountMax)
    throw new PandoError(
      'ResourceLimitExceeded',
      `An account has ${groupsPerAccountMax} placement groups at most.`,
    );
};

const filtersOf = (context: ActionContext): FilterSpec<GroupRow> => ({
  'group-arn': (group) => arnOf(context, group.name),
  'group-name': (group) => group.name,
  'spread-level': spreadLevelOf,
  state: () => 'available',
  strategy: (group) => group.strategy,
});

const selectAsked = (
  rows: readonly GroupRow[],
  input: In<'DescribePlacementGroups'>,
): readonly GroupRow[] => {
  const { GroupIds: ids = [], GroupNames: names = [] } = input;
  if (ids.length + names.length === 0) return rows;
  const find = (text: string, of: (group: GroupRow) => string): GroupRow => {
    const found = rows.find((group) => of(group) === text);
    if (found === undefined) throw unknownPlacementGroup(text);
    return found;
  };
  return [
    ...new Set([
      ...findAll('placementGroup', ids, (id) => rows.find((group) => group.group_id === id)),
      ...names.map((name) => find(name, (group) => group.name)),
    ]),
  ];
};

export const placementGroupHandlers: Handlers<ActionContext> = {
  async CreatePlacementGroup(input, context) {
    const name = checkName(input.GroupName);
    const strategy = readStrategy(input.Strategy);
    refuseOthers(input, strategy);
    const partition_count = readPartitions(strategy, input.PartitionCount);
    const tags = tagsOnCreate(input.TagSpecifications, 'placement-group');
    const row = await change(context, input, async (tx) => {
      await checkRoom(tx, context.accountId, name);
      const group_id = newId('placementGroup');
      const made = await tx
        .insertInto('placement_group')
        .values({ group_id, account_id: context.accountId, name, strategy, partition_count })
        .returningAll()
        .executeTakeFirstOrThrow();
      await insertTags(tx, context.accountId, 'placement-group', group_id, tags);
      return made;
    });
    return { PlacementGroup: show(context, { ...row, tags }) };
  },

  async DescribePlacementGroups(input, context) {
    const all = context.region.db
      .selectFrom('placement_group')
      .selectAll()
      .where('account_id', '=', context.accountId)
      .orderBy('name')
      .execute();
    const rows = await withTags(context, 'placement-group', all, (group) => group.group_id);
    const asked = selectAsked(rows, input);
    const items = applyFilters(asked, input.Filters, filtersOf(context), (group) => group.tags);
    endDryRun(input);
    return { PlacementGroups: items.map((group) => show(context, group)) };
  },

  async DeletePlacementGroup(input, context) {
    await change(context, input, async (tx) => {
      const group = await findPlacementGroup(tx, context.accountId, { name: input.GroupName });
      await tx.deleteFrom('placement_group').where('group_id', '=', group.group_id).execute();
      await deleteTagsOf(tx, group.group_id);
    }).catch((error: unknown) => {
      // The database itself keeps a group with instances, also with one that has only just joined.
      if (violatedConstraint(error) === 'eni_placement_group_id_fkey')
        throw new PandoError(
          'InvalidPlacementGroup.InUse',
          `The placement group '${input.GroupName.slice(0, nameCharsMax)}' is in use and may not be deleted.`,
        );
      throw error;
    });
    return {};
  },
};
