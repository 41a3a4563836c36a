/**
 * Reports that a type does badly somewhere (S4.4): failed launches, steal time, pressure on memory, a disk or an uplink that is full.
 * They count on the host itself, and half on all hosts of its class with such neighbours; what is old counts less. Few reports lower a
 * type's slots there, many failed launches withdraw it, until they have decayed. Pressure is about the host and whatever comes to it; of
 * its class it makes us wary only for the types that it was felt by.
 */

export const adverseKinds = ['launch-failed', 'steal', 'memory-pressure', 'disk', 'network'] as const;
export type AdverseKind = (typeof adverseKinds)[number];

/** How much one report weighs. A failed launch is about its type alone; pressure is felt by every type, and lowers without withdrawing. */
const worth = {
  'launch-failed': 1,
  steal: 0.5,
  'memory-pressure': 0.5,
  disk: 0.5,
  network: 0.5,
} as const satisfies Record<AdverseKind, number>;

export interface AdverseReport {
  readonly kind: AdverseKind;
  readonly hostId: string;
  readonly hostClass: string;
  /** What ran beside it, by type. */
  readonly running: ReadonlyMap<string, number>;
  /** Absent: it is about the host, whatever the type. */
  readonly type?: string;
}

export interface AdverseOptions {
  readonly halfLifeMs?: number;
  /** Places that are remembered; of more, the oldest is forgotten. */
  readonly placesMax?: number;
}

interface Score {
  value: number;
  atMs: number;
}

export const adverseHalfLifeMsDefault = 10 * 60_000;
export const adversePlacesMaxDefault = 20_000;
/** Below, nothing is lowered: one report is no pattern. */
const lowersAbove = 1.5;
const withdrawsAt = 4;
/** What pressure alone leaves of a type. */
const pressureFloor = 0.25;
/** What pressure elsewhere in the class leaves of a type: it is a guess about this host. */
const classPressureFloor = 0.5;
/** Reports about the class count as much here. */
const classShare = 0.5;

/** Neighbours, coarsely: how many in powers of two, and the type that most of them are. */
export const neighboursOf = (running: ReadonlyMap<string, number>): string => {
  let most = '';
  let mostCount = 0;
  let sum = 0;
  for (const [type, count] of running) {
    sum += count;
    if (count > mostCount || (count === mostCount && type < most)) {
      most = type;
      mostCount = count;
    }
  }
  return `${sum === 0 ? 0 : 1 + Math.floor(Math.log2(sum))}/${most}`;
};

export class AdverseBook {
  readonly #halfLifeMs: number;
  readonly #placesMax: number;
  readonly #scores = new Map<string, Score>();

  constructor(options: AdverseOptions = {}) {
    this.#halfLifeMs = options.halfLifeMs ?? adverseHalfLifeMsDefault;
    this.#placesMax = options.placesMax ?? adversePlacesMaxDefault;
  }

  get size(): number {
    return this.#scores.size;
  }

  report({ kind, hostId, hostClass, running, type }: AdverseReport, nowMs: number): void {
    const weight = worth[kind];
    if (type === undefined) {
      this.#add(`host ${hostId}`, weight, nowMs);
      const near = neighboursOf(running);
      for (const each of running.keys())
        this.#add(`pressed ${hostClass} ${each} ${near}`, weight * classShare, nowMs);
      return;
    }
    this.#add(`host ${hostId} ${type}`, weight, nowMs);
    this.#add(`class ${hostClass} ${type} ${neighboursOf(running)}`, weight * classShare, nowMs);
  }

  /** 1: nothing speaks against this type there; 0: withdrawn; between: so much of its slots. */
  fitness(
    place: {
      readonly hostId: string;
      readonly hostClass: string;
      readonly running: ReadonlyMap<string, number>;
    },
    type: string,
    nowMs: number,
  ): number {
    if (this.#scores.size === 0) return 1;
    const { hostId, hostClass } = place;
    const near = neighboursOf(place.running);
    const own =
      this.#score(`host ${hostId} ${type}`, nowMs) + this.#score(`class ${hostClass} ${type} ${near}`, nowMs);
    const pressedClass = this.#score(`pressed ${hostClass} ${type} ${near}`, nowMs);
    return Math.min(
      lowered(own),
      Math.max(pressureFloor, this.calm(hostId, nowMs)),
      Math.max(classPressureFloor, lowered(pressedClass)),
    );
  }

  /** How free of pressure a host is by its own reports alone: 1 nothing speaks against it, 0 it has been pressed for long. */
  calm(hostId: string, nowMs: number): number {
    return lowered(this.#score(`host ${hostId}`, nowMs));
  }

  /** Forgets what has decayed to nothing. Returns whether anything is left. */
  prune(nowMs: number): boolean {
    for (const [key, score] of this.#scores) if (this.#decayed(score, nowMs) < 0.05) this.#scores.delete(key);
    return this.#scores.size > 0;
  }

  #add(key: string, weight: number, nowMs: number): void {
    const known = this.#scores.get(key);
    const value = (known === undefined ? 0 : this.#decayed(known, nowMs)) + weight;
    // In the order of their last report: the first is the oldest.
    this.#scores.delete(key);
    this.#scores.set(key, { value, atMs: nowMs });
    if (this.#scores.size <= this.#placesMax) return;
    const [oldest] = this.#scores.keys();
    if (oldest !== undefined) this.#scores.delete(oldest);
  }

  #score(key: string, nowMs: number): number {
    const score = this.#scores.get(key);
    return score === undefined ? 0 : this.#decayed(score, nowMs);
  }

  #decayed({ value, atMs }: Score, nowMs: number): number {
    return value * 2 ** (-Math.max(0, nowMs - atMs) / this.#halfLifeMs);
  }
}

const lowered = (score: number): number =>
  score <= lowersAbove ? 1 : Math.max(0, 1 - (score - lowersAbove) / (withdrawsAt - lowersAbove));
