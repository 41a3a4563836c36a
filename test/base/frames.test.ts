import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { it } from 'node:test';
import fc from 'fast-check';
import { encodeFrame, type Frame, FrameReader, writeFrame } from '#base/rpc/frames.ts';
import { encodeOnce, toJson } from '#base/rpc/json.ts';
import { frameBytesMax } from '#base/rpc/limits.ts';

const bytesOf = (frame: Frame): Buffer => {
  const parts: Buffer[] = [];
  const sink = { cork() {}, uncork() {}, write: (part: Buffer) => parts.push(part) };
  writeFrame(sink as unknown as Socket, encodeFrame(frame));
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

it('refuses to make a frame above the limit', () => {
  const p = { text: 'x'.repeat(frameBytesMax) };
  assert.throws(() => encodeFrame({ t: 'c', id: 1, m: 'a.b', p, ms: 1, rid: 'r' }), {
    code: 'MessageTooLarge',
  });
  assert.throws(() => encodeFrame({ t: 'r', id: 1, v: encodeOnce(p) }), { code: 'MessageTooLarge' });
});

it('JSON in pieces is what JSON.stringify makes, whatever is encoded apart', () => {
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 3, depthSize: 'small' },
      fc.anything({ withDate: true, maxDepth: 1, maxKeys: 3 }),
      fc.dictionary(fc.string(), tie('tree')),
      fc.dictionary(fc.string(), tie('tree')).map(encodeOnce),
      fc.array(fc.dictionary(fc.string(), tie('tree')).map(encodeOnce)),
      fc.array(tie('tree'), { maxLength: 3 }),
    ),
  }));
  fc.assert(
    fc.property(fc.dictionary(fc.string(), tree), (value) => {
      const text = (): string => Buffer.concat(toJson(value).pieces).toString();
      let expected: string;
      try {
        expected = JSON.stringify(value);
      } catch {
        assert.throws(text);
        return;
      }
      assert.equal(text(), expected);
      assert.equal(toJson(value).bytes, Buffer.byteLength(expected));
      assert.equal(text(), expected, 'the second time from what is kept');
    }),
  );
});

it('encodes once what is sent to many', () => {
  let encoded = 0;
  const state = encodeOnce({
    toJSON() {
      encoded += 1;
      return { rules: [1, 2] };
    },
  });
  const sent = [1, 2, 3].map((id) =>
    bytesOf({ t: 'c', id, m: 'card.call', p: { method: 'x', params: { state } }, ms: 1, rid: 'r' }),
  );
  assert.equal(encoded, 1);
  for (const bytes of sent) {
    const [frame] = [...new FrameReader().push(bytes)];
    assert.deepEqual(frame?.t === 'c' && frame.p, { method: 'x', params: { state: { rules: [1, 2] } } });
  }
});
