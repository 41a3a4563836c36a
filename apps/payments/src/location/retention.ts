/** Deletion by time, proved: each run deletes what is due, looks whether anything due is left, and writes both down (S9.6). */
import type { App, Unit } from '../app.ts';
import { eventsKeptMs } from '../events/live.ts';
import { forgetKeys } from '../ledger/idempotency.ts';
import { nonceKeptMs } from '../people/devices.ts';
import { first, run } from '../store/pool.ts';
import { inUnit } from '../unit.ts';
import { advanceRing, preciseKeptMs } from './fixes.ts';

const dayMs = 86_400_000;
export const coarseKeptDays = 30;
export const coLocationKeptDays = 180;
/** Decisions are kept for disputes. They hold distances and coarse cells, no places. */
export const decisionsKeptDays = 400;
const rowsPerRunMax = 50_000;

interface Rule {
  readonly table: string;
  /** A row is due when this column is older than the time. */
  readonly column: string;
  readonly keptMs: number;
}

const rules: readonly Rule[] = [
  { table: 'carrier_word', column: 'at_ms', keptMs: preciseKeptMs },
  { table: 'coarse_visit', column: 'hour_ms', keptMs: coarseKeptDays * dayMs },
  { table: 'co_location', column: 'day_ms', keptMs: coLocationKeptDays * dayMs },
  { table: 'decision', column: 'at_ms', keptMs: decisionsKeptDays * dayMs },
  { table: 'nonce', column: 'at_ms', keptMs: nonceKeptMs },
  { table: 'live_event', column: 'at_ms', keptMs: eventsKeptMs },
  { table: 'session', column: 'expires_ms', keptMs: 0 },
  { table: 'passkey_challenge', column: 'expires_ms', keptMs: 0 },
];

export interface RetentionRun {
  readonly deleted: Readonly<Record<string, number>>;
  /** Due rows that are left, by table. Empty when the promise is kept. */
  readonly remaining: Readonly<Record<string, number>>;
}

/** One run. Bounded: what is more than `rowsPerRunMax` in a table is left to the next, and shows up in `remaining`. */
export async function retain(app: App): Promise<RetentionRun> {
  const ring = await inUnit(app, (unit) => advanceRing(unit.on, unit.nowMs));
  return inUnit(app, async (unit) => {
    const deleted: Record<string, number> = { position_ring_slots: ring };
    const remaining: Record<string, number> = {};
    for (const rule of rules) deleted[rule.table] = await deleteDue(unit, rule);
    deleted.idempotency_key = await forgetKeys(unit.on, unit.nowMs, rowsPerRunMax);
    const left = [...rules, { table: 'position_fix', column: 'at_ms', keptMs: preciseKeptMs + 300_000 }];
    for (const rule of left) {
      const count = await countDue(unit, rule);
      if (count > 0) remaining[rule.table] = count;
    }
    await run(unit.on, 'insert into retention_run (at_ms, deleted, remaining) values ($1, $2, $3)', [
      unit.nowMs,
      JSON.stringify(deleted),
      JSON.stringify(remaining),
    ]);
    return { deleted, remaining };
  });
}

async function deleteDue(unit: Unit, { table, column, keptMs }: Rule): Promise<number> {
  const rows = await run(
    unit.on,
    `delete from ${table} where ctid in (select ctid from ${table} where ${column} < $1 limit $2) returning 1`,
    [unit.nowMs - keptMs, rowsPerRunMax],
  );
  return rows.length;
}

async function countDue(unit: Unit, { table, column, keptMs }: Rule): Promise<number> {
  const row = await first<{ n: bigint }>(unit.on, `select count(*) n from ${table} where ${column} < $1`, [
    unit.nowMs - keptMs,
  ]);
  return Number(row?.n ?? 0n);
}
