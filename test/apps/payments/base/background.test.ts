/** Work that no answer waits for: few at once, bounded, waited for at the end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Background, backgroundAtOnceMax, backgroundMax } from '#payments/base/background.ts';

test('few run at once, all of what was taken is done, and more than the bound is left', async () => {
  const background = new Background();
  const gate = Promise.withResolvers<void>();
  let [running, most, done] = [0, 0, 0];
  const work = async (): Promise<void> => {
    running += 1;
    most = Math.max(most, running);
    await gate.promise;
    running -= 1;
    done += 1;
  };
  for (let at = 0; at < backgroundMax; at += 1) assert.equal(background.add(work), true);
  assert.equal(background.add(work), false);
  assert.equal(running, backgroundAtOnceMax);
  gate.resolve();
  await background.done();
  assert.deepEqual([most, done, background.size], [backgroundAtOnceMax, backgroundMax, 0]);
  await background.done();
  assert.equal(background.add(work), true);
  await background.done();
  assert.equal(done, backgroundMax + 1);
});
