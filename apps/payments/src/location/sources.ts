/** Sources of positions: whom to trust first, and how far each one's own word about its accuracy is believed. */
import type { DeviceSource } from '../contract/location.ts';

export type Source = DeviceSource | 'carrier' | 'registered';

/** Most trusted first (S9.4). `registered`: an establishment's place, which its owner gave and the operator can check. */
export const trustOrder: readonly Source[] = ['registered', 'carrier', 'gnss', 'wifi', 'fused', 'cell'];

export const trustOf = (source: Source): number => trustOrder.length - trustOrder.indexOf(source);

/**
 * A device's stated 95 % radius is taken times `inflation` and never below `floorM`: receivers are too sure of themselves, most of all
 * in streets and indoors. The values come from the simulated town (docs/location-defaults.md).
 */
export const errorModel: Readonly<Record<Source, { readonly floorM: number; readonly inflation: number }>> = {
  registered: { floorM: 3, inflation: 1 },
  carrier: { floorM: 100, inflation: 1 },
  gnss: { floorM: 6, inflation: 1.4 },
  wifi: { floorM: 20, inflation: 1.5 },
  fused: { floorM: 10, inflation: 1.6 },
  cell: { floorM: 200, inflation: 1.5 },
};

/** The 95 % radius that is reckoned with. */
export const believedRadiusM = (source: Source, statedM: number): number =>
  Math.max(errorModel[source].floorM, statedM * errorModel[source].inflation);

/** The fix that counts among several of one moment: the most trusted that is recent, then the most accurate. */
export function mostTrusted<
  Fix extends { readonly source: Source; readonly accuracyM: number; readonly at: number },
>(fixes: readonly Fix[], recentMs: number): Fix | undefined {
  const newest = Math.max(...fixes.map((fix) => fix.at));
  return fixes
    .filter((fix) => newest - fix.at <= recentMs)
    .sort((a, b) => trustOf(b.source) - trustOf(a.source) || a.accuracyM - b.accuracyM || b.at - a.at)[0];
}
