/** What the metadata service answers, walked whole as clients walk it, without a network in between. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { answerMetadata, type MetadataAnswer } from '#card/metadata/answer.ts';
import { TokenSigner } from '#card/metadata/token.ts';
import { apiVersions, type MetadataSubject } from '#card/metadata/tree.ts';
import type { VmMetadata } from '#contracts/network.ts';
import { metadataOf, portOf, vpcOf } from '../lab.ts';

const signer = new TokenSigner(Buffer.alloc(32, 1));
const port = portOf(10, '100.127.0.1', { publicIp: '203.0.113.20', groupIds: ['sg-a', 'sg-b'] });

const full: VmMetadata = {
  ...metadataOf(port),
  httpTokens: 'optional',
  availabilityZoneId: 'pan1-az1',
  placementGroup: 'apart',
  partitionNumber: 3,
  rootDeviceName: '/dev/xvda',
  groups: [
    { groupId: 'sg-b', groupName: 'ssh' },
    { groupId: 'sg-a', groupName: 'web' },
    { groupId: 'sg-gone', groupName: 'gone' },
  ],
  tags: [
    { Key: 'Name', Value: 'first' },
    { Key: 'empty', Value: '' },
    { Key: 'a=b:c@d+e', Value: 'x y' },
    { Key: '__proto__', Value: 'only a name' },
  ],
  monitoring: true,
  identity: { document: '{"instanceId":"i-10"}', signature: 'c2ln', pkcs7: 'cGs3' },
};

const subjectOf = (metadata: VmMetadata, more: Partial<MetadataSubject> = {}): MetadataSubject => ({
  metadata,
  port,
  vpc: vpcOf('vpc-1', 1, 1, [port], {
    publicDomainName: 'compute.example',
    cidrs: ['10.0.0.0/16', '10.1.0.0/16'],
  }),
  ...more,
});

const ask = (
  path: string,
  {
    method = 'GET',
    headers = {},
    subject = subjectOf(full),
  }: {
    readonly method?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly subject?: MetadataSubject | undefined;
  } = {},
): MetadataAnswer =>
  answerMetadata({ method, path, header: (name) => headers[name] }, subject, signer, 1_000);

const text = (path: string, subject?: MetadataSubject): string | undefined => {
  const answer = ask(`/latest/${path}`, subject === undefined ? {} : { subject });
  return answer.status === 200 ? String(answer.body) : undefined;
};

/** Every file below a directory, as cloud-init finds them: what ends in a slash is a directory, `0=name` is a key's. */
const walk = (path: string, subject?: MetadataSubject): Map<string, string> => {
  const listing = text(path, subject);
  assert.ok(listing !== undefined, path);
  const files = new Map<string, string>();
  for (const name of listing.split('\n').filter((line) => line !== '')) {
    const key = /^(\d+)=/.exec(name)?.[1];
    if (name.endsWith('/')) for (const [at, body] of walk(path + name, subject)) files.set(at, body);
    else {
      const file = path + (key === undefined ? encodeURIComponent(name) : `${key}/openssh-key`);
      const body = text(file, subject);
      assert.ok(body !== undefined, `${file} is listed and not there`);
      files.set(path + (key === undefined ? name : `${key}/openssh-key`), body);
    }
  }
  return files;
};

const credentials = {
  accessKeyId: 'ASIAABCDEFGHIJKLMNOP',
  secretAccessKey: 'secret',
  token: 'token',
  lastUpdated: '2026-11-26T12:00:00Z',
  expiration: '2026-11-26T13:00:00Z',
};
const profile = {
  arn: 'arn:aws:iam::123456789012:instance-profile/web',
  profileId: 'AIPAABCDEFGHIJKLMNOPQ',
  name: 'web',
};

describe('metadata of a profile', () => {
  const subject = (more: Partial<VmMetadata>): MetadataSubject => subjectOf({ ...full, ...more });

  it('are the profile and its credentials, in EC2’s documents', () => {
    const files = walk('meta-data/iam/', subject({ profile: { ...profile, credentials } }));
    assert.deepEqual([...files.keys()], ['meta-data/iam/info', 'meta-data/iam/security-credentials/web']);
    assert.deepEqual(JSON.parse(files.get('meta-data/iam/info') ?? ''), {
      Code: 'Success',
      LastUpdated: '2026-11-26T12:00:00Z',
      InstanceProfileArn: profile.arn,
      InstanceProfileId: profile.profileId,
    });
    assert.deepEqual(JSON.parse(files.get('meta-data/iam/security-credentials/web') ?? ''), {
      Code: 'Success',
      LastUpdated: '2026-11-26T12:00:00Z',
      Type: 'AWS-HMAC',
      AccessKeyId: 'ASIAABCDEFGHIJKLMNOP',
      SecretAccessKey: 'secret',
      Token: 'token',
      Expiration: '2026-11-26T13:00:00Z',
    });
  });

  it('are not there without a profile, and without credentials once it was deleted', () => {
    assert.equal(text('meta-data/iam/'), undefined);
    const deleted = subject({ profile });
    assert.equal(text('meta-data/iam/security-credentials/', deleted), undefined);
    assert.equal(JSON.parse(text('meta-data/iam/info', deleted) ?? '').Code, 'InstanceProfileNotFound');
  });

  it('ask for a token of version 2 like all else', () => {
    const required = subject({ profile: { ...profile, credentials }, httpTokens: 'required' });
    assert.equal(ask('/latest/meta-data/iam/security-credentials/web', { subject: required }).status, 401);
  });
});

describe('metadata', () => {
  it('is whole: everything that is listed is there, and everything that EC2 has of such an instance', () => {
    const files = walk('meta-data/');
    const mac = `meta-data/network/interfaces/macs/${port.mac}`;
    const expected: Readonly<Record<string, string>> = {
      'meta-data/ami-id': 'ami-1',
      'meta-data/ami-launch-index': '0',
      'meta-data/ami-manifest-path': '(unknown)',
      'meta-data/block-device-mapping/ami': '/dev/xvda',
      'meta-data/block-device-mapping/root': '/dev/xvda',
      'meta-data/events/maintenance/history': '[]',
      'meta-data/events/maintenance/scheduled': '[]',
      'meta-data/hostname': 'ip-10-0-0-10.example.internal',
      'meta-data/instance-action': 'none',
      'meta-data/instance-id': 'i-10',
      'meta-data/instance-life-cycle': 'on-demand',
      'meta-data/instance-type': 'p1.small',
      'meta-data/local-hostname': 'ip-10-0-0-10.example.internal',
      'meta-data/local-ipv4': '10.0.0.10',
      'meta-data/mac': port.mac,
      'meta-data/metrics/vhostmd': '<?xml version="1.0" encoding="UTF-8"?>',
      [`${mac}/device-number`]: '0',
      [`${mac}/interface-id`]: 'eni-10',
      [`${mac}/ipv4-associations/203.0.113.20`]: '10.0.0.10',
      [`${mac}/local-hostname`]: 'ip-10-0-0-10.example.internal',
      [`${mac}/local-ipv4s`]: '10.0.0.10',
      [`${mac}/mac`]: port.mac,
      [`${mac}/network-card`]: '0',
      [`${mac}/owner-id`]: '000000000000',
      [`${mac}/public-hostname`]: 'ec2-203-0-113-20.compute.example',
      [`${mac}/public-ipv4s`]: '203.0.113.20',
      [`${mac}/security-group-ids`]: 'sg-a\nsg-b',
      [`${mac}/security-groups`]: 'web\nssh',
      [`${mac}/subnet-id`]: 'subnet-a',
      [`${mac}/subnet-ipv4-cidr-block`]: '10.0.0.0/24',
      [`${mac}/vpc-id`]: 'vpc-1',
      [`${mac}/vpc-ipv4-cidr-block`]: '10.0.0.0/16',
      [`${mac}/vpc-ipv4-cidr-blocks`]: '10.0.0.0/16\n10.1.0.0/16',
      'meta-data/placement/availability-zone': 'pando-1a',
      'meta-data/placement/availability-zone-id': 'pan1-az1',
      'meta-data/placement/group-name': 'apart',
      'meta-data/placement/partition-number': '3',
      'meta-data/placement/region': 'pando-1',
      'meta-data/profile': 'default-hvm',
      'meta-data/public-hostname': 'ec2-203-0-113-20.compute.example',
      'meta-data/public-ipv4': '203.0.113.20',
      'meta-data/public-keys/0/openssh-key': 'ssh-ed25519 AAAA laptop',
      'meta-data/reservation-id': 'r-1',
      'meta-data/security-groups': 'web\nssh',
      'meta-data/services/domain': 'amazonaws.com',
      'meta-data/services/partition': 'aws',
      'meta-data/system': 'nitro',
      'meta-data/tags/instance/Name': 'first',
      'meta-data/tags/instance/empty': '',
      'meta-data/tags/instance/a=b:c@d+e': 'x y',
      'meta-data/tags/instance/__proto__': 'only a name',
    };
    assert.deepEqual(
      Object.fromEntries([...files].sort()),
      Object.fromEntries(Object.entries(expected).sort()),
    );
    assert.deepEqual(Object.fromEntries(walk('dynamic/')), {
      'dynamic/fws/instance-monitoring': 'enabled',
      'dynamic/instance-identity/document': '{"instanceId":"i-10"}',
      'dynamic/instance-identity/pkcs7': 'cGs3',
      'dynamic/instance-identity/rsa2048': 'cGs3',
      'dynamic/instance-identity/signature': 'c2ln',
    });
    assert.equal(text(''), 'dynamic\nmeta-data\nuser-data');
    assert.equal(text('user-data'), 'hello eni-10');
  });

  it('is the same under every version, and knows no other', () => {
    assert.deepEqual(String(ask('/').body).split('\n'), [...apiVersions]);
    for (const version of apiVersions) assert.equal(ask(`/${version}/meta-data/instance-id`).body, 'i-10');
    assert.equal(ask('/2042-01-01/meta-data/').status, 404);
  });

  it('has nothing of what the instance does not have: 404', () => {
    const bare = subjectOf(metadataOf(port), {
      port: { ...port, publicIp: undefined },
      vpc: vpcOf('vpc-1', 1, 1, []),
    });
    const { publicKey: _key, userData: _data, ...metadata } = bare.metadata;
    const subject = { ...bare, metadata: { ...metadata, httpTokens: 'optional' as const } };
    for (const path of [
      ...['user-data', 'meta-data/public-ipv4', 'meta-data/public-hostname', 'meta-data/public-keys/'],
      ...['meta-data/tags/', 'meta-data/tags/instance/Name', 'meta-data/iam/', 'meta-data/iam/info'],
      ...[
        'meta-data/iam/security-credentials/',
        'meta-data/spot/instance-action',
        'meta-data/spot/termination-time',
      ],
      ...['meta-data/events/recommendations/rebalance', 'meta-data/ipv6', 'meta-data/kernel-id'],
      ...['meta-data/constructor', 'meta-data/__proto__', 'meta-data/instance-id/x', 'meta-data/toString'],
      ...['dynamic/instance-identity/signature', 'dynamic/instance-identity/pkcs7'],
    ]) {
      const answer = ask(`/latest/${path}`, { subject });
      assert.equal(answer.status, 404, path);
      assert.match(String(answer.body), /404 - Not Found/);
    }
    // What a card of the last release was told: still whole, without what it was not told.
    const files = walk('meta-data/', subject);
    assert.equal(files.get('meta-data/security-groups'), 'sg-a\nsg-b');
    assert.equal(files.get('meta-data/block-device-mapping/root'), '/dev/sda1');
    assert.equal(
      JSON.parse(walk('dynamic/', subject).get('dynamic/instance-identity/document') ?? '').instanceId,
      'i-10',
    );
    assert.equal(text('', subject), 'dynamic\nmeta-data');
  });

  it('answers HEAD as GET, OPTIONS with what is allowed, and every other method with 405 and the same', () => {
    assert.deepEqual(ask('/latest/meta-data/mac', { method: 'HEAD' }), ask('/latest/meta-data/mac'));
    const required = subjectOf({ ...full, httpTokens: 'required' });
    for (const [path, allow] of [
      ['/latest/meta-data/', 'OPTIONS, GET, HEAD'],
      ['/latest/nothing', 'OPTIONS, GET, HEAD'],
      ['/latest/api/token', 'OPTIONS, PUT'],
    ] as const) {
      const options = ask(path, { method: 'OPTIONS', subject: required });
      assert.deepEqual([options.status, options.body, options.headers?.allow], [200, '', allow]);
      const others = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'TRACE'].filter(
        (one) => !allow.includes(one),
      );
      for (const method of others) {
        const answer = ask(path, { method });
        assert.deepEqual(
          [answer.status, answer.body, answer.headers?.allow],
          [405, '', allow],
          `${method} ${path}`,
        );
      }
    }
  });

  it('asks for a token where the owner demands one, before it says what there is', () => {
    const subject = subjectOf({ ...full, httpTokens: 'required' });
    const lifetime = { 'x-aws-ec2-metadata-token-ttl-seconds': '60' };
    const token = String(ask('/latest/api/token', { method: 'PUT', headers: lifetime, subject }).body);
    for (const path of ['/latest/meta-data/mac', '/latest/nothing', '/'])
      for (const method of ['GET', 'HEAD']) assert.equal(ask(path, { method, subject }).status, 401);
    const headers = { 'x-aws-ec2-metadata-token': token };
    assert.equal(ask('/latest/meta-data/mac', { headers, subject }).body, port.mac);
    const off = subjectOf({ ...full, httpEndpoint: 'disabled' });
    for (const method of ['GET', 'PUT', 'OPTIONS'])
      assert.equal(ask('/latest/', { method, subject: off }).status, 403);
  });
});
