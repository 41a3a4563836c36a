/** What people do on the pages, and what they see there. */
import type { Phone } from './phones.ts';

/** From the list of contacts to the outcome. The answer is the payment's state. */
export async function pay(phone: Phone, name: string, amount: string): Promise<string | null> {
  const { page } = phone;
  await phone.open('/pay');
  await page.getByRole('link', { name: new RegExp(`${name} @`) }).click();
  await page.getByLabel('Amount').fill(amount);
  await page.getByRole('button', { name: 'Pay' }).click();
  return outcome(phone);
}

/** The state of the payment that is shown. */
export async function outcome({ page }: Phone): Promise<string | null> {
  const payment = page.getByTestId('payment');
  await payment.waitFor();
  return payment.getAttribute('data-state');
}

/** Waits until the payment that is shown has come to this state. */
export const comesTo = ({ page }: Phone, state: string): Promise<void> =>
  page.locator(`[data-testid=payment][data-state=${state}]`).waitFor();

export const reasonsOn = ({ page }: Phone): Promise<(string | null)[]> =>
  page
    .locator('[data-reason]')
    .evaluateAll((items: { getAttribute(name: string): string | null }[]) =>
      items.map((item) => item.getAttribute('data-reason')),
    );

export const balance = ({ page }: Phone): Promise<string | null> => page.getByTestId('balance').textContent();
export const shows = (phone: Phone, text: string | RegExp): Promise<void> =>
  phone.page.getByText(text).first().waitFor();
export const balanceIs = (phone: Phone, money: string): Promise<void> =>
  phone.page.getByTestId('balance').filter({ hasText: money }).waitFor();

export async function setRule(phone: Phone, label: string, option: string): Promise<void> {
  // From another page, so that what an earlier saving said is gone.
  await phone.open('/pay');
  await phone.open('/account');
  await phone.page.getByLabel(label).selectOption({ label: option });
  await phone.page.getByRole('button', { name: 'Save rules' }).click();
  await shows(phone, 'Saved.');
}

/** Asks a contact for an amount. */
export async function ask(phone: Phone, name: string, amount: string): Promise<void> {
  await phone.open('/pay');
  await phone.open('/ask');
  await phone.page.getByLabel('Amount').fill(amount);
  await phone.page.getByLabel('From').selectOption({ label: name });
  await phone.page.getByRole('button', { name: 'Ask' }).click();
}
