/** Distances on the WGS 84 ellipsoid, in metres. Right at the poles and across the date line. */
import geographiclib from 'geographiclib-geodesic';
import type { Position } from '../contract/primitives.ts';

const { WGS84, DISTANCE } = geographiclib.Geodesic;

/** Length of the shortest line on the ellipsoid. Throws a RangeError for what is no place (NaN, beyond the poles). */
export function distanceM(a: Position, b: Position): number {
  const { s12 } = WGS84.Inverse(a.latitude, a.longitude, b.latitude, b.longitude, DISTANCE);
  if (s12 === undefined || !Number.isFinite(s12))
    throw new RangeError(`no distance between ${JSON.stringify(a)} and ${JSON.stringify(b)}`);
  return s12;
}

/** The place that lies `distance` metres from `from` in direction `azimuthDeg` (0 north, 90 east). */
export function moved(from: Position, azimuthDeg: number, distance: number): Position {
  const { lat2, lon2 } = WGS84.Direct(from.latitude, from.longitude, azimuthDeg, distance);
  if (lat2 === undefined || lon2 === undefined) throw new RangeError('no place there');
  return { latitude: lat2, longitude: lon2 };
}
