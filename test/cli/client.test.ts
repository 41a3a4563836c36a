import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import aws4 from 'aws4';
import fc from 'fast-check';
import { newPart } from '#cli/commands/console.ts';
import { Ec2Client } from '#cli/ec2Client.ts';
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
