import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { describe, it } from 'node:test';
import { SignatureV4 } from '@smithy/signature-v4';
import aws4 from 'aws4';
import fc from 'fast-check';
import { PandoError } from '#contracts/errors.ts';
import { type SignedRequest, sha256Hex } from '#wire/sigv4/canonical.ts';
import { DayKeys, deriveSigningKey, type SigningScope, scopeName } from '#wire/sigv4/dayKeys.ts';
import { type SigningKey, type SigV4Options, verifySigV4 } from '#wire/sigv4/verify.ts';

const accessKeyId = 'AKIDEXAMPLE';
const secret = 'a+secret/of=letters';
const signedAtMs = Date.UTC(2026, 2, 4, 5, 6, 7);
const form = 'Action=DescribeRegions&Version=2016-11-15';
const host = 'ec2.example.test:8080';

/** SHA-256 in the shape that the signer takes. */
class Sha256 {
  readonly #hash;
  constructor(key?: string | ArrayBuffer | ArrayBufferView) {
    if (key === undefined) this.#hash = createHash('sha256');
    else this.#hash = createHmac('sha256', typeof key === 'string' ? key : bytesOf(key));
  }
  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(typeof data === 'string' ? data : bytesOf(data));
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): void {}
}

function bytesOf(data: ArrayBuffer | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
}

const signer = new SignatureV4({
  service: 'ec2',
  region: 'edge-1',
  credentials: { accessKeyId, secretAccessKey: secret },
  sha256: Sha256,
});

function lowerCase(headers: object): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]),
  );
}

function options(changes: Partial<SigV4Options<SigningKey & { account: string }>> = {}) {
  return {
    lookupKey: async (id: string) => (id === accessKeyId ? { secret, account: 'acme' } : undefined),
    now: () => signedAtMs,
    regions: ['edge-1'],
    ...changes,
  };
}

/** Signed by the SDK's signer, with the query and the path as given. */
async function signedBySdk(
  query: Record<string, string> = {},
  path = '/',
  body = form,
): Promise<SignedRequest> {
  const headers = {
    host,
    'content-type': 'application/x-www-form-urlencoded',
    'x-amz-target-note': '  two   spaces ',
  };
  const input = {
    method: 'POST',
    protocol: 'http:',
    hostname: 'ec2.example.test',
    path,
    query,
    headers,
    body,
  };
  const signed = await signer.sign(input, { signingDate: new Date(signedAtMs) });
  const pairs = Object.entries(query).map(
    ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`,
  );
  return {
    method: 'POST',
    path,
    query: pairs.join('&'),
    headers: lowerCase(signed.headers),
    body: Buffer.from(body),
  };
}

function signedByAws4(path: string, headers: Record<string, string> = {}): SignedRequest {
  const amzDate = '20260304T050607Z';
  const request = {
    method: 'POST',
    path,
    host,
    service: 'ec2',
    region: 'edge-1',
    body: form,
    headers: { 'X-Amz-Date': amzDate, ...headers },
  };
  const signed = aws4.sign(request, { accessKeyId, secretAccessKey: secret });
  const [pathOnly = '/', query = ''] = path.split('?');
  return {
    method: 'POST',
    path: pathOnly,
    query,
    headers: lowerCase(signed.headers ?? {}),
    body: Buffer.from(form),
  };
}

async function presigned(expiresIn = 60): Promise<SignedRequest> {
  const query = { Action: 'DescribeRegions', Version: '2016-11-15' };
  const input = {
    method: 'GET',
    protocol: 'http:',
    hostname: 'ec2.example.test',
    path: '/',
    query,
    headers: { host },
  };
  const signed = await signer.presign(input, { signingDate: new Date(signedAtMs), expiresIn });
  const pairs = Object.entries(signed.query ?? {}).map(
    ([name, value]) => `${name}=${encodeURIComponent(String(value))}`,
  );
  return { method: 'GET', path: '/', query: pairs.join('&'), headers: { host }, body: Buffer.alloc(0) };
}

function withHeader(
  request: SignedRequest,
  name: string,
  value: string | readonly string[] | undefined,
): SignedRequest {
  return { ...request, headers: { ...request.headers, [name]: value } };
}

describe('a good signature', () => {
  it("of the SDK's signer is taken, and says who signed", async () => {
    const result = await verifySigV4(await signedBySdk(), options());
    assert.deepEqual(result, {
      accessKeyId,
      region: 'edge-1',
      service: 'ec2',
      key: { secret, account: 'acme' },
    });
  });

  it('holds for every path, query and body', async () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 8 });
    const segment = text.filter((part) => part !== '.' && part !== '..').map(encodeURIComponent);
    await fc.assert(
      fc.asyncProperty(
        fc.array(segment, { maxLength: 3 }),
        fc.dictionary(
          text.filter((name) => !/^x-amz-/i.test(name) && name !== '__proto__'),
          text,
        ),
        text,
        async (segments, query, body) => {
          await verifySigV4(await signedBySdk(query, `/${segments.join('/')}`, body), options());
        },
      ),
      { numRuns: 200 },
    );
  });

  it('of aws4 is taken, with spaces, repeated names and encoded slashes', async () => {
    const paths = [
      '/',
      '/?b=2&a=1',
      '/?a=%20b&a=%2F&a=',
      '/?x=%E2%82%AC',
      '/x//y/./z/../w',
      '/?Filter.1.Value.1=a%2Bb',
    ];
    for (const path of paths) await verifySigV4(signedByAws4(path, { 'X-Amz-Note': '  a   b  ' }), options());
  });

  it('of botocore is taken: header form, query and presigned', async () => {
    const authorization = (signedHeaders: string, signature: string) =>
      `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260304/edge-1/ec2/aws4_request, SignedHeaders=${signedHeaders}, Signature=${signature}`;
    const dated = { host, 'x-amz-date': '20260304T050607Z' };
    const contentType = 'application/x-www-form-urlencoded; charset=utf-8';
    const posted = authorization(
      'content-type;host;x-amz-date',
      '7221de4c8d91603f8e3a4fb9f1dc9219b96f26b209d15438d34886ad607a4b54',
    );
    const got = authorization(
      'host;x-amz-date',
      '5a8867d35862f0ff0f812a814ec766566060fe748b29bc531408ac68093b53a4',
    );
    const requests: SignedRequest[] = [
      {
        method: 'POST',
        path: '/',
        query: '',
        headers: { ...dated, 'content-type': contentType, authorization: posted },
        body: Buffer.from(form),
      },
      {
        method: 'GET',
        path: '/',
        query: 'Version=2016-11-15&Action=DescribeInstances&Filter.1.Value.1=a%20b%2F%2A',
        headers: { ...dated, authorization: got },
        body: Buffer.alloc(0),
      },
      {
        method: 'GET',
        path: '/',
        query: `${form}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260304%2Fedge-1%2Fec2%2Faws4_request&X-Amz-Date=20260304T050607Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=1997feb09d9b464d7a19ede76ae4d84580261f9702324545e2f3982112c3f133`,
        headers: { host },
        body: Buffer.alloc(0),
      },
    ];
    for (const request of requests) await verifySigV4(request, options());
  });

  it('covers headers that come twice, and a body that is known by its hash', async () => {
    const once = signedByAws4('/', { 'X-Amz-Note': 'a,b' });
    await verifySigV4(withHeader(once, 'x-amz-note', ['a', ' b ']), options());
    await verifySigV4({ ...once, body: { sha256: sha256Hex(form) } }, options());
  });

  it('may be presigned, for as long as it says', async () => {
    const request = await presigned();
    await verifySigV4(request, options());
    await verifySigV4(request, options({ now: () => signedAtMs + 60_000 }));
    await assert.rejects(verifySigV4(request, options({ now: () => signedAtMs + 61_000 })), {
      code: 'RequestExpired',
    });
    const long = await presigned(604_800);
    await verifySigV4(long, options({ now: () => signedAtMs + 6 * 86_400_000 }));
  });
});

describe('a bad signature', () => {
  const refused = async (request: SignedRequest, code: string, changes = {}) => {
    await assert.rejects(verifySigV4(request, options(changes)), (error) => {
      assert.ok(error instanceof PandoError, String(error));
      assert.equal(error.code, code, error.message);
      return true;
    });
  };

  it('is one where anything that it covers has changed', async () => {
    const good = await signedBySdk({ a: '1' });
    const changed: SignedRequest[] = [
      { ...good, method: 'GET' },
      { ...good, path: '/x' },
      { ...good, query: 'a=2' },
      { ...good, query: 'a=1&b=' },
      { ...good, body: Buffer.from(`${form}&DryRun=true`) },
      withHeader(good, 'host', 'other.example.test'),
      withHeader(good, 'content-type', 'text/plain'),
      withHeader(good, 'x-amz-target-note', ['two spaces', 'more']),
      withHeader(good, 'x-amz-added', 'unsigned'),
      withHeader(good, 'host', undefined),
    ];
    for (const request of changed) await refused(request, 'SignatureDoesNotMatch');
    await refused({ ...(await presigned()), body: Buffer.from('x') }, 'SignatureDoesNotMatch');
  });

  it('is one of another secret, region, service or day, or of an unknown key', async () => {
    const good = await signedBySdk();
    await refused(good, 'SignatureDoesNotMatch', {
      lookupKey: async () => ({ secret: 'other', account: '' }),
    });
    await refused(good, 'SignatureDoesNotMatch', { regions: ['edge-2'] });
    await refused(good, 'SignatureDoesNotMatch', { services: ['sts'] });
    await refused(good, 'AuthFailure', { lookupKey: async () => undefined });
    const edit = (from: string, to: string) =>
      withHeader(good, 'authorization', String(good.headers.authorization).replace(from, to));
    await refused(edit('/20260304/', '/20260303/'), 'SignatureDoesNotMatch');
    await refused(edit('aws4_request', 'aws5_request'), 'SignatureDoesNotMatch');
    await refused(edit('host;', ''), 'SignatureDoesNotMatch');
  });

  it('is one that is too old or too new; the message tells both times', async () => {
    const good = await signedBySdk();
    const minutes = (n: number) => ({ now: () => signedAtMs + n * 60_000 });
    for (const n of [-15, -1, 0, 14.9, 15]) await verifySigV4(good, options(minutes(n)));
    await refused(good, 'RequestExpired', minutes(15.1));
    await refused(good, 'SignatureDoesNotMatch', minutes(-15.1));
    await assert.rejects(
      verifySigV4(good, options(minutes(16))),
      /20260304T050607Z .*20260304T052207Z - 15 min/,
    );
  });

  it('is one that cannot be read', async () => {
    const good = await signedBySdk();
    const authorization = String(good.headers.authorization);
    await refused(withHeader(good, 'authorization', undefined), 'MissingAuthenticationToken');
    const unreadable = [
      '',
      'Basic eDp5',
      'AWS4-HMAC-SHA256',
      authorization.replace('Signature=', 'Signature=zz'),
      authorization.replace('Credential=', 'Credential=/'),
      authorization.replace('SignedHeaders=', 'SignedHeaders=X;'),
      `${authorization}, Signature=00`,
      authorization.slice(0, -1),
    ];
    for (const text of unreadable)
      await refused(withHeader(good, 'authorization', text), 'IncompleteSignature');
    await refused(withHeader(good, 'authorization', [authorization, authorization]), 'IncompleteSignature');
    await refused(withHeader(good, 'x-amz-date', 'today'), 'SignatureDoesNotMatch');
    const url = await presigned();
    await refused(withHeader(url, 'authorization', authorization), 'IncompleteSignature');
    await refused({ ...url, query: `${url.query}&X-Amz-Date=20260304T050607Z` }, 'IncompleteSignature');
    await refused(
      { ...url, query: url.query.replace('X-Amz-Expires=60', 'X-Amz-Expires=604801') },
      'IncompleteSignature',
    );
    await refused({ ...url, query: 'a=%zz' }, 'MalformedQueryString');
  });

  it('is one whose declared hash is not that of the body', async () => {
    const signed = signedByAws4('/', { 'X-Amz-Content-Sha256': 'UNSIGNED-PAYLOAD' });
    await refused(signed, 'SignatureDoesNotMatch');
    await verifySigV4(signedByAws4('/', { 'X-Amz-Content-Sha256': sha256Hex(form) }), options());
  });

  it('is one of a temporary key without its token', async () => {
    const lookupKey = async () => ({ secret, account: 'acme', sessionToken: 'token' });
    await refused(await signedBySdk(), 'AuthFailure', { lookupKey });
    await verifySigV4(signedByAws4('/', { 'X-Amz-Security-Token': 'token' }), options({ lookupKey }));
    await refused(signedByAws4('/', { 'X-Amz-Security-Token': 'other' }), 'AuthFailure', { lookupKey });
  });

  it('is one of a temporary key that has expired', async () => {
    const expiring = (expiresAtMs: number) => async (_id: string, token: string | undefined) =>
      token === 'token' ? { secret, account: 'acme', sessionToken: token, expiresAtMs } : undefined;
    const signed = signedByAws4('/', { 'X-Amz-Security-Token': 'token' });
    await verifySigV4(signed, options({ lookupKey: expiring(signedAtMs + 1) }));
    await refused(signed, 'RequestExpired', { lookupKey: expiring(signedAtMs) });
  });

  it('is one of a permanent key with a token', async () => {
    await refused(signedByAws4('/', { 'X-Amz-Security-Token': 'token' }), 'AuthFailure');
    await verifySigV4(signedByAws4('/', { 'X-Amz-Security-Token': '' }), options());
  });

  it('throws nothing but a 4xx, whatever the header', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), fc.string(), async (text, query) => {
        const headers = { host, authorization: `AWS4-HMAC-SHA256 ${text}`, 'x-amz-date': text };
        const request = { method: 'GET', path: text, query, headers, body: Buffer.alloc(0) };
        await assert.rejects(
          verifySigV4(request, options()),
          (e) => e instanceof PandoError && e.status < 500,
        );
      }),
      { numRuns: 300 },
    );
  });
});

describe('day keys', () => {
  it('verify in place of the secret, for their own scope alone', async () => {
    const signed = signedByAws4('/', {});
    const text = JSON.stringify(signed.headers);
    const [, day = '', region = '', service = ''] =
      /Credential=[^/]+\/(\d+)\/([^/]+)\/([^/]+)\//.exec(text) ?? [];
    const scope = { day, region, service };
    const keyed = (...scopes: SigningScope[]) => ({
      lookupKey: async () => ({
        signingKeys: new Map(scopes.map((each) => [scopeName(each), deriveSigningKey(each, secret)])),
        account: 'acme',
      }),
    });
    const refuses = (request: SignedRequest, code: string, changes: object) =>
      assert.rejects(verifySigV4(request, options(changes)), { code });
    await verifySigV4(signed, options(keyed(scope)));
    await refuses(signed, 'Unavailable', keyed({ ...scope, day: '20000101' }));
    await refuses(signed, 'Unavailable', keyed({ ...scope, service: 'sts' }));
    const wrong = new Map([[scopeName(scope), deriveSigningKey(scope, 'other')]]);
    await refuses(signed, 'SignatureDoesNotMatch', {
      lookupKey: async () => ({ signingKeys: wrong, account: 'acme' }),
    });
  });

  it('are kept up to the limit, the least recently used out first, and never for an old secret', () => {
    const keys = new DayKeys(2);
    const scope = (day: string) => ({ accessKeyId, day, region: 'r', service: 'ec2' });
    const first = keys.derive(scope('1'), 'a');
    keys.derive(scope('2'), 'a');
    assert.equal(keys.derive(scope('1'), 'a'), first);
    keys.derive(scope('3'), 'a');
    assert.equal(keys.size, 2);
    assert.equal(keys.derive(scope('1'), 'a'), first);
    assert.notDeepEqual(keys.derive(scope('1'), 'b'), first);
    assert.deepEqual(keys.derive(scope('1'), 'a'), first);
  });
});
