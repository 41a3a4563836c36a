import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { KeyCache } from '#router/keyCache.ts';
import { Lru } from '#router/lru.ts';
import type { AccessKey } from '#router/regionLink.ts';

const key: AccessKey = { secret: 's', accountId: '1', arn: 'a', userId: '1' };

describe('KeyCache', () => {
  let asked: string[];
  let answer: () => Promise<AccessKey | undefined>;
  let nowMs: number;
  let cache: KeyCache;
  beforeEach(() => {
    asked = [];
    nowMs = 0;
    answer = async () => key;
    cache = new KeyCache({
      lookup: (id) => {
        asked.push(id);
        return answer();
      },
      keysMax: 3,
      ttlMs: 100,
      unknownTtlMs: 10,
      now: () => nowMs,
    });
  });

  it('asks once for requests at the same time, and again after its time', async () => {
    await Promise.all([cache.get('a'), cache.get('a')]);
    assert.equal(asked.length, 1);
    nowMs = 99;
    await cache.get('a');
    assert.equal(asked.length, 1);
    nowMs = 100;
    await cache.get('a');
    assert.equal(asked.length, 2);
  });

  it('remembers for a shorter time that there is no such key', async () => {
    answer = async () => undefined;
    assert.equal(await cache.get('a'), undefined);
    nowMs = 9;
    assert.equal(await cache.get('a'), undefined);
    assert.equal(asked.length, 1);
    nowMs = 10;
    answer = async () => key;
    assert.equal(await cache.get('a'), key);
  });

  it('knows a temporary key by its token alone: an invented token does not make the right one unknown', async () => {
    const tokens: (string | undefined)[] = [];
    const byToken = new KeyCache({
      lookup: async (_id, token) => {
        tokens.push(token);
        return token === 'right' ? key : undefined;
      },
      ...{ keysMax: 3, ttlMs: 100, unknownTtlMs: 10, now: () => nowMs },
    });
    assert.equal(await byToken.get('a', 'wrong'), undefined);
    assert.equal(await byToken.get('a', 'right'), key);
    assert.equal(await byToken.get('a'), undefined);
    assert.deepEqual(
      [byToken.knows('a', 'right'), byToken.knows('a', 'wrong'), byToken.knows('a')],
      [...[true, false, false]],
    );
    assert.equal(await byToken.get('a', 'right'), key);
    assert.deepEqual(tokens, ['wrong', 'right', undefined]);
  });

  it('forgets a revoked key at its time', async () => {
    await cache.get('a');
    nowMs = 100;
    answer = async () => undefined;
    assert.equal(await cache.get('a'), undefined);
    answer = () => Promise.reject(new Error('gone'));
    nowMs = 200;
    await assert.rejects(cache.get('a'), { code: 'Unavailable' });
  });

  it('serves what it knows when the region is gone, asks it rarely, and says so for what it does not know', async () => {
    await cache.get('a');
    answer = () => Promise.reject(new Error('gone'));
    nowMs = 1_000;
    assert.equal(await cache.get('a'), key);
    nowMs = 1_009;
    assert.equal(await cache.get('a'), key);
    assert.equal(asked.length, 2);
    nowMs = 1_010;
    assert.equal(await cache.get('a'), key);
    assert.equal(asked.length, 3);
    await assert.rejects(cache.get('b'), { code: 'Unavailable' });
  });

  it('is not emptied by a flood of invented keys', async () => {
    await cache.get('a');
    answer = async () => undefined;
    for (let i = 0; i < 50; i += 1) await cache.get(`invented-${i}`);
    assert.equal(await cache.get('a'), key);
  });
});

describe('Lru', () => {
  it('drops what was not used for the longest time', () => {
    const lru = new Lru<string, number>(2);
    lru.set('a', 1);
    lru.set('b', 2);
    lru.get('a');
    lru.set('c', 3);
    assert.deepEqual([lru.get('a'), lru.get('b'), lru.get('c'), lru.size], [1, undefined, 3, 2]);
  });
});
