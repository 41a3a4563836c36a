import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import aws4 from 'aws4';
import fc from 'fast-check';
import { followConsole, newPart } from '#cli/commands/console.ts';
import { Ec2Client, Ec2Error } from '#cli/ec2Client.ts';
import { UserError } from '#cli/output.ts';
import { signedHeaders } from '#cli/sign.ts';
import { at, itemsAt, parseXml, textAt } from '#cli/xmlTree.ts';

const credentials = { accessKeyId: 'AKIAEXAMPLE', secret: 'secret/with+signs' };

test('signatures are those of another implementation', () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.date({ min: new Date('2020-01-01'), max: new Date('2040-01-01'), noInvalidDate: true }),
      (text, date) => {
        const body = new URLSearchParams({ Action: 'RunInstances', text }).toString();
        const ours = signedHeaders(
          credentials,
          { host: '127.0.0.1:4566', region: 'pando-1', service: 'ec2' },
          body,
          date,
        );
        const request = {
          host: '127.0.0.1:4566',
          path: '/',
          method: 'POST',
          service: 'ec2',
          region: 'pando-1',
          body,
          headers: { 'Content-Type': ours['content-type'] ?? '', 'X-Amz-Date': ours['x-amz-date'] ?? '' },
          // It signs the length too unless told not to; which headers are signed is the signer's choice.
          extraHeadersToIgnore: { 'content-length': true },
        };
        const theirs = aws4.sign(request, {
          accessKeyId: credentials.accessKeyId,
          secretAccessKey: credentials.secret,
        });
        const { authorization } = ours;
        assert.deepEqual(
          { authorization },
          { authorization: new Map(Object.entries(theirs.headers ?? {})).get('Authorization') },
        );
      },
    ),
    { numRuns: 50 },
  );
});

test('XML: nested items, empty elements, entities', () => {
  const document = parseXml(`<?xml version="1.0" encoding="UTF-8"?>
    <R xmlns="http://x/"><set><item><id>i-1</id><tags/></item><item><id>a&amp;b&#x41;&#66;</id></item></set></R>`);
  assert.deepEqual(
    itemsAt(document, 'set').map((item) => textAt(item, 'id')),
    ['i-1', 'a&bAB'],
  );
  assert.equal(at(document, 'set', 'none'), undefined);
  assert.deepEqual(itemsAt(document, 'set', 'item', 'tags'), []);
  assert.throws(() => parseXml('<a><b></a>'));
  assert.throws(() => parseXml('<a>'));
});

async function answering(t: TestContext, status: number, body: string): Promise<Ec2Client> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(status).end(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  return new Ec2Client({ endpoint: `http://127.0.0.1:${port}`, region: 'pando-1', credentials });
}

test('an error of the API carries code, message and request id', async (t) => {
  const client = await answering(
    t,
    400,
    '<Response><Errors><Error><Code>InvalidAMIID.NotFound</Code><Message>No such image</Message></Error></Errors><RequestID>r-1</RequestID></Response>',
  );
  await assert.rejects(client.call('RunInstances'), {
    code: 'InvalidAMIID.NotFound',
    requestId: 'r-1',
    message: /No such image/,
  });
});

test('the console shows only what is new, also when its beginning has scrolled away', () => {
  assert.equal(newPart('abc', 'abcdef'), 'def');
  assert.equal(newPart('abcdef', 'defgh'), 'gh');
  assert.equal(newPart('abc', 'xyz'), 'xyz');
  assert.equal(newPart('abc', 'abc'), '');
});

/** Follows a console whose reads give these, one after the other; the last one ends it. */
const followed = async (reads: readonly (string | Error)[]) => {
  const written: string[] = [];
  const told: string[] = [];
  const pauses: number[] = [];
  const stop = new AbortController();
  let at = 0;
  await followConsole('a\n', {
    signal: stop.signal,
    read: async () => {
      const next = reads[at++];
      if (at === reads.length) stop.abort();
      if (next instanceof Error) throw next;
      return next ?? '';
    },
    write: (text) => void written.push(text),
    tell: (line) => void told.push(line),
    sleep: async (ms) => void pauses.push(ms),
  });
  return { text: written.join(''), told, pauses };
};

test('a console that is followed comes back by itself, without a line lost or twice', async () => {
  const away = new Ec2Error('GetConsoleOutput', 503, 'Unavailable', 'away', 'r-1');
  const noAnswer = new UserError('The API does not answer.');
  const { text, told, pauses } = await followed([
    'a\nb\n',
    away,
    noAnswer,
    away,
    away,
    away,
    'a\nb\nc\n',
    'b\nc\nd\n',
  ]);
  assert.equal(text, 'b\nc\nd\n');
  assert.equal(told.length, 2, told.join());
  assert.ok(Math.max(...pauses) <= 10_000 && pauses.at(-1) === pauses[0]);
});

test('a console that is gone for good is not waited for', async () => {
  const gone = new Ec2Error('GetConsoleOutput', 400, 'InvalidInstanceID.NotFound', 'gone', 'r-1');
  await assert.rejects(followed(['a\nb\n', gone, 'x']), { code: 'InvalidInstanceID.NotFound' });
});
