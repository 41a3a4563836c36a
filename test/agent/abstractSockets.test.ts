import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { abstractListeners } from '#agent/abstractSockets.ts';

test('an abstract socket that listens is found; one with a path, and one that is connected, is not', async (t) => {
  const text = [
    'Num       RefCount Protocol Flags    Type St Inode Path',
    '0000000000000000: 00000002 00000000 00010000 0001 01 17425 @one',
    '0000000000000000: 00000002 00000000 00010000 0001 01 17426 /run/systemd/private',
    '0000000000000000: 00000003 00000000 00000000 0001 03 17427 @one',
    '0000000000000000: 00000002 00000000 00000000 0002 01 17428',
    '0000000000000000: 00000002 00000000 00010000 0001 01 17429 @other',
  ].join('\n');
  assert.deepEqual(abstractListeners(text), ['@one', '@other']);
  assert.deepEqual(abstractListeners(''), []);
  const name = `pando-test-${process.pid}`;
  const server = createServer();
  await new Promise<void>((listening) => server.listen(`\0${name}`, listening));
  t.after(() => server.close());
  assert.ok(abstractListeners(readFileSync('/proc/self/net/unix', 'utf8')).includes(`@${name}`));
});
