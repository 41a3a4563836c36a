/**
 * Collections of EC2 that this region has nothing of. Asked for all of it, the honest answer is none; asked for one by its id, that it
 * does not exist. Filters and pages are checked as everywhere, so that a client's mistake is told and not taken for an empty answer.
 */
import { type ErrorCode, PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { compileFilters, type Filter } from '#wire/filters.ts';
import { readPage } from '#wire/pagination.ts';
import type { ActionContext } from '../context.ts';

/** How EC2 names one thing of a collection that is not there. */
export interface AbsentIds {
  /** The member of the input that lists ids, or that is one. */
  readonly member: string;
  /** Of its ids, without the dash. Absent: any text may be an id. */
  readonly prefix?: string;
  readonly notFound: ErrorCode;
  /** For an id with another prefix. Absent: {@link notFound} too. */
  readonly malformed?: ErrorCode;
  /** What an id is called in messages: "The {noun} '{id}' does not exist". */
  readonly noun: string;
}

export interface AbsentCollection {
  readonly action: string;
  /** The members of the answer that would list things; none: every request names something that is not there. */
  readonly lists?: readonly string[];
  readonly filters?: readonly string[];
  /** Whether there are filters for tags. */
  readonly tagged?: true;
  readonly ids?: AbsentIds;
}

interface AbsentInput {
  readonly DryRun?: boolean | undefined;
  readonly MaxResults?: number | undefined;
  readonly NextToken?: string | undefined;
  readonly Filters?: readonly Filter[] | undefined;
  /** A few actions call it so. */
  readonly Filter?: readonly Filter[] | undefined;
}

const idCharsShown = 64;

const refuseIds = (ids: readonly string[], { prefix, notFound, malformed, noun }: AbsentIds): void => {
  const [id] = ids;
  if (id === undefined) return;
  const shown = id.slice(0, idCharsShown);
  if (malformed !== undefined && prefix !== undefined && !id.startsWith(`${prefix}-`))
    throw new PandoError(malformed, `Invalid id: "${shown}" (expecting "${prefix}-...")`);
  throw new PandoError(notFound, `The ${noun} '${shown}' does not exist`);
};

const idsIn = (input: object, ids: AbsentIds | undefined): readonly string[] => {
  const value: unknown = ids === undefined ? undefined : Reflect.get(input, ids.member);
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.filter((id) => typeof id === 'string');
};

/** The handler of a collection that is empty. Its members are the schema's: `test/region/absent.test.ts` compares them. */
export const absent = (
  rules: AbsentCollection,
): ((input: AbsentInput & object, context: ActionContext) => Promise<never>) => {
  const spec = Object.fromEntries((rules.filters ?? []).map((name) => [name, () => undefined]));
  return async (input, context) => {
    const ids = idsIn(input, rules.ids);
    readPage(input, {
      secret: context.region.pageSecret,
      scope: `${context.accountId}/${rules.action}`,
      ...(rules.ids === undefined ? {} : { ids: { parameter: rules.ids.member, values: ids } }),
    });
    compileFilters(input.Filters ?? input.Filter, spec, rules.tagged && (() => []));
    if (rules.ids !== undefined) refuseIds(ids, rules.ids);
    endDryRun(input);
    return Object.fromEntries((rules.lists ?? []).map((list) => [list, []])) as never;
  };
};
