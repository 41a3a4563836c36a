/**
 * Who is near: contacts of whoever asks, and public places. The list is made from the contacts, one by one; where strangers are is not
 * even looked at, so neither the answer nor the time that it takes can depend on them.
 */
import type { Unit } from '../app.ts';
import type { Nearby, NearbyContact } from '../contract/location.ts';
import { establishmentsByIds } from '../people/establishments.ts';
import { personRow, refsOf } from '../people/people.ts';
import { contactIds, familiarity, togetherProbability } from './co-location.ts';
import { sideOfPerson, sidesOfPeople } from './fixes.ts';

const placesMax = 20;
const placesWithinM = 1_000;
/** `probably_here`: less sure, but these two are often together. */
const probablyFrom = 0.5;
export const familiarFrom = 3;

/** With the probability that it is ranked by, which is not told. */
type Ranked = NearbyContact & { readonly probability: number };

export async function nearby(unit: Unit, personId: string): Promise<Nearby> {
  const me = await personRow(unit.on, personId);
  const here = await sideOfPerson(unit, personId);
  const ids = await contactIds(unit, personId, true);
  const sides = await sidesOfPeople(unit, ids);
  const familiar = await familiarity(unit, personId, ids);
  const refs = await refsOf(unit.on, ids);
  const contacts = ids.flatMap((id): Ranked[] => {
    const side = sides.get(id);
    const ref = refs.get(id);
    if (side === undefined || ref === undefined) return [];
    const probability = togetherProbability(unit, here, side, me.rules.thresholdM);
    if (probability >= unit.app.policy.nearFrom) return [{ ...ref, likelihood: 'here', probability }];
    const known = (familiar.get(id) ?? 0) >= familiarFrom;
    return probability >= probablyFrom && known ? [{ ...ref, likelihood: 'probably_here', probability }] : [];
  });
  contacts.sort(
    (a, b) =>
      (familiar.get(b.personId) ?? 0) - (familiar.get(a.personId) ?? 0) ||
      b.probability - a.probability ||
      (a.personId < b.personId ? -1 : 1),
  );
  return {
    contacts: contacts.map(({ probability: _, ...contact }) => contact),
    establishments: await placesNear(unit, here.fix?.position),
  };
}

async function placesNear(
  unit: Unit,
  position: { readonly latitude: number; readonly longitude: number } | undefined,
): Promise<Nearby['establishments']> {
  if (position === undefined) return [];
  const near = unit.app.places.within(position, placesWithinM, placesMax);
  const places = new Map(
    (
      await establishmentsByIds(
        unit.on,
        near.map((place) => place.id),
      )
    ).map((place) => [`${place.establishmentId}`, place]),
  );
  return near.flatMap(({ id, distanceM }) => {
    const place = places.get(id);
    return place === undefined
      ? []
      : [{ establishmentId: place.establishmentId, name: place.name, distanceM: Math.round(distanceM) }];
  });
}
