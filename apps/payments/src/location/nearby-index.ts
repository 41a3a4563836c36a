/**
 * Who and what is near a point, over a million moving devices in less than a millisecond (S9.7): a kept index.
 *
 * A k-d tree cannot be changed, so the index is a tree of the moment it was built plus a small set of what has moved since (looked
 * through one by one). When the set has grown, `rebuild` makes a new tree from both; the owner calls it at a quiet moment.
 *
 * It is used for public places and by the operator. Lists of people are made from a person's contacts instead: their cost must not
 * depend on strangers (S9.3).
 */
import { around, distance } from 'geokdbush';
import KDBush from 'kdbush';
import type { Position } from '../contract/primitives.ts';

export const movedMaxDefault = 2_000;

export interface Near {
  readonly id: string;
  readonly distanceM: number;
}

export class NearbyIndex {
  #tree: KDBush | undefined;
  /** Of the tree's points, by their number in it. */
  #ids: string[] = [];
  readonly #positions = new Map<string, Position>();
  /** Ids whose place is not what the tree says: moved, new or removed. */
  readonly #moved = new Set<string>();
  readonly #movedMax: number;

  constructor(options: { readonly movedMax?: number } = {}) {
    this.#movedMax = options.movedMax ?? movedMaxDefault;
  }

  get size(): number {
    return this.#positions.size;
  }

  /** Whether so much has moved that queries get slow. */
  get isWorn(): boolean {
    return this.#moved.size > this.#movedMax;
  }

  set(id: string, position: Position): void {
    this.#positions.set(id, position);
    this.#moved.add(id);
  }

  delete(id: string): void {
    if (this.#positions.delete(id)) this.#moved.add(id);
  }

  /** Makes a new tree; about a second for a million. */
  rebuild(): void {
    this.#ids = [...this.#positions.keys()];
    this.#moved.clear();
    this.#tree = undefined;
    if (this.#ids.length === 0) return;
    const tree = new KDBush(this.#ids.length);
    for (const position of this.#positions.values()) tree.add(position.longitude, position.latitude);
    tree.finish();
    this.#tree = tree;
  }

  /** At most `max` within `radiusM` metres, nearest first (on the sphere: within 0.6 % of the ellipsoid's distance). */
  within(center: Position, radiusM: number, max: number): Near[] {
    const { longitude, latitude } = center;
    const found: Near[] = [];
    if (this.#tree !== undefined)
      for (const at of around(
        this.#tree,
        longitude,
        latitude,
        max,
        radiusM / 1000,
        (item) => !this.#moved.has(this.#ids[item] ?? ''),
      ))
        found.push(this.#near(this.#ids[at] ?? '', center));
    // A degree of latitude is 110.5 km or more: most of what has moved is out by this alone.
    const degreesMax = radiusM / 110_000;
    for (const id of this.#moved) {
      const position = this.#positions.get(id);
      if (position === undefined || Math.abs(position.latitude - latitude) > degreesMax) continue;
      const near = this.#near(id, center);
      if (near.distanceM <= radiusM) found.push(near);
    }
    return found.sort((a, b) => a.distanceM - b.distanceM || (a.id < b.id ? -1 : 1)).slice(0, max);
  }

  #near(id: string, from: Position): Near {
    const to = this.#positions.get(id);
    if (to === undefined) throw new Error(`${id} is in the tree and has no position`);
    return { id, distanceM: distance(from.longitude, from.latitude, to.longitude, to.latitude) * 1000 };
  }
}
