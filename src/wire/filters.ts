import { PandoError } from '#contracts/errors.ts';
import { compileGlob } from './glob.ts';
import { wireLimits } from './limits.ts';

/** One value that a filter is compared with. Times are compared as ISO 8601 text, booleans as "true" and "false". */
export type FilterValue = string | number | boolean | Date | null | undefined;

/** What each filter of an action looks at. An item without a value matches no pattern. */
export type FilterSpec<T> = Readonly<Record<string, (item: T) => FilterValue | readonly FilterValue[]>>;

/** A filter as a client sends it. */
export interface Filter {
  readonly Name?: string | undefined;
  readonly Values?: readonly string[] | undefined;
}

/** A tag, as EC2 spells it. */
export interface Tag {
  readonly Key?: string | undefined;
  readonly Value?: string | undefined;
}

/** Where an item keeps its tags. With it, an action takes `tag:<key>` and `tag-key`. */
export type TagsOf<T> = (item: T) => readonly Tag[] | undefined;

/**
 * The items that match all filters, each by any of its values.
 *
 * @throws `InvalidParameterValue` for a filter that the action does not have or that has no values,
 * `FilterLimitExceeded` for too many.
 */
export function applyFilters<T>(
  items: readonly T[],
  filters: readonly Filter[] | undefined,
  spec: FilterSpec<T>,
  tagsOf?: TagsOf<T>,
): T[] {
  return items.filter(compileFilters(filters, spec, tagsOf));
}

/** {@link applyFilters} as a test for one item, for when items arrive one at a time. */
export function compileFilters<T>(
  filters: readonly Filter[] | undefined,
  spec: FilterSpec<T>,
  tagsOf?: TagsOf<T>,
): (item: T) => boolean {
  checkFilterLimits(filters ?? []);
  const tests = (filters ?? []).map((filter) => compileFilter(filter, spec, tagsOf));
  return (item) => tests.every((test) => test(item));
}

/** Said before anybody works on them. @throws FilterLimitExceeded */
export function checkFilterLimits(filters: readonly Filter[]): void {
  const values = filters.reduce((sum, filter) => sum + (filter.Values?.length ?? 0), 0);
  if (filters.length > wireLimits.filtersMax || values > wireLimits.filterValuesMax) {
    throw new PandoError(
      'FilterLimitExceeded',
      `The request has more than ${wireLimits.filtersMax} filters or ${wireLimits.filterValuesMax} filter values.`,
    );
  }
}

function compileFilter<T>(
  filter: Filter,
  spec: FilterSpec<T>,
  tagsOf: TagsOf<T> | undefined,
): (item: T) => boolean {
  const name = filter.Name;
  if (name === undefined || name === '') {
    throw new PandoError('InvalidParameterValue', 'A filter must have a name.');
  }
  const valuesOf = field(name, spec, tagsOf);
  if (valuesOf === undefined)
    throw new PandoError('InvalidParameterValue', `The filter '${name}' is invalid`);
  const patterns = (filter.Values ?? []).map(compileGlob);
  if (patterns.length === 0) {
    throw new PandoError('InvalidParameterValue', `The filter '${name}' must have at least one value.`);
  }
  return (item) => texts(valuesOf(item)).some((text) => patterns.some((pattern) => pattern(text)));
}

function field<T>(
  name: string,
  spec: FilterSpec<T>,
  tagsOf: TagsOf<T> | undefined,
): FilterSpec<T>[string] | undefined {
  if (Object.hasOwn(spec, name)) return spec[name];
  if (tagsOf === undefined) return undefined;
  if (name === 'tag-key') return (item) => (tagsOf(item) ?? []).map((tag) => tag.Key);
  if (name === 'tag-value') return (item) => (tagsOf(item) ?? []).map((tag) => tag.Value);
  if (!name.startsWith('tag:') || name === 'tag:') return undefined;
  const key = name.slice('tag:'.length);
  return (item) => (tagsOf(item) ?? []).filter((tag) => tag.Key === key).map((tag) => tag.Value ?? '');
}

function texts(values: FilterValue | readonly FilterValue[]): readonly string[] {
  const list = isList(values) ? values : [values];
  return list.flatMap((value) => {
    if (value === undefined || value === null) return [];
    return [value instanceof Date ? value.toISOString() : String(value)];
  });
}

function isList(values: FilterValue | readonly FilterValue[]): values is readonly FilterValue[] {
  return Array.isArray(values);
}
