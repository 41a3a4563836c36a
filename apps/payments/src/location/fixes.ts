/** Exact positions, for minutes: the ring of partitions (S9.6), and what decisions read from it. */
import type { Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import type { DeviceSource } from '../contract/location.ts';
import type { CarrierWord, KnownFix, Side } from '../decision/evidence.ts';
import { first, type Queryable, run } from '../store/pool.ts';
import { ringSlots } from '../store/schema-location.ts';
import { distanceM } from './geodesic.ts';

/** A slot of the ring is written for this long. */
export const ringPeriodMs = 10 * 60_000;
/** A position is gone at the latest after this: its own slot's time and those of the slots between. */
export const preciseKeptMs = (ringSlots - 1) * ringPeriodMs;

export const periodOf = (nowMs: number): number => Math.floor(nowMs / ringPeriodMs);
export const slotOf = (period: number): number => period % ringSlots;

/** Of PostgreSQL's advisory locks, this one is the ring's. */
const ringLock = 0x72696e67;

/** Nothing is stored, rather than stored for too long. */
export class SlotNotReady extends PaymentsError {
  constructor() {
    super('busy', 'Positions cannot be stored at the moment.', { retryAfterS: 2 });
  }
}

/**
 * Makes the slot of now ready: empties it if it holds an older period. Called by the sweeper ahead of time, and by a report whose
 * slot is not ready. TRUNCATE drops the file with every byte.
 */
export async function advanceRing(on: Queryable, nowMs: number): Promise<number> {
  // One at a time: two that truncate while each has read would wait for one another.
  await on.query('select pg_advisory_xact_lock($1)', [ringLock]);
  const period = periodOf(nowMs);
  let emptied = 0;
  for (let slot = 0; slot < ringSlots; slot += 1) {
    // The period that may be in the slot: the newest one not after now with that number.
    const wanted = period - ((((period - slot) % ringSlots) + ringSlots) % ringSlots);
    const kept = await first<{ period: bigint }>(on, 'select period from position_ring where slot = $1', [
      slot,
    ]);
    const isOld = kept !== undefined && Number(kept.period) < wanted;
    // The slot that comes after now's holds what has served its time already.
    const isNext =
      slot === slotOf(period + 1) && kept !== undefined && Number(kept.period) <= period - ringSlots + 1;
    if (isOld || isNext) {
      await on.query(`truncate position_fix_${slot}`);
      emptied += 1;
    }
    if (kept === undefined || isOld || isNext)
      await run(
        on,
        'insert into position_ring (slot, period) values ($1, $2) on conflict (slot) do update set period = excluded.period',
        [slot, isNext ? period + 1 : wanted],
      );
  }
  return emptied;
}

export interface NewFix {
  readonly personId: string;
  readonly deviceId: string;
  readonly source: DeviceSource;
  readonly position: { readonly latitude: number; readonly longitude: number };
  readonly accuracyM: number;
  readonly atMs: number;
}

export async function keepFix(unit: Unit, fix: NewFix): Promise<void> {
  const period = periodOf(unit.nowMs);
  const rows = await run(
    unit.on,
    `insert into position_fix (slot, person_id, device_id, source, latitude, longitude, accuracy_m, at_ms)
     select $1, $2, $3, $4, $5, $6, $7, $8 from position_ring where slot = $1 and period = $9 returning 1`,
    [
      slotOf(period),
      fix.personId,
      fix.deviceId,
      fix.source,
      fix.position.latitude,
      fix.position.longitude,
      fix.accuracyM,
      fix.atMs,
      period,
    ],
  );
  if (rows.length === 0) throw new SlotNotReady();
}

/** Times are bigints, or numbers where the row came as JSON. */
export interface SideRow {
  person_id: string;
  device_id: string;
  source: DeviceSource;
  latitude: number;
  longitude: number;
  accuracy_m: number;
  at_ms: bigint | number;
  suspect: boolean;
  result: CarrierWord['result'] | null;
  match_rate: number | null;
  word_latitude: number | null;
  word_longitude: number | null;
  word_ms: bigint | number | null;
}

/** The carrier was asked about a circle of this radius around the fix. */
export const verifyRadiusM = 2_000;
/** Its word holds for a fix that is at most this far from the one that was asked about. */
const wordReachM = verifyRadiusM / 2;

/** Of a {@link SideRow}; `now` is a parameter or a variable of the statement. */
export const sideColumns = (
  now: string,
): string => `f.person_id, f.device_id, f.source, f.latitude, f.longitude, f.accuracy_m, f.at_ms,
  d.suspect_until_ms > ${now} suspect, w.result, w.match_rate, w.latitude word_latitude, w.longitude word_longitude, w.at_ms word_ms`;
const columns = sideColumns('$2::bigint');
export const sideJoins = `join device d on d.device_id = f.device_id and d.removed_ms is null
  join person p on p.person_id = f.person_id and p.location_opt_in
  left join carrier_word w on w.device_id = f.device_id`;

export function sideOf(row: SideRow): Side {
  const fix: KnownFix = {
    position: { latitude: row.latitude, longitude: row.longitude },
    source: row.source,
    accuracyM: row.accuracy_m,
    atMs: Number(row.at_ms),
  };
  const carrier = wordFor(row, fix);
  return { fix, suspect: row.suspect, ...(carrier && { carrier }) };
}

function wordFor(row: SideRow, fix: KnownFix): CarrierWord | undefined {
  const { result, word_latitude: latitude, word_longitude: longitude, word_ms: at } = row;
  if (result === null || latitude === null || longitude === null || at === null) return undefined;
  if (distanceM(fix.position, { latitude, longitude }) > wordReachM) return undefined;
  return { result, matchRate: row.match_rate, atMs: Number(at) };
}

export const unknownSide: Side = { suspect: false };

/** What is known of one device: the payer's that signed. */
export async function sideOfDevice(unit: Unit, personId: string, deviceId: string): Promise<Side> {
  const row = await first<SideRow>(
    unit.on,
    `select ${columns} from position_fix f ${sideJoins}
     where f.person_id = $1 and f.device_id = $3 and f.at_ms > $4 order by f.at_ms desc limit 1`,
    [personId, unit.nowMs, deviceId, unit.nowMs - preciseKeptMs],
  );
  return row === undefined ? unknownSide : sideOf(row);
}

/** Which fix of a person counts: the newest one, or the one closest to the unit's moment (before or after it). */
export type Pick = 'newest' | 'closest';

const picks: Readonly<Record<Pick, string>> = {
  newest: 'x.at_ms > $3 order by x.at_ms desc',
  closest: 'x.at_ms > $3 and x.at_ms < 2 * $2::bigint - $3 order by abs(x.at_ms - $2::bigint)',
};

/** What is known of each person, by whichever device it is. People of whom nothing is known are not in the map. */
export async function sidesOfPeople(
  unit: Unit,
  personIds: readonly string[],
  pick: Pick = 'newest',
): Promise<Map<string, Side>> {
  const rows = await run<SideRow>(
    unit.on,
    `select ${columns} from unnest($1::text[]) who
     cross join lateral (select * from position_fix x where x.person_id = who and ${picks[pick]} limit 1) f ${sideJoins}`,
    [personIds, unit.nowMs, unit.nowMs - preciseKeptMs],
  );
  return new Map(rows.map((row) => [row.person_id, sideOf(row)]));
}

export const sideOfPerson = async (unit: Unit, personId: string): Promise<Side> =>
  (await sidesOfPeople(unit, [personId])).get(personId) ?? unknownSide;

/** An establishment's side: its registered place, which is never old. */
export const sideOfPlace = (
  place: { readonly position: KnownFix['position']; readonly radiusM: number },
  nowMs: number,
): Side => ({
  fix: { position: place.position, source: 'registered', accuracyM: 3, atMs: nowMs },
  suspect: false,
  premisesRadiusM: place.radiusM,
});
