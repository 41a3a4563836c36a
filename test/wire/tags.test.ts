import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { mergeTags, parseTagSpecifications, validateTags } from '#wire/tags.ts';

const tag = (Key: string, Value = 'v') => ({ Key, Value });
const many = (count: number, prefix = 'k') => Array.from({ length: count }, (_, i) => tag(`${prefix}${i}`));
const refuses = (run: () => unknown, code = 'InvalidParameterValue') => assert.throws(run, { code });

describe('tags', () => {
  it('have keys of 1 to 128 and values of 0 to 256 characters', () => {
    assert.deepEqual(validateTags([{ Key: 'a' }, tag('b', '')]), [tag('a', ''), tag('b', '')]);
    validateTags([tag('🙂'.repeat(128), '🙂'.repeat(256))]);
    refuses(() => validateTags([tag('x'.repeat(129))]));
    refuses(() => validateTags([tag('x', 'v'.repeat(257))]));
    refuses(() => validateTags([tag('')]));
    refuses(() => validateTags([{ Value: 'v' }]));
  });

  it('are unique, not reserved, and 50 at most', () => {
    refuses(() => validateTags([tag('a'), tag('a')]));
    assert.equal(validateTags([tag('a'), tag('A'), tag('__proto__')]).length, 3);
    refuses(() => validateTags([tag('aws:x')]));
    refuses(() => validateTags([tag('AWS:x')]));
    assert.equal(validateTags(many(50)).length, 50);
    refuses(() => validateTags(many(51)), 'TagLimitExceeded');
  });

  it('that are added replace those of the same key', () => {
    assert.deepEqual(mergeTags([tag('a', '1'), tag('b', '1')], [tag('a', '2')]), [
      tag('a', '2'),
      tag('b', '1'),
    ]);
    assert.equal(mergeTags(many(50), many(50)).length, 50);
    refuses(() => mergeTags(many(50), [tag('one more')]), 'TagLimitExceeded');
    assert.equal(mergeTags([...many(49), tag('aws:own')], [tag('x')]).length, 51);
  });
});

describe('tag specifications', () => {
  const parse = (...types: (string | undefined)[]) =>
    parseTagSpecifications(
      types.map((ResourceType) => ({ ResourceType, Tags: [tag('a')] })),
      ['instance', 'volume'],
    );

  it('give tags by resource type', () => {
    assert.deepEqual([...parse('volume', 'instance').keys()], ['volume', 'instance']);
    assert.deepEqual(parse('instance').get('instance'), [tag('a')]);
    assert.equal(parseTagSpecifications(undefined, ['vpc']).size, 0);
  });

  it('are of types that the action creates, each once, with tags', () => {
    refuses(() => parse('vpc'));
    refuses(() => parse(undefined));
    refuses(() => parse('instance', 'instance'));
    refuses(() => parseTagSpecifications([{ ResourceType: 'vpc', Tags: [] }], ['vpc']));
    refuses(() => parseTagSpecifications([{ ResourceType: 'vpc' }], ['vpc']));
  });
});
