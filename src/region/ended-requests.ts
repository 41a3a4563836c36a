/**
 * Requests for capacity that wait in several zones for one wish (S10.2): no cell calls another, so each tells the region which of its own
 * have ended, and asks about those that wait on.
 */
import { sql } from 'kysely';
import type { ParsedParams, Result } from '#base/rpc/contract.ts';
import { cellNumberOf } from '#contracts/ids.ts';
import type { regionContract } from '#contracts/region.ts';
import { noteOffers, offeredOf } from './offered-requests.ts';
import type { Database } from './schema.ts';

type Asked = ParsedParams<typeof regionContract, 'region.endedRequests'>;
type Answer = Result<typeof regionContract, 'region.endedRequests'>;

/** Longer than any request waits. */
const keptDays = 32;
const purgedMax = 1_000;

/** Keeps what ended, of the caller's own cell alone, and tells what ended of those that are asked about. Repeatable. */
export const endedRequests = async (
  db: Database,
  { cellId, ended, mains, offers = [] }: Asked,
): Promise<Answer> => {
  const cellNumber = ended.length + offers.length === 0 ? undefined : await numberOf(db, cellId);
  if (ended.length > 0) await noteEnded(db, cellNumber, ended);
  if (offers.length > 0) await noteOffers(db, cellNumber, offers);
  if (mains.length === 0) return { ended: [], offered: [] };
  const { rows } = await sql<{ request_id: string; main_id: string; fulfilled: boolean }>`
    select request_id, main_id, fulfilled from ended_request where main_id = any(${[...mains]}::text[])
    order by main_id, request_id`.execute(db);
  return {
    ended: rows.map(({ request_id: requestId, main_id: main, fulfilled }) => ({
      requestId,
      main,
      fulfilled,
    })),
    offered: await offeredOf(db, mains),
  };
};

const numberOf = async (db: Database, cellId: string): Promise<number | undefined> =>
  (await sql<{ number: number }>`select number from cell where cell_id = ${cellId}`.execute(db)).rows[0]
    ?.number;

const noteEnded = async (
  db: Database,
  cellNumber: number | undefined,
  ended: Asked['ended'],
): Promise<void> => {
  const own = ended.filter(({ requestId }) => cellNumberOf(requestId) === cellNumber);
  await sql`
    insert into ended_request (request_id, main_id, fulfilled)
    select * from unnest(${own.map(({ requestId }) => requestId)}::text[], ${own.map(({ main }) => main)}::text[],
      ${own.map(({ fulfilled }) => fulfilled)}::boolean[])
    on conflict do nothing`.execute(db);
  await sql`
    delete from ended_request where request_id in (
      select request_id from ended_request where noted_at < now() - make_interval(days => ${keptDays})
      order by noted_at limit ${purgedMax})`.execute(db);
};
