/** What is well-formed and must not be booked all the same: refused with a code or declined with a reason, and the ledger as it was. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { retain } from '#payments/location/retention.ts';
import type { Phone } from '../support/phone.ts';
import { near, type Service, service } from '../support/service.ts';

let on: Service;
let ana: Phone;
let ben: Phone;
let cafe: Phone;
let establishmentId = '';

const euros = (amountMinor: string) => ({ amountMinor, currency: 'EUR' });
const countPostings = async (): Promise<number> =>
  (await on.app.pool.query('select 1 from ledger_posting')).rows.length;

/** Runs what must book nothing. */
async function booksNothing(work: () => Promise<unknown>): Promise<void> {
  const before = await countPostings();
  const held = (await on.app.pool.query('select sum(held_minor)::text held from ledger_balance')).rows;
  await work();
  assert.equal(await countPostings(), before, 'nothing is booked');
  assert.deepEqual(
    (await on.app.pool.query('select sum(held_minor)::text held from ledger_balance')).rows,
    held,
    'nothing is held',
  );
  await on.balanced();
}

/** Some time later, everybody at one table. */
async function sitDown(): Promise<void> {
  on.pass(20 * 60_000);
  await retain(on.app);
  await ana.report(near(5));
  await ben.report(near(10, 90));
}

before(async () => {
  on = await service();
  [ana, ben, cafe] = [await on.phone('@ana'), await on.phone('@ben'), await on.phone('@cafe.luna')];
  establishmentId = (await cafe.call('me')).establishmentId ?? '';
  await sitDown();
});

test('currencies mixed: what is in another currency is neither paid, asked, topped up nor converted', async () => {
  await booksNothing(async () => {
    const dollars = { amountMinor: '100', currency: 'USD' };
    await assert.rejects(ana.pay({ kind: 'contact', personId: ben.personId }, '100', { currency: 'USD' }), {
      code: 'currency_mismatch',
    });
    await assert.rejects(ben.signed('ask', 'ask', { money: dollars, note: '', expiresInMinutes: 5 }), {
      code: 'currency_mismatch',
    });
    const asked = await ben.signed('ask', 'ask', { money: euros('100'), note: '', expiresInMinutes: 5 });
    const [, , askId = '', token = ''] = asked.qr?.split(':') ?? [];
    await assert.rejects(ana.pay({ kind: 'ask', askId, token }, '100', { currency: 'USD' }), {
      code: 'state_conflict',
    });
  });
});

test('a partner rule that excludes everyone: contacts, establishments and codes are declined with the reason', async () => {
  await booksNothing(async () => {
    const rules = await ana.call('rules');
    const area = { center: near(0), radiusM: 500 };
    await ana.signed('setRules', 'rules.set', {
      rules: { ...rules, partner: { required: true, areas: [area] } },
    });
    const asked = await ben.signed('ask', 'ask', { money: euros('100'), note: '', expiresInMinutes: 5 });
    const [, , askId = '', token = ''] = asked.qr?.split(':') ?? [];
    for (const payee of [
      { kind: 'contact', personId: ben.personId },
      { kind: 'establishment', establishmentId },
      { kind: 'ask', askId, token },
    ]) {
      const payment = await ana.pay(payee, '100');
      assert.deepEqual([payment.state, payment.reasons], ['declined', ['partner_not_named']]);
    }
    await ana.signed('setRules', 'rules.set', { rules });
  });
});

test('a split larger than the bill, at once or by and by, and one that overflows: nobody is asked', async () => {
  const { paymentId } = await ana.pay({ kind: 'establishment', establishmentId }, '1000');
  await on.app.background.done();
  const split = (amountMinor: string) =>
    ana.signed('split', 'split', {
      paymentId,
      division: { by: 'amounts', parts: [{ personId: ben.personId, amountMinor }] },
      expiresInHours: 1,
    });
  await booksNothing(async () => {
    for (const amountMinor of ['1001', '100000000'])
      await assert.rejects(split(amountMinor), { code: 'split_exceeds_payment' });
    for (const amountMinor of ['0', '-1', '100000001', '9'.repeat(40)])
      await assert.rejects(split(amountMinor), { code: 'amount_out_of_range' });
    assert.deepEqual((await ben.call('splits')).splits, []);
  });
});

test('approved, paid or confirmed after it expired: refused with its code', async () => {
  await sitDown();
  const { paymentId } = await ana.pay({ kind: 'establishment', establishmentId }, '1000');
  await on.app.background.done();
  const { splitId } = await ana.signed('split', 'split', {
    paymentId,
    division: { by: 'equal', people: [ben.personId] },
    expiresInHours: 1,
  });
  on.pass(61 * 60_000);
  await sitDown();
  await booksNothing(async () => {
    await assert.rejects(ben.signed('approvePart', 'split.approve', { splitId }, { params: { splitId } }), {
      code: 'expired',
    });
    const asked = await ben.signed('ask', 'ask', { money: euros('100'), note: '', expiresInMinutes: 1 });
    const [, , askId = '', token = ''] = asked.qr?.split(':') ?? [];
    on.pass(61_000);
    await assert.rejects(ana.pay({ kind: 'ask', askId, token }, '100'), { code: 'expired' });
  });
  const rules = await ana.call('rules');
  await ana.signed('setRules', 'rules.set', { rules: { ...rules, onFar: 'step_up' } });
  await sitDown();
  await ben.report(near(11, 90));
  on.pass(40 * 60_000);
  await retain(on.app);
  await ana.report(near(5));
  await ben.report(near(5_000));
  const payment = await ana.pay({ kind: 'contact', personId: ben.personId }, '100');
  assert.equal(payment.state, 'awaiting_confirmation');
  on.pass(121_000);
  await booksNothing(async () => {
    const fields = { paymentId: payment.paymentId, code: payment.confirmation?.code ?? '' };
    await assert.rejects(
      ben.signed('confirmPayment', 'payment.confirm', fields, { params: { paymentId: payment.paymentId } }),
      { code: 'expired' },
    );
  });
  await ana.signed('setRules', 'rules.set', { rules });
});
