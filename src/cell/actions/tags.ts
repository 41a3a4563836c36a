/** Tags of instances and of their root volumes. */
import type { TagDescription } from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import { invalidId, isId, notFound } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { applyFilters, type FilterSpec } from '#wire/filters.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
import { checkRemovedTags, mergeTags, validateTags } from '#wire/tags.ts';
import type { In, Out } from '#wire/types.ts';
import { changeInstance, type InstanceRow, type Tags } from '../store/instances.ts';
import type { Sql } from '../store/sql.ts';
import type { CellContext } from './context.ts';
import { findInstances, lockNamed } from './find.ts';

type Change = (tags: Tags) => Tags;

const volumesOf = async (context: CellContext, tx: Sql, ids: readonly string[]): Promise<InstanceRow[]> => {
  const rows = await tx.query<InstanceRow>(
    `select * from instances where account_id = $1 and spec->>'volumeId' = any($2) and state <> 'terminated' order by id for update`,
    [context.request.accountId, ids],
  );
  const found = new Set(rows.map((row) => row.spec.volumeId));
  const missing = ids.filter((id) => !found.has(id));
  if (missing.length > 0) throw notFound('volume', missing);
  return rows;
};

/** All resources or none: they are locked and checked before the first is changed. */
const changeTags = async (
  context: CellContext,
  input: { readonly Resources: string[] | undefined; readonly DryRun?: boolean | undefined },
  change: Change,
): Promise<void> => {
  const resources = [...new Set(input.Resources ?? [])];
  const instanceIds = resources.filter((id) => isId('instance', id));
  const volumeIds = resources.filter((id) => isId('volume', id));
  const other = resources.find((id) => !isId('instance', id) && !isId('volume', id));
  if (resources.length === 0)
    throw new PandoError('MissingParameter', 'The request must contain the parameter ResourceId');
  if (other !== undefined) throw invalidId(other);
  await context.services.db.transaction(async (tx) => {
    const instances = instanceIds.length > 0 ? await lockNamed(context, tx, instanceIds) : [];
    const volumes = volumeIds.length > 0 ? await volumesOf(context, tx, volumeIds) : [];
    endDryRun(input);
    for (const row of instances) await changeInstance(tx, row.id, { tags: change(row.tags) });
    for (const row of volumes) await changeInstance(tx, row.id, { volume_tags: change(row.volume_tags) });
  });
};

export const createTags = async (
  input: In<'CreateTags'>,
  context: CellContext,
): Promise<Out<'CreateTags'>> => {
  const added = validateTags(input.Tags ?? []);
  await changeTags(context, input, (tags) => mergeTags(tags, added));
  return {};
};

/** A tag with a value is removed only where it has that value; no tags at all: every one is removed. */
export const deleteTags = async (
  input: In<'DeleteTags'>,
  context: CellContext,
): Promise<Out<'DeleteTags'>> => {
  const removed = input.Tags;
  checkRemovedTags(removed ?? []);
  const keeps = (tag: Tags[number]): boolean =>
    removed !== undefined &&
    !removed.some(({ Key, Value }) => Key === tag.Key && (Value === undefined || Value === tag.Value));
  await changeTags(context, input, (tags) => tags.filter(keeps));
  return {};
};

const tagFilters: FilterSpec<TagDescription> = {
  key: (tag) => tag.Key,
  value: (tag) => tag.Value,
  'resource-id': (tag) => tag.ResourceId,
  'resource-type': (tag) => tag.ResourceType,
};

const describe = (row: InstanceRow): TagDescription[] => [
  ...row.tags.map((tag): TagDescription => ({ ...tag, ResourceId: row.id, ResourceType: 'instance' })),
  ...(row.state === 'terminated'
    ? []
    : row.volume_tags.map(
        (tag): TagDescription => ({ ...tag, ResourceId: row.spec.volumeId, ResourceType: 'volume' }),
      )),
];

const cursorOf = (tag: TagDescription): string => `${tag.ResourceId} ${tag.Key}`;

export const describeTags = async (
  input: In<'DescribeTags'>,
  context: CellContext,
): Promise<Out<'DescribeTags'>> => {
  const page = readPage(input, {
    secret: context.pageSecret,
    scope: `${context.request.accountId}/DescribeTags`,
    capped: true,
  });
  endDryRun(input);
  const asTag = (tag: TagDescription) => [{ Key: tag.Key ?? '', Value: tag.Value ?? '' }];
  const tags = (await findInstances(context, undefined)).flatMap(describe);
  const matching = applyFilters(tags, input.Filters, tagFilters, asTag);
  matching.sort((a, b) => (cursorOf(a) < cursorOf(b) ? -1 : 1));
  const cut = cutPage(matching, page, cursorOf);
  return { Tags: [...cut.items], ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }) };
};
