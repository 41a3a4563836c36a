/** Long bodies are worked on in slices with turns for others between. Counted in slices and turns, never in time. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { routerLimits } from '#router/config.ts';
import { Admission } from '#router/http/admission.ts';
import { bodySliceBytes, LargeBodies } from '#router/http/largeBodies.ts';
import { readBody } from '#router/http/readBody.ts';
import { type Cloud, codeOf, sendRaw, startCloud } from './cloud.ts';
import { worstForms } from './worstForms.ts';

const limits = routerLimits.parse({ largePerSourceMax: 2, largePerAccountMax: 3 });
/** Within every limit of the wire: backends refuse them, or not. */
const allowed: ReadonlySet<string> = new Set([
  'a value of escapes, as long as one may be',
  'as many tags as there may be parameters',
  'no parameter at all',
]);
const exceeded = { code: 'RequestLimitExceeded' };

describe('LargeBodies', () => {
  it('gives one slice a turn, to all large bodies together, in the order in which they asked', async () => {
    let turns = 0;
    const large = new LargeBodies(limits, {
      nextTurn: async () => {
        turns += 1;
      },
    });
    const seen: string[] = [];
    const work = async (name: string): Promise<void> => {
      for (let at = 0; at < 3; at += 1) {
        await large.slice();
        seen.push(`${name}${turns}`);
      }
    };
    await Promise.all([work('a'), work('b')]);
    assert.equal(new Set(seen.map((each) => each.slice(1))).size, seen.length, seen.join(' '));
    assert.deepEqual(
      seen.map((each) => each[0]),
      ['a', 'b', 'a', 'b', 'a', 'b'],
    );
  });

  it('lets time pass before a slice while small requests are about, and shortly after, and ends all the same', async () => {
    const paced: number[] = [];
    const clock = { ms: 1_000 };
    const large = new LargeBodies(limits, {
      now: () => clock.ms,
      nextTurn: async () => undefined,
      delay: async (ms) => void paced.push(ms),
    });
    await large.slice();
    assert.equal(paced.length, 0);
    const leave = large.enterSmall();
    await large.slice();
    assert.equal(paced.length, 1);
    leave();
    await large.slice();
    assert.equal(paced.length, 2, 'its client may ask again');
    clock.ms += 1_000;
    await large.slice();
    assert.equal(paced.length, 2);
  });

  it('admits those of one account one at a time, few wait, and another account waits for none of them', async () => {
    const large = new LargeBodies(limits);
    const order: string[] = [];
    const first = await large.enterAccount('a');
    const waiting = ['second', 'third'].map(async (name) => {
      const leave = await large.enterAccount('a');
      order.push(name);
      await nextTurn();
      order.push(`${name} ends`);
      leave();
    });
    await assert.rejects(large.enterAccount('a'), exceeded);
    (await large.enterAccount('b'))();
    await nextTurn();
    assert.deepEqual(order, []);
    first();
    await Promise.all(waiting);
    assert.deepEqual(order, ['second', 'second ends', 'third', 'third ends']);
    for (let at = 0; at < 10; at += 1) (await large.enterAccount('a'))();
  });

  it('uses the memory of one body for the next, of none for two at once, and keeps none at rest', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const large = new LargeBodies(limits);
    const take = (bytes: number) => {
      const reserved = new DisposableStack();
      const buffer = large.takeBuffer(bytes, reserved);
      assert.equal(buffer.length, bytes);
      return { memory: buffer.buffer, free: () => reserved.dispose() };
    };
    const [first, second] = [take(200_000), take(200_000)];
    assert.notEqual(first.memory, second.memory);
    first.free();
    const third = take(100_000);
    assert.equal(third.memory, first.memory);
    assert.notEqual(take(100_000).memory, second.memory, 'it is still in use');
    third.free();
    t.mock.timers.tick(60_000);
    assert.notEqual(take(100_000).memory, first.memory);
  });

  it('has few places for one source, and takes them back', () => {
    const large = new LargeBodies(limits);
    const leave = [large.enterSource('192.0.2.1'), large.enterSource('192.0.2.1')];
    assert.throws(() => large.enterSource('192.0.2.1'), exceeded);
    large.enterSource('192.0.2.2')();
    for (const each of leave) each();
    large.enterSource('192.0.2.1')();
  });
});

describe('a body of 1 MiB', () => {
  const body = Buffer.alloc(1024 * 1024, 'a=b&');
  for (const [how, headers] of [
    ['of a known length', { 'content-length': String(body.length) }],
    ['in chunks', { 'transfer-encoding': 'chunked' }],
  ] as const)
    it(`${how} is read and hashed by no more than a slice a turn`, async () => {
      let turn = 0;
      const large = new LargeBodies(limits, {
        nextTurn: async () => {
          await nextTurn();
          turn += 1;
        },
      });
      const readIn = new Map<number, number>();
      const spyOn = (request: IncomingMessage): void => {
        const read = request.read.bind(request);
        request.read = (size) => {
          const chunk: Buffer | null = read(size);
          readIn.set(turn, (readIn.get(turn) ?? 0) + (chunk?.length ?? 0));
          return chunk;
        };
      };
      const server = createServer((request, response) => {
        spyOn(request);
        const options = { bodyBytesMax: body.length, admission: new Admission(limits), large };
        const reserved = new DisposableStack();
        readBody(request, options, reserved).then(
          ({ bytes, sha256 }) => response.end(`${bytes.equals(body)} ${sha256}`),
          (error: unknown) => response.end(String(error)),
        );
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      try {
        const { port } = server.address() as AddressInfo;
        const { body: told } = await sendRaw(port, { method: 'POST', path: '/', headers, body });
        assert.equal(told, `true ${createHash('sha256').update(body).digest('hex')}`);
        assert.ok(Math.max(...readIn.values()) <= bodySliceBytes);
        assert.ok(readIn.size >= body.length / bodySliceBytes);
      } finally {
        server.close();
      }
    });
});

describe('the worst forms', () => {
  let cloud: Cloud;
  before(async () => {
    cloud = await startCloud({ limits: { callTimeoutMs: 20_000 } });
  });
  after(() => cloud?.close());

  for (const [name, form] of Object.entries(worstForms))
    it(`${name}: ${allowed.has(name) ? 'answered' : 'refused, and no backend hears of it'}`, async () => {
      const heard = () => cloud.cells.reduce((sum, { calls }) => sum + calls.length, 0);
      const before = heard();
      const reply = await cloud.send(form);
      assert.ok(reply.status < 500, `${reply.status} ${codeOf(reply)}`);
      assert.equal(reply.status < 400 && heard() > before, allowed.has(name));
    });

  it('are searched for their action across the ends of slices', async () => {
    const at = 64 * 1024;
    for (const before of [at - 9, at - 4, at - 1, at, at + 1]) {
      const form = `Version=2016-11-15${'&'.repeat(before - 18)}&Action=NoSuchAction${'&'.repeat(at)}`;
      assert.equal(codeOf(await cloud.send(form)), 'InvalidAction', `at ${before}`);
      const known = form.replace('NoSuchAction', 'DescribeInstances');
      assert.equal((await cloud.send(known)).status, 200, `at ${before}`);
    }
  });

  it('are served one at a time to an account, and one too many is told to slow down', async () => {
    const places = routerLimits.parse({}).largePerAccountMax;
    const form = worstForms['values of 64 KiB'] ?? '';
    const replies = await Promise.all(Array.from({ length: places + 8 }, () => cloud.send(form)));
    const codes = new Set(replies.map(codeOf));
    assert.ok(codes.has('RequestEntityTooLarge'), [...codes].join());
    assert.equal((await cloud.act('DescribeInstances')).status, 200);
  });
});
