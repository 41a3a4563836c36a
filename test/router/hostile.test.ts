import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { connect, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { PandoError } from '#contracts/errors.ts';
import {
  type Cloud,
  codeOf,
  type Reply,
  type SendOptions,
  type Signed,
  startCloud,
  textsOf,
} from './cloud.ts';
import { keys } from './fakeRegion.ts';
import { until } from './realCloud.ts';

describe('hostile requests', () => {
  let cloud: Cloud;
  before(async () => {
    cloud = await startCloud({
      zones: ['lab-1a'],
      limits: {
        headersTimeoutMs: 500,
        requestTimeoutMs: 1_000,
        inFlightMax: 4,
        accountInFlightMax: 2,
        connectionsMax: 40,
      },
    });
  });
  after(() => cloud.close());

  const form = 'Action=DescribeRegions&Version=2016-11-15';
  const post = { 'content-type': 'application/x-www-form-urlencoded' };
  const stillWell = async () => assert.equal((await cloud.send(form)).status, 200);
  /** Sends bytes, and gives what came back until the other side closed the connection. */
  const speak = (bytes: string | Buffer, use: (socket: Socket) => void = () => undefined): Promise<string> =>
    new Promise((resolve) => {
      const chunks: Buffer[] = [];
      const socket = connect(cloud.router.port, '127.0.0.1', () => {
        socket.write(bytes);
        use(socket);
      });
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(Buffer.concat(chunks).toString()));
    });

  it('refuses a form that is too long, declared or not, without reading it', async () => {
    const declared = await speak(
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 10485760\r\n\r\n',
    );
    assert.match(declared, /^HTTP\/1\.1 413 /);
    assert.match(declared, /<Code>RequestEntityTooLarge<\/Code>/);
    assert.match(declared, /connection: close/i);
    const chunk = `10000\r\n${'a'.repeat(0x10000)}\r\n`;
    const chunked = await speak(
      `POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\n\r\n${chunk.repeat(17)}`,
    );
    assert.match(chunked, /^HTTP\/1\.1 413 /);
    await stillWell();
  });

  it('cuts off clients that send slowly, in the headers or in the body', async () => {
    assert.match(await speak('POST / HTTP/1.1\r\nhost: x\r\n'), /^HTTP\/1\.1 408 /);
    await speak('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nAct');
    await stillWell();
  });

  it('answers what is no HTTP, and headers that are too long, with 4xx', async () => {
    assert.match(await speak('\x16\x03\x01\x02\x00\x01\x00\x01'), /^HTTP\/1\.1 400 /);
    assert.match(await speak(`GET / HTTP/1.1\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
    assert.match(
      await speak('GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n'),
      /^HTTP\/1\.1 40/,
    );
    await stillWell();
  });

  it('refuses another content type, an encoding, a body on GET, another path', async () => {
    const overlay = (extra: Partial<Signed>) => (signed: Signed) => ({ ...signed, ...extra });
    const replies = await Promise.all([
      cloud.send(form, { headers: { 'Content-Type': 'application/json' } }),
      cloud.send(form, { headers: { 'Content-Encoding': 'gzip' } }),
    ]);
    assert.deepEqual(replies.map(codeOf), ['UnsupportedProtocol', 'UnsupportedProtocol']);
    const withBody = await cloud.send(form, {
      method: 'GET',
      tamper: (signed) => ({ ...signed, headers: { ...signed.headers, 'content-length': '3' }, body: 'a=b' }),
    });
    assert.equal(codeOf(withBody), 'SignatureDoesNotMatch');
    const elsewhere = await cloud.send(form, { tamper: overlay({ path: '/admin/../x' }) });
    assert.equal(codeOf(elsewhere), 'MalformedQueryString');
    const bare = await cloud.raw({
      method: 'POST',
      path: '/',
      headers: { 'content-type': 'text/plain' },
      body: form,
    });
    assert.equal(codeOf(bare), 'MissingAuthenticationToken');
  });

  it('answers OPTIONS, HEAD and other methods without work', async () => {
    const ask = async (method: string) =>
      (await cloud.raw({ method, path: '/', headers: {}, body: '' })).status;
    assert.deepEqual(await Promise.all(['OPTIONS', 'HEAD', 'PUT'].map(ask)), [204, 405, 405]);
    const head = await cloud.raw({ method: 'HEAD', path: '/_pando/health', headers: {}, body: '' });
    assert.equal(head.status, 200);
  });

  it('refuses bytes that are not UTF-8, and escapes that are not', async () => {
    for (const body of [
      Buffer.from([0x41, 0xff, 0xfe, 0x00]),
      Buffer.from('Action=%ff%fe&Version=2016-11-15'),
    ]) {
      const reply = await cloud.send('', {
        tamper: (signed) => ({
          ...signed,
          headers: { ...signed.headers, 'Content-Length': String(body.length) },
          body,
        }),
      });
      assert.ok(reply.status >= 400 && reply.status < 500, reply.body);
    }
    const signed = await cloud.send('Action=DescribeVpcs&Version=2016-11-15&VpcId.1=%ff%fe');
    assert.equal(codeOf(signed), 'MalformedQueryString');
  });

  it('refuses what is unknown, missing or doubled by its proper code', async () => {
    const cases: readonly (readonly [string, string])[] = [
      ['Action=DescribeEverything&Version=2016-11-15', 'InvalidAction'],
      ['Action=__proto__&Version=2016-11-15', 'InvalidAction'],
      ['Action=constructor&Version=2016-11-15', 'InvalidAction'],
      ['Version=2016-11-15', 'MissingAction'],
      ['Action=DescribeVpcs', 'MissingParameter'],
      ['Action=DescribeVpcs&Version=2016-11-15&Nonsense=1', 'UnknownParameter'],
      ['Action=DescribeVpcs&Version=2016-11-15&__proto__.polluted=1', 'UnknownParameter'],
      ['Action=DescribeVpcs&Version=2016-11-15&Filter.1.constructor.prototype=1', 'UnknownParameter'],
      ['Action=DescribeVpcs&Action=DeleteVpc&Version=2016-11-15', 'InvalidParameterValue'],
      ['Action=GetConsoleOutput&Version=2016-11-15', 'MissingParameter'],
      ['Action=StopInstances&Version=2016-11-15', 'InvalidParameterCombination'],
      ['Action=DescribeVpcs&Version=2016-11-15&VpcId.1=a%00b', 'InvalidParameterValue'],
      ['Action=CreateFleet&Version=2016-11-15', 'UnsupportedOperation'],
      ['Action=AcceptAddressTransfer&Version=2016-11-15', 'UnsupportedOperation'],
    ];
    for (const [text, code] of cases) {
      const reply = await cloud.send(text);
      assert.equal(codeOf(reply), code, text);
      assert.ok(reply.status < 500);
    }
    assert.equal(Reflect.get({}, 'polluted'), undefined);
  });

  it('carries what is special to SQL, shells and XML as it is, to the backend and back', async () => {
    const texts = [
      "'; DROP TABLE instances;--",
      '$(reboot)`id`',
      '<a>&"\'</a>]]>',
      '__proto__',
      '../../etc/passwd',
      '%00x',
    ];
    for (const text of texts) {
      const reply = await cloud.act('DescribeVpcs', { 'Filter.1.Name': 'tag:x', 'Filter.1.Value.1': text });
      assert.equal(reply.status, 200, reply.body);
      assert.deepEqual(cloud.region.calls.at(-1)?.input, { Filters: [{ Name: 'tag:x', Values: [text] }] });
      const id = await cloud.act('GetConsoleOutput', { InstanceId: text });
      assert.equal(codeOf(id), 'InvalidInstanceID.Malformed');
      assert.doesNotMatch(id.body, /<a>/);
    }
  });

  it('refuses more requests at once than it may have, of one account and of all, and recovers', async () => {
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    cloud.region.override = ({ action }) => (action === 'DescribeVpcs' ? gate.then(() => ({})) : undefined);
    const waiting: Promise<Reply>[] = [];
    const begin = async (key: SendOptions['key']) => {
      const begun = cloud.region.calls.length;
      waiting.push(cloud.act('DescribeVpcs', {}, { key }));
      await until('the region is asked', () => cloud.region.calls.length > begun);
    };
    try {
      for (const key of [keys.first, keys.first, keys.second]) await begin(key);
      const sameAccount = await cloud.send(form, { key: keys.first });
      assert.equal(codeOf(sameAccount), 'RequestLimitExceeded');
      assert.equal(sameAccount.status, 503);
      assert.equal((await cloud.send(form, { key: keys.third })).status, 200);
      await begin(keys.second);
      assert.equal(codeOf(await cloud.send(form, { key: keys.third })), 'RequestLimitExceeded');
    } finally {
      release();
      cloud.region.override = undefined;
    }
    assert.ok((await Promise.all(waiting)).every(({ status }) => status === 200));
    await stillWell();
  });

  it('lets no number of slow senders keep others out', async () => {
    const head = `POST / HTTP/1.1\r\nhost: x\r\ncontent-type: ${post['content-type']}\r\ncontent-length: 9\r\n\r\nAct`;
    const slow = Array.from({ length: 20 }, () => speak(head));
    await stillWell();
    await Promise.all(slow);
  });

  it('keeps a connection for many requests', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      for (let i = 0; i < 20; i += 1) assert.equal((await cloud.send(form, { agent })).status, 200);
      assert.equal(Object.values(agent.freeSockets).flat().length, 1);
    } finally {
      agent.destroy();
    }
  });

  it('shows no inner error of a backend, and no code that it does not know', async () => {
    for (const [code, shown] of [
      ['StaleEpoch', 'InternalError'],
      ['NotReady', 'Unavailable'],
    ] as const) {
      cloud.region.override = () => {
        throw Object.assign(new Error('pg: password'), { code });
      };
      const unnamed = await cloud.act('DescribeVpcs');
      assert.equal(codeOf(unnamed), 'InternalError');
      assert.doesNotMatch(unnamed.body, /password/);
      cloud.region.override = () => {
        throw new PandoError(code, 'inner words');
      };
      const reply = await cloud.act('CreateVpc', { CidrBlock: '10.0.0.0/16' });
      assert.equal(codeOf(reply), shown);
      assert.doesNotMatch(reply.body, /inner words/);
    }
    cloud.region.override = () => ({ Vpcs: 'not a list' });
    assert.equal(codeOf(await cloud.act('DescribeVpcs')), 'InternalError');
    cloud.region.override = undefined;
    assert.equal(textsOf(await cloud.act('DescribeRegions'), 'regionName')[0], 'lab-1');
  });
});
