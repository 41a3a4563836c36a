/** What a stranger or a broken client may send to the region's endpoint: EC2's errors, nothing changed, never a 5xx. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Ec2Error } from '#cli/ec2Client.ts';
import { type Credentials, signedHeaders } from '#cli/sign.ts';
import { at, itemsAt, parseXml, textAt } from '#cli/xmlTree.ts';
import { newAccount } from './support/account.ts';
import { type Network, typeSmallest } from './support/cloud.ts';
import { startRegion, type TestRegion } from './support/region.ts';

const version = '2016-11-15';
const minuteMs = 60_000;

describe('the endpoint under hostile requests', { timeout: 10 * minuteMs }, () => {
  let region: TestRegion;
  let network: Network;
  let asItWas: string;

  before(async () => {
    region = await startRegion();
    network = await region.cloud.network('10.70.0.0/16', [22]);
    asItWas = await everything();
  });

  after(() => region?.[Symbol.asyncDispose]());

  /** All that the account has, as text: equal before and after. */
  async function everything(): Promise<string> {
    const actions = [
      'DescribeVpcs',
      'DescribeSubnets',
      'DescribeSecurityGroups',
      'DescribeInstances',
      'DescribeTags',
    ];
    const answers = await Promise.all(actions.map((action) => region.ec2.call(action)));
    const strip = (text: string): string => text.replace(/"requestId","children":\[\],"text":"[^"]*"/g, '');
    return strip(JSON.stringify(answers));
  }

  interface Raw {
    readonly body: string;
    readonly credentials?: Credentials;
    readonly at?: Date;
    readonly headers?: Record<string, string>;
  }

  async function send({ body, credentials = region.credentials, at: when = new Date(), headers = {} }: Raw) {
    const target = { host: new URL(region.endpoint).host, region: region.run.regionName, service: 'ec2' };
    const signed = signedHeaders(credentials, target, body, when);
    const response = await fetch(region.endpoint, {
      method: 'POST',
      headers: { ...signed, ...headers },
      body,
      signal: AbortSignal.timeout(20_000),
    });
    const text = await response.text();
    const code = /<Code>([^<]*)<\/Code>/.exec(text)?.[1] ?? '';
    return { status: response.status, code, text };
  }

  const form = (params: Record<string, string>): string =>
    new URLSearchParams({ Version: version, ...params }).toString();

  async function refused(request: Raw, code: string | RegExp): Promise<void> {
    const answer = await send(request);
    assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status}: ${answer.text.slice(0, 500)}`);
    if (typeof code === 'string') assert.equal(answer.code, code, answer.text.slice(0, 500));
    else assert.match(answer.code, code, answer.text.slice(0, 500));
  }

  it('refuses a wrong secret, an unknown key, a changed body and a missing signature', async () => {
    const body = form({ Action: 'CreateVpc', CidrBlock: '10.71.0.0/16' });
    const { accessKeyId, secret } = region.credentials;
    await refused(
      { body, credentials: { accessKeyId, secret: `${secret}x` } },
      /SignatureDoesNotMatch|AuthFailure/,
    );
    await refused(
      { body, credentials: { accessKeyId: 'AKIAAAAAAAAAAAAAAAAA', secret } },
      /AuthFailure|InvalidClientTokenId/,
    );
    const other = form({ Action: 'DescribeVpcs' });
    const host = new URL(region.endpoint).host;
    const target = { host, region: region.run.regionName, service: 'ec2' };
    const headers = signedHeaders(region.credentials, target, other, new Date());
    await refused({ body, headers }, /SignatureDoesNotMatch|AuthFailure/);
    const bare = await fetch(region.endpoint, { method: 'POST', body });
    assert.ok(bare.status >= 400 && bare.status < 500);
    assert.match(await bare.text(), /MissingAuthenticationToken|AuthFailure/);
  });

  it('refuses a request of another time', async () => {
    const body = form({ Action: 'DescribeVpcs' });
    for (const skewMs of [-20 * minuteMs, 20 * minuteMs])
      await refused(
        { body, at: new Date(Date.now() + skewMs) },
        /RequestExpired|AuthFailure|SignatureDoesNotMatch/,
      );
    assert.equal((await send({ body, at: new Date(Date.now() - 5 * minuteMs) })).status, 200);
  });

  it('outlives truncated, endless and senseless requests', async () => {
    const host = new URL(region.endpoint);
    const raw = (text: string): Promise<string> =>
      new Promise((resolve) => {
        const socket = connect({ host: host.hostname, port: Number(host.port), timeout: 3_000 });
        let heard = '';
        socket.setEncoding('utf8').on('data', (chunk: string) => {
          heard += chunk;
        });
        socket.once('timeout', () => socket.destroy());
        socket.on('error', () => undefined);
        socket.once('close', () => resolve(heard));
        socket.write(text);
        if (!text.includes('\r\n\r\n')) socket.end();
      });
    const head = (length: number): string =>
      `POST / HTTP/1.1\r\nHost: ${host.host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${length}\r\n\r\n`;
    for (const text of [
      `${head(1_000)}Action=CreateVpc&CidrBlock=10.71`,
      `${head(-5)}Action`,
      'GET /\r\n',
      'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nzz\r\n',
      `GET /?${'a'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      '\u0000\u0001\u0002\r\n\r\n',
      `POST / HTTP/1.1\r\nHost: x\r\n${'X-Y: z\r\n'.repeat(5_000)}\r\n`,
    ])
      assert.doesNotMatch(await raw(text), /^HTTP\/1\.1 5/, text.slice(0, 60));
    assert.equal((await send({ body: form({ Action: 'DescribeVpcs' }) })).status, 200);
  });

  it('refuses a form of 10 MB and one of very many parameters', async () => {
    const large = form({ Action: 'DescribeVpcs', Junk: 'x'.repeat(10 * 1024 * 1024) });
    const answer = await send({ body: large }).catch((error: unknown) => error);
    // The connection may be cut while we still send: that is a refusal too.
    if (!(answer instanceof Error)) assert.ok((answer as { status: number }).status < 500);
    const many = Object.fromEntries(
      Array.from({ length: 20_000 }, (_, index) => [`Filter.${index}.Name`, 'a']),
    );
    const second = await send({ body: form({ Action: 'DescribeVpcs', ...many }) }).catch(() => undefined);
    assert.ok(second === undefined || (second.status >= 400 && second.status < 500));
    assert.equal((await send({ body: form({ Action: 'DescribeVpcs' }) })).status, 200);
  });

  it('names what it does not know', async () => {
    await refused({ body: form({ Action: 'DropAllTables' }) }, 'InvalidAction');
    await refused({ body: form({ Action: 'CreateTransitGateway' }) }, 'UnsupportedOperation');
    await refused({ body: form({}) }, 'MissingAction');
    await refused({ body: form({ Action: 'DescribeVpcs', Colour: 'red' }) }, 'UnknownParameter');
    for (const action of ['DescribeVpcs', 'DescribeInstances', 'DescribeSubnets', 'DescribeSecurityGroups'])
      await refused(
        { body: form({ Action: action, 'Filter.1.Name': 'colour', 'Filter.1.Value.1': 'red' }) },
        'InvalidParameterValue',
      );
    await refused({ body: form({ Action: 'CreateVpc' }) }, 'MissingParameter');
    await refused({ body: form({ Action: 'DescribeVpcs', MaxResults: 'many' }) }, /InvalidParameterValue/);
    await refused({ body: form({ Action: 'DescribeVpcs', NextToken: '../../etc/passwd' }) }, /Invalid/);
  });

  it('shows and changes nothing of another account', async () => {
    const stranger = await newAccount(region, `stranger-${process.pid}`);
    const image = await region.cloud.image();
    const refusedTo = async (action: string, params: Record<string, string>, code: RegExp): Promise<void> => {
      await assert.rejects(stranger.call(action, params), (error: unknown) => {
        assert.ok(error instanceof Ec2Error, String(error));
        assert.match(error.code, code, error.message);
        return true;
      });
    };
    await refusedTo('DescribeVpcs', { 'VpcId.1': network.vpcId }, /InvalidVpcID\.NotFound/);
    await refusedTo('DeleteVpc', { VpcId: network.vpcId }, /InvalidVpcID\.NotFound/);
    await refusedTo(
      'CreateSubnet',
      { VpcId: network.vpcId, CidrBlock: '10.70.9.0/24' },
      /InvalidVpcID\.NotFound/,
    );
    await refusedTo('DeleteSubnet', { SubnetId: network.subnetId }, /InvalidSubnetID\.NotFound/);
    await refusedTo('DeleteSecurityGroup', { GroupId: network.groupId }, /InvalidGroup\.NotFound/);
    await refusedTo(
      'RunInstances',
      {
        ImageId: image,
        InstanceType: typeSmallest,
        MinCount: '1',
        MaxCount: '1',
        SubnetId: network.subnetId,
      },
      /NotFound/,
    );
    await refusedTo(
      'CreateTags',
      { 'ResourceId.1': network.vpcId, 'Tag.1.Key': 'a', 'Tag.1.Value': 'b' },
      /NotFound|InvalidID/,
    );
    const seen = itemsAt(await stranger.call('DescribeVpcs'), 'vpcSet').map((item) => textAt(item, 'vpcId'));
    assert.ok(!seen.includes(network.vpcId));
  });

  it('takes SQL, shell and markup in text fields as text', async () => {
    const strings = [
      "'; drop table vpc; --",
      '" or 1=1 --',
      '$(touch pando-was-here)`reboot`; rm -rf / | nc',
      '<a>&amp;]]></a>',
      '{{7*7}} %00 %n %s ../../../etc/passwd',
      '\u202e\u0430dmin \ud83d\ude00',
    ];
    for (const [index, value] of strings.entries()) {
      await region.ec2.call('CreateTags', {
        'ResourceId.1': network.vpcId,
        'Tag.1.Key': `k${index}`,
        'Tag.1.Value': value,
      });
      const filter = {
        'Filter.1.Name': `tag:k${index}`,
        'Filter.1.Value.1': value.replaceAll(/[*?\\]/g, '\\$&'),
      };
      const answer = await send({ body: form({ Action: 'DescribeVpcs', ...filter }) });
      assert.equal(answer.status, 200, answer.text.slice(0, 300));
      const tags = itemsAt(parseXml(answer.text), 'vpcSet').flatMap((item) => itemsAt(item, 'tagSet'));
      assert.equal(
        tags.map((tag) => at(tag, 'value')?.text).find((text) => text === value),
        value,
      );
      for (const body of [
        form({ Action: 'DescribeInstances', 'InstanceId.1': value }),
        form({ Action: 'CreateVpc', CidrBlock: value }),
        form({ Action: 'CreateSubnet', VpcId: network.vpcId, CidrBlock: value }),
        form({ Action: 'RunInstances', ImageId: value, InstanceType: value, MinCount: '1', MaxCount: '1' }),
        form({ Action: 'DescribeVpcs', 'Filter.1.Name': value, 'Filter.1.Value.1': value }),
      ])
        await refused({ body }, /^[A-Za-z.]+$/);
      await region.ec2.call('DeleteTags', { 'ResourceId.1': network.vpcId, 'Tag.1.Key': `k${index}` });
    }
    const nul = await send({
      body: form({
        Action: 'CreateTags',
        'ResourceId.1': network.vpcId,
        'Tag.1.Key': 'n\u0000',
        'Tag.1.Value': '\u0000',
      }),
    });
    assert.ok(nul.status < 500, nul.text);
  });

  it('refuses numbers and ranges out of bounds', async () => {
    const outOfBounds: readonly Record<string, string>[] = [
      { Action: 'CreateVpc', CidrBlock: '10.0.0.0/4' },
      { Action: 'CreateVpc', CidrBlock: '10.0.0.0/99' },
      { Action: 'CreateSubnet', VpcId: network.vpcId, CidrBlock: '192.168.0.0/24' },
      { Action: 'DescribeVpcs', MaxResults: '-1' },
      { Action: 'DescribeVpcs', MaxResults: '99999999999999999999' },
    ];
    for (const params of outOfBounds) await refused({ body: form(params) }, /./);
    const image = await region.cloud.image();
    for (const count of ['0', '-1', '1000000', '1e9', 'NaN'])
      await refused(
        {
          body: form({
            Action: 'RunInstances',
            ImageId: image,
            InstanceType: typeSmallest,
            MinCount: count,
            MaxCount: count,
          }),
        },
        /./,
      );
  });

  it('has changed nothing', async () => {
    assert.ok((await everything()) === asItWas, 'what the account has is not what it had');
  });
});
