import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { applyFilters, type Filter } from '#wire/filters.ts';
import { compileGlob } from '#wire/glob.ts';

interface Item {
  readonly id: string;
  readonly groups: readonly string[];
  readonly encrypted: boolean;
  readonly size?: number;
  readonly created: Date;
  readonly tags: readonly { Key: string; Value: string }[];
}

const items: readonly Item[] = [
  {
    id: 'v-1',
    groups: ['a', 'b'],
    encrypted: true,
    size: 8,
    created: new Date(0),
    tags: [{ Key: 'Name', Value: 'web' }],
  },
  {
    id: 'v-2',
    groups: [],
    encrypted: false,
    created: new Date(1),
    tags: [
      { Key: 'Name', Value: 'db' },
      { Key: 'e', Value: '' },
    ],
  },
  { id: 'v-30', groups: ['b'], encrypted: false, size: 80, created: new Date(0), tags: [] },
];

const spec = {
  'volume-id': (item: Item) => item.id,
  'group-id': (item: Item) => item.groups,
  encrypted: (item: Item) => item.encrypted,
  size: (item: Item) => item.size,
  'create-time': (item: Item) => item.created,
};

function ids(...filters: Filter[]): string[] {
  return applyFilters(items, filters, spec, (item) => item.tags).map((item) => item.id);
}

const f = (Name: string, ...Values: string[]): Filter => ({ Name, Values });

describe('filters', () => {
  it('combine by and; their values by or', () => {
    assert.deepEqual(ids(), ['v-1', 'v-2', 'v-30']);
    assert.deepEqual(ids(f('volume-id', 'v-1', 'v-2')), ['v-1', 'v-2']);
    assert.deepEqual(ids(f('volume-id', 'v-1', 'v-2'), f('encrypted', 'false')), ['v-2']);
    assert.deepEqual(ids(f('group-id', 'b'), f('size', '8')), ['v-1']);
    assert.deepEqual(ids(f('size', '*')), ['v-1', 'v-30']);
    assert.deepEqual(ids(f('create-time', '1970-01-01T00:00:00.000Z')), ['v-1', 'v-30']);
    assert.deepEqual(ids(f('encrypted', 'True')), []);
  });

  it('look at tags', () => {
    assert.deepEqual(ids(f('tag:Name', 'w*')), ['v-1']);
    assert.deepEqual(ids(f('tag:name', '*')), []);
    assert.deepEqual(ids(f('tag:e', '')), ['v-2']);
    assert.deepEqual(ids(f('tag-key', 'Name')), ['v-1', 'v-2']);
    assert.deepEqual(ids(f('tag-value', 'db')), ['v-2']);
  });

  it('that an action does not have are refused in the words of EC2', () => {
    for (const name of ['nope', 'toString', '__proto__', 'tag:', 'Volume-id']) {
      assert.throws(() => ids(f(name, 'x')), {
        code: 'InvalidParameterValue',
        message: `The filter '${name}' is invalid`,
      });
    }
    assert.throws(() => applyFilters(items, [f('tag:Name', 'x')], spec), { code: 'InvalidParameterValue' });
    assert.throws(() => ids({ Name: 'size' }), { code: 'InvalidParameterValue' });
    assert.throws(() => ids({ Values: ['x'] }), { code: 'InvalidParameterValue' });
  });

  it('are limited', () => {
    const values = Array.from({ length: 201 }, (_, i) => String(i));
    assert.throws(() => ids(f('size', ...values)), { code: 'FilterLimitExceeded' });
    assert.deepEqual(ids(f('size', ...values.slice(1))), ['v-1', 'v-30']);
    assert.throws(() => ids(...Array.from({ length: 51 }, () => f('size', '1'))), {
      code: 'FilterLimitExceeded',
    });
  });
});

describe('a pattern', () => {
  it('has stars, question marks and escapes', () => {
    const cases: [string, string, boolean][] = [
      ['a*', 'abc', true],
      ['*c', 'abc', true],
      ['a*c', 'ac', true],
      ['a?c', 'ac', false],
      ['a?c', 'a🙂c', true],
      ['\\*', '*', true],
      ['\\*', 'x', false],
      ['a\\?', 'a?', true],
      ['\\\\*', '\\x', true],
      ['a\\', 'a\\', true],
      ['', '', true],
      ['*', '', true],
      ['?', '', false],
      ['**a**', 'a', true],
      ['a.c', 'abc', false],
      ['A', 'a', false],
      ['*ab', 'aab', true],
      ['*a*b*c', 'xaxbxcx', false],
    ];
    for (const [pattern, text, expected] of cases) {
      assert.equal(compileGlob(pattern)(text), expected, `${pattern} on ${text}`);
    }
  });

  it('means what the same regular expression means', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?'), maxLength: 8 });
    fc.assert(
      fc.property(letters, fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 8 }), (pattern, text) => {
        const expression = new RegExp(`^${pattern.replaceAll('*', '.*').replaceAll('?', '.')}$`);
        assert.equal(compileGlob(pattern)(text), expression.test(text));
      }),
      { numRuns: 1_000 },
    );
  });

  it('takes no more than pattern × text steps', () => {
    // A matcher that tries every split would not end within the age of the universe.
    assert.equal(compileGlob(`${'*a'.repeat(200)}b`)('a'.repeat(5_000)), false);
  });
});
