/** Events on their way to clients' callbacks: tried until they are received or given up, always under the same id. */
import type { EventKind } from '#contracts/capacity.ts';
import type { EventRow } from './capacity-requests.ts';
import type { Sql } from './sql.ts';

export interface DueDelivery extends EventRow {
  readonly url: string;
  readonly attempts: number;
}

export const elapsedMs = async (sql: Sql): Promise<number> =>
  (await sql.query<{ ms: number }>('select elapsed_ms as ms from capacity_queue where id = 1'))[0]?.ms ?? 0;

/**
 * Takes what is due, a few of each receiver so that a slow one delays nobody else's. Each is due again after `leaseMs`: who takes it and
 * dies has it tried once more, under the same id.
 */
export const takeDue = (
  tx: Sql,
  at: {
    readonly nowMs: number;
    readonly leaseMs: number;
    readonly limit: number;
    readonly perUrl: number;
    /** The receivers of those on their way: each counts. */
    readonly sending: readonly string[];
    /** Receivers that are to get nothing more just now. */
    readonly busy: readonly string[];
  },
): Promise<DueDelivery[]> =>
  tx.query(
    `with due as (
       select event_id, row_number() over (partition by url order by due_ms)
         + (select count(*) from unnest($6::text[]) sent where sent = first.url) as nth from (
         select event_id, url, due_ms from capacity_deliveries where state = 'due' and due_ms <= $1 and url <> all($5) order by due_ms limit 20 * $3) first),
     mine as (
       select event_id from capacity_deliveries where event_id in (select event_id from due where nth <= $4) and state = 'due'
         and due_ms <= $1 order by due_ms limit $3 for update skip locked),
     taken as (
       update capacity_deliveries set due_ms = $1 + $2, attempts = attempts + 1, updated_at = now()
       where event_id in (select event_id from mine) returning event_id, url, attempts)
     select capacity_events.*, taken.url, taken.attempts from taken join capacity_events on id = event_id order by seq`,
    [at.nowMs, at.leaseMs, at.limit, at.perUrl, at.busy, at.sending],
  );

export const endDelivery = async (
  sql: Sql,
  id: string,
  end: { readonly state: 'delivered' | 'dead'; readonly error?: string },
): Promise<void> => {
  await sql.query(
    `update capacity_deliveries set state = $2, last_error = $3, updated_at = now() where event_id = $1 and state = 'due'`,
    [id, end.state, end.error ?? null],
  );
};

export const putOff = async (
  sql: Sql,
  id: string,
  until: { readonly dueMs: number; readonly error: string },
): Promise<void> => {
  await sql.query(
    `update capacity_deliveries set due_ms = $2, last_error = $3, updated_at = now() where event_id = $1 and state = 'due'`,
    [id, until.dueMs, until.error],
  );
};

export interface DeadLetter {
  readonly event_id: string;
  readonly account_id: string;
  readonly request_id: string;
  readonly kind: EventKind;
  readonly url: string;
  readonly attempts: number;
  readonly last_error: string | null;
  readonly updated_at: Date;
}

export const deadLetters = (sql: Sql, limit: number): Promise<DeadLetter[]> =>
  sql.query(
    `select event_id, d.account_id, request_id, kind, url, attempts, last_error, updated_at
     from capacity_deliveries d join capacity_events on id = event_id
     where d.state = 'dead' order by updated_at desc, event_id limit $1`,
    [limit],
  );

/** Given up ones are due again, with all their tries before them. Returns how many. */
export const replayDead = async (
  sql: Sql,
  which: { readonly eventId?: string | undefined; readonly accountId?: string | undefined },
): Promise<number> => {
  const rows = await sql.query(
    `update capacity_deliveries set state = 'due', attempts = 0, due_ms = 0, updated_at = now()
     where state = 'dead' and ($1::text is null or event_id = $1) and ($2::text is null or account_id = $2) returning 1`,
    [which.eventId ?? null, which.accountId ?? null],
  );
  return rows.length;
};
