/** S9 from the screens where it does not go straight: refused, declined, expired, unknown, suspect, and what an auditor is shown. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { healthOf } from '#payments/ledger/proof.ts';
import { openPages, type Phone, shot, violations } from './support/phones.ts';
import {
  ask,
  balance,
  balanceIs,
  comesTo,
  outcome,
  pay,
  reasonsOn,
  setRule,
  shows,
} from './support/steps.ts';

const restMs = 60_000;
const pages = await openPages({ partnerRestMs: restMs });
const ana = await pages.phone('Ana', { at: [8, 40] });
const ben = await pages.phone('Ben', { at: [12, 200] });
const cleo = await pages.phone('Cleo', { at: [15, 120] });
const dan = await pages.phone('Dan', { at: [2_400, 310] });
for (const phone of [ana, ben, cleo, dan]) await shows(phone, 'Position sent');

/** Opens a payment from the list of activity, by its amount, once it is there. */
async function openPayment(phone: Phone, amount: string): Promise<void> {
  await phone.open('/activity');
  await phone.page.getByTestId('activity').getByRole('link', { name: amount }).click();
  await phone.page.getByTestId('payment').waitFor();
}

/** The page is loaded again, and the phone measures and tells where it is. */
async function comeBack(phone: Phone): Promise<void> {
  await phone.measure();
  await phone.open('/pay');
  await phone.page.reload();
  await shows(phone, 'Position sent');
}

const press = ({ page }: Phone, name: string): Promise<void> => page.getByRole('button', { name }).click();

test('S9.1 step-up that the payee refuses, and one that the payer cancels: the reason is told, nothing is booked', {
  timeout: 60_000,
}, async () => {
  await setRule(ana, 'When they are far apart', 'Ask for confirmation');
  const before = (await balance(ana)) ?? '';
  assert.equal(await pay(ana, 'Dan', '3.01'), 'awaiting_confirmation');
  await openPayment(dan, '€3.01');
  await press(dan, 'Refuse');
  await comesTo(ana, 'declined');
  assert.equal((await reasonsOn(ana))[0], 'confirmation_refused');
  await shot(ana.page, 'refused');
  await balanceIs(ana, before);
  await comesTo(dan, 'declined');
  await shows(dan, 'Not received');
  assert.equal(await pay(ana, 'Dan', '3.02'), 'awaiting_confirmation');
  await press(ana, 'Cancel');
  await comesTo(ana, 'declined');
  await balanceIs(ana, before);
});

test('S9.1 three wrong codes: declined, and the held money is free again', { timeout: 60_000 }, async () => {
  const before = (await balance(ana)) ?? '';
  assert.equal(await pay(ana, 'Dan', '3.30'), 'awaiting_confirmation');
  const code = (await ana.page.getByTestId('code').textContent()) === '000000' ? '111111' : '000000';
  await openPayment(dan, '€3.30');
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    await dan.page.getByLabel('The code on the payer’s screen').fill(code);
    await press(dan, 'Confirm');
    if (attempt < 3) await shows(dan, 'That code is wrong');
    // The button is of use again once the answer is there.
    if (attempt < 3) await dan.page.getByRole('button', { name: 'Confirm', disabled: false }).waitFor();
  }
  await comesTo(dan, 'declined');
  await comesTo(ana, 'declined');
  await balanceIs(ana, before);
});

test('S9.1 nobody confirms: both phones hear that it has expired, live', { timeout: 60_000 }, async () => {
  const before = (await balance(ana)) ?? '';
  assert.equal(await pay(ana, 'Dan', '4'), 'awaiting_confirmation');
  await openPayment(dan, '€4.00');
  await pages.pass(121_000);
  await comesTo(ana, 'expired');
  assert.equal((await reasonsOn(ana))[0], 'confirmation_expired');
  await shot(ana.page, 'expired');
  await comesTo(dan, 'expired');
  await balanceIs(ana, before);
});

test('S9.1 step-up by one’s own other device: the paying one has nothing to press', {
  timeout: 60_000,
}, async () => {
  await setRule(ana, 'Who confirms', 'Another device of yours');
  const tablet = await pages.phone('Ana', { at: [8, 40] });
  assert.equal(await pay(ana, 'Dan', '5'), 'awaiting_confirmation');
  await shows(ana, 'Confirm on another device of yours.');
  assert.equal(await ana.page.getByRole('button', { name: 'Confirm' }).count(), 0);
  await openPayment(dan, '€5.00');
  assert.equal(await dan.page.getByRole('button', { name: 'Confirm' }).count(), 0, 'nor has the payee');
  await openPayment(tablet, '€5.00');
  await shot(tablet.page, 'own-device');
  assert.deepEqual(await violations(tablet.page), []);
  await press(tablet, 'Confirm');
  await comesTo(ana, 'completed');
  await comesTo(dan, 'completed');
  await setRule(ana, 'Who confirms', 'The payee’s phone, with your code');
  await tablet.context.close();
});

test('S9.1 unknown: a phone that gives no position pays small amounts where its rules say so', {
  timeout: 60_000,
}, async () => {
  await ben.context.clearPermissions();
  // What is known of a phone is forgotten by its age: two minutes later nothing is.
  await pages.pass(150_000);
  await setRule(ben, 'When it cannot be told', 'Pay small amounts');
  await ben.page.getByLabel('Small means up to').fill('5');
  await press(ben, 'Save rules');
  await ben.page.getByLabel('Small means up to').and(ben.page.locator('[value="5.00"]')).waitFor();
  assert.equal(await pay(ben, 'Cleo', '4.99'), 'completed');
  assert.ok((await reasonsOn(ben)).includes('below_allowance'));
  assert.equal(await pay(ben, 'Cleo', '5.01'), 'declined');
  const reasons = await reasonsOn(ben);
  assert.ok(
    reasons.includes('above_allowance') && reasons.some((reason) => reason?.startsWith('payer_position')),
  );
  await shot(ben.page, 'unknown');
  await ben.context.grantPermissions(['geolocation']);
  await comeBack(ben);
});

test('asked: declined by whom it was asked of, cancelled by who asked, expired under an open page', {
  timeout: 60_000,
}, async () => {
  const before = (await balance(ana)) ?? '';
  const asked = cleo.page.getByTestId('asked').getByRole('listitem').first();
  await ask(cleo, 'Ana', '6');
  await ana.open('/pay');
  await ana.page.getByRole('link', { name: 'Pay €6.00' }).waitFor();
  await press(ana, 'Decline');
  await asked.getByText('Declined').waitFor();
  await ana.page.getByRole('link', { name: 'Pay €6.00' }).waitFor({ state: 'detached' });
  await ask(cleo, 'Ana', '6.10');
  await ana.page.getByRole('link', { name: 'Pay €6.10' }).waitFor();
  await asked.getByRole('button', { name: 'Cancel' }).click();
  await asked.getByText('Cancelled').waitFor();
  await ana.page.getByRole('link', { name: 'Pay €6.10' }).waitFor({ state: 'detached' });
  await ask(cleo, 'Ana', '6.20');
  await ana.page.getByRole('link', { name: 'Pay €6.20' }).click();
  await ana.page.getByRole('button', { name: 'Pay €6.20' }).waitFor();
  await pages.pass(61 * 60_000);
  await ana.page.getByRole('main').getByText('Expired').waitFor();
  await shot(ana.page, 'ask-expired');
  assert.equal(await ana.page.getByRole('button', { name: 'Pay €6.20' }).count(), 0);
  await asked.getByText('Expired').waitFor();
  await balanceIs(ana, before);
});

test('S9.4 a journey that nobody makes: the position does not count, and the payment says why', {
  timeout: 60_000,
}, async () => {
  const traveller = await pages.phone('Dan', { at: [2_400, 310] });
  await shows(traveller, 'Position sent');
  await traveller.move(5_000_000);
  // A page that is seen again reports; a browser gives the last position again for some seconds.
  const noticed = traveller.page.getByText('positions are not used for a while');
  while ((await noticed.count()) === 0) {
    await traveller.page.evaluate(`document.dispatchEvent(new Event('visibilitychange'))`);
    await traveller.page.waitForTimeout(200);
  }
  await shot(traveller.page, 'suspect');
  assert.equal(await pay(traveller, 'Ana', '2'), 'awaiting_confirmation');
  assert.ok((await reasonsOn(traveller)).includes('payer_position_suspect'));
  await press(traveller, 'Cancel');
  await comesTo(traveller, 'declined');
  await traveller.context.close();
});

test('S9.6 who opts out is in nobody’s list of who is near, at once', { timeout: 60_000 }, async () => {
  for (const phone of [ben, ana]) await comeBack(phone);
  const row = ana.page.getByTestId('near').getByText('Ben', { exact: true });
  await row.waitFor();
  await ben.open('/account');
  await ben.page.getByLabel('Use my location').click();
  await shows(ben, 'You have opted out');
  // The list is read again with the next report.
  await comeBack(ana);
  await ana.page.getByTestId('others').getByText('Ben', { exact: true }).waitFor();
  assert.equal(await row.count(), 0);
  await ben.page.getByLabel('Use my location').click();
  await comeBack(ben);
});

test('S9.2 a partner who was named a moment ago: declined with the reason, until the rest is over', {
  timeout: 60_000,
}, async () => {
  await ana.open('/pay');
  await ana.open('/account');
  await ana.page.getByLabel('Only to partners whom you named').click();
  await press(ana, 'Save rules');
  await shows(ana, 'Saved.');
  const row = ana.page.getByTestId('contacts').getByRole('listitem').filter({ hasText: 'Ben' });
  await row.getByRole('button', { name: 'Name as partner' }).click();
  await row.getByText('Partner from').waitFor();
  assert.equal(await pay(ana, 'Ben', '1'), 'declined');
  assert.equal((await reasonsOn(ana))[0], 'partner_too_new');
  await shot(ana.page, 'partner-too-new');
  await pages.pass(restMs + 1_000);
  for (const phone of [ben, ana]) await comeBack(phone);
  assert.equal(await pay(ana, 'Ben', '1'), 'completed');
  await ana.open('/account');
  await ana.page.getByLabel('Only to partners whom you named').click();
  await press(ana, 'Save rules');
  await shows(ana, 'Saved.');
});

test('S9.3 one declines, one approves, one lets it expire: what was approved landed, the rest may be asked for again', {
  timeout: 90_000,
}, async () => {
  await dan.move(10, 90);
  for (const phone of [ana, ben, cleo, dan]) await comeBack(phone);
  const before = Number(((await balance(ana)) ?? '').replace('€', ''));
  const cafe = await pages.phone('Café Luna', { at: [0, 0] });
  await cafe.page.getByLabel('Amount').fill('40');
  await press(cafe, 'Show the code');
  await cafe.page.getByText('The code as text').click();
  const code = (await cafe.page.getByTestId('code-text').textContent()) ?? '';
  await ana.open('/pay');
  await ana.page.getByLabel('Text of the code').fill(code);
  await press(ana, 'Look at it');
  await press(ana, 'Pay €40.00');
  assert.equal(await outcome(ana), 'completed');
  await ana.page.getByRole('link', { name: 'Split this bill' }).click();
  const offered = ana.page.getByTestId('offered');
  for (const name of ['Ben', 'Cleo', 'Dan']) await offered.getByText(name, { exact: true }).click();
  await press(ana, 'Ask for their parts');
  await shows(ana, '0 of 3 approved');
  await ben.open('/pay');
  await press(ben, 'Decline');
  await cleo.open('/pay');
  await press(cleo, 'Approve €10.00');
  await shows(ana, '1 of 3 approved');
  const parts = ana.page.getByTestId('parts');
  await parts.getByText('Declined').waitFor();
  // Dan has the question before him and does not answer.
  await dan.open('/pay');
  await dan.page.getByRole('button', { name: 'Approve €10.00' }).waitFor();
  await pages.pass(24 * 3_600_000 + 1_000);
  await parts.getByText('Expired').waitFor();
  await shot(ana.page, 'split-ended');
  assert.deepEqual(await violations(ana.page), []);
  await dan.page.getByRole('button', { name: 'Approve €10.00' }).waitFor({ state: 'detached' });
  await balanceIs(ana, `€${(before - 40 + 10).toFixed(2)}`);
  await cafe.context.close();
});

test('S9.3 a split is withdrawn: nobody is asked any more', { timeout: 60_000 }, async () => {
  for (const phone of [ben, cleo, ana]) await comeBack(phone);
  assert.equal(await pay(ana, 'Cleo', '9'), 'completed');
  await ana.page.getByRole('link', { name: 'Split this bill' }).click();
  await ana.page.getByTestId('offered').getByText('Ben', { exact: true }).click();
  await press(ana, 'Ask for their parts');
  await ben.page.getByRole('button', { name: 'Approve €4.50' }).waitFor();
  await press(ana, 'Withdraw what is still asked');
  await ana.page.getByTestId('parts').getByText('Cancelled').waitFor();
  await ben.page.getByRole('button', { name: 'Approve €4.50' }).waitFor({ state: 'detached' });
});

test('S9.5 the statement is recomputed on the phone, which notices an entry that was changed', {
  timeout: 60_000,
}, async () => {
  const { page } = ana;
  await ana.open('/account');
  await page.getByRole('link', { name: 'Statement' }).click();
  await shows(ana, 'each follows from the one before it');
  assert.equal(await page.getByTestId('closing').textContent(), await balance(ana));
  assert.ok((await page.getByTestId('entries').getByRole('listitem').count()) >= 5);
  assert.deepEqual(await violations(page), []);
  await shot(page, 'statement');
  await page.route('**/v1/statement', async (route) => {
    const response = await route.fetch();
    const statement = (await response.json()) as { entries: { amountMinor: string }[] };
    const [first] = statement.entries;
    assert.ok(first);
    first.amountMinor = `${BigInt(first.amountMinor) + 1n}`;
    await route.fulfill({ response, json: statement });
  });
  await page.reload();
  await shows(ana, /Entry 0\/1 does not follow/);
  await page.unroute('**/v1/statement');
});

test('the books balance after all that', async () => {
  const health = await healthOf(pages.app.pool);
  assert.deepEqual([health.drifted, health.unbalanced], [[], []]);
  for (const sum of health.sums) assert.equal(sum.sumMinor, 0n);
});
