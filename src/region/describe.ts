/** The common part of every Describe action: ids, filters, pages. */
import { type IdKind, parseId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { applyFilters, type Filter, type FilterSpec } from '#wire/filters.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
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
  const page = readPage(input, {
    secret: context.region.pageSecret,
    scope: `${context.accountId}/${rules.action}`,
    ...(rules.ids === undefined ? {} : { ids: { parameter: rules.ids.parameter, values: rules.ids.values } }),
    ...rules.page,
  });
  const asked = selectIds(items, rules);
  const matching = applyFilters(asked, input.Filters, rules.filters, rules.tagsOf);
  endDryRun(input);
  matching.sort((a, b) => (rules.idOf(a) < rules.idOf(b) ? -1 : 1));
  const cut = cutPage(matching, page, rules.idOf);
  return { items: [...cut.items], nextToken: cut.nextToken };
};

const selectIds = <T>(items: readonly T[], rules: DescribeRules<T>): readonly T[] => {
  const { ids } = rules;
  if (ids?.values === undefined || ids.values.length === 0) return items;
  const byId = new Map(items.map((item) => [rules.idOf(item), item]));
  return [...new Set(ids.values)].map((id) => {
    const item = byId.get(parseId(ids.kind, id));
    if (item === undefined) throw notFound(ids.kind, id);
    return item;
  });
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
