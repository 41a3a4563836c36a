/**
 * Live events: rows written with what they tell of, read by streams that are woken after the COMMIT. At least once: a client that comes
 * back with the last id that it saw gets everything after it.
 */
import type { Unit } from '../app.ts';
import type { LiveEvent } from '../contract/events.ts';
import { type Pool, run } from '../store/pool.ts';

export const eventsKeptMs = 3 * 86_400_000;
export const eventsPerReadMax = 200;

/** Tells people of a change, in the transaction of that change. */
export async function tell(
  unit: Unit,
  personIds: readonly string[],
  ...events: readonly LiveEvent[]
): Promise<void> {
  const people = [...new Set(personIds)];
  await run(
    unit.on,
    'insert into live_event (person_id, data, at_ms) select p, e::jsonb, $3 from unnest($2::text[]) e, unnest($1::text[]) p',
    [people, events.map((event) => JSON.stringify(event)), unit.nowMs],
  );
  for (const person of people) unit.told.add(person);
}

/** What is told to whom. */
export interface Telling {
  readonly people: readonly string[];
  readonly events: readonly LiveEvent[];
}

/** Where a stream is: everything up to here has been seen. `xid-id`, as it goes to the client. */
export interface Cursor {
  readonly xid: bigint;
  readonly id: bigint;
}

export const cursorText = (cursor: Cursor): string => `${cursor.xid}-${cursor.id}`;

export function parseCursor(text: string | undefined): Cursor | undefined {
  const match = /^(\d{1,20})-(\d{1,19})$/.exec(text ?? '');
  return match === null ? undefined : { xid: BigInt(match[1] ?? 0), id: BigInt(match[2] ?? 0) };
}

export interface StoredEvent {
  readonly cursor: Cursor;
  readonly data: LiveEvent;
}

/** Events after the cursor, of transactions than which no older one is still running. */
export async function eventsAfter(pool: Pool, personId: string, cursor: Cursor): Promise<StoredEvent[]> {
  const rows = await run<{ xid: string; event_id: bigint; data: LiveEvent }>(
    pool,
    `select xid::text, event_id, data from live_event
     where person_id = $1 and (xid, event_id) > ($2::text::xid8, $3::bigint)
       and xid < pg_snapshot_xmin(pg_current_snapshot())
     order by xid, event_id limit $4`,
    [personId, cursor.xid.toString(), cursor.id, eventsPerReadMax],
  );
  return rows.map((row) => ({ cursor: { xid: BigInt(row.xid), id: row.event_id }, data: row.data }));
}

/** The place from which a new stream starts: now. */
export async function cursorNow(pool: Pool): Promise<Cursor> {
  const [row] = await run<{ xid: string }>(pool, 'select pg_snapshot_xmin(pg_current_snapshot())::text xid');
  return { xid: BigInt(row?.xid ?? 0) - 1n, id: 9_223_372_036_854_775_807n };
}

/** Wakes streams in this process. A stream also looks by itself from time to time, so a lost hint costs seconds, not events. */
export class LiveEvents {
  readonly #listeners = new Map<string, Set<() => void>>();

  get streams(): number {
    let count = 0;
    for (const set of this.#listeners.values()) count += set.size;
    return count;
  }

  listen(personId: string, wake: () => void): () => void {
    const set = this.#listeners.get(personId) ?? new Set();
    this.#listeners.set(personId, set.add(wake));
    return () => {
      set.delete(wake);
      if (set.size === 0) this.#listeners.delete(personId);
    };
  }

  wake(personIds: Iterable<string>): void {
    for (const personId of personIds) for (const wake of this.#listeners.get(personId) ?? []) wake();
  }
}
