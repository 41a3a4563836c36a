/** Key pairs, images, tags of everything. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Belongings } from '../belongings.ts';
import { type Model, model, plainText, refuses, sameTags, shows, type Tag, tagged, tags } from './model.ts';

const keyName = fc
  .string({ unit: fc.constantFrom(...'abcXYZ019 -_.'), minLength: 1, maxLength: 30 })
  .map((name) => `key${name}x`);

const keyPair = model(
  'a key pair',
  fc.record({ KeyName: keyName, list: tags }),
  async ({ client: { call } }, { KeyName, list }) => {
    const made = await call('CreateKeyPair', { KeyName, KeyType: 'ed25519', ...tagged('key-pair', list) });
    sameTags(made.Tags, list);
    const { KeyPairs: [shown] = [] } = await call('DescribeKeyPairs', {
      KeyNames: [KeyName],
      IncludePublicKey: true,
    });
    const { KeyPairId, KeyFingerprint } = made;
    shows(shown, { KeyName, KeyPairId, KeyFingerprint, KeyType: 'ed25519' });
    sameTags(shown?.Tags, list);
    await call('DeleteKeyPair', { KeyPairId });
    await refuses(call('DescribeKeyPairs', { KeyNames: [KeyName] }), 'InvalidKeyPair.NotFound');
    // The same key, taken in, is the same key.
    const PublicKeyMaterial = Buffer.from(shown?.PublicKey ?? '');
    const imported = await call('ImportKeyPair', { KeyName, PublicKeyMaterial, ...tagged('key-pair', list) });
    shows(imported, { KeyName, KeyFingerprint });
    const { KeyPairs: [again] = [] } = await call('DescribeKeyPairs', {
      KeyPairIds: [imported.KeyPairId ?? ''],
      IncludePublicKey: true,
    });
    shows(again, { KeyName, KeyFingerprint, PublicKey: shown?.PublicKey, KeyType: 'ed25519' });
    sameTags(again?.Tags, list);
    await call('DeleteKeyPair', { KeyName });
  },
);

const image = model(
  'an image',
  fc.record({
    Name: fc
      .string({ unit: fc.constantFrom(..."abzAZ09()[] ./'@_-"), minLength: 3, maxLength: 40 })
      .filter((name) => name.trim() === name),
    Description: fc.option(plainText(1, 60), { nil: undefined }),
    RootDeviceName: fc.constantFrom('/dev/vda', '/dev/sda1', '/dev/xvda', undefined),
    Architecture: fc.constantFrom('x86_64' as const, undefined),
    ImdsSupport: fc.constantFrom('v2.0' as const, undefined),
    list: tags,
  }),
  async ({ client: { call }, cloud }, { list, ...asked }) => {
    const { location } = await cloud.region.db
      .selectFrom('image')
      .select('location')
      .executeTakeFirstOrThrow();
    const { ImageId = '' } = await call('RegisterImage', {
      ...asked,
      ImageLocation: location,
      ...tagged('image', list),
    });
    const { Images: [shown] = [] } = await call('DescribeImages', { ImageIds: [ImageId] });
    shows(shown, { ...asked, State: 'available', Public: false });
    sameTags(shown?.Tags, list);
    await call('DeregisterImage', { ImageId });
    await refuses(call('DescribeImages', { ImageIds: [ImageId] }), 'InvalidAMIID.NotFound');
  },
);

/** What can be tagged, with the name of its type. */
const taggable: Readonly<Partial<Record<keyof Belongings, string>>> = {
  instance: 'instance',
  volume: 'volume',
  vpc: 'vpc',
  subnet: 'subnet',
  group: 'security-group',
  rule: 'security-group-rule',
  gateway: 'internet-gateway',
  table: 'route-table',
  acl: 'network-acl',
  eni: 'network-interface',
  allocation: 'elastic-ip',
  keyId: 'key-pair',
  dhcp: 'dhcp-options',
  image: 'image',
};
const kinds = Object.keys(taggable) as (keyof Belongings)[];

const tagging = model(
  'tags',
  fc.record({
    on: fc.subarray(kinds, { minLength: 1, maxLength: 4 }),
    list: tags.filter((all) => all.length > 0),
    removed: fc.constantFrom('key' as const, 'same value' as const, 'other value' as const),
  }),
  async ({ client: { call }, own }, { on, list, removed }) => {
    const Resources = on.map((kind) => own[kind]);
    const described = async () =>
      (await call('DescribeTags', { Filters: [{ Name: 'resource-id', Values: Resources }] })).Tags ?? [];
    await call('CreateTags', { Resources, Tags: [...list] });
    const shown = await described();
    for (const kind of on) {
      const ofKind = shown.filter(({ ResourceId }) => ResourceId === own[kind]);
      sameTags(ofKind, list);
      for (const { ResourceType } of ofKind) assert.equal(ResourceType, taggable[kind]);
    }
    const [first, ...rest] = list as [Tag, ...Tag[]];
    const Value = { key: undefined, 'same value': first.Value, 'other value': `${first.Value}!` }[removed];
    await call('DeleteTags', { Resources, Tags: [{ Key: first.Key, Value }] });
    const left = removed === 'other value' ? list : rest;
    const now = await described();
    for (const kind of on)
      sameTags(
        now.filter(({ ResourceId }) => ResourceId === own[kind]),
        left,
      );
    await call('DeleteTags', { Resources });
    assert.deepEqual(await described(), []);
  },
);

export const otherModels: readonly Model[] = [keyPair, image, tagging];
