/** Tags of instances and of their root volumes. */
import type { TagDescription } from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import { invalidId, isId, notFound } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { compileFilters, type Filter, type FilterSpec } from '#wire/filters.ts';
import { cutPage, type PageRequest, readPage } from '#wire/pagination.ts';
import { checkRemovedTags, mergeTags, validateTags } from '#wire/tags.ts';
import type { In, Out } from '#wire/types.ts';
import { listTaggedInstances, listTaggedRows, listTaggedVolumes } from '../store/instance-lists.ts';
import { changeInstance, type InstanceRow, metadataDue, type Tags } from '../store/instances.ts';
import type { Sql } from '../store/sql.ts';
import type { CellContext } from './context.ts';
import { lockNamed, visibleSince } from './find.ts';
import { checkVisibleTags } from './metadata-tags.ts';

type Change = (tags: Tags) => Tags;

/** What has tags beside instances and volumes: a table's rows by themselves. */
const tables = [
  { kind: 'capacityReservation', type: 'capacity-reservation', table: 'capacity_reservations' },
  { kind: 'host', type: 'dedicated-host', table: 'dedicated_hosts' },
] as const;

const changeRows = async (
  context: CellContext,
  tx: Sql,
  { kind, table }: (typeof tables)[number],
  ids: readonly string[],
): Promise<readonly { readonly id: string; readonly tags: Tags }[]> => {
  const rows = await tx.query<{ id: string; tags: Tags }>(
    `select id, tags from ${table} where account_id = $1 and id = any($2) order by id for update`,
    [context.request.accountId, ids],
  );
  const missing = ids.filter((id) => !rows.some((row) => row.id === id));
  if (missing.length > 0) throw notFound(kind, missing);
  return rows;
};

const volumesOf = async (context: CellContext, tx: Sql, ids: readonly string[]): Promise<InstanceRow[]> => {
  const rows = await tx.query<InstanceRow>(
    `select * from instances where account_id = $1 and spec->>'volumeId' = any($2) and terminated_at is null order by id for update`,
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
  const others = tables.map((each) => ({ ...each, ids: resources.filter((id) => isId(each.kind, id)) }));
  const known = new Set<string>([...instanceIds, ...volumeIds, ...others.flatMap(({ ids }) => ids)]);
  const other = resources.find((id) => !known.has(id));
  if (resources.length === 0)
    throw new PandoError('MissingParameter', 'The request must contain the parameter ResourceId');
  if (other !== undefined) throw invalidId(other);
  await context.services.db.transaction(async (tx) => {
    const instances = instanceIds.length > 0 ? await lockNamed(context, tx, instanceIds) : [];
    const volumes = volumeIds.length > 0 ? await volumesOf(context, tx, volumeIds) : [];
    const changed = instances.map((row) => ({ row, tags: change(row.tags) }));
    for (const { row, tags } of changed) checkVisibleTags(row.spec.metadata.instanceTags, tags);
    const rest = [];
    for (const one of others)
      if (one.ids.length > 0)
        for (const row of await changeRows(context, tx, one, one.ids))
          rest.push({ table: one.table, id: row.id, tags: change(row.tags) });
    endDryRun(input);
    for (const { table, id, tags } of rest)
      await tx.query(`update ${table} set tags = $2::jsonb where id = $1`, [id, JSON.stringify(tags)]);
    for (const { row, tags } of changed) {
      const seen = row.spec.metadata.instanceTags === 'enabled';
      await changeInstance(tx, row.id, { tags, ...(seen ? metadataDue(row) : {}) });
    }
    for (const row of volumes) await changeInstance(tx, row.id, { volume_tags: change(row.volume_tags) });
  });
  context.metadataChanged();
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

const cursorOf = (tag: TagDescription): string => `${tag.ResourceId} ${tag.Key}`;

const asTag = (tag: TagDescription) => [{ Key: tag.Key ?? '', Value: tag.Value ?? '' }];

/** What has tags, in the order in which their ids sort. */
const tagSources = [
  { type: 'capacity-reservation', list: listTaggedRows('capacity_reservations') },
  { type: 'dedicated-host', list: listTaggedRows('dedicated_hosts') },
  { type: 'instance', list: listTaggedInstances },
  { type: 'volume', list: listTaggedVolumes },
] as const;

/** The ids that a filter names, where it names any; the store reads no others. */
const idsNamed = (filters: readonly Filter[]): readonly string[] | undefined =>
  filters.find(({ Name, Values }) => Name === 'resource-id' && !Values?.some((value) => /[*?\\]/.test(value)))
    ?.Values;

/** Tags of one kind of resource that match, from the page's place on, until there are enough. */
const tagsFrom = async (
  context: CellContext,
  { type, list }: (typeof tagSources)[number],
  page: PageRequest,
  filters: readonly Filter[],
  matches: (tag: TagDescription) => boolean,
): Promise<TagDescription[]> => {
  const limit = page.items + 1;
  const { accountId } = context.request;
  const request = { accountId, endedSince: visibleSince(context), ids: idsNamed(filters), limit };
  const found: TagDescription[] = [];
  // The resource of the last tag of the page before may have more of them.
  let from = page.after?.split(' ')[0] ?? '';
  for (;;) {
    const rows = await list(context.services.db, { ...request, from });
    const tags = rows.flatMap(({ id, tags }) =>
      [...tags]
        .sort((a, b) => (a.Key < b.Key ? -1 : 1))
        .map((tag) => ({ ...tag, ResourceId: id, ResourceType: type })),
    );
    found.push(...tags.filter((tag) => cursorOf(tag) > (page.after ?? '') && matches(tag)));
    const last = rows.at(-1);
    if (rows.length < limit || last === undefined || found.length >= limit) return found;
    from = `${last.id}~`;
  }
};

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
  const matches = compileFilters(input.Filters, tagFilters, asTag);
  const matching: TagDescription[] = [];
  for (const source of tagSources) {
    if (matching.length > page.items) break;
    matching.push(...(await tagsFrom(context, source, page, input.Filters ?? [], matches)));
  }
  const cut = cutPage(matching, page, cursorOf);
  return { Tags: [...cut.items], ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }) };
};
