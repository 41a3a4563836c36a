/** Tags of the region's resources, in one table for all kinds. */
import type { TagSpecification, ValidTag } from '#wire/tags.ts';
import { parseTagSpecifications } from '#wire/tags.ts';
import type { ActionContext } from './context.ts';
import type { Database } from './schema.ts';

export interface Tagged {
  readonly tags: ValidTag[];
}

/** The tags that a create action gives to its one resource type. */
export const tagsOnCreate = (
  specifications: readonly TagSpecification[] | undefined,
  type: string,
): ValidTag[] => [...(parseTagSpecifications(specifications, [type]).get(type) ?? [])];

/** Writes a new resource's tags, in the transaction that makes it. */
export const insertTags = async (
  db: Database,
  accountId: string,
  type: string,
  resourceId: string,
  tags: readonly ValidTag[],
): Promise<void> => {
  if (tags.length === 0) return;
  const rows = tags.map((tag) => ({
    resource_id: resourceId,
    account_id: accountId,
    resource_type: type,
    key: tag.Key,
    value: tag.Value,
  }));
  await db.insertInto('tag').values(rows).execute();
};

/** Removes all tags of resources that are deleted, in the same transaction. */
export const deleteTagsOf = async (db: Database, ...resourceIds: string[]): Promise<void> => {
  await db.deleteFrom('tag').where('resource_id', 'in', resourceIds).execute();
};

/** All tags of one resource type that the account has set, by resource id; `ids`: of these resources alone. */
export const tagsOfType = async (
  context: ActionContext,
  type: string,
  ids?: readonly string[],
): Promise<Map<string, ValidTag[]>> => {
  const all = context.region.db
    .selectFrom('tag')
    .select(['resource_id', 'key as Key', 'value as Value'])
    .where('account_id', '=', context.accountId)
    .where('resource_type', '=', type)
    .orderBy('key');
  const rows = await (ids === undefined
    ? all
    : all.where('resource_id', '=', (row) => row.fn.any(row.val([...ids])))
  ).execute();
  const byId = new Map<string, ValidTag[]>();
  for (const { resource_id, Key, Value } of rows) {
    const list = byId.get(resource_id) ?? [];
    list.push({ Key, Value });
    byId.set(resource_id, list);
  }
  return byId;
};
