/**
 * Strangers are never shown, and cannot be found out about by answers, errors or work done (S9.3): property over random worlds, and two
 * worlds that differ in a stranger alone must answer alike and run the same statements over the same number of rows.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { retain } from '#payments/location/retention.ts';
import type { Phone } from '../support/phone.ts';
import { near, type Service, service } from '../support/service.ts';
import { plansOfLargeTables, statementsOf } from '../support/work.ts';

const names = ['@ana', '@ben', '@cleo', '@dan', '@eve'] as const;
const mutual: Readonly<Record<string, readonly string[]>> = {
  '@ana': ['@ben', '@cleo', '@dan'],
  '@ben': ['@ana', '@cleo'],
  '@cleo': ['@ana', '@ben'],
  '@dan': ['@ana'],
  '@eve': [],
};
let on: Service;
const phones = new Map<string, Phone>();
let establishmentId = '';

before(async () => {
  on = await service({ databaseOptions: plansOfLargeTables });
  for (const name of names) phones.set(name, await on.phone(name));
  establishmentId = (await (await on.phone('@cafe.luna')).call('me')).establishmentId ?? '';
});

const phoneOf = (name: string): Phone => {
  const phone = phones.get(name);
  assert.ok(phone);
  return phone;
};

async function nextMoment(): Promise<void> {
  // So long that whoever was anywhere may be anywhere else.
  on.pass(40 * 60_000);
  await retain(on.app);
}

test('in random worlds, lists hold nobody but contacts who are there and allow it', async () => {
  const person = fc.record({
    metres: fc.constantFrom(0, 10, 40, 90, 160, 2_000),
    degrees: fc.integer({ min: 0, max: 359 }),
    accuracyM: fc.constantFrom(5, 15, 60),
    optIn: fc.boolean(),
    visible: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.tuple(person, person, person, person, person), async (people) => {
      await nextMoment();
      for (const [at, name] of names.entries()) {
        const state = people[at];
        assert.ok(state);
        await phoneOf(name).call('setPrivacy', {
          locationOptIn: state.optIn,
          visibleToContacts: state.visible,
        });
        if (state.optIn)
          await phoneOf(name).report(near(state.metres, state.degrees), { accuracyM: state.accuracyM });
      }
      for (const [at, name] of names.entries()) {
        const shown = (await phoneOf(name).call('nearby')).contacts.map((contact) => `${contact.handle}`);
        const payment = await phoneOf(name).pay({ kind: 'establishment', establishmentId }, '1');
        if (payment.state === 'completed') {
          const { people: offered } = await phoneOf(name).call('splitOffer', undefined, {
            params: { paymentId: payment.paymentId },
          });
          shown.push(...offered.map((each) => `${each.handle}`));
        }
        if (people[at]?.optIn === false) assert.deepEqual(shown, [], 'who is nowhere sees nobody');
        for (const handle of shown) {
          assert.ok(mutual[name]?.includes(handle), `${name} sees ${handle}`);
          const other = people[names.map(String).indexOf(handle)];
          assert.ok(other?.optIn && other.visible, `${handle} allowed it`);
          assert.ok(other.metres < 2_000 === (people[at]?.metres ?? 0) < 2_000, `${handle} is far away`);
        }
      }
    }),
    { numRuns: Number(process.env.PANDO_STRANGER_WORLDS ?? 12) },
  );
});

test('near, far, opted out or not there at all: a stranger makes no difference to answers, errors or statements', async () => {
  const ana = phoneOf('@ana');
  const eve = phoneOf('@eve');
  await ana.call('setPrivacy', { locationOptIn: true, visibleToContacts: true });
  const strangers: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['near', () => eve.report(near(3))],
    ['far', () => eve.report(near(9_000))],
    ['opted out', () => eve.call('setPrivacy', { locationOptIn: false, visibleToContacts: false })],
    ['no such person', async () => undefined],
  ];
  await eve.call('setPrivacy', { locationOptIn: true, visibleToContacts: true });
  const told = new Map<string, string>();
  const ran = new Map<string, string>();
  for (const [kind, prepare] of strangers) {
    await nextMoment();
    await prepare();
    const personId = kind === 'no such person' ? 'per_01234567890123456789012345' : eve.personId;
    await ana.report(near(2));
    const replies: unknown[] = [];
    const statements = await statementsOf(on.app.pool, async () => {
      const money = { amountMinor: '100', currency: 'EUR' };
      const attempts = [
        () => ana.signed('pay', 'payment', { payee: { kind: 'contact', personId }, money, note: '' }),
        () => ana.signed('ask', 'ask', { from: personId, money, note: '', expiresInMinutes: 5 }),
        () => ana.signed('namePartner', 'partner.name', { personId }),
        () => ana.call('acceptContact', {}, { params: { personId } }),
        () => ana.call('nearby'),
      ];
      for (const attempt of attempts)
        replies.push(
          await attempt().catch((error: { code?: string; status?: number; message: string }) => [
            error.code,
            error.status,
            error.message,
          ]),
        );
    });
    told.set(kind, JSON.stringify(replies));
    ran.set(kind, statements.join('\n'));
  }
  assert.equal(new Set(told.values()).size, 1, [...told].join('\n'));
  assert.ok([...ran.values()].every((text) => text.length > 500));
  for (const text of ran.values()) assert.equal(text, ran.get('near'));
});

test('asking for a contact says the same for a handle that exists and one that does not', async () => {
  const ana = phoneOf('@ana');
  const before = await ana.call('contacts');
  const replies = [];
  for (const handle of ['@eve', '@nobody.at.all'] as const)
    replies.push((await ana.send('addContact', { handle })).body);
  assert.deepEqual(replies[0], replies[1]);
  const after = await ana.call('contacts');
  assert.deepEqual(after.contacts, before.contacts);
  assert.deepEqual(after.pending.map((pending) => pending.handle).sort(), ['@eve', '@nobody.at.all']);
});
