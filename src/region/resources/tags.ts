/** Tags of the region's resources. Those of instances and volumes are their cells'. */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import { checkTaggedId, type IdKind, idKinds, invalidId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { compileFilters, type Filter, type FilterSpec } from '#wire/filters.ts';
import { cutPage, type PageRequest, readPage } from '#wire/pagination.ts';
import { checkRemovedTags, mergeTags, validateTags } from '#wire/tags.ts';
import type { Handlers } from '#wire/types.ts';
import { change } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { notFound } from '../not-found.ts';
import type { RegionSchema, RegionTransaction, Row } from '../schema.ts';

interface TaggableKind {
  readonly type: string;
  readonly table: keyof RegionSchema;
  readonly column: string;
}

const taggable = {
  vpc: { type: 'vpc', table: 'vpc', column: 'vpc_id' },
  subnet: { type: 'subnet', table: 'subnet', column: 'subnet_id' },
  internetGateway: { type: 'internet-gateway', table: 'internet_gateway', column: 'internet_gateway_id' },
  routeTable: { type: 'route-table', table: 'route_table', column: 'route_table_id' },
  securityGroup: { type: 'security-group', table: 'security_group', column: 'group_id' },
  securityGroupRule: { type: 'security-group-rule', table: 'any_security_group_rule', column: 'rule_id' },
  networkAcl: { type: 'network-acl', table: 'network_acl', column: 'network_acl_id' },
  dhcpOptions: { type: 'dhcp-options', table: 'dhcp_options', column: 'dhcp_options_id' },
  launchTemplate: { type: 'launch-template', table: 'launch_template', column: 'launch_template_id' },
  placementGroup: { type: 'placement-group', table: 'placement_group', column: 'group_id' },
  instanceEventWindow: { type: 'instance-event-window', table: 'event_window', column: 'window_id' },
  networkInterface: { type: 'network-interface', table: 'eni', column: 'eni_id' },
  allocation: { type: 'elastic-ip', table: 'public_address', column: 'allocation_id' },
  keyPair: { type: 'key-pair', table: 'key_pair', column: 'key_pair_id' },
  image: { type: 'image', table: 'image', column: 'image_id' },
} as const satisfies Partial<Record<IdKind, TaggableKind>>;

type TaggableIdKind = keyof typeof taggable;
const kinds = Object.keys(taggable) as TaggableIdKind[];
const resourcesMax = 1_000;

const kindOf = (id: string): TaggableIdKind => {
  const kind = kinds.find((one) => id.startsWith(`${idKinds[one].prefix}-`));
  if (kind === undefined) throw invalidId(id);
  checkTaggedId(id);
  return kind;
};

/** The type of each resource, all of which must be the caller's (or, of images, public). */
const requireResources = async (
  tx: RegionTransaction,
  context: ActionContext,
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> => {
  if (ids.length > resourcesMax)
    throw new PandoError('InvalidParameterValue', `More than ${resourcesMax} resources in one request.`);
  const byKind = Map.groupBy(new Set(ids), kindOf);
  for (const [kind, group] of byKind) {
    const present = await presentIds(tx, context.accountId, kind, group);
    const missing = group.filter((id) => !present.has(id));
    if (missing.length > 0) throw notFound(kind, missing);
  }
  return new Map([...byKind].flatMap(([kind, group]) => group.map((id) => [id, taggable[kind].type])));
};

const presentIds = async (
  tx: RegionTransaction,
  accountId: string,
  kind: TaggableIdKind,
  ids: readonly string[],
): Promise<ReadonlySet<string>> => {
  const { table, column } = taggable[kind];
  const { rows } = await sql<{ id: string }>`
    select ${sql.ref(column)} as id from ${sql.table(table)}
    where ${sql.ref(column)} = any (${ids}::text[]) and ${ownership(kind, accountId)}`.execute(tx);
  return new Set(rows.map((row) => row.id));
};

/** Rules belong to whoever has their group; public images may be tagged by everyone, each for himself. */
const ownership = (kind: TaggableIdKind, accountId: string) => {
  if (kind === 'securityGroupRule')
    return sql`group_id in (select group_id from security_group where account_id = ${accountId})`;
  return kind === 'image' ? sql`(account_id = ${accountId} or is_public)` : sql`account_id = ${accountId}`;
};

type TagRow = Row<'tag'>;

const tagFilters: FilterSpec<TagRow> = {
  key: (tag) => tag.key,
  'resource-id': (tag) => tag.resource_id,
  'resource-type': (tag) => tag.resource_type,
  value: (tag) => tag.value,
};

const cursorOf = (tag: Pick<TagRow, 'resource_id' | 'key'>): string => `${tag.resource_id} ${tag.key}`;

/** The tags that match, from the page's place on, until the page is full. The key of a tag may have blanks, an id has none. */
const nextTags = async (
  context: ActionContext,
  page: PageRequest,
  filters: readonly Filter[],
  matches: (tag: TagRow) => boolean,
): Promise<TagRow[]> => {
  const limit = page.items + 1;
  const ids = filters.find(
    ({ Name, Values }) => Name === 'resource-id' && !Values?.some((value) => /[*?\\]/.test(value)),
  )?.Values;
  const found: TagRow[] = [];
  const blank = page.after?.indexOf(' ') ?? -1;
  let after = blank < 0 ? undefined : { id: page.after?.slice(0, blank), key: page.after?.slice(blank + 1) };
  for (;;) {
    const { rows } = await sql<TagRow>`
      select * from tag where account_id = ${context.accountId}
        ${ids === undefined ? sql`` : sql`and resource_id = any (${ids}::text[])`}
        ${after === undefined ? sql`` : sql`and (resource_id, key) > (${after.id}::text, ${after.key}::text)`}
      order by resource_id, key limit ${limit}`.execute(context.region.db);
    found.push(...rows.filter(matches));
    const last = rows.at(-1);
    if (rows.length < limit || last === undefined || found.length >= limit) return found;
    after = { id: last.resource_id, key: last.key };
  }
};

export const tagHandlers: Handlers<ActionContext> = {
  async CreateTags(input, context) {
    const added = validateTags(input.Tags);
    await change(context, input, async (tx) => {
      const types = await requireResources(tx, context, input.Resources);
      for (const [id, type] of types) await setTags(tx, context.accountId, id, type, added);
    });
    return {};
  },

  async DeleteTags(input, context) {
    const { Tags: tags } = input;
    checkRemovedTags(tags ?? []);
    await change(context, input, async (tx) => {
      const types = await requireResources(tx, context, input.Resources);
      const all = tx
        .deleteFrom('tag')
        .where('account_id', '=', context.accountId)
        .where('resource_id', 'in', [...types.keys()]);
      if (tags === undefined || tags.length === 0) {
        await all.execute();
        return;
      }
      for (const tag of tags) {
        // With a value, only a tag that has it; without one, whatever it has.
        const one = all.where('key', '=', tag.Key ?? '');
        await (tag.Value === undefined ? one : one.where('value', '=', tag.Value)).execute();
      }
    });
    return {};
  },

  async DescribeTags(input, context) {
    const page = readPage(input, {
      secret: context.region.pageSecret,
      scope: `${context.accountId}/DescribeTags`,
      capped: true,
    });
    const matches = compileFilters(input.Filters, tagFilters, (tag) => [{ Key: tag.key, Value: tag.value }]);
    const matching = await nextTags(context, page, input.Filters ?? [], matches);
    endDryRun(input);
    const cut = cutPage(matching, page, cursorOf);
    return {
      Tags: cut.items.map((tag) => ({
        ResourceId: tag.resource_id,
        // The schema's enumeration is the list of types in `taggable`.
        ResourceType: tag.resource_type as 'vpc',
        Key: tag.key,
        Value: tag.value,
      })),
      NextToken: cut.nextToken,
    };
  },
};

const setTags = async (
  tx: RegionTransaction,
  accountId: string,
  resourceId: string,
  type: string,
  added: readonly { readonly Key: string; readonly Value: string }[],
): Promise<void> => {
  const present = await tx
    .selectFrom('tag')
    .select(['key as Key', 'value as Value'])
    .where('resource_id', '=', resourceId)
    .where('account_id', '=', accountId)
    .execute();
  mergeTags(present, added);
  if (added.length === 0) return;
  const rows = added.map((tag) => ({
    resource_id: resourceId,
    account_id: accountId,
    resource_type: type,
    key: tag.Key,
    value: tag.Value,
  }));
  await tx
    .insertInto('tag')
    .values(rows)
    .onConflict((conflict) =>
      conflict
        .columns(['resource_id', 'account_id', 'key'])
        .doUpdateSet((row) => ({ value: row.ref('excluded.value') })),
    )
    .execute();
};
