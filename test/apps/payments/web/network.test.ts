/** S9.9: a bad network. Answers that are lost, a phone that is offline, reloads in between, streams that break: paid once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { healthOf } from '#payments/ledger/proof.ts';
import { run } from '#payments/store/pool.ts';
import { openPages, type Phone, shot } from './support/phones.ts';

const pages = await openPages();
const ana = await pages.phone('Ana', { at: [8, 40], serviceWorker: true });
const ben = await pages.phone('Ben', { at: [12, 200] });
for (const { page } of [ana, ben]) await page.getByText('Position sent').waitFor();

const payments = async (amountMinor: number): Promise<number> =>
  (await run(pages.app.pool, 'select 1 from payment where amount_minor = $1', [amountMinor])).length;
const balanceIs = ({ page }: Phone, money: string): Promise<void> =>
  page.getByTestId('balance').filter({ hasText: money }).waitFor();

async function fill({ page, open }: Phone, name: string, amount: string): Promise<void> {
  await open('/pay');
  await page.getByRole('link', { name: new RegExp(`${name} @`) }).click();
  await page.getByLabel('Amount').fill(amount);
}
const press = ({ page }: Phone): Promise<void> => page.getByRole('button', { name: 'Pay' }).click();

/** Waits until the service has had the request this often. */
async function arrived(times: number): Promise<void> {
  for (;;) {
    if (pages.network.arrived('POST /v1/payments') >= times) return;
    await ana.page.waitForTimeout(20);
  }
}

test('the answer is lost again and again: the same message goes out until it is answered, and is paid once', {
  timeout: 60_000,
}, async () => {
  await fill(ana, 'Ben', '7.01');
  pages.network.cut('answers');
  await press(ana);
  await arrived(3);
  await ana.page.getByTestId('outbox').getByText('Not answered yet').waitFor();
  await shot(ana.page, 'outbox');
  assert.equal(await payments(701), 1, 'it was booked when it came first');
  pages.network.mend();
  await ana.page.getByTestId('payment').waitFor();
  assert.equal(await ana.page.getByTestId('payment').getAttribute('data-state'), 'completed');
  assert.equal(await payments(701), 1);
  await balanceIs(ana, '€242.99');
  assert.equal(await ana.page.getByTestId('outbox').count(), 0);
});

test('a reload between request and answer: the outbox outlives the page', { timeout: 60_000 }, async () => {
  await fill(ana, 'Ben', '7.02');
  const before = pages.network.arrived('POST /v1/payments');
  pages.network.cut('answersToPosts');
  await press(ana);
  await arrived(before + 1);
  await ana.page.reload();
  await ana.page.getByTestId('outbox').getByText('Not answered yet').waitFor();
  pages.network.mend();
  await balanceIs(ana, '€235.97');
  assert.equal(await payments(702), 1);
  // Nobody on this page waited for it any more: it says what became of it, until that was read.
  await ana.page.getByTestId('outbox').getByText('Answered.').waitFor();
  await ana.page.getByRole('button', { name: 'Dismiss' }).click();
  await ana.page.getByTestId('outbox').waitFor({ state: 'detached' });
});

test('pressed twice in one moment: one message', { timeout: 60_000 }, async () => {
  await fill(ana, 'Ben', '7.03');
  await ana.page.evaluate(`(() => {
    const button = [...document.querySelectorAll('button[type=submit]')].find((each) => each.textContent.startsWith('Pay'));
    button.click();
    button.click();
  })()`);
  await ana.page.getByTestId('payment').waitFor();
  await balanceIs(ana, '€228.94');
  assert.equal(await payments(703), 1);
});

test('offline: the shell opens from the service worker, the payment waits and goes out when the network is back', {
  timeout: 60_000,
}, async () => {
  await ana.page.evaluate('navigator.serviceWorker.ready.then(() => true)');
  await fill(ana, 'Ben', '7.04');
  await ana.context.setOffline(true);
  await press(ana);
  await ana.page.getByTestId('outbox').getByText('Not answered yet').waitFor();
  assert.equal(await payments(704), 0);
  await ana.page.reload();
  await ana.page.getByRole('heading', { level: 1 }).waitFor();
  await ana.context.setOffline(false);
  await ana.page.reload();
  await balanceIs(ana, '€221.90');
  assert.equal(await payments(704), 1);
});

test('a broken stream comes back, and what happened meanwhile is seen', { timeout: 60_000 }, async () => {
  await ben.open('/activity');
  await ben.page.getByText('+€7.04').waitFor();
  await ben.context.setOffline(true);
  await ben.page.getByText('Reconnecting').waitFor();
  await fill(ana, 'Ben', '7.05');
  await press(ana);
  await ana.page.getByTestId('payment').waitFor();
  await ben.context.setOffline(false);
  await ben.page.getByText('Live', { exact: true }).waitFor();
  await ben.page.getByText('+€7.05').waitFor();
  // And without any help of the browser's: all connections break, the stream opens again by itself.
  pages.network.cut('all');
  await ben.page.getByText('Reconnecting').waitFor();
  pages.network.mend();
  await ben.page.getByText('Live', { exact: true }).waitFor();
  await balanceIs(ben, '€285.15');
});

test('the books balance after all that', async () => {
  const health = await healthOf(pages.app.pool);
  assert.deepEqual(health.drifted, []);
  for (const sum of health.sums) assert.equal(sum.sumMinor, 0n);
});
