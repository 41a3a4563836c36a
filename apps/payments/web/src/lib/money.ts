/** Amounts between people's text and whole minor units. */
import type { Currency } from './contract.ts';

const digitsOf: Readonly<Record<Currency, number>> = { EUR: 2, USD: 2, GBP: 2, CHF: 2, JPY: 0, KWD: 3 };
export const amountMinorMax = 100_000_000n;

/** `1250`, EUR → `€12.50`. Exact beyond 2^53. */
export function formatMoney(amountMinor: string, currency: Currency): string {
  const format = new Intl.NumberFormat('en', { style: 'currency', currency });
  return format.format(decimalText(amountMinor, currency) as Intl.StringNumericLiteral);
}

/** `1250`, EUR → `12.50`. */
export function decimalText(amountMinor: string, currency: Currency): string {
  const digits = digitsOf[currency];
  const sign = amountMinor.startsWith('-') ? '-' : '';
  const whole = amountMinor.replace('-', '').padStart(digits + 1, '0');
  return digits === 0 ? sign + whole : `${sign}${whole.slice(0, -digits)}.${whole.slice(-digits)}`;
}

/** `12.5`, `12,50` → `1250`; undefined where it is no amount (too many digits, zero, too large). */
export function parseAmount(text: string, currency: Currency): string | undefined {
  const minor = parseAllowance(text, currency);
  return minor === undefined || minor === '0' ? undefined : minor;
}

/** As {@link parseAmount}, and zero is allowed. */
export function parseAllowance(text: string, currency: Currency): string | undefined {
  const digits = digitsOf[currency];
  const match = /^\s*(\d{1,9})(?:[.,](\d{0,3}))?\s*$/.exec(text);
  const fraction = match?.[2] ?? '';
  if (match === null || fraction.length > digits) return undefined;
  const minor = BigInt(`${match[1]}${fraction.padEnd(digits, '0')}`);
  return minor > amountMinorMax ? undefined : minor.toString();
}
