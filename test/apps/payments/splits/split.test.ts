/** Splitting a bill at a table (S9.3): who is offered, asked, approves, declines, lets it expire; where the money lands. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { retain } from '#payments/location/retention.ts';
import { sweep } from '#payments/payments/sweep.ts';
import type { Phone } from '../support/phone.ts';
import { near, type Service, service } from '../support/service.ts';

let on: Service;
let phones: { [Name in 'ana' | 'ben' | 'cleo' | 'dan' | 'eve' | 'cafe']: Phone };
let establishmentId = '';

before(async () => {
  on = await service();
  const [ana, ben, cleo, dan, eve, cafe] = await Promise.all(
    ['@ana', '@ben', '@cleo', '@dan', '@eve', '@cafe.luna'].map((handle) => on.phone(handle)),
  );
  assert.ok(ana && ben && cleo && dan && eve && cafe);
  phones = { ana, ben, cleo, dan, eve, cafe };
  establishmentId = (await cafe.call('me')).establishmentId ?? '';
});

/** Everybody's place now; Dan is far, Eve (no contact of anybody) sits at the next table. */
async function sitDown(): Promise<void> {
  on.pass(20 * 60_000);
  await retain(on.app);
  await phones.ana.report(near(5));
  await phones.ben.report(near(10, 90));
  await phones.cleo.report(near(12, 200));
  await phones.dan.report(near(2_400, 310));
  await phones.eve.report(near(6, 30));
}

async function payBill(amount = '3000'): Promise<string> {
  const payment = await phones.ana.pay({ kind: 'establishment', establishmentId }, amount);
  assert.equal(payment.state, 'completed');
  assert.equal(payment.splittable, true);
  return payment.paymentId;
}

const offer = (paymentId: string, phone = phones.ana) =>
  phone.call('splitOffer', undefined, { params: { paymentId } });
const split = (paymentId: string, division: object, options: { key?: string; hours?: number } = {}) =>
  phones.ana.signed(
    'split',
    'split',
    { paymentId, division, expiresInHours: options.hours ?? 24 },
    options.key ? { key: options.key } : {},
  );
const answer = (
  phone: Phone,
  name: 'approvePart' | 'declinePart' | 'cancelSplit',
  splitId: string,
  key?: string,
) => {
  const type = { approvePart: 'split.approve', declinePart: 'split.decline', cancelSplit: 'split.cancel' }[
    name
  ];
  return phone.signed(name, type, { splitId }, { params: { splitId }, ...(key && { key }) });
};
const ids = (...names: (keyof typeof phones)[]) => names.map((name) => phones[name].personId);

test('contacts at the table are offered; one who is far and a stranger at the next table are not', async () => {
  await sitDown();
  const { people, remainingMinor } = await offer(await payBill());
  assert.deepEqual(people.map((person) => person.handle).sort(), ['@ben', '@cleo']);
  assert.ok(people.every((person) => person.basis === 'same_establishment'));
  assert.equal(remainingMinor, '3000');
});

test('split equally: approved, the reimbursement lands in the payer’s account', async () => {
  await sitDown();
  const paymentId = await payBill();
  const made = await split(paymentId, { by: 'equal', people: ids('ben', 'cleo') });
  assert.deepEqual(
    made.parts.map((part) => [part.amountMinor, part.state]),
    [
      ['1000', 'asked'],
      ['1000', 'asked'],
    ],
  );
  const [seen] = (await phones.ben.call('splits')).splits;
  assert.deepEqual(
    seen?.parts.map((part) => part.mine),
    [true],
    'others’ parts are not shown',
  );
  assert.equal(seen?.paidTo, 'Café Luna');
  const before = [await phones.ana.balance(), await phones.ben.balance()] as const;
  // From home, an hour later: the bill was at the table.
  on.pass(3_600_000);
  const approved = await answer(phones.ben, 'approvePart', made.splitId);
  assert.equal(approved.parts[0]?.state, 'approved');
  assert.deepEqual(
    [await phones.ana.balance(), await phones.ben.balance()],
    [before[0] + 1000n, before[1] - 1000n],
  );
  await assert.rejects(answer(phones.ben, 'approvePart', made.splitId), { code: 'state_conflict' });
  const declined = await answer(phones.cleo, 'declinePart', made.splitId);
  assert.equal(declined.parts[0]?.state, 'declined');
  await assert.rejects(answer(phones.cleo, 'approvePart', made.splitId), { code: 'state_conflict' });
  const reimbursement = (await phones.ana.call('activity')).items[0];
  assert.deepEqual(
    [reimbursement?.direction, reimbursement?.splitId, reimbursement?.splittable],
    ['in', made.splitId, false],
  );
  await on.balanced();
});

test('an approval that is sent again, or by eight at once, is booked once', async () => {
  await sitDown();
  const made = await split(await payBill(), {
    by: 'amounts',
    parts: [{ personId: phones.ben.personId, amountMinor: '700' }],
  });
  const before = await phones.ben.balance();
  const body = await phones.ben.message('split.approve', { splitId: made.splitId });
  const replies = await Promise.all(
    Array.from({ length: 8 }, () =>
      phones.ben.send('approvePart', body, { key: 'approve-once', params: { splitId: made.splitId } }),
    ),
  );
  assert.equal(new Set(replies.map((reply) => JSON.stringify(reply.body))).size, 1);
  assert.equal(await phones.ben.balance(), before - 700n);
  // With keys of their own, one is first and the others find the part answered.
  const race = await split(await payBill(), {
    by: 'amounts',
    parts: [{ personId: phones.ben.personId, amountMinor: '100' }],
  });
  const results = await Promise.allSettled(
    Array.from({ length: 6 }, () => answer(phones.ben, 'approvePart', race.splitId)),
  );
  assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1);
  assert.equal(await phones.ben.balance(), before - 800n);
});

test('more than the bill, strangers, people twice, other people’s bills: refused, nothing asked', async () => {
  await sitDown();
  const paymentId = await payBill('1000');
  const amounts = (...parts: [keyof typeof phones, string][]) => ({
    by: 'amounts',
    parts: parts.map(([name, amountMinor]) => ({ personId: phones[name].personId, amountMinor })),
  });
  await assert.rejects(split(paymentId, amounts(['ben', '600'], ['cleo', '401'])), {
    code: 'split_exceeds_payment',
  });
  for (const name of ['eve', 'dan', 'ana', 'cafe'] as const)
    await assert.rejects(split(paymentId, amounts([name, '10'])), { code: 'not_offered' }, name);
  await assert.rejects(split(paymentId, amounts(['ben', '10'], ['ben', '10'])), { code: 'invalid_request' });
  await assert.rejects(offer(paymentId, phones.ben), { code: 'not_found' });
  await assert.rejects(offer(paymentId, phones.cafe), { code: 'not_found' });
  await split(paymentId, amounts(['ben', '600']));
  await assert.rejects(split(paymentId, amounts(['cleo', '401'])), { code: 'split_exceeds_payment' });
  await assert.rejects(split(paymentId, amounts(['ben', '1'])), { code: 'state_conflict' });
  assert.equal((await offer(paymentId)).remainingMinor, '400');
  // Two splits at once cannot ask for more than the bill together.
  const race = await payBill('1000');
  const both = await Promise.allSettled([
    split(race, amounts(['ben', '600'])),
    split(race, amounts(['cleo', '600'])),
  ]);
  assert.equal(both.filter((result) => result.status === 'fulfilled').length, 1);
});

test('expired: nothing is paid, and a late approval is refused with its code', async () => {
  await sitDown();
  const made = await split(await payBill(), { by: 'equal', people: ids('ben') }, { hours: 1 });
  const before = await phones.ben.balance();
  on.pass(3_601_000);
  await assert.rejects(answer(phones.ben, 'approvePart', made.splitId), { code: 'expired' });
  assert.ok((await sweep(on.app)) >= 1);
  const params = { splitId: made.splitId };
  assert.equal((await phones.ana.call('oneSplit', undefined, { params })).parts[0]?.state, 'expired');
  await assert.rejects(answer(phones.ben, 'approvePart', made.splitId), { code: 'expired' });
  assert.equal(await phones.ben.balance(), before);
  await assert.rejects(phones.eve.call('oneSplit', undefined, { params }), { code: 'not_found' });
});

test('cancelled by the payer: what was approved stays, the rest ends', async () => {
  await sitDown();
  const made = await split(await payBill(), {
    by: 'shares',
    own: 1,
    parts: [
      { personId: phones.ben.personId, share: 1 },
      { personId: phones.cleo.personId, share: 1 },
    ],
  });
  await answer(phones.ben, 'approvePart', made.splitId);
  await assert.rejects(answer(phones.ben, 'cancelSplit', made.splitId), { code: 'not_found' });
  const states = (await answer(phones.ana, 'cancelSplit', made.splitId)).parts
    .map((part) => part.state)
    .sort();
  assert.deepEqual(states, ['approved', 'cancelled']);
  await assert.rejects(answer(phones.cleo, 'approvePart', made.splitId), { code: 'state_conflict' });
});

test('one whose phone reports a little later is offered then; one who comes later is not', async () => {
  on.pass(30 * 60_000);
  await retain(on.app);
  await phones.ana.report(near(5));
  await phones.cleo.report(near(3_000));
  const paymentId = await payBill();
  assert.deepEqual((await offer(paymentId)).people, []);
  on.pass(60_000);
  await phones.ben.report(near(8), { at: on.now() - 30_000 });
  assert.deepEqual(
    (await offer(paymentId)).people.map((person) => person.handle),
    ['@ben'],
  );
  on.pass(120_000);
  await phones.cleo.report(near(8));
  assert.deepEqual(
    (await offer(paymentId)).people.map((person) => person.handle),
    ['@ben'],
  );
});

test('who opts out, hides, or is no contact any more is not offered', async () => {
  await sitDown();
  const paymentId = await payBill();
  const handles = async () => (await offer(paymentId)).people.map((person) => person.handle).sort();
  assert.deepEqual(await handles(), ['@ben', '@cleo']);
  await phones.ben.call('setPrivacy', { locationOptIn: true, visibleToContacts: false });
  assert.deepEqual(await handles(), ['@cleo']);
  await phones.cleo.call('setPrivacy', { locationOptIn: false, visibleToContacts: true });
  assert.deepEqual(await handles(), []);
  await phones.ben.call('setPrivacy', { locationOptIn: true, visibleToContacts: true });
  await phones.cleo.call('setPrivacy', { locationOptIn: true, visibleToContacts: true });
  await phones.ana.call('removeContact', undefined, { params: { personId: phones.ben.personId } });
  assert.deepEqual(await handles(), ['@cleo']);
});

test('history ranks those who are often together first, and decides where the positions leave it open (S9.4)', async () => {
  // Ana and Cleo meet on several days; Dan has never been near.
  for (let day = 0; day < 4; day += 1) {
    on.pass(24 * 3_600_000);
    await retain(on.app);
    await phones.ana.report(near(5));
    await phones.cleo.report(near(12));
    await phones.ana.report(near(6));
  }
  on.pass(3_600_000);
  await retain(on.app);
  await phones.dan.report(near(15));
  await phones.cleo.report(near(10), { source: 'wifi', accuracyM: 60 });
  await phones.ana.report(near(5));
  const near1 = await phones.ana.call('nearby');
  assert.deepEqual(
    near1.contacts.map((contact) => contact.handle),
    ['@cleo', '@dan'],
  );
  assert.deepEqual(
    near1.establishments.map((place) => place.name),
    ['Café Luna'],
  );
  // At 95 m with these radii, nobody can tell: the familiar one is offered, the other is not.
  on.pass(3_600_000);
  await retain(on.app);
  await phones.ana.report(near(0));
  await phones.cleo.report(near(80), { accuracyM: 40 });
  await phones.dan.report(near(80, 180), { accuracyM: 40 });
  const { contacts } = await phones.ana.call('nearby');
  assert.deepEqual(
    contacts.map((contact) => [contact.handle, contact.likelihood]),
    [['@cleo', 'probably_here']],
  );
});
