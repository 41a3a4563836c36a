import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Cloud, codeOf, startCloud, textsOf } from './cloud.ts';
import { keys } from './fakeRegion.ts';

describe('authentication', () => {
  let cloud: Cloud;
  before(async () => {
    cloud = await startCloud({ zones: ['lab-1a'] });
  });
  after(() => cloud.close());

  const amzDate = (offsetMinutes: number) =>
    new Date(Date.now() + offsetMinutes * 60_000).toISOString().replaceAll(/[-:]|\.\d{3}/g, '');
  const form = 'Action=DescribeRegions&Version=2016-11-15';

  it('lets a signed request through, by POST and by GET', async () => {
    for (const method of ['POST', 'GET']) {
      const reply = await cloud.send(form, { method });
      assert.equal(reply.status, 200, reply.body);
      assert.equal(reply.headers['x-amzn-requestid'], textsOf(reply, 'requestId')[0]);
      assert.equal(reply.headers.server, 'Pando');
    }
  });

  it('lets the same signed request through again, as EC2 does', async () => {
    let first: Parameters<Cloud['raw']>[0] | undefined;
    await cloud.send(form, {
      tamper: (signed) => {
        first = signed;
        return signed;
      },
    });
    assert.ok(first !== undefined);
    assert.equal((await cloud.raw(first)).status, 200);
  });

  it('refuses a wrong secret, an unknown key, another region and another service, and says which', async () => {
    const wrong = { ...keys.first, secretAccessKey: 'not-the-secret' };
    const unknown = { ...keys.first, accessKeyId: 'PANDOTESTKEY99999999' };
    const codes = [
      codeOf(await cloud.send(form, { key: wrong })),
      codeOf(await cloud.send(form, { key: unknown })),
      codeOf(await cloud.send(form, { key: { ...unknown, accessKeyId: '../../etc' } })),
      codeOf(await cloud.send(form, { region: 'elsewhere-1' })),
      codeOf(await cloud.send(form, { service: 's3' })),
    ];
    assert.deepEqual(codes.slice(0, 1), ['SignatureDoesNotMatch']);
    assert.equal(codes[1], 'AuthFailure');
    assert.ok(codes.slice(2).every((code) => code !== undefined && /AuthFailure|Signature/.test(code)));
  });

  it('refuses what is signed too early or too late, and what is not signed', async () => {
    for (const minutes of [-20, 20]) {
      const reply = await cloud.send(form, { headers: { 'X-Amz-Date': amzDate(minutes) } });
      assert.ok(reply.status >= 400 && reply.status < 500, reply.body);
    }
    const reply = await cloud.raw({
      method: 'POST',
      path: '/',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: form,
    });
    assert.equal(codeOf(reply), 'MissingAuthenticationToken');
  });

  it('refuses a body that was changed, cut or added to after signing', async () => {
    const bodies = ['Action=DescribeVpcs&Version=2016-11-15', form.slice(0, -1), `${form}&DryRun=true`];
    for (const body of bodies) {
      const reply = await cloud.send(form, {
        tamper: ({ headers: { 'Content-Length': _length, ...headers }, ...signed }) => ({
          ...signed,
          headers,
          body,
        }),
      });
      assert.equal(codeOf(reply), 'SignatureDoesNotMatch');
    }
    assert.ok(!cloud.region.actions.includes('DescribeVpcs'));
  });

  it('tells backends who asks, by the key and not by the request', async () => {
    await cloud.act('DescribeVpcs', {}, { key: keys.second });
    const call = cloud.region.calls.at(-1);
    assert.equal(call?.accountId, keys.second.accountId);
    assert.equal(call?.principal, `arn:aws:iam::${keys.second.accountId}:root`);
  });

  it('answers GetCallerIdentity in the format of STS, and errors of that service too', async () => {
    const reply = await cloud.act('GetCallerIdentity', {}, { service: 'sts' });
    assert.match(reply.body, /xmlns="https:\/\/sts\.amazonaws\.com\/doc\/2011-06-15\/"/);
    assert.deepEqual(textsOf(reply, 'Account'), [keys.first.accountId]);
    const other = await cloud.act('AssumeRole', {}, { service: 'sts' });
    assert.equal(codeOf(other), 'InvalidAction');
    assert.match(other.body, /^<\?xml[^>]*>\n<ErrorResponse/);
    assert.equal(codeOf(await cloud.act('GetCallerIdentity')), 'InvalidAction');
    assert.equal(codeOf(await cloud.act('DescribeRegions', {}, { service: 'sts' })), 'InvalidAction');
  });

  it('asks the region once for a key, and not at all for what cannot be one', async () => {
    assert.equal(cloud.region.lookups.get(keys.first.accessKeyId), 1);
    assert.ok(![...cloud.region.lookups.keys()].some((id) => id.includes('/')));
  });

  it('logs each request and no secret, no signature and no parameter', async () => {
    await cloud.act('DescribeVpcs', { 'VpcId.1': 'vpc-marker' });
    const line = cloud.log.at(-1);
    assert.equal(line?.action, 'DescribeVpcs');
    assert.equal(line?.status, 200);
    assert.equal(line?.account, keys.first.accountId);
    const text = cloud.logText();
    for (const word of [keys.first.secretAccessKey, keys.second.secretAccessKey, 'AWS4-HMAC', 'vpc-marker'])
      assert.ok(!text.includes(word), word);
  });
});

describe('a region of the last release', () => {
  it('knows no signing keys, and its secrets do', async () => {
    const cloud = await startCloud({ zones: ['lab-1a'] });
    try {
      cloud.region.lastRelease = true;
      assert.equal((await cloud.act('DescribeInstances')).status, 200);
      const wrong = { ...keys.second, secretAccessKey: 'wrong' };
      assert.equal(codeOf(await cloud.act('DescribeInstances', {}, { key: wrong })), 'SignatureDoesNotMatch');
    } finally {
      await cloud.close();
    }
  });
});

describe('static stability', () => {
  it('keeps known keys working when the region is gone, and asks it again when it is back', async () => {
    const cloud = await startCloud({ zones: ['lab-1a'], limits: { keyTtlMs: 1, unknownKeyTtlMs: 1 } });
    try {
      await cloud.act('DescribeInstances');
      await cloud.region.kill();
      await cloud.until(({ region }) => !region);
      assert.equal((await cloud.act('DescribeInstances')).status, 200);
      assert.equal((await cloud.act('GetCallerIdentity', {}, { service: 'sts' })).status, 200);
      const neverSeen = await cloud.act('DescribeInstances', {}, { key: keys.second });
      assert.equal(codeOf(neverSeen), 'Unavailable');
      assert.equal(codeOf(await cloud.act('CreateVpc', { CidrBlock: '10.0.0.0/16' })), 'Unavailable');
      await cloud.region.start();
      await cloud.until(({ region }) => region);
      assert.equal((await cloud.act('DescribeInstances', {}, { key: keys.second })).status, 200);
    } finally {
      await cloud.close();
    }
  });
});
