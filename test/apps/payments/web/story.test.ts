/**
 * S9 from the screens: two phones and a merchant (and a third guest for the bill) in one headless Chromium at phone size, with mocked
 * positions. Everything goes through the pages, the HTTP API and PostgreSQL; at the end the books balance.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { healthOf } from '#payments/ledger/proof.ts';
import { openPages, shot } from './support/phones.ts';
import { balance, balanceIs, outcome, pay, reasonsOn, setRule, shows } from './support/steps.ts';

const measureEveryMs = 5_000;
const pages = await openPages();

test('two phones and a merchant: near, far, ask, code, split, partners, step-up', {
  timeout: 300_000,
}, async (t) => {
  const ana = await pages.phone('Ana', { at: [8, 40] });
  const ben = await pages.phone('Ben', { at: [12, 200] });
  const cleo = await pages.phone('Cleo', { at: [15, 120] });
  const dan = await pages.phone('Dan', { at: [2_400, 310] });
  const cafe = await pages.phone('Café Luna', { at: [0, 0] });
  // As phones do: a mocked position is as old as the test is long, and on a slow machine too old to be near anybody.
  const measuring = setInterval(() => {
    for (const phone of [ana, ben, cleo, dan, cafe]) phone.measure().catch(() => undefined);
  }, measureEveryMs);
  t.after(() => clearInterval(measuring));
  for (const phone of [ana, ben, cleo, dan]) await shows(phone, 'Position sent');

  await t.test(
    'S9.1 near: contacts who are here are offered, and a payment to one goes through at once',
    async () => {
      await ana.page.getByTestId('near').getByText('Ben', { exact: true }).waitFor();
      assert.equal(await ana.page.getByText('Eve').count(), 0, 'a stranger at the next table is never shown');
      await shot(ana.page, 'pay');
      assert.equal(await pay(ana, 'Ben', '10'), 'completed');
      assert.equal((await reasonsOn(ana))[0], 'near');
      await balanceIs(ana, '€240.00');
      await balanceIs(ben, '€260.00');
      await shot(ana.page, 'paid');
    },
  );

  await t.test('S9.1 far: declined, with the reason, and nothing is booked', async () => {
    await setRule(ana, 'When they are far apart', 'Decline');
    assert.equal(await pay(ana, 'Dan', '11'), 'declined');
    assert.equal((await reasonsOn(ana))[0], 'far');
    await shot(ana.page, 'declined');
    assert.equal(await balance(ana), '€240.00');
  });

  await t.test('asking a contact, who pays it', async () => {
    await cleo.open('/ask');
    await cleo.page.getByLabel('Amount').fill('4.50');
    await cleo.page.getByLabel('From').selectOption({ label: 'Ana' });
    await cleo.page.getByRole('button', { name: 'Ask' }).click();
    await cleo.page.getByTestId('asked').getByText('Open').waitFor();
    await ana.open('/pay');
    await ana.page.getByRole('link', { name: 'Pay €4.50' }).click();
    await ana.page.getByRole('button', { name: 'Pay €4.50' }).click();
    assert.equal(await outcome(ana), 'completed');
    await cleo.page.getByTestId('asked').getByText('Paid').waitFor();
    await balanceIs(cleo, '€254.50');
  });

  await t.test('the merchant’s code: the counter hears of the payment live', async () => {
    await cafe.page.getByLabel('Amount').fill('30');
    await cafe.page.getByRole('button', { name: 'Show the code' }).click();
    await cafe.page.getByRole('img', { name: 'QR code of this request' }).waitFor();
    await shot(cafe.page, 'counter');
    await cafe.page.getByText('The code as text').click();
    const code = (await cafe.page.getByTestId('code-text').textContent()) ?? '';
    await ana.open('/pay');
    await ana.page.getByLabel('Text of the code').fill(code);
    await ana.page.getByRole('button', { name: 'Look at it' }).click();
    await ana.page.getByRole('button', { name: 'Pay €30.00' }).click();
    assert.equal(await outcome(ana), 'completed');
    await cafe.page.getByTestId('code-card').getByText('Paid').waitFor();
    await cafe.page.getByTestId('received').getByText('From Ana').waitFor();
    await balanceIs(ana, '€205.50');
  });

  await t.test('S9.3 the bill is split between three; each approves; the reimbursements land', async () => {
    await ana.page.getByRole('link', { name: 'Split this bill' }).click();
    const offered = ana.page.getByTestId('offered');
    for (const name of ['Ben', 'Cleo']) await offered.getByText(name, { exact: true }).click();
    assert.equal(await offered.getByText(/Eve|Dan/).count(), 0, 'neither a stranger nor who was elsewhere');
    await ana.page.getByText('By share').click();
    await ana.page.getByLabel('Shares of Ben').fill('2');
    await offered.getByText('€15.00').waitFor();
    await ana.page.getByText('By amount').click();
    await ana.page.getByLabel('Amount of Ben').fill('20');
    await ana.page.getByLabel('Amount of Cleo').fill('20');
    await shows(ana, 'more than what is left');
    await ana.page.getByText('Equally').click();
    await shot(ana.page, 'split');
    await ana.page.getByRole('button', { name: 'Ask for their parts' }).click();
    await shows(ana, '0 of 2 approved');
    for (const phone of [ben, cleo]) {
      await phone.open('/pay');
      await phone.page.getByRole('button', { name: 'Approve €10.00' }).click();
    }
    await shows(ana, '2 of 2 approved');
    await shot(ana.page, 'split-approved');
    await balanceIs(ana, '€225.50');
    await balanceIs(ben, '€250.00');
  });

  await t.test('S9.2 partners only: declined until the payee is named', async () => {
    await ana.open('/account');
    await ana.page.getByLabel('Only to partners whom you named').click();
    await ana.page.getByRole('button', { name: 'Save rules' }).click();
    await shows(ana, 'Saved.');
    assert.equal(await pay(ana, 'Ben', '5'), 'declined');
    assert.equal((await reasonsOn(ana))[0], 'partner_not_named');
    await ana.open('/account');
    const row = ana.page.getByTestId('contacts').getByRole('listitem').filter({ hasText: 'Ben' });
    await row.getByRole('button', { name: 'Name as partner' }).click();
    await row.getByRole('button', { name: 'No longer a partner' }).waitFor();
    assert.equal(await pay(ana, 'Ben', '5'), 'completed');
    await balanceIs(ben, '€255.00');
    await ana.open('/account');
    await ana.page.getByLabel('Only to partners whom you named').click();
    await ana.page.getByRole('button', { name: 'Save rules' }).click();
    await shows(ana, 'Saved.');
  });

  await t.test(
    'S9.1 step-up: held until the payee’s phone has the payer’s code; a wrong one changes nothing',
    async () => {
      await setRule(ana, 'When they are far apart', 'Ask for confirmation');
      assert.equal(await pay(ana, 'Dan', '20.50'), 'awaiting_confirmation');
      await shot(ana.page, 'step-up');
      const code = (await ana.page.getByTestId('code').textContent()) ?? '';
      await balanceIs(ana, '€200.00');
      await dan.open('/activity');
      await dan.page.getByRole('link', { name: /From Ana/ }).click();
      const field = dan.page.getByLabel('The code on the payer’s screen');
      await field.fill(code === '000000' ? '111111' : '000000');
      await dan.page.getByRole('button', { name: 'Confirm' }).click();
      await shows(dan, 'That code is wrong');
      await field.fill(code);
      await dan.page.getByRole('button', { name: 'Confirm' }).click();
      await balanceIs(dan, '€270.50');
      await shows(ana, 'Completed');
      await ana.open('/activity');
      await shows(ana, 'It was confirmed on the other device.');
      await shot(ana.page, 'activity');
    },
  );

  const health = await healthOf(pages.app.pool);
  assert.deepEqual(health.drifted, []);
  for (const sum of health.sums) assert.equal(sum.sumMinor, 0n);
});
