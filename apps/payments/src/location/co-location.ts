/** Who was together with whom how often: counts between contacts who have opted in, by day, without places (S9.4). */
import type { Unit } from '../app.ts';
import type { Fix } from '../contract/location.ts';
import { distanceBetween, evidenceOf, type Side } from '../decision/evidence.ts';
import type { PersonRow } from '../people/people.ts';
import { run } from '../store/pool.ts';
import { sidesOfPeople } from './fixes.ts';
import { sigmaOf95, withinProbability } from './probability.ts';
import { believedRadiusM } from './sources.ts';

/** Being together counts once in this time. */
export const occasionMs = 15 * 60_000;
const dayMs = 86_400_000;
const togetherM = 100;
/** An occasion counts from this probability on. */
const togetherFrom = 0.5;
/** An occasion counts half after this many days. */
const halfLifeDays = 30;

/** Contacts of a person, both sides mutual and opted in. `visible`: only those who let contacts see that they are near. */
export async function contactIds(unit: Unit, personId: string, visible: boolean): Promise<string[]> {
  const rows = await run<{ other_id: string }>(
    unit.on,
    `select c.other_id from contact c join person p on p.person_id = c.other_id
     where c.person_id = $1 and c.state = 'mutual' and p.location_opt_in and (p.visible_to_contacts or not $2)`,
    [personId, visible],
  );
  return rows.map((row) => row.other_id);
}

/** P(two sides are within a distance), 0 where one of them is missing, suspect or stale. */
export function togetherProbability(unit: Unit, a: Side, b: Side, withinM: number): number {
  const { policy } = unit.app;
  const apart = distanceBetween(a, b);
  if (apart === null || a.suspect || b.suspect) return 0;
  const variances = [a, b].map((side) => {
    const evidence = evidenceOf(side, unit.nowMs);
    if (evidence.source === null || evidence.accuracyM === null || evidence.ageS === null)
      return Number.POSITIVE_INFINITY;
    if (evidence.ageS > policy.ageSMax || evidence.carrier === 'FALSE') return Number.POSITIVE_INFINITY;
    const drift = evidence.source === 'registered' ? 0 : policy.driftMps * evidence.ageS;
    return sigmaOf95(believedRadiusM(evidence.source, evidence.accuracyM)) ** 2 + drift ** 2;
  });
  const sigma = Math.sqrt(variances.reduce((sum, variance) => sum + variance, 0));
  return Number.isFinite(sigma) ? withinProbability(apart, withinM, sigma) : 0;
}

/** Counts an occasion with each contact who is near the fix that was just taken. */
export async function countTogether(unit: Unit, person: PersonRow, fix: Fix): Promise<void> {
  const ids = await contactIds(unit, person.person_id, false);
  if (ids.length === 0) return;
  const here: Side = { fix: { ...fix, atMs: fix.at }, suspect: false };
  const sides = await sidesOfPeople(unit, ids);
  const together = [...sides]
    .filter(([, side]) => togetherProbability(unit, here, side, togetherM) >= togetherFrom)
    .map(([id]) => id)
    .sort();
  if (together.length === 0) return;
  await run(
    unit.on,
    `insert into co_location (a_id, b_id, day_ms, occasions, last_bucket_ms)
     select least($1, other), greatest($1, other), $3, 1, $4 from unnest($2::text[]) other
     on conflict (a_id, b_id, day_ms) do update
       set occasions = co_location.occasions + 1, last_bucket_ms = excluded.last_bucket_ms
       where co_location.last_bucket_ms < excluded.last_bucket_ms`,
    [
      person.person_id,
      together,
      Math.floor(unit.nowMs / dayMs) * dayMs,
      Math.floor(unit.nowMs / occasionMs) * occasionMs,
    ],
  );
}

/** How familiar each of the people is: occasions together, those long ago counting less. */
export async function familiarity(
  unit: Unit,
  personId: string,
  others: readonly string[],
): Promise<Map<string, number>> {
  const rows = await run<{ other: string; day_ms: bigint; occasions: number }>(
    unit.on,
    `select case when a_id = $1 then b_id else a_id end other, day_ms, occasions from co_location
     where (a_id = $1 and b_id = any($2)) or (b_id = $1 and a_id = any($2))`,
    [personId, others],
  );
  const scores = new Map<string, number>();
  for (const row of rows) {
    const days = (unit.nowMs - Number(row.day_ms)) / dayMs;
    scores.set(row.other, (scores.get(row.other) ?? 0) + row.occasions * 0.5 ** (days / halfLifeDays));
  }
  return scores;
}
