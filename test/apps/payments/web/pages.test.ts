/** Each page by itself: axe finds nothing in light and dark, the keyboard is enough, passkeys and permissions work, the operator sees. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { operatorToken } from '../support/service.ts';
import { openPages, type Phone, shot, violations } from './support/phones.ts';

const pages = await openPages();
const screen = { width: 390, height: 844 };

for (const dark of [false, true])
  test(`axe: no violations on any page (${dark ? 'dark' : 'light'})`, { timeout: 90_000 }, async () => {
    const name = (page: string): string => `${page}-${dark ? 'dark' : 'light'}`;
    const fresh = await pages.fresh({ dark, size: screen });
    await fresh.page.getByText('Café Luna').waitFor();
    await fresh.page.getByText('New here').click();
    assert.deepEqual(await violations(fresh.page), [], 'sign-in');
    await shot(fresh.page, name('sign-in'));
    // A position that the browser has not been asked for is explained.
    await fresh.page.getByRole('button', { name: /^Cleo/ }).click();
    await fresh.page.getByText('Where you are decides').waitFor();
    assert.deepEqual(await violations(fresh.page), [], 'location explained');
    await shot(fresh.page, name('location'));

    const ana = await pages.phone('Ana', { at: [8, 40], dark, size: screen });
    await ana.page.getByText('Position sent').waitFor();
    await ana.page.getByTestId('others').getByText('Dan', { exact: true }).waitFor();
    await shot(ana.page, name('pay'));
    assert.deepEqual(await violations(ana.page), [], 'pay');
    await ana.page.getByRole('link', { name: /Dan @/ }).click();
    await ana.page.getByLabel('Amount').fill('3');
    assert.deepEqual(await violations(ana.page), [], 'paying');
    await ana.page.getByRole('button', { name: 'Pay' }).click();
    await ana.page.getByTestId('payment').waitFor();
    assert.deepEqual(await violations(ana.page), [], 'outcome');
    await shot(ana.page, name('outcome'));
    for (const [path, text] of [
      ['ask', 'Anyone with the code'],
      ['activity', 'To Dan'],
      ['account', 'Name as partner'],
    ] as const) {
      await ana.open(`/${path}`);
      await ana.page.getByText(text).first().waitFor({ state: 'attached' });
      assert.deepEqual(await violations(ana.page), [], path);
      await shot(ana.page, name(path));
    }
    await ana.open('/ask');
    await ana.page.getByLabel('Amount').fill('3');
    await ana.page.getByRole('button', { name: 'Ask' }).click();
    await ana.page.getByRole('img', { name: 'QR code of this request' }).waitFor();
    assert.deepEqual(await violations(ana.page), [], 'code');

    const cafe = await pages.phone('Café Luna', { at: [0, 0], dark, size: screen });
    await cafe.page.getByLabel('Amount').waitFor();
    assert.deepEqual(await violations(cafe.page), [], 'counter');
    await shot(cafe.page, name('counter'));
    for (const { context } of [fresh, ana, cafe]) await context.close();
  });

test('the operator sees decisions with their inputs on the map, replays one, and the ledger', {
  timeout: 60_000,
}, async () => {
  const operator = await pages.fresh({ size: { width: 1100, height: 900 } });
  const { page } = operator;
  await operator.open('/operator');
  await page.getByLabel('Operator’s token').fill('not the token');
  await page.getByRole('button', { name: 'Open' }).click();
  await page.getByText('not the operator’s token').waitFor();
  assert.deepEqual(await violations(page), [], 'sign-in');
  await page.getByLabel('Operator’s token').fill(operatorToken);
  await page.getByRole('button', { name: 'Open' }).click();
  await page.getByTestId('decisions').getByText('Ana → Dan').first().click();
  await page.getByText('Payer: fused').waitFor();
  assert.ok((await page.locator('svg polygon').count()) > 0, 'cells are drawn');
  await page.getByRole('button', { name: 'Replay' }).click();
  await page.getByText('The engine answers the same today.').waitFor();
  await page.getByTestId('sums').getByText('Postings sum to zero').waitFor();
  await page.getByText('False accepts').first().waitFor();
  assert.deepEqual(await violations(page), [], 'operator');
  await shot(page, 'operator');
  await page.setViewportSize(screen);
  assert.deepEqual(await violations(page), [], 'operator on a phone');
  await operator.context.close();
});

test('a passkey makes an account and signs in again; another browser cannot', {
  timeout: 60_000,
}, async () => {
  const phone = await pages.fresh();
  const { page } = phone;
  const devtools = await phone.context.newCDPSession(page);
  await devtools.send('WebAuthn.enable');
  await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
    },
  });
  await page.getByText('New here').click();
  await page.getByLabel('Handle').fill('@fay');
  await page.getByLabel('Name').fill('Fay');
  await page.getByRole('button', { name: 'Create an account' }).click();
  await page.getByTestId('balance').waitFor();
  await phone.open('/account');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.getByText('Fay').first().waitFor();
  await page.getByTestId('balance').waitFor();
  // Who has just come has not opted in: nothing about places is used before that.
  await page.getByText('You have opted out of location').waitFor();
  await phone.context.close();
});

test('location: asked only after it was explained; opting out and erasing', { timeout: 60_000 }, async () => {
  const phone = await pages.fresh();
  const { page } = phone;
  await page.getByRole('button', { name: /^Cleo/ }).click();
  await page.getByText('Where you are decides').waitFor();
  await page.getByRole('button', { name: 'Not now' }).click();
  await page.getByText('has not been asked').waitFor();
  await phone.context.grantPermissions(['geolocation']);
  await phone.move(15, 120);
  await page.reload();
  await page.getByText('Position sent').waitFor();
  await phone.open('/account');
  await page.getByRole('button', { name: 'Delete my location data' }).click();
  await page.getByText('cannot be undone').waitFor();
  await page.getByRole('button', { name: 'Delete my location data' }).click();
  await page.getByText(/Erased: \d+ record/).waitFor();
  // A click and not `uncheck`: the box changes when the service has answered, not under the finger.
  await page.getByLabel('Use my location').click();
  await page.getByText('You have opted out').waitFor();
  await phone.context.close();
});

test('the keyboard is enough to pay', { timeout: 60_000 }, async () => {
  const ana = await pages.phone('Ana', { at: [8, 40] });
  const { page } = ana;
  await page.getByText('Position sent').waitFor();
  await tabTo(ana, 'Dan');
  await page.keyboard.press('Enter');
  await page.getByLabel('Amount').waitFor();
  await tabTo(ana, 'Amount');
  await page.keyboard.type('1.23');
  await page.keyboard.press('Enter');
  await page.getByTestId('payment').waitFor();
  await ana.context.close();
});

const stopsMax = 40;

/** Of a page in which nothing has the focus the body would be it, and its text is all that there is. */
const focusedText = `(() => {
  const at = document.activeElement ?? document.body;
  return at === document.body ? '' : (at.labels?.[0]?.textContent ?? at.textContent ?? '');
})()`;

/** Presses Tab until what has the focus has this text or label. */
async function tabTo({ page }: Phone, text: string): Promise<void> {
  for (let stops = 0; stops < stopsMax; stops += 1) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate<string>(focusedText);
    if (focused.includes(text)) return;
  }
  assert.fail(`the keyboard does not come to ${text}`);
}
