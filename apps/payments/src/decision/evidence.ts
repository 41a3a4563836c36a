/** From fixes to evidence: what the decision engine is given about each side and between them. Pure. */
import type { SideEvidence } from '../contract/operator.ts';
import type { Area, Position } from '../contract/primitives.ts';
import { coarseCell } from '../location/cells.ts';
import { distanceM } from '../location/geodesic.ts';
import type { Source } from '../location/sources.ts';
import type { AreaDistance } from './decide.ts';

/** A device's fix as it is kept for minutes. */
export interface KnownFix {
  readonly position: Position;
  readonly source: Source;
  /** Stated 95 % radius. */
  readonly accuracyM: number;
  readonly atMs: number;
}

export interface CarrierWord {
  readonly result: 'TRUE' | 'FALSE' | 'PARTIAL';
  readonly matchRate: number | null;
  readonly atMs: number;
}

/** What is known of one side. No fix: nothing was reported, or the person has not opted in. */
export interface Side {
  readonly fix?: KnownFix;
  readonly suspect: boolean;
  readonly carrier?: CarrierWord;
  /** An establishment's premises: distances are reckoned from their edge. */
  readonly premisesRadiusM?: number;
}

/** A carrier's word is used for this long. */
export const carrierWordMsMax = 5 * 60_000;

export function evidenceOf(side: Side, nowMs: number): SideEvidence {
  const { fix, carrier } = side;
  const word = carrier !== undefined && nowMs - carrier.atMs <= carrierWordMsMax ? carrier : undefined;
  return {
    source: fix?.source ?? null,
    accuracyM: fix?.accuracyM ?? null,
    ageS: fix === undefined ? null : Math.abs(nowMs - fix.atMs) / 1000,
    standing: side.suspect ? 'suspect' : 'trusted',
    carrier: word?.result ?? 'NONE',
    carrierMatchRate: word?.matchRate ?? null,
    cell: fix === undefined ? null : coarseCell(fix.position),
  };
}

/** Metres between the two fixes (from the premises' edge on, where a side is an establishment); null where one is missing. */
export function distanceBetween(a: Side, b: Side): number | null {
  if (a.fix === undefined || b.fix === undefined) return null;
  const apart = distanceM(a.fix.position, b.fix.position);
  return Math.max(0, apart - (a.premisesRadiusM ?? 0) - (b.premisesRadiusM ?? 0));
}

export const areaDistances = (side: Side, areas: readonly Area[]): AreaDistance[] =>
  side.fix === undefined
    ? []
    : areas.map((area) => ({
        distanceM: distanceM(side.fix?.position ?? area.center, area.center),
        radiusM: area.radiusM,
      }));
