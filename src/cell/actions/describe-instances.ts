/** DescribeInstances: grouped by reservation, filtered, in a stable order, page by page. */

import { endDryRun } from '#wire/dryRun.ts';
import type { Filter } from '#wire/filters.ts';
import { compileFilters } from '#wire/filters.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
import type { In, Out } from '#wire/types.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { findInstances } from './find.ts';
import { type Item, instanceFilters, needsInterfaces } from './instance-filters.ts';
import { interfacesOf } from './interfaces.ts';
import { renderInstance, renderReservations } from './render.ts';
import { cursorOf, narrowingOf, scanInstances } from './scan.ts';

/** The rows that match, with what their filters made it necessary to know. */
const matcherOf = (context: CellContext, filters: readonly Filter[]) => {
  const matches = compileFilters(filters, instanceFilters, ({ row }: Item) => row.tags);
  const asks = needsInterfaces(filters);
  return async (rows: readonly InstanceRow[]): Promise<InstanceRow[]> => {
    if (filters.length === 0) return [...rows];
    const interfaces = asks ? await interfacesOf(context, rows) : {};
    return rows.filter((row) => matches({ row, instance: renderInstance(row, interfaces) }));
  };
};

/** About what an instance takes in the answer, but for its tags; and what each character of a tag may take in JSON. */
const instanceBytes = 2_048;
const bytesPerChar = 3;

const shownBytes = ({ tags }: InstanceRow): number =>
  tags.reduce((sum, { Key, Value }) => sum + bytesPerChar * (Key.length + Value.length), instanceBytes);

export const describeInstances = async (
  input: In<'DescribeInstances'>,
  context: CellContext,
): Promise<Out<'DescribeInstances'>> => {
  const page = readPage(input, {
    secret: context.pageSecret,
    scope: `${context.request.accountId}/DescribeInstances`,
    ids: { parameter: 'instancesSet', values: input.InstanceIds },
  });
  const select = matcherOf(context, input.Filters ?? []);
  const named = input.InstanceIds ?? [];
  const matching =
    named.length > 0
      ? await select(await findInstances(context, named))
      : await scanInstances(context, {
          after: page.after,
          count: page.items + 1,
          only: narrowingOf(input.Filters ?? []),
          ended: true,
          select,
        });
  endDryRun(input);
  // Of those that are named all are told at once.
  const cut =
    named.length > 0 ? cutPage(matching, page, cursorOf) : cutPage(matching, page, cursorOf, shownBytes);
  const interfaces = await interfacesOf(context, cut.items);
  return {
    Reservations: renderReservations(context, cut.items, interfaces),
    ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }),
  };
};
