import assert from 'node:assert/strict';
import { createHash, createPrivateKey } from 'node:crypto';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { exec } from '#base/exec.ts';
import { resolveLaunch } from '#region/launch.ts';
import { registerPublicImage } from '#region/operator.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

let region: TestRegion;
let alice: Client;
let mallory: Client;

before(async () => {
  region = await startTestRegion();
  alice = await region.account();
  mallory = await region.account();
});
after(() => region.stop());

const blobOf = (publicKey: string): Buffer => Buffer.from(publicKey.split(' ')[1] ?? '', 'base64');

test('key pairs: made, fingerprinted as EC2 does, private key told once', async () => {
  const rsa = await alice.call('CreateKeyPair', { KeyName: 'rsa' });
  const pem = createPrivateKey(rsa.KeyMaterial ?? '');
  const sha1 = createHash('sha1')
    .update(pem.export({ type: 'pkcs8', format: 'der' }))
    .digest('hex');
  assert.equal(rsa.KeyFingerprint?.replaceAll(':', ''), sha1);
  const ed = await alice.call('CreateKeyPair', { KeyName: 'ed', KeyType: 'ed25519' });
  assert.match(ed.KeyMaterial ?? '', /^-----BEGIN OPENSSH PRIVATE KEY-----\n/);
  const { KeyPairs: shown } = await alice.call('DescribeKeyPairs', {
    KeyNames: ['ed'],
    IncludePublicKey: true,
  });
  assert.equal(
    shown?.[0]?.KeyFingerprint,
    createHash('sha256')
      .update(blobOf(shown?.[0]?.PublicKey ?? ''))
      .digest('base64'),
  );
  const inner = Buffer.from((ed.KeyMaterial ?? '').split('\n').slice(1, -1).join(''), 'base64');
  assert.ok(
    inner.includes(blobOf(shown?.[0]?.PublicKey ?? '')),
    'the private key file carries the public key',
  );
  await assert.rejects(alice.call('CreateKeyPair', { KeyName: 'ed' }), { code: 'InvalidKeyPair.Duplicate' });
  await assert.rejects(mallory.call('DescribeKeyPairs', { KeyNames: ['ed'] }), {
    code: 'InvalidKeyPair.NotFound',
  });
  await mallory.call('DeleteKeyPair', { KeyName: 'ed' });
  assert.equal(
    (await alice.call('DescribeKeyPairs', { Filters: [{ Name: 'key-name', Values: ['e?'] }] })).KeyPairs
      ?.length,
    1,
  );
  await alice.call('DeleteKeyPair', { KeyName: 'ed' });
  await alice.call('DeleteKeyPair', { KeyName: 'ed' });
});

test('imported keys: the same key in each of its forms; nonsense is refused', async () => {
  const made = await alice.call('CreateKeyPair', { KeyName: 'form' });
  const { KeyPairs: shown } = await alice.call('DescribeKeyPairs', {
    KeyNames: ['form'],
    IncludePublicKey: true,
  });
  const line = shown?.[0]?.PublicKey ?? '';
  const spki = createPrivateKey(made.KeyMaterial ?? '');
  const base64 = blobOf(line).toString('base64');
  const rfc4716 = [
    '---- BEGIN SSH2 PUBLIC KEY ----',
    'Comment: "x"',
    ...(base64.match(/.{1,70}/g) ?? []),
    '---- END SSH2 PUBLIC KEY ----',
  ];
  const forms = [line, rfc4716.join('\n')];
  const prints = [];
  for (const [n, form] of forms.entries())
    prints.push(
      (await alice.call('ImportKeyPair', { KeyName: `form-${n}`, PublicKeyMaterial: Buffer.from(form) }))
        .KeyFingerprint,
    );
  assert.equal(new Set(prints).size, 1);
  assert.match(prints[0] ?? '', /^([0-9a-f]{2}:){15}[0-9a-f]{2}$/, 'MD5 of the public key');
  assert.equal(spki.type, 'private');
  for (const bad of ['ssh-rsa AAAA', 'hello', `ssh-ed25519 ${base64}x`])
    await assert.rejects(
      alice.call('ImportKeyPair', { KeyName: 'bad', PublicKeyMaterial: Buffer.from(bad) }),
      { code: 'InvalidKey.Format' },
    );
});

test('tags: set, replaced, filtered, deleted by key and by value', async () => {
  const vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
  const groups = await alice.call('DescribeSecurityGroups', {
    Filters: [{ Name: 'vpc-id', Values: [vpcId] }],
  });
  const groupId = groups.SecurityGroups?.[0]?.GroupId ?? '';
  const rule = await alice.call('DescribeSecurityGroupRules', {
    Filters: [{ Name: 'group-id', Values: [groupId] }],
  });
  const ids = [vpcId, groupId, rule.SecurityGroupRules?.[0]?.SecurityGroupRuleId ?? ''];
  await alice.call('CreateTags', {
    Resources: ids,
    Tags: [
      { Key: 'a', Value: '1' },
      { Key: 'b', Value: '2' },
    ],
  });
  await alice.call('CreateTags', { Resources: [vpcId], Tags: [{ Key: 'a', Value: '9' }] });
  const seen = await alice.call('DescribeTags', { Filters: [{ Name: 'key', Values: ['a'] }] });
  assert.deepEqual(seen.Tags?.map((tag) => `${tag.ResourceType}=${tag.Value}`).sort(), [
    'security-group-rule=1',
    'security-group=1',
    'vpc=9',
  ]);
  await alice.call('DeleteTags', { Resources: ids, Tags: [{ Key: 'a', Value: '1' }] });
  assert.deepEqual(
    (await alice.call('DescribeTags', { Filters: [{ Name: 'key', Values: ['a'] }] })).Tags?.length,
    1,
  );
  await alice.call('DeleteTags', { Resources: ids });
  assert.deepEqual((await alice.call('DescribeTags', {})).Tags, []);
  await assert.rejects(
    alice.call('CreateTags', { Resources: [vpcId], Tags: [{ Key: 'aws:x', Value: '' }] }),
    { code: 'InvalidParameterValue' },
  );
  await assert.rejects(
    alice.call('CreateTags', { Resources: ['i-0123456789abcdef0'], Tags: [{ Key: 'x', Value: '' }] }),
    { code: 'InvalidID' },
  );
});

/** The smallest header that says what a qcow2 disk of `bytes` is. */
const qcow2 = (bytes: number, backing = 0n): Buffer => {
  const header = Buffer.alloc(512);
  header.writeUInt32BE(0x514649fb, 0);
  header.writeUInt32BE(3, 4);
  header.writeBigUInt64BE(backing, 8);
  header.writeBigUInt64BE(BigInt(bytes), 24);
  return header;
};

test('images: registered from an allowed directory only, private to their account, launched by id', async () => {
  const sources = path.join(region.dir, 'sources');
  await exec('qemu-img', ['create', '-q', '-f', 'qcow2', path.join(sources, 'disk.qcow2'), '3G']);
  await writeFile(path.join(sources, 'sly.qcow2'), qcow2(1024, 512n));
  await writeFile(path.join(region.dir, 'outside.qcow2'), qcow2(1024));
  await symlink(path.join(region.dir, 'outside.qcow2'), path.join(sources, 'link.qcow2'));
  const register = (file: string, name = 'image') =>
    alice.call('RegisterImage', { Name: name, ImageLocation: file });
  const { ImageId: imageId } = await register(path.join(sources, 'disk.qcow2'));
  await assert.rejects(register(path.join(sources, 'disk.qcow2')), { code: 'InvalidAMIName.Duplicate' });
  for (const file of ['sly.qcow2', 'link.qcow2', '../outside.qcow2', 'nothing'])
    await assert.rejects(register(`${sources}/${file}`, 'other'), { code: 'InvalidParameterValue' }, file);
  const { Images: own } = await alice.call('DescribeImages', { Owners: ['self'] });
  assert.deepEqual(
    [own?.[0]?.ImageId, own?.[0]?.State, own?.[0]?.BlockDeviceMappings?.[0]?.Ebs?.VolumeSize],
    [imageId, 'available', 3],
  );
  await assert.rejects(mallory.call('DescribeImages', { ImageIds: [imageId ?? ''] }), {
    code: 'InvalidAMIID.NotFound',
  });
  const launch = (client: Client) =>
    resolveLaunch(region.region, {
      accountId: client.accountId,
      imageId: imageId ?? '',
      groupIds: [],
      groupNames: [],
    });
  const resolved = await launch(alice);
  assert.equal(resolved.mapPublicIp, true);
  assert.equal(resolved.groups[0]?.groupName, 'default');
  assert.equal(resolved.image.diskVirtualMib, 3072);
  assert.equal(resolved.image.imdsSupport, undefined, 'as EC2 does where nothing is said');
  await assert.rejects(launch(mallory), { code: 'InvalidAMIID.NotFound' });
  const { images } = region.region;
  const { bytes } = (await images.manifest(resolved.image.digest)).files.disk;
  const chunk = await images.chunk({
    digest: resolved.image.digest,
    file: 'disk',
    offset: bytes - 12,
    length: 100,
  });
  assert.deepEqual([Buffer.from(chunk.data, 'base64').length, chunk.eof], [12, true]);
  for (const wrong of [
    { digest: resolved.image.digest, file: '../../seal.key' },
    { digest: '../sources', file: 'manifest' },
    { digest: '0'.repeat(64), file: 'disk' },
  ])
    await assert.rejects(images.chunk({ ...wrong, offset: 0, length: 10 }), { code: 'NotFound' });
  await assert.rejects(
    images.chunk({ digest: resolved.image.digest, file: 'disk', offset: 0, length: 2 ** 30 }),
    { code: 'InvalidParameterValue' },
  );
  await alice.call('DeregisterImage', { ImageId: imageId ?? '' });
  await assert.rejects(launch(alice), { code: 'InvalidAMIID.Unavailable' });
});

test('a built image: public, its id from its content, refused when a file is not what the manifest says', async () => {
  const directory = path.join(region.dir, 'sources', 'built');
  await mkdir(directory);
  const disk = qcow2(64 * 1024 ** 2);
  await writeFile(path.join(directory, 'disk.qcow2'), disk);
  const sha256 = createHash('sha256').update(disk).digest('hex');
  const described = {
    architecture: 'x86_64',
    bootMode: 'bios',
    description: '',
    files: {
      disk: { bytes: disk.length, format: 'qcow2', path: 'disk.qcow2', sha256, virtualBytes: 64 * 1024 ** 2 },
    },
    minMemoryMib: 64,
    name: 'built',
    recipe: 'r',
  };
  // Members are written in order: the digest is over exactly this text.
  const digest = createHash('sha256').update(JSON.stringify(described)).digest('hex');
  await writeFile(path.join(directory, 'manifest.json'), JSON.stringify({ ...described, digest }));
  const first = await registerPublicImage(region.region, { directory, name: 'built' });
  assert.deepEqual(first, { imageId: `ami-${digest.slice(0, 17)}`, digest });
  assert.deepEqual(await registerPublicImage(region.region, { directory, name: 'built' }), first);
  const { Images: seen } = await mallory.call('DescribeImages', {
    Owners: ['amazon'],
    Filters: [{ Name: 'name', Values: ['built'] }],
  });
  assert.equal(seen?.[0]?.ImageId, first.imageId);
  await assert.rejects(mallory.call('DeregisterImage', { ImageId: first.imageId }), { code: 'AuthFailure' });
  const bad = path.join(region.dir, 'sources', 'bad');
  await mkdir(bad);
  await writeFile(path.join(bad, 'manifest.json'), JSON.stringify({ ...described, digest }));
  await writeFile(path.join(bad, 'disk.qcow2'), qcow2(65 * 1024 ** 2));
  await assert.rejects(registerPublicImage(region.region, { directory: bad, name: 'bad' }), {
    code: 'InvalidParameterValue',
  });
});

test('a raw disk is taken in as qcow2', async () => {
  const file = path.join(region.dir, 'sources', 'raw.img');
  const boots = Buffer.alloc(512);
  boots.writeUInt16LE(0xaa55, 510);
  await writeFile(file, boots);
  await exec('truncate', ['-s', '8M', file]);
  const given = { Name: 'raw', ImageLocation: file };
  await assert.rejects(alice.call('RegisterImage', { ...given, ImdsSupport: 'v1.0' as 'v2.0' }), {
    code: 'InvalidParameterValue',
  });
  const { ImageId: imageId } = await alice.call('RegisterImage', { ...given, ImdsSupport: 'v2.0' });
  const { image } = await resolveLaunch(region.region, {
    accountId: alice.accountId,
    imageId: imageId ?? '',
    groupIds: [],
    groupNames: [],
  });
  assert.equal(image.diskVirtualMib, 8);
  assert.equal(image.imdsSupport, 'v2.0');
  assert.equal((await region.region.images.manifest(image.digest)).files.disk.format, 'qcow2');
});
