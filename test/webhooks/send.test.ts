/** The webhook sender: what it reaches, what it refuses, and that nothing a receiver does takes it longer than its limit. */
import assert from 'node:assert/strict';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { callbackObjection, parseRanges, refusalOf } from '#base/publicAddress.ts';
import { type SendRules, sendWebhook } from '#webhooks/send.ts';

const servers: Server[] = [];
after(() => {
  for (const server of servers) server.closeAllConnections();
  for (const server of servers) server.close();
});

const receiver = async (handle: RequestListener): Promise<number> => {
  const server = createServer(handle);
  servers.push(server);
  await new Promise((go) => server.listen(0, '127.0.0.1', () => go(undefined)));
  return (server.address() as AddressInfo).port;
};

const local: SendRules = { allowed: parseRanges(['127.0.0.0/8']) };
/** Where there is an answer, it is waited for: patience alone. */
const patienceMs = 60_000;
const send = (url: string, rules: SendRules = local, timeoutMs = patienceMs) =>
  sendWebhook({ url, headers: { 'webhook-id': 'ev-1' }, body: '{}', timeoutMs }, rules);

test('an answer of 2xx is received, and what was sent is what was asked for', async () => {
  let got = '';
  const port = await receiver((request, response) => {
    got = `${request.method} ${request.url} ${request.headers['webhook-id']} ${request.headers.host}`;
    response.writeHead(204).end();
  });
  assert.deepEqual(
    await send(`http://hook.example:${port}/a?b=c`, { ...local, lookup: async () => ['127.0.0.1'] }),
    {
      outcome: 'delivered',
      status: 204,
    },
  );
  assert.equal(got, `POST /a?b=c ev-1 hook.example:${port}`);
});

test('500, a redirect, silence, an endless answer and nobody there are failures; 410 is the end', async () => {
  const redirected: string[] = [];
  const target = await receiver((request, response) => {
    redirected.push(request.url ?? '');
    response.end();
  });
  const port = await receiver((request, response) => {
    if (request.url === '/500') response.writeHead(500, { 'retry-after': '7' }).end();
    else if (request.url === '/302')
      response.writeHead(302, { location: `http://127.0.0.1:${target}/` }).end();
    else if (request.url === '/410') response.writeHead(410).end();
    else if (request.url === '/drip') {
      response.writeHead(200);
      const drip = setInterval(() => response.write('x'), 20);
      response.on('close', () => clearInterval(drip));
    } else if (request.url === '/flood') {
      response.writeHead(200);
      response.on('error', () => undefined);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(64 * 1024)));
      };
      response.on('drain', more);
      more();
    }
  });
  const at = (path: string, timeoutMs = patienceMs) =>
    send(`http://127.0.0.1:${port}${path}`, local, timeoutMs);
  assert.deepEqual(await at('/500'), { outcome: 'failed', reason: 'it answers 500', retryAfterSeconds: 7 });
  assert.equal((await at('/302')).outcome, 'failed');
  assert.deepEqual(redirected, [], 'no redirect is followed');
  assert.equal((await at('/410')).outcome, 'refused');
  assert.deepEqual(await at('/silence', 300), { outcome: 'failed', reason: 'no answer in 300 ms' });
  assert.deepEqual(await at('/drip', 300), { outcome: 'failed', reason: 'no answer in 300 ms' });
  assert.equal((await at('/flood')).outcome, 'delivered', 'a long answer is cut off, and its status counts');
  assert.equal((await send('http://127.0.0.1:1/')).outcome, 'failed');
  const never = { ...local, lookup: () => new Promise<string[]>(() => undefined) };
  assert.deepEqual(await send('http://slow.example/', never, 100), {
    outcome: 'failed',
    reason: 'no answer in 100 ms',
  });
});

test('what is private, local or reserved is refused, however it is written', async () => {
  const written = [
    ...['127.0.0.1', '10.1.2.3', '172.16.0.1', '192.168.1.1', '169.254.169.254', '100.64.0.1', '198.18.0.1'],
    ...['0.0.0.0', '224.0.0.1', '255.255.255.255', '240.0.0.1', '192.0.2.1', '203.0.113.9'],
    ...[
      '[::1]',
      '[::]',
      '[fe80::1]',
      '[fc00::1]',
      '[fd00:ec2::254]',
      '[::ffff:127.0.0.1]',
      '[::ffff:a9fe:a9fe]',
    ],
    ...['[64:ff9b::7f00:1]', '[2002:7f00:1::]', '[ff02::1]', '2130706433', '0x7f.1', '0177.0.0.1', '127.1'],
    ...['localhost', 'a.localhost', 'metadata.google.internal', 'printer.local'],
  ];
  for (const host of written) {
    const outcome = await sendWebhook(
      { url: `http://${host}/`, headers: {}, body: '', timeoutMs: patienceMs },
      { allowed: [], lookup: async (name) => [name] },
    );
    assert.equal(outcome.outcome, 'refused', `${host}: ${JSON.stringify(outcome)}`);
    assert.ok(callbackObjection(`https://${host}/`), host);
  }
  assert.equal(refusalOf('93.184.215.14'), undefined);
  assert.equal(refusalOf('2606:2800:21f:cb07::1'), undefined);
  for (const url of ['ftp://example.org/', 'http://user:secret@example.org/', 'no url', 'file:///etc/passwd'])
    assert.ok(callbackObjection(url), url);
});

test('a name is looked up once; one that has a private address too is refused', async () => {
  let asked = 0;
  const rebinding: SendRules = {
    allowed: [],
    lookup: async () => {
      asked += 1;
      return asked === 1 ? ['93.184.215.14', '10.0.0.1'] : ['127.0.0.1'];
    },
  };
  const outcome = await send('http://hook.example/', rebinding);
  assert.deepEqual(outcome, {
    outcome: 'refused',
    reason: '10.0.0.1 is private: only public addresses are reached',
  });
  assert.equal(asked, 1);
});

test('a range that is none is an error of the operator', () => {
  assert.throws(() => parseRanges(['10.0.0.0/99']), TypeError);
  assert.throws(() => parseRanges(['all']), TypeError);
});
