/** DescribeInstances: grouped by reservation, filtered, in a stable order, page by page. */

import { endDryRun } from '#wire/dryRun.ts';
import type { Filter } from '#wire/filters.ts';
import { compileFilters } from '#wire/filters.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
import type { In, Out } from '#wire/types.ts';
import { type InstanceCursor, type InstanceRow, listInstancesAfter } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { findInstances, visibleSince } from './find.ts';
import { type Item, instanceFilters, needsInterfaces } from './instance-filters.ts';
import { interfacesOf } from './interfaces.ts';
import { renderInstance, renderReservations } from './render.ts';

/** Rows that are read at a time where a filter may keep only a few of them. */
const filteredBatchRows = 1_000;

/** Sorts as the store does: by time of creation, then by reservation and place in it. */
export const cursorOf = (row: InstanceCursor): string =>
  `${row.created_at.toISOString()} ${row.reservation_id} ${String(row.launch_index).padStart(5, '0')} ${row.id}`;

/** The other way round: cursors come out of tokens that only this service signs. */
const parseCursor = (cursor: string): InstanceCursor => {
  const [at = '', reservation_id = '', index = '', id = ''] = cursor.split(' ');
  return { created_at: new Date(at), reservation_id, launch_index: Number(index), id };
};

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

/** Reads on from a place until `count` rows match or there are no more. */
const scan = async (
  context: CellContext,
  after: string | undefined,
  count: number,
  batchRows: number,
  select: (rows: readonly InstanceRow[]) => Promise<InstanceRow[]>,
): Promise<readonly InstanceRow[]> => {
  const { db } = context.services;
  const since = visibleSince(context);
  const found: InstanceRow[] = [];
  let place = after === undefined ? undefined : parseCursor(after);
  for (;;) {
    const rows = await listInstancesAfter(db, context.request.accountId, since, place, batchRows);
    found.push(...(await select(rows)));
    place = rows.at(-1);
    if (rows.length < batchRows || place === undefined || found.length >= count) return found;
  }
};

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
  const named = (input.InstanceIds ?? []).length > 0;
  const count = page.items + 1;
  const batchRows = input.Filters?.length ? filteredBatchRows : count;
  const matching = named
    ? await select(await findInstances(context, input.InstanceIds))
    : await scan(context, page.after, count, batchRows, select);
  endDryRun(input);
  const cut = cutPage(matching, page, cursorOf);
  const interfaces = await interfacesOf(context, cut.items);
  return {
    Reservations: renderReservations(context, cut.items, interfaces),
    ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }),
  };
};
