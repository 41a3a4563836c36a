import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  formSliceBytes,
  formSlicePairs,
  type ParameterForm,
  parseForm,
  parseFormInSlices,
} from '#wire/form.ts';
import { wireLimits } from '#wire/limits.ts';

type Read = { readonly form: ParameterForm } | { readonly error: unknown };

const outcome = (read: () => ParameterForm): Read => {
  try {
    return { form: read() };
  } catch (error) {
    return { error: error instanceof Error ? error.message : error };
  }
};

const inSlices = (query: string, body: string): { read: Read; slices: number } => {
  const work = parseFormInSlices(query, Buffer.from(body));
  let slices = 1;
  const read = outcome(() => {
    for (;;) {
      const step = work.next();
      if (step.done === true) return step.value;
      slices += 1;
    }
  });
  return { read, slices };
};

const head = 'Action=A&Version=2016-11-15';
const sliceBytesMax = 2 * 32 * 1024;

describe('a form in slices', () => {
  it('is read as it is read at once', () => {
    const piece = fc.constantFrom(
      'a',
      '.',
      '1',
      '=',
      '&',
      '%41',
      '+',
      '%',
      '%c3%a9',
      'é',
      '%ff',
      '%00',
      'UserData',
    );
    const long = fc.tuple(piece, fc.constantFrom(1, 5, 40_000)).map(([one, count]) => one.repeat(count));
    fc.assert(
      fc.property(fc.array(fc.oneof({ weight: 20, arbitrary: piece }, long), { maxLength: 40 }), (pieces) => {
        const body = pieces.join('');
        assert.deepEqual(
          inSlices('', body).read,
          outcome(() => parseForm(body)),
        );
        assert.deepEqual(
          inSlices(head, body).read,
          outcome(() => parseForm(`${head}&${body}`)),
        );
      }),
    );
  });

  it('has a slice for so many parameters, however short, and none for what lies between them', () => {
    const many = Array.from({ length: 4_000 }, (_, at) => `a.${at}=`).join('&');
    const { slices } = inSlices('', many);
    assert.ok(slices >= 4_000 / formSlicePairs, `${slices} slices of 4,000 parameters`);
    const empty = '&'.repeat(10 * formSliceBytes);
    const between = inSlices('', `a=1${empty}b=2${empty}`);
    assert.deepEqual(between.read, inSlices('', 'a=1&b=2').read);
    assert.ok(between.slices >= 20, `${between.slices} slices of nothing`);
  });

  it('has a slice for each part of a form, and of a value', () => {
    const many = Array.from({ length: 1_000 }, (_, at) => `&A.${at}=${'%41'.repeat(100)}`).join('');
    const one = `&K=${'%E2%82%AC'.repeat(wireLimits.valueCharsMax - 1)}`;
    for (const body of [head + many, head + one]) {
      const { read, slices } = inSlices('', body);
      assert.ok('form' in read);
      assert.ok(slices >= body.length / sliceBytesMax, `${slices} slices of ${body.length} bytes`);
    }
  });

  it('refuses what is over a limit before it is read', () => {
    const over = '%3D'.repeat(300_000);
    for (const name of ['UserData', 'KeyName']) {
      const { read, slices } = inSlices('', `${name}=${over}`);
      assert.ok('error' in read && /limited|longer/.test(String(read.error)));
      assert.ok(slices <= 3, `${slices} slices`);
    }
    const pairs = (count: number): string => Array.from({ length: count }, (_, at) => `&&a.${at}=`).join('');
    const [most, more] = [pairs(wireLimits.parametersMax), pairs(wireLimits.parametersMax + 1)];
    assert.ok('form' in inSlices('', most).read);
    const { read, slices } = inSlices('', more);
    assert.ok('error' in read && /parameters/.test(String(read.error)));
    assert.equal(slices, 1);
    assert.deepEqual(
      outcome(() => parseForm(more)),
      read,
    );
  });

  it('refuses values that are too long together', () => {
    const { valueCharsMax, allValuesCharsMax } = wireLimits;
    const count = Math.ceil(allValuesCharsMax / valueCharsMax);
    const values = (length: number) =>
      Array.from({ length: count }, (_, at) => `A.${at}=${'x'.repeat(length)}`).join('&');
    assert.ok('form' in inSlices('', values(valueCharsMax)).read);
    assert.throws(() => parseForm(`${values(valueCharsMax)}&B=x`), { code: 'RequestEntityTooLarge' });
  });
});
