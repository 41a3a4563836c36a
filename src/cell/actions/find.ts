/** Finding the instances that a request names: all of them, or an error and nothing changed. */
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import { terminatedVisibleMs } from '../limits.ts';
import { type InstanceRow, listNamedInstances, lockInstances } from '../store/instances.ts';
import type { Sql } from '../store/sql.ts';
import type { CellContext } from './context.ts';

const notFound = (missing: readonly string[]): PandoError =>
  missing.length === 1
    ? new PandoError('InvalidInstanceID.NotFound', `The instance ID '${missing[0]}' does not exist`)
    : new PandoError('InvalidInstanceID.NotFound', `The instance IDs '${missing.join(', ')}' do not exist`);

const assertAll = (ids: readonly string[], rows: readonly InstanceRow[]): void => {
  const found = new Set(rows.map((row) => row.id));
  const missing = ids.filter((id) => !found.has(id));
  if (missing.length > 0) throw notFound(missing);
};

/** Since when a terminated instance is still shown. */
export const visibleSince = (context: CellContext): Date =>
  new Date(context.services.clock.now() - terminatedVisibleMs);

/** Each id once, in the order given. @throws InvalidInstanceID.Malformed */
export const parseInstanceIds = (ids: readonly string[]): readonly string[] =>
  [...new Set(ids)].map((id) => parseId('instance', id));

/** The account's instances of these ids; @throws InvalidInstanceID.NotFound if one of them is not there. */
export const findInstances = async (context: CellContext, ids: readonly string[]): Promise<InstanceRow[]> => {
  const wanted = parseInstanceIds(ids);
  const { db } = context.services;
  const rows = await listNamedInstances(db, context.request.accountId, visibleSince(context), wanted);
  assertAll(wanted, rows);
  return rows;
};

/** Locks the named instances for a change, in the order of their ids. */
export const lockNamed = async (
  context: CellContext,
  tx: Sql,
  ids: readonly string[],
): Promise<InstanceRow[]> => {
  const wanted = parseInstanceIds(ids);
  const since = visibleSince(context);
  const rows = (await lockInstances(tx, context.request.accountId, wanted)).filter(
    (row) => row.terminated_at === null || row.terminated_at > since,
  );
  assertAll(wanted, rows);
  return rows;
};

export const lockOne = async (context: CellContext, tx: Sql, id: string): Promise<InstanceRow> => {
  const [row] = await lockNamed(context, tx, [id]);
  if (row === undefined) throw notFound([id]);
  return row;
};
