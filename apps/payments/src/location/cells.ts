/** Coarse places: H3 cells. What is kept for longer than minutes is kept in these alone (S9.6). */
import { cellToLatLng, latLngToCell } from 'h3-js';
import type { Position } from '../contract/primitives.ts';

/** Cells with an edge of about 530 m. */
export const coarseResolution = 8;
/** Every point of a coarse cell lies within this distance of its centre (the largest cell's corner, with a margin). */
export const coarseRadiusM = 750;

export const coarseCell = (position: Position): string =>
  latLngToCell(position.latitude, position.longitude, coarseResolution);

export function cellCenter(cell: string): Position {
  const [latitude, longitude] = cellToLatLng(cell);
  return { latitude, longitude };
}
