/**
 * A day of a town's people: at home, on the way, at work, at lunch, in the evening at a café or at home. Positions are metres on a plane:
 * a town is small. What matters is how often people are truly near, just beyond, and far, indoors and out.
 */
import { seeded } from './random.ts';

export interface Spot {
  readonly x: number;
  readonly y: number;
}

/** Where somebody is at a minute of the day. */
export interface Whereabouts extends Spot {
  readonly isIndoors: boolean;
  /** Metres a second. */
  readonly speed: number;
}

export interface Town {
  readonly people: number;
  at(person: number, minute: number): Whereabouts;
}

export const townSizeM = 6_000;
const walkMps = 1.3;
const venueRadiusM = 15;
const dayMinutes = 24 * 60;

interface Stay extends Spot {
  readonly from: number;
  readonly until: number;
}

export function makeTown(people: number, seed: number): Town {
  const next = seeded(seed);
  const spot = (): Spot => ({ x: next() * townSizeM, y: next() * townSizeM });
  // Cafés and offices cluster in centres, and stand beside each other.
  const centres = Array.from({ length: 6 }, spot);
  const clustered = (): Spot => {
    const centre = centres[Math.floor(next() * centres.length)] ?? spot();
    return { x: centre.x + (next() - 0.5) * 900, y: centre.y + (next() - 0.5) * 900 };
  };
  const offices = Array.from({ length: Math.ceil(people / 25) }, clustered);
  const venues = Array.from({ length: Math.ceil(people / 40) }, clustered);
  const pick = (list: readonly Spot[]): Spot => list[Math.floor(next() * list.length)] ?? spot();
  const within = (place: Spot): Spot => ({
    x: place.x + (next() - 0.5) * 2 * venueRadiusM,
    y: place.y + (next() - 0.5) * 2 * venueRadiusM,
  });
  const days = Array.from({ length: people }, () => {
    const home = spot();
    const office = within(pick(offices));
    const lunch = within(pick(venues));
    const evening = next() < 0.5 ? within(pick(venues)) : home;
    const shift = next() * 90;
    return dayOf([
      [home, 0],
      [office, 480 + shift],
      [lunch, 720 + shift / 2],
      [office, 780 + shift / 2],
      [evening, 1_050 + shift],
      [home, 1_260 + shift],
    ]);
  });
  return { people, at: (person, minute) => whereabouts(days[person] ?? [], minute) };
}

/** Stays, with the walk to each of them before its beginning. */
function dayOf(plan: readonly (readonly [Spot, number])[]): readonly Stay[] {
  return plan.map(([place, from], at) => {
    const [to, next] = plan[at + 1] ?? [place, dayMinutes];
    const walkMinutes = Math.hypot(to.x - place.x, to.y - place.y) / walkMps / 60;
    return { ...place, from, until: Math.max(from, next - Math.min(walkMinutes, (next - from) * 0.8)) };
  });
}

function whereabouts(day: readonly Stay[], minute: number): Whereabouts {
  const at = day.findLastIndex((stay) => stay.from <= minute);
  const stay = day[Math.max(0, at)];
  if (stay === undefined) return { x: 0, y: 0, isIndoors: false, speed: 0 };
  const next = day[at + 1];
  if (minute <= stay.until || next === undefined) return { x: stay.x, y: stay.y, isIndoors: true, speed: 0 };
  const share = (minute - stay.until) / Math.max(1e-9, next.from - stay.until);
  const length = Math.hypot(next.x - stay.x, next.y - stay.y);
  return {
    x: stay.x + (next.x - stay.x) * share,
    y: stay.y + (next.y - stay.y) * share,
    isIndoors: false,
    speed: length / Math.max(1, (next.from - stay.until) * 60),
  };
}
