/** Pages of the account's instances, read on from a place until enough of them match. */
import type { Filter } from '#wire/filters.ts';
import {
  type InstanceCursor,
  type ListRequest,
  listInstancesAfter,
  type Narrowing,
} from '../store/instance-lists.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { visibleSince } from './find.ts';

/** Rows that are read at a time where a filter keeps only a few of them. */
const batchRowsMax = 1_000;
const batchGrowth = 4;

/** Sorts as the store does: by time of creation, then by reservation and place in it. */
export const cursorOf = (row: InstanceCursor): string =>
  `${row.created_at.toISOString()} ${row.reservation_id} ${String(row.launch_index).padStart(5, '0')} ${row.id}`;

/** The other way round: cursors come out of tokens that only this service signs. */
const parseCursor = (cursor: string): InstanceCursor => {
  const [at = '', reservation_id = '', index = '', id = ''] = cursor.split(' ');
  return { created_at: new Date(at), reservation_id, launch_index: Number(index), id };
};

/** Filter → the rows' own values that it looks at. What is not here, the filter itself sorts out afterwards. */
const narrowed: Readonly<Record<string, Exclude<keyof Narrowing, 'tags'>>> = {
  'instance-id': 'ids',
  'instance-state-name': 'states',
  'vpc-id': 'vpcIds',
  'reservation-id': 'reservationIds',
};

/** No pattern: only this very text matches. */
const isExact = (value: string): boolean => !/[*?\\]/.test(value);

/** What of the filters the store can see by itself: instances that it leaves out do not match. */
export const narrowingOf = (filters: readonly Filter[]): Narrowing => {
  const values: { -readonly [K in Exclude<keyof Narrowing, 'tags'>]?: string[] } = {};
  const tags: { key: string; values: string[] }[] = [];
  for (const { Name: name = '', Values: given = [] } of filters) {
    if (!given.every(isExact)) continue;
    const member = Object.hasOwn(narrowed, name) ? narrowed[name] : undefined;
    if (member !== undefined)
      values[member] = values[member]?.filter((value) => given.includes(value)) ?? [...given];
    else if (name.startsWith('tag:')) tags.push({ key: name.slice('tag:'.length), values: [...given] });
  }
  return { ...values, ...(tags.length === 0 ? {} : { tags }) };
};

/** Whether instances that have ended can be left out: no filter lets them through. */
const onlyLive = ({ states }: Narrowing): boolean => states?.includes('terminated') === false;

export interface ScanRequest<T> {
  /** The cursor of the last item of the page before. */
  readonly after: string | undefined;
  /** How many matching items are enough. */
  readonly count: number;
  readonly only: Narrowing;
  /** Also those that ended within the last hour. */
  readonly ended: boolean;
  /** The items of these rows that match. */
  select(rows: readonly InstanceRow[]): Promise<readonly T[]> | readonly T[];
}

/** Reads on until `count` items match or there are no more: a few rows at first, more where few of them match. */
export const scanInstances = async <T>(context: CellContext, request: ScanRequest<T>): Promise<T[]> => {
  const { only, count } = request;
  const list: Omit<ListRequest, 'after' | 'limit'> = {
    accountId: context.request.accountId,
    endedSince: request.ended && !onlyLive(only) ? visibleSince(context) : undefined,
    only,
  };
  const found: T[] = [];
  let after = request.after === undefined ? undefined : parseCursor(request.after);
  for (let limit = Math.min(count, batchRowsMax); ; limit = Math.min(limit * batchGrowth, batchRowsMax)) {
    const rows = await listInstancesAfter(context.services.db, { ...list, after, limit });
    found.push(...(await request.select(rows)));
    after = rows.at(-1);
    if (rows.length < limit || after === undefined || found.length >= count) return found;
  }
};
