import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Coalesced } from '#base/coalesced.ts';

const after = async (microtasks: number): Promise<void> => {
  for (let at = 0; at < microtasks; at++) await undefined;
};

test('a call at any moment is followed by a run that began after it', async () => {
  // The end of a run takes a few microtasks: a call may come between any two of them.
  for (let microtasks = 0; microtasks <= 20; microtasks++) {
    let begun = 0;
    const task = new Coalesced(async () => {
      begun += 1;
      await after(5);
    });
    const first = task.run();
    await after(microtasks);
    const before = begun;
    await task.run();
    assert.ok(begun > before, `${microtasks} microtasks after the first call`);
    await first;
    assert.equal(task.isRunning, false);
  }
});

test('calls while it runs share one more run, and none runs beside another', async () => {
  let [begun, under, most] = [0, 0, 0];
  const gate = Promise.withResolvers<void>();
  const task = new Coalesced(async () => {
    begun += 1;
    under += 1;
    most = Math.max(most, under);
    await gate.promise;
    under -= 1;
  });
  const calls = Array.from({ length: 5 }, () => task.run());
  gate.resolve();
  await Promise.all(calls);
  assert.deepEqual([begun, most], [2, 1]);
});

test('what it throws is told to all who wait, and the next call begins anew', async () => {
  let fails = true;
  const task = new Coalesced(async () => {
    await undefined;
    if (fails) throw new Error('no');
  });
  const calls = await Promise.allSettled([task.run(), task.run()]);
  assert.deepEqual(
    calls.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  fails = false;
  await task.run();
});

test('it ends after its most rounds, whoever asks on', async () => {
  let begun = 0;
  const task: Coalesced = new Coalesced(
    async () => {
      begun += 1;
      await undefined;
      void task.run();
    },
    { roundsMax: 3 },
  );
  await task.run();
  assert.equal(begun, 3);
});
