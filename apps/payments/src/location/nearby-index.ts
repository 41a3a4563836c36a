/**
 * Who and what is near a point, over a million moving devices in less than a millisecond (S9.7): a kept index.
 *
 * The earth is divided into rows of latitude, and each row into cells that are about as wide as they are high. What is in a cell is
 * a list through arrays of numbers, found by a hash of the cell: a move costs two changes of such a list, a question looks at the
 * cells that its circle touches, and neither makes objects that the garbage collector would have to look through.
 *
 * It is used for public places and by the operator. Lists of people are made from a person's contacts instead: their cost must not
 * depend on strangers (S9.3).
 */
import type { Position } from '../contract/primitives.ts';

export interface Near {
  readonly id: string;
  readonly distanceM: number;
}

const earthRadiusM = 6_371_000;
/** About 70 m: a circle of 200 m touches some fifty cells, and a crowd in it is spread over them. */
const cellDegrees = 1 / 1_600;
const rows = 180 / cellDegrees;
const radians = Math.PI / 180;
const none = -1;
const capacityMin = 1_024;

const rowOf = (latitude: number): number =>
  Math.min(rows - 1, Math.max(0, Math.floor((latitude + 90) / cellDegrees)));

/** Cells of a row: fewer towards the poles. By the row's edge that is nearer to the equator, so that none is narrower than it is high. */
function columnsOf(row: number): number {
  const edge = Math.min(Math.abs(row * cellDegrees - 90), Math.abs((row + 1) * cellDegrees - 90));
  return Math.max(1, Math.floor((360 / cellDegrees) * Math.cos(edge * radians)));
}

const columnOf = (longitude: number, columns: number): number =>
  Math.floor(((longitude + 180) / 360) * columns);

/** The remainder that is never negative: columns go round the earth. */
const around = (column: number, columns: number): number => ((column % columns) + columns) % columns;

/** A length of an arc on the sphere as the square of its chord on the sphere of radius 1, and back as an angle. */
const chordSquaredOf = (angle: number): number => 4 * Math.sin(angle / 2) ** 2;
const angleOf = (chordSquared: number): number => 2 * Math.asin(Math.min(1, Math.sqrt(chordSquared) / 2));

const grown = <Numbers extends Int32Array | Float64Array>(old: Numbers, into: Numbers): Numbers => {
  into.set(old);
  return into;
};

export class NearbyIndex {
  readonly #slots = new Map<string, number>();
  readonly #free: number[] = [];
  #ids: string[] = [];
  // By slot: the point on the sphere of radius 1, its cell, and its neighbours in the list of the cell's bucket.
  #points = new Float64Array(3 * capacityMin);
  #rows = new Int32Array(capacityMin);
  #columns = new Int32Array(capacityMin);
  #next = new Int32Array(capacityMin);
  #previous = new Int32Array(capacityMin);
  /** By bucket: the first slot of its list. As many as there are slots. */
  #heads = new Int32Array(capacityMin).fill(none);

  get size(): number {
    return this.#slots.size;
  }

  /** Puts a device or place somewhere, or moves it there. Throws a RangeError for what is no place. */
  set(id: string, position: Position): void {
    const { latitude, longitude } = position;
    if (!(Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180))
      throw new RangeError(`no place: ${JSON.stringify(position)}`);
    const known = this.#slots.get(id);
    const slot = known ?? this.#newSlot(id);
    if (known !== undefined) this.#unlink(slot);
    pointOf(position, this.#points, 3 * slot);
    const row = rowOf(latitude);
    const columns = columnsOf(row);
    this.#rows[slot] = row;
    this.#columns[slot] = around(columnOf(longitude, columns), columns);
    this.#link(slot);
  }

  delete(id: string): void {
    const slot = this.#slots.get(id);
    if (slot === undefined) return;
    this.#unlink(slot);
    this.#slots.delete(id);
    this.#ids[slot] = '';
    this.#free.push(slot);
  }

  /** At most `max` within `radiusM` metres, nearest first (on the sphere: within 0.6 % of the ellipsoid's distance). */
  within(center: Position, radiusM: number, max: number): Near[] {
    const search = new Search(center, Math.min(Math.PI, radiusM / earthRadiusM), max);
    if (search.cells > this.size) for (const slot of this.#slots.values()) search.offer(slot, this.#points);
    else this.#searchRows(search, center);
    return search.slots
      .map((slot, at) => ({
        id: this.#ids[slot] ?? '',
        distanceM: angleOf(search.chords[at] ?? 0) * earthRadiusM,
      }))
      .sort((a, b) => a.distanceM - b.distanceM || (a.id < b.id ? -1 : 1));
  }

  /** Row after row away from the centre; as soon as `max` are found, no further than the last of them. */
  #searchRows(search: Search, { latitude, longitude }: Position): void {
    const middle = rowOf(latitude);
    this.#searchRow(search, middle, longitude);
    for (const step of [1, -1])
      for (let row = middle + step; row >= 0 && row < rows; row += step) {
        const edge = (step > 0 ? row : row + 1) * cellDegrees - 90;
        if (Math.abs(edge - latitude) * radians > search.angle) break;
        this.#searchRow(search, row, longitude);
      }
  }

  #searchRow(search: Search, row: number, longitude: number): void {
    const columns = columnsOf(row);
    const reach = search.longitudeReach / radians;
    const first = columnOf(longitude - reach, columns);
    // Once round the earth at most: no cell is looked at twice.
    const count =
      reach >= 180 ? columns : Math.min(columns, columnOf(longitude + reach, columns) - first + 1);
    for (let at = 0; at < count; at += 1) this.#searchCell(search, row, around(first + at, columns));
  }

  #searchCell(search: Search, row: number, column: number): void {
    for (
      let slot = this.#heads[this.#bucket(row, column)] ?? none;
      slot !== none;
      slot = this.#next[slot] ?? none
    )
      // Other cells may have the same bucket.
      if (this.#rows[slot] === row && this.#columns[slot] === column) search.offer(slot, this.#points);
  }

  #bucket(row: number, column: number): number {
    const mixed = Math.imul(Math.imul(row, 0x9e3779b1) ^ column, 0x85ebca6b);
    // As many buckets as a power of two.
    return (mixed ^ (mixed >>> 15)) & (this.#heads.length - 1);
  }

  #link(slot: number): void {
    const bucket = this.#bucket(this.#rows[slot] ?? 0, this.#columns[slot] ?? 0);
    const head = this.#heads[bucket] ?? none;
    this.#next[slot] = head;
    this.#previous[slot] = none;
    if (head !== none) this.#previous[head] = slot;
    this.#heads[bucket] = slot;
  }

  #unlink(slot: number): void {
    const next = this.#next[slot] ?? none;
    const previous = this.#previous[slot] ?? none;
    if (next !== none) this.#previous[next] = previous;
    if (previous !== none) this.#next[previous] = next;
    else this.#heads[this.#bucket(this.#rows[slot] ?? 0, this.#columns[slot] ?? 0)] = next;
  }

  #newSlot(id: string): number {
    const slot = this.#free.pop() ?? this.#ids.length;
    if (slot >= this.#rows.length) this.#grow();
    this.#ids[slot] = id;
    this.#slots.set(id, slot);
    return slot;
  }

  /** Twice the room, and each list anew: some 50 ms at a million, and half as often each time. */
  #grow(): void {
    const capacity = 2 * this.#rows.length;
    this.#points = grown(this.#points, new Float64Array(3 * capacity));
    this.#rows = grown(this.#rows, new Int32Array(capacity));
    this.#columns = grown(this.#columns, new Int32Array(capacity));
    this.#next = new Int32Array(capacity);
    this.#previous = new Int32Array(capacity);
    this.#heads = new Int32Array(capacity).fill(none);
    for (const slot of this.#slots.values()) this.#link(slot);
  }
}

function pointOf({ latitude, longitude }: Position, into: Float64Array, at: number): void {
  const across = Math.cos(latitude * radians);
  into[at] = across * Math.cos(longitude * radians);
  into[at + 1] = across * Math.sin(longitude * radians);
  into[at + 2] = Math.sin(latitude * radians);
}

/** One question: the nearest so far, and how far it still has to look. */
class Search {
  /** Nearest first, with the squares of their chords beside them. At most `max`. */
  readonly slots: number[] = [];
  readonly chords: number[] = [];
  readonly #center = new Float64Array(3);
  readonly #latitude: number;
  readonly #max: number;
  #limit: number;

  constructor(center: Position, angle: number, max: number) {
    pointOf(center, this.#center, 0);
    this.#latitude = center.latitude * radians;
    this.#max = max;
    this.#limit = max > 0 ? chordSquaredOf(angle) : -1;
  }

  /** How far away on the sphere of radius 1 something may be that is still wanted. */
  get angle(): number {
    return angleOf(Math.max(0, this.#limit));
  }

  /** As far as the circle goes to the east and the west, in radians of longitude. With a pole in it: all around. */
  get longitudeReach(): number {
    const { angle } = this;
    if (Math.abs(this.#latitude) + angle >= Math.PI / 2) return Math.PI;
    return Math.asin(Math.min(1, Math.sin(angle) / Math.cos(this.#latitude)));
  }

  /** About how many cells the circle touches. */
  get cells(): number {
    const across = (2 * this.angle) / (cellDegrees * radians) + 2;
    return across * across;
  }

  offer(slot: number, points: Float64Array): void {
    const at = 3 * slot;
    const x = (points[at] ?? 0) - (this.#center[0] ?? 0);
    const y = (points[at + 1] ?? 0) - (this.#center[1] ?? 0);
    const z = (points[at + 2] ?? 0) - (this.#center[2] ?? 0);
    const chord = x * x + y * y + z * z;
    if (chord > this.#limit) return;
    let place = this.slots.length;
    while (place > 0 && (this.chords[place - 1] ?? 0) > chord) place -= 1;
    this.slots.splice(place, 0, slot);
    this.chords.splice(place, 0, chord);
    if (this.slots.length > this.#max) {
      this.slots.pop();
      this.chords.pop();
    }
    if (this.slots.length === this.#max) this.#limit = this.chords[this.#max - 1] ?? this.#limit;
  }
}
