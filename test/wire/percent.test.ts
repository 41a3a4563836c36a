import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeFormText } from '#wire/percent.ts';

/** Makes a text long enough for the other way of reading it, and takes that away again. */
const padding = 'x'.repeat(2_000);
const longWay = (text: string): string => decodeFormText(text + padding).slice(0, -padding.length);
const expected = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '));

describe('percent-encoded text', () => {
  it('gives back what was encoded, short or long', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (given) => {
        const text = given.toWellFormed();
        for (const encoded of [
          encodeURIComponent(text),
          new URLSearchParams([['', text]]).toString().slice(1),
        ]) {
          assert.equal(decodeFormText(encoded), text);
          assert.equal(longWay(encoded), text);
        }
      }),
    );
  });

  it('is read alike in both ways, also where it is broken', () => {
    const pieces = [
      '%',
      '%4',
      '%zz',
      '%41',
      '+',
      'a',
      'é',
      '%ff',
      '%c3%28',
      '%ed%a0%80',
      '%c3%a9',
      '%F0%9F%98%80',
      '%ef%bb%bf',
      '%00',
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 6 }), (parts) => {
        const text = parts.join('');
        let wanted: string | undefined;
        try {
          wanted = expected(text);
        } catch {
          assert.throws(() => decodeFormText(text), URIError, text);
          assert.throws(() => longWay(text), URIError, text);
          return;
        }
        assert.equal(decodeFormText(text), wanted);
        assert.equal(longWay(text), wanted);
      }),
      { numRuns: 500 },
    );
  });
});
