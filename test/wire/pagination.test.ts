import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { wireLimits } from '#wire/limits.ts';
import { cutPage, type PageRules, readPage } from '#wire/pagination.ts';

const rules: PageRules = { secret: 'a secret', scope: 'acme/DescribeThings' };
const cursorOf = (item: string) => item;

function things(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `t-${String(i).padStart(4, '0')}`);
}

function firstToken(query: object): string {
  const { nextToken } = cutPage(things(20), readPage({ ...query, MaxResults: 5 }, rules), cursorOf);
  assert.ok(nextToken !== undefined);
  return nextToken;
}

describe('pages', () => {
  it('give every item once, in order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 5, max: 20 }), (count, MaxResults) => {
        const seen: string[] = [];
        let NextToken: string | undefined;
        for (let pages = 0; pages < 20; pages++) {
          const page = cutPage(things(count), readPage({ MaxResults, NextToken }, rules), cursorOf);
          seen.push(...page.items);
          NextToken = page.nextToken;
          if (NextToken === undefined) break;
          assert.equal(page.items.length, MaxResults);
        }
        assert.deepEqual(seen, things(count));
      }),
    );
  });

  it('neither repeat nor hide an item when others come and go', () => {
    const token = firstToken({});
    const changed = ['a-new', ...things(20).filter((item) => item !== 't-0004' && item !== 't-0006')];
    const page = cutPage(changed, readPage({ MaxResults: 5, NextToken: token }, rules), cursorOf);
    assert.deepEqual(page.items, ['t-0005', 't-0007', 't-0008', 't-0009', 't-0010']);
  });

  it('may change in size on the way', () => {
    const page = cutPage(things(20), readPage({ NextToken: firstToken({}) }, rules), cursorOf);
    assert.equal(page.items.length, 15);
    assert.equal(page.nextToken, undefined);
  });

  it('have from 5 to 1000 items, or what the action says', () => {
    for (const MaxResults of [-1, 0, 4, 1001]) {
      assert.throws(() => readPage({ MaxResults }, rules), { code: 'InvalidParameterValue' });
    }
    assert.equal(readPage({ MaxResults: 1 }, { ...rules, itemsMin: 1 }).items, 1);
    assert.equal(readPage({}, rules).items, 1_000);
    assert.equal(readPage({}, { ...rules, itemsDefault: 20 }).items, 20);
  });

  it('end early where items are large, and give every item once all the same', () => {
    const limit = wireLimits.pageBytesMax;
    const seen: string[] = [];
    const sizes: number[] = [];
    let NextToken: string | undefined;
    do {
      const request = readPage({ NextToken }, rules);
      const page = cutPage(things(10), request, cursorOf, (item) =>
        item === 't-0004' ? 2 * limit : limit / 2,
      );
      seen.push(...page.items);
      sizes.push(page.items.length);
      NextToken = page.nextToken;
    } while (NextToken !== undefined);
    assert.deepEqual(seen, things(10));
    assert.deepEqual(sizes, [2, 2, 1, 2, 2, 1]);
  });

  it('do not go with ids', () => {
    const ids = { parameter: 'instancesSet', values: ['i-1'] };
    assert.throws(() => readPage({ MaxResults: 5 }, { ...rules, ids }), {
      code: 'InvalidParameterCombination',
      message: 'The parameter instancesSet cannot be used with the parameter maxResults',
    });
    readPage({}, { ...rules, ids });
    readPage({ MaxResults: 5 }, { ...rules, ids: { ...ids, values: [] } });
  });
});

describe('a token', () => {
  const query = { Filters: [{ Name: 'a', Values: ['b'] }], DryRun: false };
  const open = (input: object, changes: Partial<PageRules> = {}) => readPage(input, { ...rules, ...changes });

  it('holds for its query alone', () => {
    const NextToken = firstToken(query);
    assert.equal(open({ DryRun: false, Filters: [{ Values: ['b'], Name: 'a' }], NextToken }).after, 't-0004');
    const others = [{}, { ...query, DryRun: true }, { ...query, Filters: [{ Name: 'a', Values: ['c'] }] }];
    for (const other of others)
      assert.throws(() => open({ ...other, NextToken }), { code: 'InvalidParameterValue' });
    assert.throws(() => open({ ...query, NextToken }, { scope: 'other/DescribeThings' }), {
      code: 'InvalidParameterValue',
    });
    assert.throws(() => open({ ...query, NextToken }, { secret: 'other' }), {
      code: 'InvalidParameterValue',
    });
  });

  it('cannot be made up', () => {
    const good = firstToken(query);
    const forged = `${Buffer.from('t-0010').toString('base64url')}.${good.split('.')[1]}`;
    for (const NextToken of ['', '.', 'x', forged, `${good}.x`, `${good}x`, 'x'.repeat(10_000)]) {
      assert.throws(() => open({ ...query, NextToken }), { code: 'InvalidParameterValue' }, NextToken);
    }
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (NextToken) => {
        assert.throws(() => open({ ...query, NextToken }), { code: 'InvalidParameterValue' });
      }),
    );
  });
});
