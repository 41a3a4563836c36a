/** Rows of requests for capacity, their offers and events. Whoever changes one has the queue's lock (`lockQueue`). */

import type { z } from 'zod';
import type { CompanionView, EventKind, EventView, requestState } from '#contracts/capacity.ts';
import { newCellId } from '#contracts/ids.ts';
import type { Amount } from '#slots/amount.ts';
import { purgeBatchMax } from '../limits.ts';
import type { TimeRow } from '../notices/cell-time.ts';
import type { Sql } from './sql.ts';

export type RequestState = z.infer<typeof requestState>;
export type OfferState = 'accumulating' | 'open' | 'claimed' | 'lapsed' | 'lost' | 'given-back';

export interface OptionColumn {
  readonly type: string;
  readonly count: number;
  readonly amount: Amount;
  readonly reason?: string;
}

export interface RequestRow {
  readonly id: string;
  readonly account_id: string;
  readonly token: string;
  readonly request_hash: string;
  readonly state: RequestState;
  readonly mode: 'reserve' | 'race';
  readonly position: number;
  readonly zone: string;
  readonly class: string;
  readonly options: readonly OptionColumn[];
  readonly offer_ms: number;
  readonly expires_ms: number;
  readonly valid_until: Date;
  readonly passed_over: number;
  readonly lapses: number;
  readonly callback_url: string | null;
  readonly created_at: Date;
  /** Of one that waits in other zones too. */
  readonly companions: readonly CompanionView[] | null;
  readonly companion_of: string | null;
  /** The offer in another zone for which it waits: it is offered nothing meanwhile. */
  readonly waits_for: string | null;
}

export interface OfferRow {
  readonly id: string;
  readonly request_id: string;
  readonly account_id: string;
  readonly mode: 'reserve' | 'race';
  readonly option: number;
  readonly type: string;
  readonly count: number;
  readonly state: OfferState;
  readonly expires_ms: number;
  readonly valid_until: Date | null;
  readonly reservation_id: string | null;
}

export interface QueueRow extends TimeRow {
  readonly event_seq: number;
  readonly position_seq: number;
}

/** Locks the queue: the first lock of every transaction that changes something here, after a client token's. */
export const lockQueue = async (tx: Sql): Promise<QueueRow> => {
  const [row] = await tx.query<QueueRow>('select * from capacity_queue where id = 1 for update');
  if (row === undefined) throw new Error('the row of the capacity queue is missing');
  return row;
};

/** What there is to do, as it was read without the queue's lock. */
export interface QueueGlance extends TimeRow {
  /** A request waits, whatever it waits for. */
  readonly waits: boolean;
  /** When the first offer or request runs out, by the cell's own time; null: there is none. */
  readonly due_ms: number | null;
}

export const glanceAtQueue = async (sql: Sql): Promise<QueueGlance | undefined> =>
  (
    await sql.query<QueueGlance>(
      `select elapsed_ms, ticker, ticks, exists (select from capacity_requests where state = 'waiting') as waits,
         least((select min(expires_ms) from capacity_offers where state in ('open', 'accumulating')),
           (select min(expires_ms) from capacity_requests where state in ('waiting', 'offered'))) as due_ms
       from capacity_queue where id = 1`,
    )
  )[0];

/** Counts, unless somebody has counted since this row was read: two that count the same time make offers lapse early (I9). */
export const countElapsed = async (sql: Sql, owner: string, row: TimeRow, addMs: number): Promise<boolean> =>
  (
    await sql.query(
      `update capacity_queue set elapsed_ms = elapsed_ms + $2, ticker = $1, ticks = ticks + 1
       where id = 1 and ticks = $3 returning ticks`,
      [owner, addMs, row.ticks],
    )
  ).length > 0;

export interface QueueDue {
  /** An offer's time is over, or a request's. */
  readonly lapses: boolean;
  /** A request waits, whatever it waits for. */
  readonly waits: boolean;
}

/** What there is to do. Mostly nothing, in a queue that is looked at once a second. */
export const whatIsDue = async (tx: Sql, nowMs: number): Promise<QueueDue> => {
  const [due] = await tx.query<QueueDue>(
    `select exists (select from capacity_offers where state in ('open', 'accumulating') and expires_ms <= $1)
         or exists (select from capacity_requests where state in ('waiting', 'offered') and expires_ms <= $1) as lapses,
       exists (select from capacity_requests where state = 'waiting') as waits`,
    [nowMs],
  );
  return due ?? { lapses: true, waits: true };
};

export const nextPosition = async (tx: Sql): Promise<number> => {
  const [row] = await tx.query<{ position_seq: number }>(
    'update capacity_queue set position_seq = position_seq + 1 where id = 1 returning position_seq',
  );
  return row?.position_seq ?? 0;
};

export const findByToken = async (
  sql: Sql,
  accountId: string,
  token: string,
): Promise<RequestRow | undefined> =>
  (
    await sql.query<RequestRow>('select * from capacity_requests where account_id = $1 and token = $2', [
      accountId,
      token,
    ])
  )[0];

export const findRequest = async (sql: Sql, id: string): Promise<RequestRow | undefined> =>
  (await sql.query<RequestRow>('select * from capacity_requests where id = $1', [id]))[0];

export const insertRequest = async (
  tx: Sql,
  row: Omit<RequestRow, 'created_at' | 'waits_for'>,
): Promise<RequestRow> => {
  const [made] = await tx.query<RequestRow>(
    `insert into capacity_requests (id, account_id, token, request_hash, state, mode, position, zone, class, options, offer_ms,
       expires_ms, valid_until, callback_url, companions, companion_of)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12, $13, $14, $15::jsonb, $16) returning *`,
    [
      ...[row.id, row.account_id, row.token, row.request_hash, row.state, row.mode, row.position, row.zone],
      ...[row.class, JSON.stringify(row.options), row.offer_ms, row.expires_ms, row.valid_until],
      ...[row.callback_url, row.companions === null ? null : JSON.stringify(row.companions)],
      row.companion_of,
    ],
  );
  if (made === undefined) throw new Error('a request was not written');
  return made;
};

export const countOpen = async (sql: Sql, accountId: string): Promise<number> =>
  (
    await sql.query<{ n: number }>(
      `select count(*)::int as n from capacity_requests where account_id = $1 and state in ('waiting', 'offered')`,
      [accountId],
    )
  )[0]?.n ?? 0;

const ended = (state: RequestState): boolean => state !== 'waiting' && state !== 'offered';

/** Of the account's own. */
export const setCompanions = async (
  tx: Sql,
  accountId: string,
  id: string,
  companions: readonly CompanionView[],
): Promise<void> => {
  await tx.query(
    'update capacity_requests set companions = $3::jsonb where id = $1 and account_id = $2 and companion_of is null',
    [id, accountId, JSON.stringify(companions)],
  );
};

export const setRequest = async (
  tx: Sql,
  id: string,
  change: { readonly state: RequestState; readonly position?: number; readonly lapses?: number },
): Promise<void> => {
  await tx.query(
    `update capacity_requests set state = $2, position = coalesce($3, position), lapses = coalesce($4, lapses),
       passed_over = case when $2 = 'waiting' and $3::bigint is null then passed_over else 0 end, ended_at = case when $5 then now() end,
       ended_due = $5 and (companions is not null or companion_of is not null)
     where id = $1`,
    [id, change.state, change.position ?? null, change.lapses ?? null, ended(change.state)],
  );
};

/**
 * The earliest of each class, so that ten thousand who want the same cost no more than a few. `also`: those that wait for an alternative of
 * their client's, in this zone, too.
 */
export const readWaiting = (
  tx: Sql,
  { perClassMax, classesMax, also }: { perClassMax: number; classesMax: number; also: boolean },
): Promise<RequestRow[]> =>
  tx.query(
    `with recursive classes as (
       (select class from capacity_requests where state = 'waiting' order by class limit 1)
       union all
       select (select class from capacity_requests where state = 'waiting' and class > classes.class order by class limit 1)
       from classes where classes.class is not null),
     heads as (
       select first.* from classes cross join lateral (
         select * from capacity_requests where state = 'waiting' and class = classes.class
           and waits_for is null and ($3 or companion_of is null) order by position limit $1) first
       where classes.class is not null)
     select * from heads order by position limit $2`,
    [perClassMax, perClassMax * classesMax, also],
  );

/** How many instances of each type are waited for; the most waited for first. Alternatives do not count, in other zones neither. */
export const readWaitedFor = (
  sql: Sql,
  typesMax: number,
): Promise<{ type: string; amount: Amount; count: number }[]> =>
  sql.query(
    `select options -> 0 ->> 'type' as type, (array_agg(options -> 0 -> 'amount'))[1] as amount,
       sum((options -> 0 ->> 'count')::int)::int as count
     from capacity_requests where state = 'waiting' and companion_of is null group by 1 order by count desc, type limit $1`,
    [typesMax],
  );

export const passOver = async (tx: Sql, ids: readonly string[]): Promise<void> => {
  if (ids.length > 0)
    await tx.query('update capacity_requests set passed_over = passed_over + 1 where id = any($1)', [ids]);
};

export const insertOffer = async (tx: Sql, row: Omit<OfferRow, 'reservation_id'>): Promise<void> => {
  await tx.query(
    `insert into capacity_offers (id, request_id, account_id, mode, option, type, count, state, expires_ms, valid_until)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [
      ...[row.id, row.request_id, row.account_id, row.mode, row.option, row.type, row.count, row.state],
      ...[row.expires_ms, row.valid_until],
    ],
  );
};

export const setOffer = async (
  tx: Sql,
  id: string,
  change: {
    readonly state: OfferState;
    readonly expiresMs?: number;
    readonly validUntil?: Date;
    readonly reservationId?: string;
  },
): Promise<void> => {
  await tx.query(
    `update capacity_offers set state = $2, expires_ms = coalesce($3, expires_ms), valid_until = coalesce($4, valid_until),
       reservation_id = coalesce($5, reservation_id) where id = $1`,
    [id, change.state, change.expiresMs ?? null, change.validUntil ?? null, change.reservationId ?? null],
  );
};

export const findOffer = async (sql: Sql, id: string): Promise<OfferRow | undefined> =>
  (await sql.query<OfferRow>('select * from capacity_offers where id = $1', [id]))[0];

export const offersOf = (sql: Sql, requestIds: readonly string[]): Promise<OfferRow[]> =>
  sql.query('select * from capacity_offers where request_id = any($1) order by created_at, id', [requestIds]);

export const liveOffers = (sql: Sql): Promise<OfferRow[]> =>
  sql.query(`select * from capacity_offers where state in ('open', 'accumulating')`);

export const lapsedOffers = (sql: Sql, nowMs: number, limit: number): Promise<OfferRow[]> =>
  sql.query(
    `select * from capacity_offers where state in ('open', 'accumulating') and expires_ms <= $1 order by expires_ms, id limit $2`,
    [nowMs, limit],
  );

export const lapsedRequests = (sql: Sql, nowMs: number, limit: number): Promise<RequestRow[]> =>
  sql.query(
    `select * from capacity_requests where state in ('waiting', 'offered') and expires_ms <= $1 order by expires_ms, id limit $2`,
    [nowMs, limit],
  );

export interface NewEvent {
  readonly cellNumber: number;
  readonly request: Pick<RequestRow, 'id' | 'account_id' | 'callback_url'>;
  readonly kind: EventKind;
  readonly body: Omit<EventView, 'eventId' | 'at' | 'requestId' | 'kind'>;
  /** The cell's own time, for its first delivery. */
  readonly nowMs: number;
}

/** Numbers are given under the queue's lock, so who has read up to one has missed none. */
export const insertEvent = async (tx: Sql, event: NewEvent): Promise<void> => {
  const id = newCellId('capacityEvent', event.cellNumber);
  const { request, kind, body, nowMs } = event;
  await tx.query(
    `with numbered as (update capacity_queue set event_seq = event_seq + 1 where id = 1 returning event_seq)
     insert into capacity_events (seq, id, account_id, request_id, kind, body)
     select event_seq, $1, $2, $3, $4, $5::jsonb from numbered`,
    [id, request.account_id, request.id, kind, JSON.stringify(body)],
  );
  if (request.callback_url !== null)
    await tx.query(
      'insert into capacity_deliveries (event_id, account_id, url, due_ms) values ($1, $2, $3, $4)',
      [id, request.account_id, request.callback_url, nowMs],
    );
};

export interface EventRow {
  readonly seq: number;
  readonly id: string;
  readonly account_id: string;
  readonly request_id: string;
  readonly kind: EventKind;
  readonly body: NewEvent['body'];
  readonly created_at: Date;
}

export const readEvents = (
  sql: Sql,
  of: {
    readonly accountId: string;
    readonly after: number;
    readonly limit: number;
    readonly requestId?: string | undefined;
  },
): Promise<EventRow[]> =>
  sql.query(
    `select * from capacity_events where account_id = $1 and seq > $2 and ($3::text is null or request_id = $3)
     order by seq limit $4`,
    [of.accountId, of.after, of.requestId ?? null, of.limit],
  );

export const showEvent = (row: EventRow): EventView => ({
  ...row.body,
  eventId: row.id,
  kind: row.kind,
  at: row.created_at.toISOString(),
  requestId: row.request_id,
});

/** What ended long ago goes, a part at a time. */
export const purgeRequests = async (sql: Sql, before: Date): Promise<void> => {
  await sql.query(
    `with gone as (
       delete from capacity_requests where id in (
         select id from capacity_requests where ended_at < $1 order by ended_at limit $2 for update skip locked) returning id)
     delete from capacity_offers where request_id in (select id from gone)`,
    [before, purgeBatchMax],
  );
  await sql.query(
    `with gone as (
       delete from capacity_events where seq in (
         select seq from capacity_events where created_at < $1 order by created_at limit $2) returning id)
     delete from capacity_deliveries where event_id in (select id from gone)`,
    [before, purgeBatchMax],
  );
};
