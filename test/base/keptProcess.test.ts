import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { KeptProcess } from '#base/keptProcess.ts';

test('a process whose outputs have ended leaves no listeners, however much it is asked', async (t) => {
  // Its own standard output is closed: what it does is heard by the other one.
  const child = new KeptProcess('sh', ['-c', 'exec 1>&-; while read line; do echo "$line" >&2; done']);
  const waiting: Socket[] = [];
  const once = t.mock.method(
    Socket.prototype,
    'once',
    function (this: Socket, ...args: Parameters<Socket['on']>) {
      if (args[0] === 'connect') waiting.push(this);
      return this.on(...args);
    },
  );
  const ask = () =>
    child.run(
      () => ({
        input: 'x\n',
        outcome: ({ stderr }) => (stderr.endsWith('x\n') ? { output: stderr } : undefined),
      }),
      5_000,
    );
  for (let times = 0; times < 20; times++) assert.equal(await ask(), 'x\n');
  assert.equal(waiting.length, 0);
  once.mock.restore();
  await child.close();
});
