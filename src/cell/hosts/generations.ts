/** Generations of instances that no workflow owns: taken for a reconciler's own command, and raised to what a host has heard. */
import { epochAfter, generationOf, placeEpochOf } from '../generation.ts';
import { changeInstance, type InstanceRow } from '../store/instances.ts';
import type { Database } from '../store/sql.ts';

/** An epoch is an `int` of the store. */
const placeEpochMax = 2 ** 31 - 3;

/**
 * The row with the next generation, for a command that follows from what was seen of it; undefined: the row has changed since, so
 * nothing follows. Hosts refuse the command once anything newer was decided, however late it arrives.
 */
export const takeGeneration = async (db: Database, seen: InstanceRow): Promise<InstanceRow | undefined> => {
  const taken = { place_epoch: epochAfter(seen.place_epoch) };
  const changed = await changeInstance(db, seen.id, taken, { version: seen.version });
  return changed ? { ...seen, ...taken, version: seen.version + 1 } : undefined;
};

/**
 * A host has heard a higher generation than the row has: the store has lost its newest commits (a failover, a restored backup). The
 * row, and the input of the workflow that owns it, are raised to it: else the host refuses whatever comes next.
 */
export const raiseGeneration = async (db: Database, seen: InstanceRow, heard: number): Promise<void> => {
  const place_epoch = placeEpochOf(heard);
  if (place_epoch > placeEpochMax) return;
  await db.transaction(async (tx) => {
    // What the host heard last was another change: the next generation is nobody's.
    const next = { place_epoch: epochAfter(place_epoch) };
    if (!(await changeInstance(tx, seen.id, next, { version: seen.version }))) return;
    if (seen.workflow_id === null) return;
    await tx.query(
      `update workflows set input = jsonb_set(input, '{epoch}', to_jsonb($2::int)) where id = $1`,
      [seen.workflow_id, next.place_epoch],
    );
  });
};

/** Whether the host has heard of a change of the instance that the store does not know. */
export const isAhead = (row: Pick<InstanceRow, 'place_epoch'>, heard: number | undefined): heard is number =>
  heard !== undefined && heard > generationOf(row.place_epoch);
