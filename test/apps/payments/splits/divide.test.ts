/** Dividing a bill: never more than the bill, every part at least one minor unit (S9.3). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PaymentsError } from '#payments/base/errors.ts';
import type { Division } from '#payments/contract/splits.ts';
import { divide } from '#payments/splits/divide.ts';

const people = fc
  .uniqueArray(fc.nat(60), { minLength: 1, maxLength: 30 })
  .map((ids) => ids.map((id) => `per_${id}` as const));
const division: fc.Arbitrary<Division> = people.chain((ids) =>
  fc.oneof(
    fc.constant<Division>({ by: 'equal', people: ids }),
    fc.array(fc.bigInt({ min: 1n, max: 5_000n }), { minLength: ids.length, maxLength: ids.length }).map(
      (amounts): Division => ({
        by: 'amounts',
        parts: ids.map((personId, at) => ({ personId, amountMinor: `${amounts[at]}` })),
      }),
    ),
    fc
      .tuple(
        fc.nat(1_000),
        fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: ids.length, maxLength: ids.length }),
      )
      .map(
        ([own, shares]): Division => ({
          by: 'shares',
          own,
          parts: ids.map((personId, at) => ({ personId, share: shares[at] ?? 1 })),
        }),
      ),
  ),
);

test('parts are whole, at least one minor unit, and never more than the bill together', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: 100_000n }), division, (bill, how) => {
      try {
        const parts = divide(bill, how);
        assert.ok(parts.every((part) => part.amountMinor >= 1n));
        assert.ok(parts.reduce((sum, part) => sum + part.amountMinor, 0n) <= bill);
        if (how.by === 'equal') assert.equal(new Set(parts.map((part) => part.amountMinor)).size, 1);
      } catch (error) {
        assert.ok(
          error instanceof PaymentsError &&
            ['split_exceeds_payment', 'amount_out_of_range'].includes(error.code),
        );
      }
    }),
    { numRuns: 2_000 },
  );
});

test('what does not divide stays with the payer', () => {
  const by = (how: Division): string =>
    divide(1_000n, how)
      .map((part) => part.amountMinor)
      .join();
  assert.equal(by({ by: 'equal', people: ['per_a', 'per_b'] }), '333,333');
  assert.equal(
    by({
      by: 'shares',
      own: 0,
      parts: [
        { personId: 'per_a', share: 2 },
        { personId: 'per_b', share: 1 },
      ],
    }),
    '666,333',
  );
  const refused = (how: Division, code: string) => assert.throws(() => divide(10n, how), { code });
  refused(
    { by: 'equal', people: Array.from({ length: 10 }, (_, at) => `per_${at}` as const) },
    'amount_out_of_range',
  );
  refused({ by: 'amounts', parts: [{ personId: 'per_a', amountMinor: '11' }] }, 'split_exceeds_payment');
  refused({ by: 'equal', people: ['per_a', 'per_a'] }, 'invalid_request');
});
