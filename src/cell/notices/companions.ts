/**
 * Requests of one wish in several zones (S10.2) end together: when one is fulfilled, or the first of them ends, the others do. Each cell
 * tells the region of its own and asks about those that wait on; told again it is the same.
 */
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import { companionsPerTurnMax } from '../limits.ts';
import type { CellServices } from '../services.ts';

interface EndedRow {
  readonly id: string;
  readonly main: string;
  readonly fulfilled: boolean;
}

export interface CompanionsOptions {
  readonly services: Pick<CellServices, 'db' | 'region' | 'identity'>;
  /** Ends a request of this cell, whoever's it is; one that has ended stays as it is. */
  end(requestId: string, message: string): Promise<unknown>;
}

export const companionsTurn = async ({ services, end }: CompanionsOptions): Promise<void> => {
  const { db, region, identity } = services;
  const due = await db.query<EndedRow>(
    `select id, coalesce(companion_of, id) as main, state = 'fulfilled' as fulfilled from capacity_requests
     where ended_due order by id limit $1`,
    [companionsPerTurnMax],
  );
  const open = await db.query<Omit<EndedRow, 'fulfilled'>>(
    `select id, coalesce(companion_of, id) as main from capacity_requests
     where state in ('waiting', 'offered') and (companions is not null or companion_of is not null) order by id limit $1`,
    [companionsPerTurnMax],
  );
  if (due.length === 0 && open.length === 0) return;
  const ended = due.map(({ id: requestId, main, fulfilled }) => ({ requestId, main, fulfilled }));
  const mains = [...new Set(open.map(({ main }) => main))];
  const answer = await region
    .call('region.endedRequests', { cellId: identity.cellId, ended, mains })
    .catch((error: unknown) => {
      // A region of the last release knows of none: it is asked again when it is of this one.
      if (isUnknownMethod(error)) return undefined;
      throw error;
    });
  if (answer === undefined) return;
  await db.query('update capacity_requests set ended_due = false where id = any($1)', [
    due.map(({ id }) => id),
  ]);
  for (const { id, main } of open) {
    const by = answer.ended.find(
      (other) =>
        other.main === main && other.requestId !== id && (other.fulfilled || other.requestId === main),
    );
    if (by === undefined) continue;
    const what = by.fulfilled ? 'was fulfilled' : 'has ended';
    await end(
      id,
      `Your request ${by.requestId}, for the same in another zone, ${what}: this one ends with it.`,
    );
  }
};
