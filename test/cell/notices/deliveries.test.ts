/** Webhooks from a cell through a real sender to real receivers: signed, at least once, one id, patient, and given up in the end (S10.3, S10.5). */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { webhookTimeoutMs } from '#cell/limits.ts';
import { backoffMs } from '#cell/notices/deliveries.ts';
import { webhookClient } from '#cell/notices/webhook-client.ts';
import { deadLetters, replayDead } from '#cell/store/capacity-deliveries.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { TestCell, type TestProcessor, until } from '../support/harness.ts';
import { createRequest, launch, reaches, running, terminate } from './support.ts';

const home = path.join(import.meta.dirname, '..', '..', '..');
let server: TestDatabase;
let cell: TestCell;
let dir: string;
let socket: string;
const key = 'k'.repeat(40);
let sender: ChildProcess | undefined;
before(async () => {
  server = await startTestDatabase();
  dir = await mkdtemp(path.join(tmpdir(), 'pando-webhooks-'));
  socket = path.join(dir, 'sock');
});
const receivers: Receiver[] = [];
afterEach(async () => {
  for (const one of receivers.splice(0)) one.close();
  sender?.kill('SIGKILL');
  await cell.reset();
});
after(async () => {
  await server.stop();
  await rm(dir, { recursive: true, force: true });
});

/** The production process, which may reach this machine's loopback. */
const startSender = async (): Promise<void> => {
  const config = path.join(dir, 'config.json');
  await writeFile(config, JSON.stringify({ socket, key, allowed: ['127.0.0.0/8'] }));
  const child = spawn(process.execPath, [path.join(home, 'src/webhooks/main.ts'), '--config', config], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  sender = child;
  await new Promise((up, failed) => {
    child.stdout?.on('data', (text: Buffer) => text.includes('is up') && up(undefined));
    child.once('exit', () => failed(new Error('the sender ended')));
  });
};

interface Receiver {
  readonly url: string;
  readonly got: {
    readonly id: string;
    readonly body: string;
    readonly headers: IncomingMessage['headers'];
  }[];
  answer: (response: ServerResponse) => void;
  close(): void;
}

const receiver = async (): Promise<Receiver> => {
  const self: Receiver = {
    url: '',
    got: [],
    answer: (response) => response.writeHead(200).end(),
    close: () => {
      http.closeAllConnections();
      http.close();
    },
  };
  const http: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      self.got.push({ id: String(request.headers['webhook-id']), body, headers: request.headers });
      self.answer(response);
    });
  });
  await new Promise((go) => http.listen(0, '127.0.0.1', () => go(undefined)));
  receivers.push(self);
  return Object.assign(self, { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/hook` });
};

const start = async (slots = 4): Promise<TestProcessor> => {
  cell = await TestCell.start({ url: server.url, stop: async () => undefined });
  cell.addHost({ capacity: { vcpus: slots / 4, memoryMib: 64 * slots, diskMib: 100_000 } });
  return addProcessor();
};
const addProcessor = (faults?: {
  hit(point: string): Promise<void>;
  repeats(): boolean;
}): Promise<TestProcessor> =>
  cell.addProcessor({
    webhooks: { send: webhookClient({ socket, key }), allowed: ['127.0.0.0/8'] },
    ...(faults === undefined ? {} : { faults }),
  });

const elapse = async ({ cell: { services } }: TestProcessor, ms: number): Promise<void> => {
  await services.db.query('update capacity_queue set elapsed_ms = elapsed_ms + $1', [ms]);
};

test('an offer is told to the callback, signed after Standard Webhooks', async () => {
  await startSender();
  const processor = await start();
  const hook = await receiver();
  const request = await createRequest(processor, { callback: { url: hook.url } });
  await until('it is told', () => hook.got.length === 1);
  const { body, headers } = hook.got[0] ?? { body: '', headers: {} as IncomingMessage['headers'] };
  const verified = new Webhook(request.signingSecret ?? '').verify(body, headers as Record<string, string>);
  const { type, data } = verified as { type: string; data: { requestId: string; eventId: string } };
  assert.deepEqual([type, data.requestId], ['capacity.offered', request.requestId]);
  assert.equal(data.eventId, headers['webhook-id']);
  assert.throws(() =>
    new Webhook(request.signingSecret ?? '').verify(`${body} `, headers as Record<string, string>),
  );
  const other = await createRequest(processor, { callback: { url: hook.url } });
  assert.notEqual(other.signingSecret, request.signingSecret);
  hook.close();
});

test('a receiver that fails is tried again under the same id, and a slow one delays nobody', async () => {
  await startSender();
  const processor = await start(16);
  const [good, bad, slow] = [await receiver(), await receiver(), await receiver()];
  bad.answer = (response) => response.writeHead(bad.got.length < 3 ? 500 : 200).end();
  slow.answer = () => undefined;
  for (let n = 0; n < 6; n++)
    await createRequest(processor, { callback: { url: slow.url }, instanceType: 'p1.nano', mode: 'race' });
  await createRequest(processor, { callback: { url: bad.url } });
  await createRequest(processor, { callback: { url: good.url } });
  // Sooner than the slow one's time is over.
  await until('the good one is told', () => good.got.length === 1, webhookTimeoutMs - 1_000);
  const { db } = processor.cell.services;
  for (const tries of [1, 2]) {
    await until('the bad one is tried', () => bad.got.length >= tries);
    // Only then: of what is put off later the whole pause would be to come.
    await until('that is on record', async () => {
      const found = await db.query(
        'update capacity_deliveries set last_error = null where url = $1 and last_error is not null returning event_id',
        [bad.url],
      );
      return found.length > 0;
    });
    await elapse(processor, 60_000);
  }
  await until('all that are received are off the list', async () => {
    const [row] = await db.query<{ n: number }>(
      `select count(*)::int as n from capacity_deliveries where state = 'due' and url = $1`,
      [bad.url],
    );
    return row?.n === 0;
  });
  assert.equal(new Set(bad.got.map(({ id }) => id)).size, 1, 'one id');
  for (const one of [good, bad, slow]) one.close();
});

test('kill -9 of the sender and of the processor, before and after sending: told, and under one id', async () => {
  for (const point of ['webhook.before', 'webhook.after', 'sender']) {
    await startSender();
    const processor = await start();
    const hook = await receiver();
    let doomed: TestProcessor | undefined;
    const [made, killed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    if (point === 'sender') {
      hook.answer = () => sender?.kill('SIGKILL');
    } else {
      await processor.stop();
      doomed = await addProcessor({
        hit: async (at) => {
          if (at !== point) return;
          // Else it might never answer who made the request.
          await made.promise;
          doomed?.kill();
          killed.resolve();
          await new Promise(() => undefined);
        },
        repeats: () => false,
      });
    }
    const request = await createRequest(doomed ?? processor, { callback: { url: hook.url } });
    made.resolve();
    if (doomed !== undefined) await killed.promise;
    else {
      await until('it was asked', () => hook.got.length === 1);
      hook.answer = (response) => response.writeHead(200).end();
      await startSender();
    }
    const survivor = doomed === undefined ? processor : await addProcessor();
    const wanted = point === 'webhook.before' ? 1 : 2;
    // Less in all than the offer stands, or its end would be told too.
    for (let n = 0; n < 6 && hook.got.length < wanted; n++) {
      await elapse(survivor, 31_000);
      await until('it is tried again', () => hook.got.length >= wanted, 3_000).catch(() => undefined);
    }
    assert.ok(hook.got.length >= wanted, `${point}: tried again`);
    assert.equal(new Set(hook.got.map(({ id }) => id)).size, 1, `${point}: one id`);
    assert.equal((await reaches(survivor, request.requestId, 'offered')).offers.length, 1);
    hook.close();
    sender?.kill('SIGKILL');
    await cell.reset();
  }
});

test('what is never received is a dead letter, and replayed by command', async () => {
  await startSender();
  const processor = await start();
  const hook = await receiver();
  hook.answer = (response) => response.writeHead(410).end();
  await createRequest(processor, { callback: { url: hook.url } });
  const { db } = processor.cell.services;
  const [dead] = await until('it is given up', async () => {
    const letters = await deadLetters(db, 10);
    return letters.length === 1 && letters;
  });
  assert.match(dead?.last_error ?? '', /410/);
  hook.answer = (response) => response.writeHead(200).end();
  assert.equal(await replayDead(db, { eventId: dead?.event_id }), 1);
  await until('it is told', () => hook.got.length === 2);
  assert.equal(hook.got[0]?.id, hook.got[1]?.id);
  hook.close();
});

test('callbacks that must not be reached are refused when they are named', async () => {
  const processor = await start();
  for (const url of [
    'http://169.254.169.254/latest/',
    'https://10.0.0.1/',
    'http://[::1]/',
    'http://localhost/',
  ])
    await assert.rejects(createRequest(processor, { callback: { url } }), {
      code: 'InvalidParameterValue',
      message: /callback\.url/,
    });
});

test('pauses grow, within limits', () => {
  const pauses = Array.from({ length: 20 }, (_, at) => backoffMs(at + 1, 0.5));
  assert.equal(pauses[0], 5_000);
  assert.ok(pauses.every((ms, at) => at === 0 || ms >= (pauses[at - 1] ?? 0)));
  assert.equal(pauses.at(-1), 3_600_000);
  const hours = pauses.reduce((sum, ms) => sum + ms, 0) / 3_600_000;
  assert.ok(hours > 8 && hours < 24, `${hours} hours in all`);
});

test('a launch by an offer that came by webhook', async () => {
  await startSender();
  const processor = await start();
  const hook = await receiver();
  const ids = await launch(cell, processor, { count: 4 });
  await running(processor, ids);
  await createRequest(processor, { callback: { url: hook.url } });
  await terminate(processor, ids.slice(0, 1));
  await until('it is told', () => hook.got.length === 1);
  const { data } = JSON.parse(hook.got[0]?.body ?? '') as { data: { offer: { offerId: string } } };
  const mine = await launch(cell, processor, { offerId: data.offer.offerId });
  await running(processor, mine);
  await until('the claim is told', () => hook.got.length === 2);
  assert.equal(JSON.parse(hook.got[1]?.body ?? '').type, 'capacity.claimed');
  hook.close();
});
