/** Turns: one party's work waits for its own, and never for another's. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Turns } from '#base/turns.ts';

test('a party has so many at once, in the order in which it asked; others do not wait for it', async () => {
  const turns = new Turns({ atOnceMax: 2, waitingMax: 2 });
  const began: string[] = [];
  const ends = new Map<string, PromiseWithResolvers<void>>();
  const ask = (party: string, name: string): Promise<void> =>
    turns.run(party, () => {
      began.push(name);
      const end = Promise.withResolvers<void>();
      ends.set(name, end);
      return end.promise;
    });
  const asked = ['a1', 'a2', 'a3', 'a4'].map((name) => ask('a', name));
  await assert.rejects(ask('a', 'a5'), { code: 'RequestLimitExceeded' });
  const other = ask('b', 'b1');
  assert.deepEqual(began, ['a1', 'a2', 'b1']);
  ends.get('a2')?.reject(new Error('it failed'));
  await assert.rejects(asked[1] ?? Promise.resolve(), /it failed/);
  await new Promise(setImmediate);
  assert.deepEqual(began, ['a1', 'a2', 'b1', 'a3']);
  ends.get('a1')?.resolve();
  await asked[0];
  await new Promise(setImmediate);
  assert.deepEqual(began, ['a1', 'a2', 'b1', 'a3', 'a4']);
  for (const name of ['a3', 'a4', 'b1']) ends.get(name)?.resolve();
  await Promise.all([asked[2], asked[3], other]);
  assert.equal(turns.size, 0, 'nothing is kept of who has nothing to do');
});
