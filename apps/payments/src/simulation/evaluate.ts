/** The production decision engine over pairs of the town's people: how often it errs, by threshold and sources (S9.8). */
import type { DeviceSource } from '../contract/location.ts';
import type { SideEvidence } from '../contract/operator.ts';
import { type DecisionInputs, proximityOf } from '../decision/decide.ts';
import { defaultPolicy, type Policy } from '../decision/policy.ts';
import { defaultRules } from '../people/people.ts';
import { measure } from './errors.ts';
import { seeded } from './random.ts';
import { type Town, townSizeM, type Whereabouts } from './town.ts';

export const thresholds = [20, 50, 100, 200, 500] as const;
export const mixes: Readonly<Record<string, readonly [DeviceSource, DeviceSource]>> = {
  'gnss and gnss': ['gnss', 'gnss'],
  'gnss and wifi': ['gnss', 'wifi'],
  'wifi and wifi': ['wifi', 'wifi'],
  'fused and fused': ['fused', 'fused'],
  'cell and gnss': ['cell', 'gnss'],
};

export interface Tally {
  /** Pairs that were truly within the threshold, and how many of them were called far. */
  near: number;
  calledFar: number;
  /** Pairs truly beyond it by at most four times, and how many of them were called near. */
  beyond: number;
  calledNear: number;
  unknown: number;
}

const nothing = (): Tally => ({ near: 0, calledFar: 0, beyond: 0, calledNear: 0, unknown: 0 });

export interface Pair {
  readonly a: Whereabouts;
  readonly b: Whereabouts;
  readonly distanceM: number;
}

/** Pairs of people at moments of the day, more of them where it is hard to tell: every 10 minutes, people within 2.5 km of each other. */
export function pairsOf(town: Town, pairsMax: number, seed: number): Pair[] {
  const next = seeded(seed);
  const pairs: Pair[] = [];
  const ticks = 144;
  const perTick = Math.ceil(pairsMax / ticks);
  for (let tick = 0; tick < ticks; tick += 1) {
    const minute = tick * 10;
    const everybody = Array.from({ length: town.people }, (_, person) => town.at(person, minute));
    const cells = byCell(everybody, 100);
    for (let made = 0, tried = 0; made < perTick && tried < perTick * 20; tried += 1) {
      const a = everybody[Math.floor(next() * everybody.length)];
      // Half of them from the cells around, where it is decided; half from anywhere.
      const b =
        next() < 0.7 && a
          ? someoneNear(cells, a, 100 * 2 ** Math.floor(next() * 4), next)
          : everybody[Math.floor(next() * everybody.length)];
      if (a === undefined || b === undefined || a === b) continue;
      const distanceM = Math.hypot(a.x - b.x, a.y - b.y);
      if (distanceM > 2_500) continue;
      pairs.push({ a, b, distanceM });
      made += 1;
    }
  }
  return pairs;
}

const cellKey = (x: number, y: number, size: number): number =>
  Math.floor(x / size) * 100_000 + Math.floor(y / size);

function byCell(everybody: readonly Whereabouts[], size: number): Map<number, Whereabouts[]> {
  const cells = new Map<number, Whereabouts[]>();
  for (const one of everybody) {
    const key = cellKey(one.x, one.y, size);
    const cell = cells.get(key);
    if (cell === undefined) cells.set(key, [one]);
    else cell.push(one);
  }
  return cells;
}

function someoneNear(
  cells: ReadonlyMap<number, readonly Whereabouts[]>,
  a: Whereabouts,
  reach: number,
  next: () => number,
): Whereabouts | undefined {
  const cell = cells.get(cellKey(a.x + (next() - 0.5) * 2 * reach, a.y + (next() - 0.5) * 2 * reach, 100));
  return cell?.[Math.floor(next() * cell.length)];
}

/** What the engine would be given for a pair, with the ages of the fixes and what people walked meanwhile. */
export function evidenceFor(
  pair: Pair,
  mix: readonly [DeviceSource, DeviceSource],
  next: () => number,
): Pick<DecisionInputs, 'distanceM' | 'payer' | 'payee'> {
  const sides = [pair.a, pair.b].map((who, at) => {
    const source = mix[at] ?? 'fused';
    const fix = measure(source, who.isIndoors, next);
    const ageS = next() * 60;
    // Where the person was when it was measured: a walk away in some direction.
    const heading = next() * 2 * Math.PI;
    const walked = who.speed * ageS;
    return {
      x: who.x + fix.dx + walked * Math.cos(heading),
      y: who.y + fix.dy + walked * Math.sin(heading),
      evidence: {
        source,
        accuracyM: fix.accuracyM,
        ageS,
        standing: 'trusted',
        carrier: 'NONE',
        carrierMatchRate: null,
        cell: null,
      } satisfies SideEvidence,
    };
  });
  const [a, b] = sides;
  if (a === undefined || b === undefined) throw new Error('a pair has two sides');
  return { distanceM: Math.hypot(a.x - b.x, a.y - b.y), payer: a.evidence, payee: b.evidence };
}

/** Counts for one mix and each threshold. */
export function evaluate(
  pairs: readonly Pair[],
  mix: readonly [DeviceSource, DeviceSource],
  seed: number,
  policy: Policy = defaultPolicy,
): Map<number, Tally> {
  const next = seeded(seed);
  const tallies = new Map<number, Tally>(thresholds.map((threshold) => [threshold, nothing()]));
  const { partner: _, ...rules } = defaultRules;
  for (const pair of pairs) {
    const evidence = evidenceFor(pair, mix, next);
    for (const [thresholdM, tally] of tallies) {
      if (pair.distanceM > thresholdM * 5) continue;
      const inputs = {
        ...evidence,
        policy,
        rules: { ...rules, thresholdM, partnerRequired: false, areasNamed: false },
      };
      const { proximity } = proximityOf(inputs);
      if (proximity === 'unknown') tally.unknown += 1;
      if (pair.distanceM <= thresholdM) {
        tally.near += 1;
        if (proximity === 'far') tally.calledFar += 1;
      } else {
        tally.beyond += 1;
        if (proximity === 'near') tally.calledNear += 1;
      }
    }
  }
  return tallies;
}

/** Of devices that lie about where they are (somewhere in the town, claiming to be here): how many pass, without and with a carrier. */
export function evaluateLiars(
  liars: number,
  seed: number,
): { readonly withoutCarrier: number; readonly withCarrier: number } {
  const next = seeded(seed);
  // The carrier is asked about 2 km around the claim; the cell reaches 400 m. Within their sum it cannot say FALSE.
  const blindM = 2_400;
  let unseen = 0;
  for (let at = 0; at < liars; at += 1) {
    const claim = { x: next() * townSizeM, y: next() * townSizeM };
    const truth = { x: next() * townSizeM, y: next() * townSizeM };
    if (Math.hypot(claim.x - truth.x, claim.y - truth.y) < blindM) unseen += 1;
  }
  return { withoutCarrier: 1, withCarrier: unseen / liars };
}
