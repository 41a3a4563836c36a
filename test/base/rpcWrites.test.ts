/** How frames reach the socket: what is told in one turn goes in one write, in its order, and is not lost to a close. */
import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { it } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { z } from 'zod';
import { openAccess } from '#base/rpc/access.ts';
import { encodeFrame, type Frame, FrameReader } from '#base/rpc/frames.ts';
import { keepAliveEveryMs, silenceMsMax } from '#base/rpc/limits.ts';
import { RpcStream } from '#base/rpc/stream.ts';

const contract = {
  'test.echo': { params: z.object({ n: z.number() }), result: z.object({ n: z.number() }) },
} as const;

/** A socket that keeps each write as the frames in it. */
const setUp = () => {
  const writes: Frame[][] = [];
  const note = (bytes: Buffer): void => void writes.push([...new FrameReader().push(bytes)]);
  const socket = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      note(chunk);
      done();
    },
    writev(chunks, done) {
      note(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)));
      done();
    },
  });
  Object.assign(socket, { setNoDelay: () => socket });
  const stream = new RpcStream(socket as unknown as TLSSocket, contract, {
    peer: 'spiffe://pando/cell/c-1/p1',
    self: 'spiffe://pando/region/-/r',
    access: openAccess(contract),
    contract,
    handlers: { 'test.echo': ({ n }) => ({ n }) },
  });
  const arrive = (...frames: Frame[]): void => void socket.push(Buffer.concat(frames.flatMap(encodeFrame)));
  return { socket, stream, writes, arrive };
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const call = (id: number): Frame => ({ t: 'c', id, m: 'test.echo', p: { n: id }, ms: 1_000, rid: `r-${id}` });

it('calls of one turn are one write, and those of the next another', async () => {
  const { stream, writes } = setUp();
  const ask = (...ns: number[]): void => {
    for (const n of ns) stream.call('test.echo', { n }).catch(() => undefined);
  };
  ask(1, 2, 3);
  await turn();
  ask(4);
  await turn();
  const asked = writes.map((frames) => frames.map((frame) => frame.t === 'c' && frame.p));
  assert.deepEqual(asked, [[{ n: 1 }, { n: 2 }, { n: 3 }], [{ n: 4 }]]);
  stream.close('done');
});

it('calls that arrive together are answered in one write', async () => {
  const { stream, writes, arrive } = setUp();
  arrive(call(1), call(2), call(3));
  await turn();
  await turn();
  assert.deepEqual(
    writes.map((frames) => frames.map((frame) => frame.t === 'r' && frame.id)),
    [[1, 2, 3]],
  );
  stream.close('done');
});

it('what was told in the turn in which a stream closes is told', async () => {
  const { socket, stream, writes } = setUp();
  const asked = stream.call('test.echo', { n: 1 });
  stream.close('done');
  await assert.rejects(asked, { code: 'HostUnreachable' });
  assert.deepEqual(
    writes.map((frames) => frames.length),
    [1],
  ); // prettier-ignore
  assert.ok(socket.destroyed);
  // Nothing is written to it, and nothing fails, afterwards.
  await turn();
  assert.equal(writes.length, 1);
});

it('a peer that says nothing is taken for dead by beats, not by a clock: who stood still himself has not listened', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const { stream, arrive } = setUp();
  const beats = (count: number): void => {
    for (let n = 0; n < count; n++) t.mock.timers.tick(keepAliveEveryMs);
  };
  const { hrtime } = process;
  t.after(() => Object.assign(process, { hrtime }));
  // The machine stood still for a minute; what came meanwhile is read after the beat that was due.
  Object.assign(process, { hrtime: () => [hrtime()[0] + 60, 0] });
  beats(1);
  assert.equal(stream.closed, false);
  arrive({ t: 'p' });
  await turn();
  beats(silenceMsMax / keepAliveEveryMs);
  assert.equal(stream.closed, false);
  beats(1);
  assert.equal(stream.closed, true);
});
