/** Whether a new fix can follow the last one: time that goes backwards, speeds that nobody travels at. Pure. */
import type { Position } from '../contract/primitives.ts';
import { distanceM } from './geodesic.ts';

/** Nothing on the ground is faster; a flight is seen by its gap in time. */
export const groundSpeedMpsMax = 95;
/** After a gap of at least this, a flight is possible. */
export const flightGapMs = 30 * 60_000;
export const flightSpeedMpsMax = 320;

export interface PlacedFix {
  readonly position: Position;
  /** Believed 95 % radius. */
  readonly radiusM: number;
  readonly atMs: number;
}

export type Plausibility =
  | { readonly plausible: true }
  | { readonly plausible: false; readonly why: 'backdated' | 'speed'; readonly speedMps?: number };

/** The least speed that leads from one fix to the next, both radii given in the traveller's favour. */
export function leastSpeedMps(last: PlacedFix, next: PlacedFix): number {
  const gapM = distanceM(last.position, next.position) - last.radiusM - next.radiusM;
  if (gapM <= 0) return 0;
  const seconds = (next.atMs - last.atMs) / 1000;
  return seconds <= 0 ? Number.POSITIVE_INFINITY : gapM / seconds;
}

export function plausible(last: PlacedFix | undefined, next: PlacedFix): Plausibility {
  if (last === undefined) return { plausible: true };
  if (next.atMs < last.atMs) return { plausible: false, why: 'backdated' };
  const speedMps = leastSpeedMps(last, next);
  const max = next.atMs - last.atMs >= flightGapMs ? flightSpeedMpsMax : groundSpeedMpsMax;
  return speedMps <= max ? { plausible: true } : { plausible: false, why: 'speed', speedMps };
}
