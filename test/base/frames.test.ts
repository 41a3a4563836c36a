import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { it } from 'node:test';
import fc from 'fast-check';
import { type Frame, FrameReader, writeFrame } from '#base/rpc/frames.ts';
import { frameBytesMax } from '#base/rpc/limits.ts';

const bytesOf = (frame: Frame): Buffer => {
  const parts: Buffer[] = [];
  const sink = { cork() {}, uncork() {}, write: (part: Buffer) => parts.push(part) };
  writeFrame(sink as unknown as Socket, frame);
  return Buffer.concat(parts);
};

it('frames survive any cutting of the byte stream', () => {
  const frames = fc.array(
    fc.record(
      { t: fc.constant('r' as const), id: fc.nat(), v: fc.string({ maxLength: 300 }) },
      { noNullPrototype: true },
    ),
  );
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (sent, cuts) => {
      const bytes = Buffer.concat(sent.map(bytesOf));
      const reader = new FrameReader();
      const got: Frame[] = [];
      for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
        const end = at + (cuts[turn % cuts.length] ?? 1);
        got.push(...reader.push(bytes.subarray(at, end)));
        at = end;
      }
      assert.deepEqual(got, sent);
    }),
  );
});

it('refuses a frame above the limit before it is buffered', () => {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(frameBytesMax + 1);
  assert.throws(() => [...new FrameReader().push(head)], RangeError);
});
