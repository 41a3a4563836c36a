/** Request id and trace through nested work, and in the frames between processes of this release and the last. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import type { TlsMaterial } from '#base/identity.ts';
import { loggerTo, logServed, ToldCalls } from '#base/log.ts';
import { createAuthority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import { RpcClient } from '#base/rpc/client.ts';
import type { CallContext } from '#base/rpc/contract.ts';
import { encodeFrame, type Frame, FrameReader } from '#base/rpc/frames.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import { RpcStream } from '#base/rpc/stream.ts';
import { childOf, currentTrace, type Trace, traceIdOf, traceOf, withTrace } from '#base/trace.ts';

const requestId = '7d444840-9dc0-41d1-b245-5ffdce74fad2';
const given = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const formed = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

describe('a trace', () => {
  it('goes on with a traceparent that is one, and with nothing else', () => {
    assert.deepEqual(traceOf(requestId, given), { requestId, traceparent: given });
    const zeros = [
      '00-00000000000000000000000000000000-00f067aa0ba902b7-01',
      given.replace(/-00f0\w+/, '-0000000000000000'),
    ];
    for (const bad of [
      '',
      'x',
      given.toUpperCase(),
      given.replace('00-', 'ff-'),
      `${given}-more`,
      [given],
      undefined,
      ...zeros,
    ]) {
      const own = traceOf(requestId, bad);
      assert.match(own.traceparent, formed);
      assert.equal(
        traceIdOf(own),
        requestId.replaceAll('-', ''),
        'whoever hears the id alone names the same trace',
      );
    }
  });

  it('is well formed and of bounded size whatever it is made of', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 500 }), fc.anything(), (id, text) => {
        const trace = traceOf(id, text);
        assert.match(trace.traceparent, formed);
        assert.ok(trace.requestId.length <= 128);
        const child = childOf(trace);
        assert.equal(traceIdOf(child), traceIdOf(trace));
        assert.notEqual(child.traceparent, trace.traceparent);
        assert.equal(child.traceparent.slice(-2), trace.traceparent.slice(-2));
      }),
    );
  });

  it('is of the work that runs in it, and of no other', async () => {
    const one = traceOf('one');
    const seen = await Promise.all(
      [one, traceOf('two'), undefined].map((trace) =>
        withTrace(trace, async () => {
          await new Promise((wake) => setImmediate(wake));
          return currentTrace();
        }),
      ),
    );
    assert.deepEqual(
      seen.map((trace) => trace?.requestId),
      ['one', 'two', undefined],
    );
    withTrace(one, () => withTrace(undefined, () => assert.equal(currentTrace(), undefined)));
  });

  it('is in each line of the log', () => {
    const lines: Record<string, unknown>[] = [];
    const log = loggerTo('p', { write: (line) => void lines.push(JSON.parse(line)) });
    withTrace(traceOf(requestId, given), () => log.error('inside'));
    log.error('outside');
    assert.deepEqual(
      lines.map((line) => [line.msg, line.requestId, line.traceId]),
      [
        ['inside', requestId, '4bf92f3577b34da6a3ce929d0e0e4736'],
        ['outside', undefined, undefined],
      ],
    );
  });
});

describe('calls that were answered', () => {
  it('leave one line for each request and method, and one for each failure', () => {
    const lines: Record<string, unknown>[] = [];
    const log = loggerTo('p', { write: (line) => void lines.push(JSON.parse(line)) });
    const told = new ToldCalls();
    const call = { peer: 'p', self: undefined, ms: 1, requested: true, code: undefined };
    for (const id of ['one', 'two'])
      withTrace(traceOf(id), () => {
        for (let n = 0; n < 100; n++) logServed(log, { ...call, method: 'region.imageChunk' }, told);
        logServed(log, { ...call, method: 'region.imageChunk', code: 'NotFound' }, told);
        logServed(log, { ...call, method: 'vm.launch' }, told);
        logServed(log, { ...call, method: 'process.health', requested: false }, told);
      });
    const expected = ['region.imageChunk', 'region.imageChunk NotFound', 'vm.launch'];
    assert.deepEqual(
      lines.map(({ requestId, method, code }) => [requestId, [method, code].filter(Boolean).join(' ')]),
      ['one', 'two'].flatMap((id) => expected.map((what) => [id, what])),
    );
    for (let n = 0; n < 10_000; n++) logServed(log, { ...call, method: `m${n}` }, told);
    assert.ok(told.size <= 4_096);
  });
});

const seen = z.object({ requestId: z.string(), traceparent: z.string(), context: z.string() });
const contract = {
  'test.ask': { params: z.object({}), result: z.object({ here: seen, back: seen }) },
} as const;
const back = { 'test.back': { params: z.object({}), result: seen } } as const;

const seenNow = ({ requestId: context }: CallContext) => ({
  ...(currentTrace() ?? { requestId: '', traceparent: '' }),
  context,
});

describe('frames', () => {
  let server: RpcServer;
  let client: RpcClient<typeof back, typeof contract>;

  before(async () => {
    const authority = await createAuthority('test');
    const tls = (name: string): Promise<TlsMaterial> => issueCertificate(authority, `spiffe://pando/${name}`);
    server = await serveRpc({
      ...{
        tls: await tls('cell/a'),
        host: '127.0.0.1',
        port: 0,
        contract,
        remote: back,
        access: openAccess(contract),
      },
      handlers: (stream) => ({
        'test.ask': async (_params, context) => ({
          here: seenNow(context),
          back: await stream.call('test.back', {}),
        }),
      }),
    });
    client = new RpcClient({
      ...{
        tls: await tls('agent/h-1'),
        host: '127.0.0.1',
        port: server.port,
        expect: 'spiffe://pando/cell/a',
      },
      ...{ remote: contract, contract: back, access: openAccess(back) },
      handlers: { 'test.back': (_params, context) => seenNow(context) },
    });
    await client.ready(30_000);
  });
  after(async () => {
    client.close();
    await server.close();
  });

  it('carry request id and trace over every hop, a span for each', async () => {
    const answer = await withTrace(traceOf(requestId, given), () => client.call('test.ask', {}));
    for (const hop of [answer.here, answer.back]) {
      assert.equal(hop.requestId, requestId);
      assert.equal(hop.context, requestId);
      assert.equal(traceIdOf(hop), traceIdOf({ requestId, traceparent: given }));
    }
    assert.equal(new Set([given, answer.here.traceparent, answer.back.traceparent]).size, 3);
  });

  it('of calls for no request name an id of their own, which what they cause goes on with', async () => {
    const [one, two] = await Promise.all([client.call('test.ask', {}), client.call('test.ask', {})]);
    assert.equal(one.back.requestId, one.here.requestId);
    assert.notEqual(one.here.requestId, two.here.requestId);
  });

  it('of the last release, which have no traceparent, are served under their request id', async () => {
    const { stream, frames } = await bareStream(async (context) => seenNow(context));
    stream.feed({ t: 'c', id: 1, m: 'test.back', p: {}, ms: 1_000, rid: requestId });
    const answer = await frames.next('r');
    assert.deepEqual(answer.v, {
      requestId,
      context: requestId,
      traceparent: (answer.v as Trace).traceparent,
    });
    assert.equal(traceIdOf(answer.v as Trace), requestId.replaceAll('-', ''));
    stream.close();
  });

  it('without a request carry no traceparent', async () => {
    const { stream, frames } = await bareStream(async (context) => seenNow(context));
    void stream.call().catch(() => undefined);
    assert.equal('tp' in (await frames.next('c')), false);
    void withTrace(traceOf(requestId, given), () => stream.call()).catch(() => undefined);
    const call = await frames.next('c');
    assert.equal(call.rid, requestId);
    assert.equal(call.tp?.slice(0, 36), given.slice(0, 36));
    stream.close();
  });
});

/** A stream whose other end is this test, frame by frame. */
const bareStream = async (handler: (context: CallContext) => Promise<z.infer<typeof seen>>) => {
  const written: Frame[] = [];
  const wake = new Set<() => void>();
  const reader = new FrameReader();
  const socket = new PassThrough();
  const out = (chunk: Buffer): boolean => {
    written.push(...reader.push(chunk));
    for (const each of wake) each();
    return true;
  };
  Object.assign(socket, { setNoDelay: () => socket, write: out });
  const rpc = new RpcStream(socket as never, back, {
    ...{ peer: 'spiffe://pando/cell/a', contract: back, access: openAccess(back) },
    handlers: { 'test.back': (_params, context) => handler(context) },
  });
  const next = async <T extends Frame['t']>(t: T): Promise<Extract<Frame, { t: T }>> => {
    for (;;) {
      const at = written.findIndex((frame) => frame.t === t);
      if (at >= 0) return written.splice(at, 1)[0] as Extract<Frame, { t: T }>;
      await new Promise<void>((resolve) => wake.add(resolve));
    }
  };
  const feed = (frame: Frame): boolean => socket.emit('data', Buffer.concat(encodeFrame(frame)));
  return {
    frames: { next },
    stream: { feed, call: () => rpc.call('test.back', {}), close: () => rpc.close('the test is over') },
  };
};
