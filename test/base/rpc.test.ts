import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { z } from 'zod';
import type { TlsMaterial } from '#base/identity.ts';
import { createAuthority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { errorTextCharsMax, frameBytesMax } from '#base/rpc/limits.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import { PandoError } from '#contracts/errors.ts';
import { freePort } from '../support/freePort.ts';

const patienceMs = 30_000;
const contract = {
  'test.echo': {
    params: z.object({ text: z.string() }),
    result: z.object({ text: z.string(), peer: z.string() }),
  },
  'test.fail': { params: z.object({}), result: z.object({}) },
  'test.answer': { params: z.object({ chars: z.number() }), result: z.object({ text: z.string() }) },
  'test.complain': { params: z.object({ chars: z.number() }), result: z.object({}) },
  'test.hang': { params: z.object({}), result: z.object({}) },
  'test.standStill': { params: z.object({ ms: z.number() }), result: z.object({}) },
} as const;
const back = {
  'test.back': { params: z.object({ n: z.number() }), result: z.object({ n: z.number() }) },
  'test.push': { params: z.object({ text: z.string() }), result: z.object({}) },
} as const;

describe('rpc stream', () => {
  let server: RpcServer;
  let mine: TlsMaterial;
  let theirs: TlsMaterial;
  let hanging = 0;
  let aborted = 0;
  const start = async (port = 0) =>
    serveRpc({
      tls: theirs,
      host: '127.0.0.1',
      port,
      contract,
      access: openAccess(contract),
      remote: back,
      authorize: (identity) => identity.startsWith('spiffe://pando/agent/'),
      handlers: (stream) => ({
        'test.echo': async ({ text }, { peer }) => ({
          text: text + (await stream.call('test.back', { n: 1 })).n,
          peer,
        }),
        'test.fail': () => {
          throw new PandoError('Conflict', 'no');
        },
        'test.answer': ({ chars }) => ({ text: 'x'.repeat(chars) }),
        'test.complain': async ({ chars }) => {
          // A push that is too large fails here, and this stream goes on.
          await assert.rejects(stream.call('test.push', { text: 'x'.repeat(chars) }), {
            code: 'MessageTooLarge',
          });
          throw new PandoError('Conflict', 'x'.repeat(chars), { details: { long: 'x'.repeat(chars) } });
        },
        'test.standStill': ({ ms }) => {
          // Once it has answered, this process, of both ends, does nothing for so long.
          setImmediate(() => {
            const end = performance.now() + ms;
            while (performance.now() < end);
          });
          return {};
        },
        'test.hang': (_params, { signal }) =>
          new Promise((_resolve, reject) => {
            hanging += 1;
            signal.addEventListener('abort', () => {
              aborted += 1;
              reject(signal.reason);
            });
          }),
      }),
    });
  const dial = (
    tls: TlsMaterial,
    port = server.port,
    expect = 'spiffe://pando/cell/a',
    onDisconnect: (reason: string) => void = () => undefined,
  ) =>
    new RpcClient({
      tls,
      host: '127.0.0.1',
      port,
      expect,
      remote: contract,
      contract: back,
      access: openAccess(back),
      handlers: { 'test.back': ({ n }) => ({ n: n + 1 }), 'test.push': () => ({}) },
      onDisconnect,
    });

  before(async () => {
    const authority = await createAuthority('test');
    mine = await issueCertificate(authority, 'spiffe://pando/agent/h-1');
    theirs = await issueCertificate(authority, 'spiffe://pando/cell/a');
    server = await start();
  });
  after(() => server.close());

  it('calls in both directions over one stream and knows the peer', async () => {
    const client = dial(mine);
    await client.ready(patienceMs);
    assert.deepEqual(await client.call('test.echo', { text: 'x' }), {
      text: 'x2',
      peer: 'spiffe://pando/agent/h-1',
    });
    client.close();
  });

  it('carries error codes, and tells the other side when the deadline is past', async () => {
    const client = dial(mine);
    await client.ready(patienceMs);
    await assert.rejects(client.call('test.fail', {}), { code: 'Conflict' });
    await assert.rejects(client.call('test.hang', {}, { timeoutMs: 30 }), { code: 'DeadlineExceeded' });
    // The cancel frame is on the wire before this call, so the answer proves that it has been read.
    await client.call('test.echo', { text: 'y' });
    assert.equal(aborted, 1);
    client.close();
  });

  it('takes an answer that came in time and is read late, since this process stood still in between', async () => {
    const client = dial(mine);
    await client.ready(patienceMs);
    const timeoutMs = 500;
    assert.deepEqual(await client.call('test.standStill', { ms: 2 * timeoutMs }, { timeoutMs }), {});
    client.close();
  });

  it('refuses a contract violation without losing the stream', async () => {
    const client = dial(mine);
    await client.ready(patienceMs);
    await assert.rejects(client.call('test.echo', { text: 3 } as never), { code: 'InvalidParameterValue' });
    await assert.rejects(client.call('constructor' as never, {} as never), { code: 'UnsupportedOperation' });
    assert.equal((await client.call('test.echo', { text: 'z' })).text, 'z2');
    client.close();
  });

  it('refuses a message that is too large to its caller, and closes nothing', async () => {
    const lost: string[] = [];
    const client = dial(mine, server.port, 'spiffe://pando/cell/a', (reason) => lost.push(reason));
    await client.ready(patienceMs);
    const hanging = client.call('test.hang', {}, { timeoutMs: 10_000 });
    hanging.catch(() => undefined);
    const tooLong = frameBytesMax + 1;
    await assert.rejects(client.call('test.echo', { text: 'x'.repeat(tooLong) }), {
      code: 'MessageTooLarge',
      message: /parameters of test\.echo .* 16777216/,
    });
    await assert.rejects(client.call('test.answer', { chars: tooLong }), { code: 'MessageTooLarge' });
    await assert.rejects(client.call('test.complain', { chars: tooLong }), {
      code: 'Conflict',
      message: 'x'.repeat(errorTextCharsMax),
    });
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    await assert.rejects(client.call('test.echo', circular as never), { code: 'InternalError' });
    assert.equal(
      (await client.call('test.answer', { chars: frameBytesMax - 100 })).text.length,
      frameBytesMax - 100,
    );
    assert.equal((await client.call('test.echo', { text: 'z' })).text, 'z2');
    assert.deepEqual(lost, []);
    client.close();
    await assert.rejects(hanging);
  });

  it('refuses a peer of another authority, a role that is not allowed, and a server that is not the expected one', async () => {
    const stranger = dial(await issueCertificate(await createAuthority('other'), 'spiffe://pando/agent/h-1'));
    const wrongRole = dial(await issueCertificate(await createAuthority('test'), 'spiffe://pando/vm/x'));
    const wrongServer = dial(mine, server.port, 'spiffe://pando/cell/b');
    for (const client of [stranger, wrongRole, wrongServer]) {
      await assert.rejects(
        client.ready(300).then(() => client.call('test.echo', { text: 'x' })),
        { code: 'HostUnreachable' },
      );
      client.close();
    }
  });

  it('fails calls in flight when the stream is lost, and reconnects by itself', async () => {
    const own = await start(await freePort());
    const client = dial(mine, own.port);
    await client.ready(patienceMs);
    const hanging = assert.rejects(client.call('test.hang', {}), { code: 'HostUnreachable' });
    await own.close();
    await hanging;
    const again = await start(own.port);
    await client.ready(patienceMs);
    assert.equal((await client.call('test.echo', { text: 'a' })).text, 'a2');
    client.close();
    await again.close();
  });

  it('is ready only once the peer answers on the stream that calls go over, though one is open', async () => {
    const relay = await Relay.open(server.port);
    const client = dial(mine, relay.port);
    try {
      await client.ready(patienceMs);
      relay.freeze();
      assert.ok(client.connected, 'nobody has told this side yet');
      await assert.rejects(client.ready(300), { code: 'HostUnreachable' });
      assert.ok(client.connected);
      // As when a process is killed and another takes its place: the question is on its way when the stream ends.
      const ready = client.ready(patienceMs);
      await relay.cut();
      await ready;
      assert.equal((await client.call('test.echo', { text: 'b' })).text, 'b2');
    } finally {
      client.close();
      await relay.close();
    }
  });

  it('ends with a peer that calls under a number that is being served', async () => {
    const { ca, cert, key } = mine;
    const socket = connectTls({ ca, cert, key, port: server.port, checkServerIdentity: () => undefined });
    await once(socket, 'secureConnect');
    const call = (id: number): Buffer => {
      const text = JSON.stringify({ t: 'c', id, m: 'test.hang', p: {}, ms: 60_000, rid: 'r' });
      const head = Buffer.alloc(4);
      head.writeUInt32BE(Buffer.byteLength(text));
      return Buffer.concat([head, Buffer.from(text)]);
    };
    const before = { hanging, aborted };
    let closed = false;
    socket
      .on('error', () => undefined)
      .once('close', () => {
        closed = true;
      });
    socket.resume().write(Buffer.concat([call(1), call(2)]));
    while (hanging < before.hanging + 2 && !closed) await delay(5);
    assert.equal(closed, false);
    socket.write(call(2));
    await once(socket, 'close');
    assert.equal(aborted - before.aborted, 2);
  });
});

/** Carries bytes between a client and a server, until it is frozen: then its connections stay open, and nothing passes. */
class Relay {
  readonly #server: Server;
  #pairs: (readonly [Socket, Socket])[] = [];

  private constructor(to: number) {
    this.#server = createServer((near) => {
      const far = connect(to, '127.0.0.1');
      for (const [from, onto] of [
        [near, far],
        [far, near],
      ] as const) {
        from.on('error', () => undefined);
        from.pipe(onto);
      }
      this.#pairs.push([near, far]);
    });
  }

  static async open(to: number): Promise<Relay> {
    const relay = new Relay(to);
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  get port(): number {
    const address = this.#server.address();
    assert.ok(address !== null && typeof address === 'object');
    return address.port;
  }

  freeze(): void {
    for (const [near, far] of this.#pairs) {
      near.unpipe(far);
      far.unpipe(near);
    }
  }

  /** Ends its connections; new ones pass. */
  async cut(): Promise<void> {
    const sockets = this.#pairs.flat();
    this.#pairs = [];
    await Promise.all(
      sockets.map((socket) => {
        if (socket.closed) return undefined;
        const closed = once(socket, 'close');
        socket.destroy();
        return closed;
      }),
    );
  }

  async close(): Promise<void> {
    await this.cut();
    this.#server.close();
  }
}
