/**
 * Receivers as they are: slow, broken, redirecting, silent, cutting the line, resolving to where nobody may send (S10.3). Each is tried by
 * the rules and given up or not; nothing of it reaches another's delivery, and what was given up is told when it is replayed.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, mock, test } from 'node:test';
import { pino } from 'pino';
import { webhookAttemptsMax } from '#cell/limits.ts';
import { webhookClient } from '#cell/notices/webhook-client.ts';
import { replayDead } from '#cell/store/capacity-deliveries.ts';
import { serveWebhooks } from '#webhooks/server.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { TestCell, type TestProcessor, until } from '../support/harness.ts';
import { assertConsistent, createRequest, elapse } from './support.ts';

const key = 'k'.repeat(40);
let database: TestDatabase;
let cell: TestCell;
let processor: TestProcessor;
let dir: string;
let sender: Server;
const http: Server[] = [];

/** What a name resolves to; a second look would find something else. */
const names: Readonly<Record<string, readonly string[]>> = {
  'public.example': ['127.0.0.1'],
  'inner.example': ['10.1.2.3'],
  'metadata.example': ['169.254.169.254'],
  'mixed.example': ['127.0.0.1', '192.168.0.1'],
  'mapped.example': ['::ffff:10.0.0.1'],
};
const lookups = new Map<string, number>();
const lookup = async (name: string): Promise<readonly string[]> => {
  lookups.set(name, (lookups.get(name) ?? 0) + 1);
  return names[name] ?? [];
};

before(async () => {
  database = await startTestDatabase();
  dir = await mkdtemp(path.join(tmpdir(), 'pando-receivers-'));
  const socket = path.join(dir, 'sock');
  sender = await serveWebhooks({ socket, key, allowed: ['127.0.0.0/8'] }, pino({ level: 'silent' }), lookup);
  cell = await TestCell.start({ url: database.url, stop: async () => undefined });
  cell.addHost({ capacity: { vcpus: 4, memoryMib: 1_024, diskMib: 100_000 } });
  processor = await cell.addProcessor({
    webhooks: { send: webhookClient({ socket, key }), allowed: ['127.0.0.0/8'] },
  });
});
after(async () => {
  await cell.stop();
  for (const one of [...http, sender]) {
    one.closeAllConnections();
    one.close();
  }
  await database.stop();
  await rm(dir, { recursive: true, force: true });
});

interface Receiver {
  readonly port: number;
  readonly ids: string[];
  answer: (response: ServerResponse) => void;
}

const receiver = async (answer: Receiver['answer']): Promise<Receiver> => {
  const ids: string[] = [];
  const server = createServer((request, response) => {
    ids.push(String(request.headers['webhook-id']));
    request.resume().once('end', () => self.answer(response));
  });
  http.push(server);
  await new Promise((go) => server.listen(0, '127.0.0.1', () => go(undefined)));
  const self: Receiver = { port: (server.address() as AddressInfo).port, ids, answer };
  return self;
};
const ok = (response: ServerResponse): void => void response.writeHead(204).end();

interface Delivery {
  readonly state: string;
  readonly attempts: number;
  readonly last_error: string | null;
  readonly event_id: string;
}
const deliveryTo = async (url: string): Promise<Delivery | undefined> =>
  (
    await processor.cell.services.db.query<Delivery>(
      'select state, attempts, last_error, event_id from capacity_deliveries where url = $1 order by event_id limit 1',
      [url],
    )
  )[0];
const ask = (url: string) => createRequest(processor, { callback: { url }, offerSeconds: 3_600 });
/** It was tried, and what came of that is on record. */
const judged = (url: string) =>
  until(`${url} was tried`, async () => {
    const found = await deliveryTo(url);
    return found?.last_error != null && found;
  });

test('a broken, redirecting or cutting receiver is tried again, later and later, under one id, until it receives', async () => {
  const elsewhere = await receiver(ok);
  const cases: readonly (readonly [string, Receiver['answer'], RegExp])[] = [
    ['500', (response) => response.writeHead(500).end(), /answers 500/],
    [
      'redirect',
      (response) => response.writeHead(307, { location: `http://127.0.0.1:${elsewhere.port}/` }).end(),
      /redirect \(307\), which is not followed/,
    ],
    [
      'to the metadata address',
      (response) => response.writeHead(302, { location: 'http://169.254.169.254/' }).end(),
      /redirect \(302\)/,
    ],
    ['cut', (response) => response.destroy(), /socket hang up|ECONNRESET/],
  ];
  for (const [name, answer, error] of cases) {
    const one = await receiver(answer);
    const url = `http://public.example:${one.port}/${encodeURIComponent(name)}`;
    await ask(url);
    const first = await judged(url);
    assert.deepEqual([first.state, first.attempts], ['due', 1], name);
    assert.match(first.last_error ?? '', error);
    one.answer = ok;
    await elapse(processor, 10_000);
    await until(`${name}: it received`, async () => (await deliveryTo(url))?.state === 'delivered');
    assert.equal(one.ids.length, 2, name);
    assert.equal(new Set(one.ids).size, 1, `${name}: one id`);
  }
  assert.deepEqual(elsewhere.ids, [], 'nobody was sent on');
  await assertConsistent(processor);
});

test('names that resolve to where nobody may send are given up at once; the connection goes to what was checked', async () => {
  for (const [name, error] of [
    ['inner.example', /10\.1\.2\.3 is private/],
    ['metadata.example', /169\.254\.169\.254/],
    ['mixed.example', /192\.168\.0\.1 is private/],
    ['mapped.example', /10\.0\.0\.1/],
  ] as const) {
    const url = `http://${name}/hook`;
    await ask(url);
    const dead = await judged(url);
    assert.deepEqual([dead.state, dead.attempts], ['dead', 1], name);
    assert.match(dead.last_error ?? '', error);
    assert.equal(lookups.get(name), 1, 'looked up once');
  }
  const nowhere = 'http://nowhere.example/hook';
  await ask(nowhere);
  const failed = await judged(nowhere);
  assert.deepEqual([failed.state, failed.last_error], ['due', 'nowhere.example has no address']);
});

test('silent receivers take a few places, and everybody else is told meanwhile', async () => {
  const silent = await receiver(() => undefined);
  const url = `http://public.example:${silent.port}/silent`;
  const waits = () => createRequest(processor, { callback: { url }, mode: 'race' });
  await waits();
  await until('one waits for it', () => silent.ids.length === 1);
  // What is on its way counts: of these that are due at once it gets three.
  await Promise.all(Array.from({ length: 7 }, waits));
  await until('some wait for it', () => silent.ids.length >= 4);
  const good = await receiver(ok);
  await ask(`http://public.example:${good.port}/`);
  await until('the good one is told', () => good.ids.length === 1);
  assert.ok(silent.ids.length <= 4, `${silent.ids.length} at once to one receiver`);
});

test('what is never received is a dead letter after all of its tries, and is told under its id when it is replayed', async () => {
  const bad = await receiver((response) => response.writeHead(503).end());
  const url = `http://public.example:${bad.port}/bad`;
  const { requestId } = await ask(url);
  await judged(url);
  const { db } = processor.cell.services;
  const last = webhookAttemptsMax - 1;
  await db.query('update capacity_deliveries set attempts = $2, due_ms = 0 where url = $1', [url, last]);
  const dead = await until('it is given up', async () => {
    const found = await deliveryTo(url);
    return found?.state === 'dead' && found;
  });
  assert.equal(dead.attempts, webhookAttemptsMax);
  bad.answer = ok;
  assert.equal(await replayDead(db, { eventId: dead.event_id }), 1);
  await until('it is told', async () => (await deliveryTo(url))?.state === 'delivered');
  assert.deepEqual([...new Set(bad.ids)], [dead.event_id]);
  const events = await db.query('select 1 from capacity_events where request_id = $1', [requestId]);
  assert.equal(events.length, 1);
  await assertConsistent(processor);
});

test('a clock that is stepped an hour forth or back tries nothing again before its time, and nothing under another id', async (t) => {
  const bad = await receiver((response) => response.writeHead(500).end());
  const url = `http://public.example:${bad.port}/stepped`;
  await ask(url);
  await judged(url);
  const realNow = Date.now;
  t.after(() => mock.restoreAll());
  let stepMs = 0;
  mock.method(Date, 'now', () => realNow.call(Date) + stepMs);
  const { db } = processor.cell.services;
  // Its next try is far off, however long the looks below take.
  await db.query('update capacity_deliveries set due_ms = due_ms + 600000 where url = $1', [url]);
  const ticks = async () =>
    (await db.query<{ ticks: number }>('select ticks from capacity_queue'))[0]?.ticks ?? 0;
  for (const step of [3_600_000, -3_600_000, 0]) {
    stepMs = step;
    const before = await ticks();
    await until('the queue was looked at', async () => (await ticks()) > before);
    assert.equal((await deliveryTo(url))?.attempts, 1);
  }
  bad.answer = ok;
  await elapse(processor, 700_000);
  await until('it received', async () => (await deliveryTo(url))?.state === 'delivered');
  assert.deepEqual([bad.ids.length, new Set(bad.ids).size], [2, 1]);
});
