/**
 * Demo mode: people whom anybody may sign in as, in a small town, with play money. Never on a network with real money: the routes are
 * not there in live mode.
 *
 * The phones of demo people belong to whoever signs in; the map shows where a phone would stand in the story.
 */
import type { App, Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import type { DemoMap } from '../contract/operator.ts';
import type { DemoPerson } from '../contract/people.ts';
import type { Position } from '../contract/primitives.ts';
import { moved } from '../location/geodesic.ts';
import { acceptContact, addContact } from '../people/contacts.ts';
import { addEstablishment } from '../people/establishments.ts';
import { addPerson, type PersonRow, refOf, setPrivacy } from '../people/people.ts';
import { first, run } from '../store/pool.ts';
import { inUnit } from '../unit.ts';
import { topUp } from './top-up.ts';

/** A square in Coimbra: the café is in its middle. */
export const square: Position = { latitude: 40.2086, longitude: -8.4291 };
const cafeRadiusM = 25;

interface DemoCast {
  readonly handle: string;
  readonly name: string;
  readonly role: 'person' | 'merchant';
  /** From the square's middle: metres and degrees. */
  readonly at: readonly [number, number];
}

const cast: readonly DemoCast[] = [
  { handle: '@cafe.luna', name: 'Café Luna', role: 'merchant', at: [0, 0] },
  { handle: '@ana', name: 'Ana', role: 'person', at: [8, 40] },
  { handle: '@ben', name: 'Ben', role: 'person', at: [12, 200] },
  { handle: '@cleo', name: 'Cleo', role: 'person', at: [15, 120] },
  { handle: '@dan', name: 'Dan', role: 'person', at: [2_400, 310] },
  // Sits at the next table and is nobody's contact.
  { handle: '@eve', name: 'Eve', role: 'person', at: [6, 300] },
];
const contacts: readonly (readonly [string, string])[] = [
  ['@ana', '@ben'],
  ['@ana', '@cleo'],
  ['@ana', '@dan'],
  ['@ben', '@cleo'],
];

export interface DemoWorld {
  people(unit: Unit): Promise<{ people: DemoPerson[] }>;
  personIdOf(unit: Unit, handle: string): Promise<string>;
  map(unit: Unit): Promise<DemoMap>;
}

const demoPeople = (unit: Unit): Promise<PersonRow[]> =>
  run<PersonRow>(unit.on, 'select * from person where is_demo order by role desc, name');

/** Puts the people there, once. */
export async function openDemo(app: App): Promise<DemoWorld> {
  await inUnit(app, async (unit) => {
    await unit.on.query('lock table person in share row exclusive mode');
    if ((await demoPeople(unit)).length === 0) await populate(unit);
  });
  return {
    people: async (unit) => ({
      people: (await demoPeople(unit)).map((row) => ({ ...refOf(row), role: row.role })),
    }),
    personIdOf: async (unit, handle) => {
      const row = await first<PersonRow>(unit.on, 'select * from person where handle = $1 and is_demo', [
        handle,
      ]);
      if (row === undefined) throw new PaymentsError('not_found', 'There is no demo person of that handle.');
      return row.person_id;
    },
    map: mapOf,
  };
}

async function populate(unit: Unit): Promise<void> {
  const ids = new Map<string, Awaited<ReturnType<typeof addPerson>>>();
  const idOf = (handle: string) => {
    const id = ids.get(handle);
    if (id === undefined) throw new Error(`${handle} is not in the cast`);
    return id;
  };
  for (const person of cast) {
    const id = await addPerson(unit, { ...person, currency: 'EUR', isDemo: true });
    ids.set(person.handle, id);
    await setPrivacy(unit, id, { locationOptIn: true, visibleToContacts: true });
    if (person.role === 'person') await topUp(unit, id, { amountMinor: '25000', currency: 'EUR' });
  }
  for (const [asker, asked] of contacts) {
    await addContact(unit, idOf(asker), asked);
    await acceptContact(unit, idOf(asked), idOf(asker));
  }
  await addEstablishment(unit, idOf('@cafe.luna'), {
    name: 'Café Luna',
    position: square,
    radiusM: cafeRadiusM,
  });
}

async function mapOf(unit: Unit): Promise<DemoMap> {
  const people = await demoPeople(unit);
  const places = await run<{ name: string; latitude: number; longitude: number; radius_m: number }>(
    unit.on,
    'select e.name, e.latitude, e.longitude, e.radius_m from establishment e join person p on p.person_id = e.owner_id where p.is_demo',
  );
  return {
    people: people.map((row) => {
      const [metres, degrees] = cast.find((person) => person.handle === row.handle)?.at ?? [0, 0];
      return { person: refOf(row), ...moved(square, degrees, metres), accuracyM: 10 };
    }),
    establishments: places.map(({ radius_m, ...place }) => ({ ...place, radiusM: radius_m })),
  };
}
