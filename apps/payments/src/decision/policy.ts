/** Constants of the decision engine, stored with each decision, so that an old one is replayed by what held then. */

export interface Policy {
  /** From this probability of being within the threshold on, the devices are near. 1 − it bounds the rate of false accepts. */
  readonly nearFrom: number;
  /** Up to this probability they are far; between the two it cannot be told. */
  readonly farUpTo: number;
  /** Older fixes are stale. */
  readonly ageSMax: number;
  /** Fixes that are less accurate than this (believed 95 % radius) say nothing. */
  readonly accuracyMMax: number;
  /** How far people move while a fix ages: σ on each axis, metres a second. */
  readonly driftMps: number;
  /** A carrier's PARTIAL counts as a match from this matchRate on. */
  readonly partialMatchMin: number;
}

/** The defaults are argued in docs/location-defaults.md, from the simulated town. */
export const defaultPolicy: Policy = {
  nearFrom: 0.9,
  farUpTo: 0.05,
  ageSMax: 120,
  accuracyMMax: 1_000,
  driftMps: 0.7,
  partialMatchMin: 50,
};
