/**
 * Whether a stranger is near cannot be learned by how long an answer takes (S9.3). Where two questions run the same statements over the
 * same rows, that is compared exactly; what else they may differ in is compared by processor time, paired and interleaved, by a rank
 * test (which tells a fifth of an answer's time from nothing). Each comparison is shown to find a service that looks at strangers.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retain } from '#payments/location/retention.ts';
import { seeded } from '#payments/simulation/random.ts';
import { type Change, mutant } from '../support/mutant.ts';
import type { Phone } from '../support/phone.ts';
import { signedRankZ } from '../support/rank.ts';
import { near, type Service, service } from '../support/service.ts';
import { cpuMeter, plansOfLargeTables, statementsOf } from '../support/work.ts';

/** By chance beyond this once in 150,000 comparisons. */
const zMax = 4.5;
const rounds = 40;
const warmUps = 5;
const strangers = ['near', 'far', 'opted out', 'nobody'] as const;
type Stranger = (typeof strangers)[number];
const attempts = ['pay', 'ask', 'namePartner', 'acceptContact'] as const;
type Attempt = (typeof attempts)[number];

const money = { amountMinor: '100', currency: 'EUR' };

/** Eve, who has no contacts, and whom she asks about: one near, one far, one who has opted out, and an id of nobody. */
interface World {
  readonly on: Service;
  readonly eve: Phone;
  readonly idOf: Readonly<Record<Stranger, string>>;
}

async function world(changes: readonly Change[] = []): Promise<World> {
  const on = await service({
    databaseOptions: plansOfLargeTables,
    config: { poolMax: 1 },
    ...(changes.length > 0 && { begin: await mutant(changes) }),
  });
  const [eve, ana, ben, cleo] = [
    await on.phone('@eve'),
    await on.phone('@ana'),
    await on.phone('@ben'),
    await on.phone('@cleo'),
  ];
  await eve.report(near(0));
  await ana.report(near(3));
  await ben.report(near(9_000));
  await cleo.call('setPrivacy', { locationOptIn: false, visibleToContacts: false });
  return {
    on,
    eve,
    idOf: {
      near: ana.personId,
      far: ben.personId,
      'opted out': cleo.personId,
      nobody: `per_${'0'.repeat(26)}`,
    },
  };
}

/** Makes the request ready; what is returned sends it. Signing is the phone's work and is not measured. */
async function ready(
  { eve, idOf }: World,
  attempt: Attempt,
  about: Stranger,
): Promise<() => Promise<unknown>> {
  const personId = idOf[about];
  switch (attempt) {
    case 'pay': {
      const body = await eve.message('payment', { payee: { kind: 'contact', personId }, money, note: '' });
      return () => eve.send('pay', body);
    }
    case 'ask': {
      const body = await eve.message('ask', { from: personId, money, note: '', expiresInMinutes: 5 });
      return () => eve.send('ask', body);
    }
    case 'namePartner': {
      const body = await eve.message('partner.name', { personId });
      return () => eve.send('namePartner', body);
    }
    case 'acceptContact':
      return () => eve.send('acceptContact', {}, { params: { personId } });
  }
}

/** Attempts whose statements or rows differ by whom they are about. */
async function differentWork(world: World): Promise<string[]> {
  const different: string[] = [];
  for (const attempt of attempts) {
    const work: string[] = [];
    for (const about of strangers) {
      const send = await ready(world, attempt, about);
      work.push((await statementsOf(world.on.app.pool, send)).join('\n'));
    }
    assert.ok(
      work.every((lines) => lines.includes('device') || lines.includes('session')),
      work[0],
    );
    if (new Set(work).size > 1) different.push(attempt);
  }
  return different;
}

/** `pay: near and far`: pairs that a client could tell apart by the processor time that their answers take. */
async function differentTime(world: World, measured: readonly Attempt[] = attempts): Promise<string[]> {
  const meter = await cpuMeter(world.on.app.pool);
  const next = seeded(11);
  const times = new Map<string, number[]>();
  for (let round = -warmUps; round < rounds; round += 1) {
    const order = measured
      .flatMap((attempt) => strangers.map((about) => ({ attempt, about, at: next() })))
      .sort((a, b) => a.at - b.at);
    for (const { attempt, about } of order) {
      const send = await ready(world, attempt, about);
      const taken = await meter(send);
      const name = `${attempt} ${about}`;
      if (round >= 0) times.set(name, [...(times.get(name) ?? []), taken]);
    }
  }
  return measured.flatMap((attempt) =>
    pairs(strangers).flatMap(([a, b]) => {
      const [as, bs] = [times.get(`${attempt} ${a}`) ?? [], times.get(`${attempt} ${b}`) ?? []];
      const z = signedRankZ(as.map((time, at) => time - (bs[at] ?? Number.NaN)));
      return Math.abs(z) > zMax ? [`${attempt}: ${a} and ${b}`] : [];
    }),
  );
}

const pairs = <Item>(items: readonly Item[]): (readonly [Item, Item])[] =>
  items.flatMap((a, at) => items.slice(at + 1).map((b) => [a, b] as const));

const refusal = '      if (!(await isMutual(unit.on, payerId, payee.personId))) throw notAvailable();\n';
const imports = "import { isMutual } from '../people/contacts.ts';\n";
const looksFirst = (then: string): readonly Change[] => [
  {
    file: 'payments/payee.ts',
    from: imports,
    to: `${imports}import { distanceM } from '../location/geodesic.ts';\n`,
  },
  {
    file: 'payments/payee.ts',
    from: refusal,
    to: `      const [here, there] = [await sideOfPerson(unit, payerId), await sideOfPerson(unit, payee.personId)];
      const apart = () => here.fix && there.fix ? distanceM(here.fix.position, there.fix.position) : Infinity;
      if (apart() < 100) ${then}
${refusal}`,
  },
];

test('the rank test knows its textbook example, and chance', () => {
  // Differences 15, -7, 5, 20, 0, -9, 17, -12, 5, -10: W+ = 27 of 45.
  const z = signedRankZ([15, -7, 5, 20, 0, -9, 17, -12, 5, -10]);
  assert.ok(Math.abs(z - 0.5336) < 0.001, `${z}`);
  const next = seeded(3);
  const noise = Array.from({ length: 400 }, () => next() - next());
  assert.ok(Math.abs(signedRankZ(noise)) < 3);
  assert.ok(signedRankZ(noise.map((each) => each + 0.2)) > zMax);
  assert.equal(signedRankZ([0, 0]), 0);
});

test('near, far, opted out or nobody: the same statements over the same rows, and no difference in processor time', async () => {
  const honest = await world();
  assert.deepEqual(await differentWork(honest), []);
  assert.deepEqual(await differentTime(honest), []);
});

test('a service that looks where the stranger is before it refuses is found by its statements', async () => {
  const leaking = await world(looksFirst('await sideOfPerson(unit, payerId);'));
  assert.deepEqual(await differentWork(leaking), ['pay']);
});

test('a service that merely computes longer for one who is near, over the same rows, is found by its time', async () => {
  const leaking = await world(looksFirst('for (let n = 0; n < 6_000; n += 1) apart();'));
  const found = await differentTime(leaking, ['pay']);
  assert.ok(found.includes('pay: near and far'), `${found}`);
});

const morning = Date.parse('2026-11-26T00:30:00Z');

/** Ana's lists with Eve near, far and away: the work of each, which must not depend on Eve. */
async function workOfLists(changes: readonly Change[] = []): Promise<Set<string>> {
  const on = await service({
    databaseOptions: plansOfLargeTables,
    config: { poolMax: 1 },
    // Within one day: who was together is counted by the day.
    startMs: morning,
    ...(changes.length > 0 && { begin: await mutant(changes) }),
  });
  const [ana, ben, eve] = [await on.phone('@ana'), await on.phone('@ben'), await on.phone('@eve')];
  const { establishmentId } = await (await on.phone('@cafe.luna')).call('me');
  const found = new Set<string>();
  // The first time makes rows (who is often together) that later ones find.
  for (const [turn, metres] of [3, 3, 9_000, undefined, 3, undefined].entries()) {
    // The ring's slot is the same again, and the hour is another.
    on.pass(2 * 3_600_000);
    await retain(on.app);
    if (metres !== undefined) await eve.report(near(metres));
    await ben.report(near(5));
    const lines = await statementsOf(on.app.pool, async () => {
      await ana.report(near(0));
      await ana.call('nearby');
    });
    const { paymentId } = await ana.pay({ kind: 'establishment', establishmentId }, '1');
    await on.app.background.done();
    const offer = await statementsOf(on.app.pool, async () => {
      const { people } = await ana.call('splitOffer', undefined, { params: { paymentId } });
      assert.deepEqual(
        people.map((person) => person.handle),
        ['@ben'],
      );
    });
    if (turn > 0) found.add([...lines, ...offer].join('\n'));
  }
  return found;
}

test('lists of who is near and who was there: the same statements over the same rows, wherever a stranger is', async () => {
  const found = await workOfLists();
  assert.equal(found.size, 1, [...found].join('\n---\n'));
});

test('a list that is made from everybody and sorted out afterwards is found by the rows that it reads', async () => {
  const found = await workOfLists([
    {
      file: 'location/nearby.ts',
      from: '  const sides = await sidesOfPeople(unit, ids);\n',
      to: `  const all = await unit.on.query('select distinct person_id from position_fix where person_id > $1', ['']);
  const sides = await sidesOfPeople(unit, all.rows.map((row: { person_id: string }) => row.person_id));\n`,
    },
  ]);
  assert.ok(found.size > 1);
});
