/** Payments over HTTP, decided by where the two devices are (S9.1), with the partner rule (S9.2) and limits. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Rules } from '#payments/contract/people.ts';
import { retain } from '#payments/location/retention.ts';
import { sweep } from '#payments/payments/sweep.ts';
import type { Phone } from '../support/phone.ts';
import { near, type Service, service } from '../support/service.ts';

let on: Service;
let ana: Phone;
let ben: Phone;
let cafe: Phone;

before(async () => {
  on = await service();
  [ana, ben, cafe] = await Promise.all([on.phone('@ana'), on.phone('@ben'), on.phone('@cafe.luna')]);
});

const contact = (phone: Phone) => ({ kind: 'contact', personId: phone.personId });

/** Both stand somewhere, measured now. */
async function stand(anaAt: number, benAt: number, options: { accuracyM?: number } = {}): Promise<void> {
  // Long enough ago that any of the test's moves is a walk.
  on.pass(15 * 60_000);
  await retain(on.app);
  await ana.report(near(anaAt), options);
  await ben.report(near(benAt), options);
}

async function rules(change: Partial<Rules>): Promise<void> {
  const current = await ana.call('rules');
  await ana.signed('setRules', 'rules.set', { rules: { ...current, ...change } });
}

test('near: allowed, booked, both see it', async () => {
  await stand(10, 25);
  const before = [await ana.balance(), await ben.balance()] as const;
  const payment = await ana.pay(contact(ben), '1250');
  assert.equal(payment.state, 'completed');
  assert.deepEqual(payment.reasons, ['near']);
  assert.deepEqual([await ana.balance(), await ben.balance()], [before[0] - 1250n, before[1] + 1250n]);
  const [seen] = (await ben.call('activity')).items;
  assert.equal(seen?.direction, 'in');
  assert.equal(seen?.paymentId, payment.paymentId);
  assert.deepEqual(seen?.reasons, []);
  await on.balanced();
});

test('far: declined, nothing booked, the payee hears nothing', async () => {
  await stand(0, 5_000);
  const before = await ana.balance();
  const payment = await ana.pay(contact(ben), '100');
  assert.equal(payment.state, 'declined');
  assert.deepEqual(payment.reasons, ['far', 'policy_decline']);
  assert.equal(await ana.balance(), before);
  assert.ok(!(await ben.call('activity')).items.some((item) => item.paymentId === payment.paymentId));
  await assert.rejects(ben.call('payment', undefined, { params: { paymentId: payment.paymentId } }), {
    code: 'not_found',
  });
});

test('unknown by age, by inaccuracy, by absence: each with its reason, and stepped up', async () => {
  const reasons = async (): Promise<readonly string[]> => {
    const payment = await ana.pay(contact(ben), '100');
    assert.equal(payment.state, 'awaiting_confirmation');
    await ana.signed(
      'refusePayment',
      'payment.refuse',
      { paymentId: payment.paymentId },
      { params: { paymentId: payment.paymentId } },
    );
    return payment.reasons;
  };
  await stand(0, 10);
  on.pass(130_000);
  assert.deepEqual(await reasons(), ['payer_position_stale', 'payee_position_stale', 'policy_step_up']);
  await stand(0, 10, { accuracyM: 5_000 });
  assert.deepEqual(await reasons(), [
    'payer_position_inaccurate',
    'payee_position_inaccurate',
    'policy_step_up',
  ]);
  await stand(0, 90, { accuracyM: 60 });
  assert.deepEqual(await reasons(), ['too_uncertain', 'policy_step_up']);
  await ben.call('setPrivacy', { locationOptIn: false, visibleToContacts: false });
  assert.deepEqual(await reasons(), ['payee_position_missing', 'policy_step_up']);
  await ben.call('setPrivacy', { locationOptIn: true, visibleToContacts: true });
});

test('each policy: decline, allow, allow below an amount', async () => {
  await stand(0, 5_000);
  const outcome = async (amount: string): Promise<readonly [string, string | undefined]> => {
    const payment = await ana.pay(contact(ben), amount);
    return [payment.state, payment.reasons.at(-1)];
  };
  await rules({ onFar: 'allow' });
  assert.deepEqual(await outcome('100'), ['completed', 'policy_allow']);
  await rules({ onFar: 'allow_below', allowBelowMinor: '500' });
  assert.deepEqual(await outcome('500'), ['completed', 'below_allowance']);
  assert.deepEqual(await outcome('501'), ['declined', 'above_allowance']);
  await rules({ mode: 'off' });
  assert.deepEqual(await outcome('100'), ['completed', 'location_not_used']);
  await rules({ mode: 'distance', onFar: 'decline', perPaymentMaxMinor: '900' });
  assert.deepEqual(await outcome('901'), ['declined', 'over_payment_limit']);
  await rules({ perPaymentMaxMinor: '50000', perDayMaxMinor: '2000' });
  assert.deepEqual(await outcome('1900'), ['declined', 'over_day_limit']);
  await rules({ perDayMaxMinor: '200000' });
});

test('step-up: held, confirmed by the payee’s device with the code that the payer shows', async () => {
  await stand(0, 5_000);
  await rules({ onFar: 'step_up' });
  const before = [await ana.balance(), await ben.balance()] as const;
  const payment = await ana.pay(contact(ben), '700');
  const { paymentId } = payment;
  const params = { paymentId };
  assert.equal(payment.confirmation?.by, 'payee_device');
  const code = payment.confirmation?.code ?? '';
  assert.match(code, /^\d{6}$/);
  assert.equal(await ana.balance(), before[0] - 700n, 'held');
  const seen = await ben.call('payment', undefined, { params });
  assert.equal(seen.confirmation?.code, undefined, 'the payee is told the code by the payer alone');
  assert.equal(seen.confirmation?.mine, true);
  const confirm = (phone: Phone, text: string) =>
    phone.signed('confirmPayment', 'payment.confirm', { paymentId, code: text }, { params });
  await assert.rejects(confirm(ana, code), { code: 'state_conflict' });
  const wrong = await confirm(ben, code === '000000' ? '000001' : '000000');
  assert.equal(wrong.state, 'awaiting_confirmation');
  assert.equal((await confirm(ben, code)).state, 'completed');
  assert.deepEqual([await ana.balance(), await ben.balance()], [before[0] - 700n, before[1] + 700n]);
  await assert.rejects(confirm(ben, code), { code: 'state_conflict' });
  await on.balanced();
});

test('three wrong codes end it; the hold is released', async () => {
  await stand(0, 5_000);
  const before = await ana.balance();
  const payment = await ana.pay(contact(ben), '700');
  const { paymentId } = payment;
  const code = payment.confirmation?.code === '111111' ? '222222' : '111111';
  const states: string[] = [];
  for (let at = 0; at < 3; at += 1)
    states.push(
      (await ben.signed('confirmPayment', 'payment.confirm', { paymentId, code }, { params: { paymentId } }))
        .state,
    );
  assert.deepEqual(states, ['awaiting_confirmation', 'awaiting_confirmation', 'declined']);
  assert.equal(await ana.balance(), before);
});

test('nobody confirms: expired, released; a late confirmation is refused', async () => {
  await stand(0, 5_000);
  const before = await ana.balance();
  const payment = await ana.pay(contact(ben), '700');
  const params = { paymentId: payment.paymentId };
  on.pass(121_000);
  const late = { paymentId: payment.paymentId, code: payment.confirmation?.code ?? '' };
  await assert.rejects(ben.signed('confirmPayment', 'payment.confirm', late, { params }), {
    code: 'expired',
  });
  assert.ok((await sweep(on.app)) >= 1);
  const ended = await ana.call('payment', undefined, { params });
  assert.equal(ended.state, 'expired');
  assert.equal(ended.reasons[0], 'confirmation_expired');
  assert.equal(await ana.balance(), before);
});

test('step-up by one’s own other device: never by the one that pays', async () => {
  await stand(0, 5_000);
  await rules({ stepUpBy: 'own_device' });
  const payment = await ana.pay(contact(ben), '300');
  const { paymentId } = payment;
  const confirm = (phone: Phone) =>
    phone.signed('confirmPayment', 'payment.confirm', { paymentId }, { params: { paymentId } });
  await assert.rejects(confirm(ben), { code: 'state_conflict' });
  await assert.rejects(confirm(ana), { code: 'device_not_yours' });
  assert.equal((await confirm(await ana.second())).state, 'completed');
  await rules({ stepUpBy: 'payee_device', onFar: 'decline' });
});

test('an establishment is paid where it stands, at its counter by a code', async () => {
  await stand(10, 20);
  const { establishmentId = '' } = await cafe.call('me');
  const direct = await ana.pay({ kind: 'establishment', establishmentId }, '450');
  assert.deepEqual([direct.state, direct.reasons], ['completed', ['near']]);
  const asked = await cafe.signed(
    'counterAsk',
    'counter.ask',
    {
      establishmentId,
      money: { amountMinor: '620', currency: 'EUR' },
      note: 'two coffees',
      expiresInMinutes: 10,
    },
    { params: { establishmentId } },
  );
  const [, , askId = '', token = ''] = asked.qr?.split(':') ?? [];
  const looked = await ben.call('lookAtAsk', undefined, { params: { askId }, query: `token=${token}` });
  assert.deepEqual([looked.payee.name, looked.money.amountMinor, looked.qr], ['Café Luna', '620', undefined]);
  const paid = await ben.pay({ kind: 'ask', askId, token }, '620');
  assert.equal(paid.state, 'completed');
  await assert.rejects(ana.pay({ kind: 'ask', askId, token }, '620'), { code: 'state_conflict' });
  const counter = await cafe.call('counter', undefined, { params: { establishmentId } });
  assert.deepEqual(
    counter.received.map((payment) => payment.money.amountMinor),
    ['620', '450'],
  );
  assert.equal(counter.open.length, 0);
});

test('the partner rule: named beforehand, in an allowed area; what excludes everybody declines everybody', async () => {
  await stand(10, 20);
  const area = { center: near(0), radiusM: 500 };
  await rules({ partner: { required: true, areas: [area] } });
  const reasons = async (): Promise<readonly string[]> => (await ana.pay(contact(ben), '100')).reasons;
  assert.deepEqual(await reasons(), ['partner_not_named']);
  await ana.signed('namePartner', 'partner.name', { personId: ben.personId });
  assert.deepEqual(await reasons(), ['partner_too_new']);
  await stand(10, 20);
  assert.deepEqual(await reasons(), ['near']);
  await stand(3_000, 3_010);
  assert.deepEqual(await reasons(), ['outside_allowed_area']);
  await stand(497, 480);
  assert.deepEqual(await reasons(), ['area_uncertain']);
  on.pass(300_000);
  assert.deepEqual((await reasons())[0], 'area_uncertain');
  await ana.signed('dropPartner', 'partner.drop', { personId: ben.personId });
  await stand(10, 20);
  assert.deepEqual(await reasons(), ['partner_not_named']);
  await rules({ partner: { required: false, areas: [] } });
});

test('asked by a contact: paid, declined, cancelled, expired', async () => {
  await stand(10, 20);
  const ask = () =>
    ben.signed('ask', 'ask', {
      from: ana.personId,
      money: { amountMinor: '333', currency: 'EUR' },
      note: '',
      expiresInMinutes: 5,
    });
  const first = await ask();
  assert.equal(first.qr, undefined, 'what is made out to somebody has no code for others');
  assert.ok(
    (await ana.call('asks')).asks.some((each) => each.askId === first.askId && each.direction === 'to_me'),
  );
  const payment = await ana.pay({ kind: 'ask', askId: first.askId, token: '' }, '333');
  assert.equal(payment.state, 'completed');
  const closed = await ana.call('closeAsk', {}, { params: { askId: (await ask()).askId } });
  assert.equal(closed.state, 'declined');
  const taken = await ben.call('closeAsk', {}, { params: { askId: (await ask()).askId } });
  assert.equal(taken.state, 'cancelled');
  const late = await ask();
  on.pass(6 * 60_000);
  await assert.rejects(ana.pay({ kind: 'ask', askId: late.askId, token: '' }, '333'), { code: 'expired' });
});

test('short of money: declined with the reason; the same key gives the same answer', async () => {
  await stand(10, 20);
  await rules({ perPaymentMaxMinor: '100000000', perDayMaxMinor: '100000000' });
  const body = await ana.message('payment', {
    payee: contact(ben),
    money: { amountMinor: '9000000', currency: 'EUR' },
    note: '',
  });
  const first = await ana.send('pay', body, { key: 'short' });
  assert.equal((first.body as { state: string; reasons: string[] }).reasons[0], 'insufficient_funds');
  const again = await ana.send('pay', body, { key: 'short' });
  assert.deepEqual([again.status, again.replayed, again.body], [200, true, first.body]);
});

test('every stored decision is replayed with the same outcome', async () => {
  const operator = new (await import('../support/phone.ts')).Phone(on.url);
  await assert.rejects(operator.call('operatorDecisions'), { code: 'operator_only' });
  await operator.call('operatorSignIn', { token: 'operator-token-of-tests' });
  const { decisions } = await operator.call('operatorDecisions', undefined, { query: 'limit=100' });
  assert.ok(decisions.length > 15);
  for (const decision of decisions) {
    const replay = await operator.call('operatorReplay', {}, { params: { decisionId: decision.decisionId } });
    assert.equal(replay.same, true, decision.decisionId);
    assert.ok(!JSON.stringify(decision.inputs).includes('latitude'), 'no place is kept in a decision');
  }
  const health = await operator.call('operatorLedger');
  assert.deepEqual([health.drifted, health.sums.map((sum) => sum.sumMinor)], [[], ['0']]);
  await on.balanced();
});
