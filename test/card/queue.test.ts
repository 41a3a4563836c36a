/** The dead-man timer of a packet queue. */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { monotonicMs } from '#base/monotonic.ts';
import { PacketQueue } from '#card/queue.ts';

const socketAt = async (): Promise<{ socket: Socket; at: { ip: string; port: number }; got: string[] }> => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const got: string[] = [];
  socket.on('message', (message) => got.push(String(message)));
  const { address, port } = socket.address();
  return { socket, at: { ip: address, port }, got };
};

test('what nobody cares for goes where it was told for this case, and what comes later with it; a word ends that', async (t) => {
  const [sender, target, source] = await Promise.all([socketAt(), socketAt(), socketAt()]);
  // Long enough to get to the standstill in time, on a machine that does other things too.
  const lapse = { ms: 2_000, passTo: source.at };
  const queue = await PacketQueue.open('127.0.0.1', { mode: 'buffer', passTo: target.at, lapse });
  t.after(() => {
    queue.destroy();
    for (const { socket } of [sender, target, source]) socket.close();
  });
  const send = async (text: string, to: { got: string[] }): Promise<void> => {
    sender.socket.send(text, queue.endpoint.port, queue.endpoint.ip);
    while (!to.got.includes(text)) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  await send('1', source);
  await send('2', source);
  queue.set({ mode: 'buffer' });
  await send('3', source);
  queue.set({ mode: 'pass', settled: true });
  await send('4', target);
  queue.set({ mode: 'buffer' });
  await send('5', target);
  assert.deepEqual(
    [source.got, target.got],
    [
      ['1', '2', '3'],
      ['4', '5'],
    ],
  );
});

test('a word that came while the process stood still counts: it is read before the queue lapses', async (t) => {
  const [words, target, source] = await Promise.all([socketAt(), socketAt(), socketAt()]);
  const lapse = { ms: 50, passTo: source.at };
  const queue = await PacketQueue.open('127.0.0.1', { mode: 'buffer', passTo: target.at, lapse });
  t.after(() => {
    queue.destroy();
    for (const { socket } of [words, target, source]) socket.close();
  });
  words.socket.on('message', () => queue.set({ mode: 'pass', settled: true }));
  words.socket.send('1', queue.endpoint.port, queue.endpoint.ip);
  while (queue.counters.held === 0) await new Promise((resolve) => setImmediate(resolve));
  await new Promise<void>((resolve, reject) =>
    words.socket.send('settled', words.at.port, words.at.ip, (error) => (error ? reject(error) : resolve())),
  );
  const until = monotonicMs() + lapse.ms + 50;
  while (monotonicMs() < until);
  while (target.got.length + source.got.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual([target.got, source.got], [['1'], []]);
});
