/** The account's root volumes, which are read by the instances that have them: named ones, or page by page. */
import { notFound, parseId } from '#contracts/ids.ts';
import type { PageRequest } from '#wire/pagination.ts';
import { listVolumesAfter } from '../store/instance-lists.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';

export interface VolumesWanted<T> {
  /** None: all of the account's. */
  readonly volumeIds: readonly string[];
  readonly page: PageRequest;
  /** The items of these rows that match the request's filters. */
  select(rows: readonly InstanceRow[]): Promise<readonly T[]> | readonly T[];
}

/**
 * Matching items in the order of the volumes' ids, one more than a page has where there are more.
 * @throws InvalidVolume.NotFound, InvalidParameterValue (an id that cannot be one)
 */
export const selectVolumes = async <T>(context: CellContext, wanted: VolumesWanted<T>): Promise<T[]> => {
  const { volumeIds, page, select } = wanted;
  if (volumeIds.length > 0) return [...(await select(await namedRows(context, volumeIds)))];
  const { accountId } = context.request;
  const limit = page.items + 1;
  const found: T[] = [];
  let { after } = page;
  for (;;) {
    const rows = await listVolumesAfter(context.services.db, { accountId, after, limit });
    found.push(...(await select(rows)));
    after = rows.at(-1)?.spec.volumeId;
    if (rows.length < limit || found.length >= limit) return found;
  }
};

/** All of these, or an error. */
const namedRows = async (context: CellContext, ids: readonly string[]): Promise<InstanceRow[]> => {
  const volumeIds = [...new Set(ids.map((id) => parseId('volume', id)))];
  const { accountId } = context.request;
  const rows = await listVolumesAfter(context.services.db, { accountId, volumeIds, limit: volumeIds.length });
  const found = new Set(rows.map((row) => row.spec.volumeId));
  const missing = volumeIds.filter((id) => !found.has(id));
  if (missing.length > 0) throw notFound('volume', missing);
  return rows;
};
