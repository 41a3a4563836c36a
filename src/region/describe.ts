/** The common part of every Describe action: ids, filters, pages. */
import { type IdKind, parseId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { applyFilters, compileFilters, type Filter, type FilterSpec } from '#wire/filters.ts';
import { wireLimits } from '#wire/limits.ts';
import { cutPage, type PageRequest, readPage } from '#wire/pagination.ts';
import type { ActionContext } from './context.ts';
import { notFound } from './not-found.ts';
import { type Tagged, tagsOfType } from './resource-tags.ts';

interface DescribeInput {
  readonly Filters?: readonly Filter[] | undefined;
  readonly MaxResults?: number | undefined;
  readonly NextToken?: string | undefined;
  readonly DryRun?: boolean | undefined;
}

export interface DescribeRules<T> {
  readonly action: string;
  /** Items are sorted and paged by it; unique. */
  idOf(item: T): string;
  readonly filters: FilterSpec<T>;
  tagsOf?(item: T): readonly { Key?: string; Value?: string }[] | undefined;
  /** Ids that were asked for: each must be there. */
  readonly ids?: {
    readonly kind: IdKind;
    readonly parameter: string;
    readonly values: readonly string[] | undefined;
  };
  /** Bounds of MaxResults where they are not EC2's usual ones. */
  readonly page?: { readonly itemsMin: number; readonly itemsMax: number };
}

/** The page of `items` (all that the account has) that was asked for. */
export const describe = <T>(
  items: readonly T[],
  input: DescribeInput & object,
  context: ActionContext,
  rules: DescribeRules<T>,
): { readonly items: T[]; readonly nextToken: string | undefined } => {
  const page = pageOf(input, context, rules);
  const asked = selectIds(items, rules);
  const matching = applyFilters(asked, input.Filters, rules.filters, rules.tagsOf);
  endDryRun(input);
  matching.sort((a, b) => (rules.idOf(a) < rules.idOf(b) ? -1 : 1));
  const cut = cutPage(matching, page, rules.idOf, jsonBytes);
  return { items: [...cut.items], nextToken: cut.nextToken };
};

type PageOf = Pick<DescribeRules<never>, 'action' | 'ids' | 'page'>;

const pageOf = (input: DescribeInput & object, context: ActionContext, rules: PageOf): PageRequest =>
  readPage(input, {
    secret: context.region.pageSecret,
    scope: `${context.accountId}/${rules.action}`,
    ...(rules.ids === undefined ? {} : { ids: { parameter: rules.ids.parameter, values: rules.ids.values } }),
    ...rules.page,
  });

/** A row, its tags and rules among it, is about as large as what is shown of it. */
const jsonBytes = (item: unknown): number => Buffer.byteLength(JSON.stringify(item));

/** What of the items is looked at by {@link describe} in turn: all that it needs beside them is read for a few at a time. */
export interface BatchRules<Base, T extends Base> extends DescribeRules<T> {
  idOf(item: Base): string;
  /** The items with what belongs to them. */
  load(batch: readonly Base[]): Promise<readonly T[]>;
}

/** Items that are loaded at a time. */
const batchItemsMax = 50;

/** {@link describe} for items whose parts may be more than there is room for: they are read until the page is full. */
export const describeInBatches = async <Base, T extends Base>(
  bases: readonly Base[],
  input: DescribeInput & object,
  context: ActionContext,
  rules: BatchRules<Base, T>,
): Promise<{ readonly items: T[]; readonly nextToken: string | undefined }> => {
  const page = pageOf(input, context, rules);
  const { after = '' } = page;
  const asked = selectIds(bases, rules).filter((base) => rules.idOf(base) > after);
  const matches = compileFilters(input.Filters, rules.filters, rules.tagsOf);
  endDryRun(input);
  asked.sort((a, b) => (rules.idOf(a) < rules.idOf(b) ? -1 : 1));
  const found: T[] = [];
  let bytes = 0;
  for (let at = 0; at < asked.length && found.length <= page.items; at += batchItemsMax) {
    if (found.length > 1 && bytes > wireLimits.pageBytesMax) break;
    const loaded = (await rules.load(asked.slice(at, at + batchItemsMax))).filter(matches);
    found.push(...loaded);
    bytes += loaded.reduce((sum, item) => sum + jsonBytes(item), 0);
  }
  const cut = cutPage(found, page, rules.idOf, jsonBytes);
  return { items: [...cut.items], nextToken: cut.nextToken };
};

const selectIds = <T>(items: readonly T[], rules: Pick<DescribeRules<T>, 'idOf' | 'ids'>): readonly T[] => {
  const { ids } = rules;
  if (ids?.values === undefined || ids.values.length === 0) return items;
  const byId = new Map(items.map((item) => [rules.idOf(item), item]));
  return findAll(ids.kind, ids.values, (id) => byId.get(id));
};

/** What each id names, once each. @throws EC2's error for one that is malformed, else for all that are not there */
export const findAll = <T>(
  kind: IdKind,
  given: readonly string[],
  find: (id: string) => T | undefined,
): T[] => {
  const ids = [...new Set(given)].map((id) => parseId(kind, id));
  const missing = ids.filter((id) => find(id) === undefined);
  if (missing.length > 0) throw notFound(kind, missing);
  return ids.flatMap((id) => find(id) ?? []);
};

/** Rows with their tags, in EC2's spelling. */
export const withTags = async <T>(
  context: ActionContext,
  type: string,
  rows: Promise<readonly T[]>,
  idOf: (row: T) => string,
): Promise<readonly (T & Tagged)[]> => {
  const [list, tags] = await Promise.all([rows, tagsOfType(context, type)]);
  return list.map((row) => ({ ...row, tags: tags.get(idOf(row)) ?? [] }));
};
