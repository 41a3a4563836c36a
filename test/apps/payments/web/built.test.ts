/** What the pages are made of, held against the contract and its limits. No browser. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { type Route, type RouteName, routes } from '#payments/contract/routes.ts';
import { signedBytes } from '#payments/contract/signing.ts';
import { divide } from '#payments/splits/divide.ts';
import { ensurePages } from '../../../../apps/payments/web/build.ts';
import { codeParts } from '../../../../apps/payments/web/src/lib/code.ts';
import { divisionOf, partsOf } from '../../../../apps/payments/web/src/lib/division.ts';
import { decimalText, parseAllowance } from '../../../../apps/payments/web/src/lib/money.ts';
import { paths } from '../../../../apps/payments/web/src/lib/paths.ts';
import { signedBytes as pageBytes } from '../../../../apps/payments/web/src/lib/signing.ts';

const firstLoadBytesMax = 150 * 1024;
const dist = join(import.meta.dirname, '../../../../apps/payments/web/dist');

before(() => {
  ensurePages();
});

/** The scripts that a first load brings: those of the page, and what they import before anything is opened. */
function firstLoad(): string[] {
  const html = readFileSync(join(dist, 'index.html'), 'utf8');
  const found = [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+\.js)"/g)].map((match) => match[1] ?? '');
  for (const file of found)
    for (const [, name] of readFileSync(join(dist, file), 'utf8').matchAll(
      /(?:from|import)\s*"\.\/([^"]+\.js)"/g,
    ))
      if (!found.includes(`/assets/${name}`)) found.push(`/assets/${name}`);
  return found;
}

test('at most 150 KB of JavaScript, gzipped, at first load', (t) => {
  const files = firstLoad();
  assert.ok(files.length > 0);
  const bytes = files.reduce((sum, file) => sum + gzipSync(readFileSync(join(dist, file))).length, 0);
  t.diagnostic(`${files.length} files, ${bytes} bytes`);
  assert.ok(bytes < firstLoadBytesMax, `${bytes} bytes`);
});

test('nothing inline and nothing from elsewhere in the page', () => {
  const html = readFileSync(join(dist, 'index.html'), 'utf8');
  assert.doesNotMatch(html, /<style|style=|<script(?![^>]*src=)/);
  assert.doesNotMatch(html, /https?:\/\//);
});

test('the pages call what the contract has', () => {
  for (const [name, text] of Object.entries(paths)) {
    const route: Route = routes[name as RouteName];
    assert.equal(text, `${route.method} ${route.path}`);
  }
});

test('a page signs the very bytes that the server checks', () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => assert.deepEqual(pageBytes(value), signedBytes(value))));
});

test('amounts: what is shown is what is read, exactly', () => {
  const currency = fc.constantFrom('EUR', 'JPY', 'KWD') as fc.Arbitrary<'EUR' | 'JPY' | 'KWD'>;
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 100_000_000n }), currency, (minor, currency) =>
      assert.equal(parseAllowance(decimalText(`${minor}`, currency), currency), `${minor}`),
    ),
  );
  for (const text of ['', '-1', '1.234', '1e3', 'NaN', '1 000', '99999999999', '١'])
    assert.equal(parseAllowance(text, 'EUR'), undefined, text);
});

test('the parts that a page shows are those that the server asks for', () => {
  const people = ['per_a', 'per_b', 'per_c'];
  const typed = fc.tuple(fc.nat(40), fc.nat(40), fc.nat(40));
  fc.assert(
    fc.property(fc.bigInt({ min: 200n, max: 10n ** 8n }), typed, fc.nat(9), (bill, numbers, own) => {
      for (const by of ['equal', 'amounts', 'shares'] as const) {
        const texts = Object.fromEntries(
          people.map((person, index) => [person, `${(numbers[index] ?? 0) + 1}`]),
        );
        const division = divisionOf({ by, people, typed: texts, own: `${own}` }, 'JPY');
        assert.ok(division !== undefined);
        const shown = [...partsOf(division, bill)].map(([personId, amountMinor]) => ({
          personId,
          amountMinor,
        }));
        assert.deepEqual(shown, divide(bill, division));
      }
    }),
  );
});

test('codes of the counter are read, other texts are not', () => {
  const askId = `ask_${'0'.repeat(26)}`;
  assert.deepEqual(codeParts(` pando-pay:1:${askId}:tok_en-1 `), { askId, token: 'tok_en-1' });
  for (const text of ['', 'https://pay.example', `pando-pay:2:${askId}:t`, `pando-pay:1:${askId}:t:more`])
    assert.equal(codeParts(text), undefined);
});
