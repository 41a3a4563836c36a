import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { KeptProcess } from '#base/keptProcess.ts';

test('a process whose outputs have ended leaves no listeners, however much it is asked', async (t) => {
  // Its own standard output is closed: what it does is heard by the other one.
  const child = new KeptProcess('sh', ['-c', 'exec 1>&-; while read line; do echo "$line" >&2; done']);
  const once = t.mock.method(Socket.prototype, 'once');
  const ask = () =>
    child.run(
      () => ({
        input: 'x\n',
        outcome: ({ stderr }) => (stderr.endsWith('x\n') ? { output: stderr } : undefined),
      }),
      5_000,
    );
  for (let times = 0; times < 20; times++) assert.equal(await ask(), 'x\n');
  const waiting = once.mock.calls.filter(({ arguments: [event] }) => String(event) === 'connect');
  assert.equal(waiting.length, 0);
  await child.close();
});
