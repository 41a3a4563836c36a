/** DHCP options: made, associated, described, deleted; and what devices are told of them. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { PandoError } from '#contracts/errors.ts';
import { dhcpOf, readDhcpConfiguration } from '#region/dhcp-configuration.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

const full = [
  { Key: 'domain-name', Values: ['corp.example'] },
  { Key: 'domain-name-servers', Values: ['192.0.2.1', 'AmazonProvidedDNS'] },
  { Key: 'ntp-servers', Values: ['192.0.2.3', '192.0.2.4'] },
  { Key: 'netbios-name-servers', Values: ['192.0.2.5'] },
  { Key: 'netbios-node-type', Values: ['2'] },
];

describe('DHCP options', () => {
  let region: TestRegion;
  let alice: Client;
  let mallory: Client;
  let vpcId: string;
  before(async () => {
    region = await startTestRegion();
    alice = await region.account();
    mallory = await region.account();
    vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
  });
  after(() => region.stop());

  const make = async (DhcpConfigurations = full, client = alice): Promise<string> =>
    (await client.call('CreateDhcpOptions', { DhcpConfigurations })).DhcpOptions?.DhcpOptionsId ?? '';
  const ofVpc = async (): Promise<string | undefined> =>
    (await alice.call('DescribeVpcs', { VpcIds: [vpcId] })).Vpcs?.[0]?.DhcpOptionsId;
  const told = async () => {
    const { dnsServers, domainName, dhcp, version } = (await region.region.compile(vpcId)) ?? {};
    return { dnsServers, domainName, dhcp, version };
  };

  it('are described as they were made, with tags, by every filter', async () => {
    const { DhcpOptions: made } = await alice.call('CreateDhcpOptions', {
      DhcpConfigurations: full,
      TagSpecifications: [{ ResourceType: 'dhcp-options', Tags: [{ Key: 'Name', Value: 'corp' }] }],
    });
    const id = made?.DhcpOptionsId ?? '';
    assert.deepEqual(made?.Tags, [{ Key: 'Name', Value: 'corp' }]);
    assert.deepEqual(
      made?.DhcpConfigurations?.map((one) => ({ Key: one.Key, Values: one.Values?.map((v) => v.Value) })),
      full,
    );
    const { DhcpOptions: [described] = [] } = await alice.call('DescribeDhcpOptions', {
      DhcpOptionsIds: [id],
    });
    assert.deepEqual(described, made);
    for (const [Name, value] of [
      ['dhcp-options-id', id],
      ['key', 'netbios-node-type'],
      ['value', 'corp.exa*'],
      ['tag:Name', 'corp'],
    ] as const) {
      const found = await alice.call('DescribeDhcpOptions', { Filters: [{ Name, Values: [value] }] });
      assert.deepEqual(
        found.DhcpOptions?.map((one) => one.DhcpOptionsId),
        [id],
        Name,
      );
    }
    await assert.rejects(mallory.call('DescribeDhcpOptions', { DhcpOptionsIds: [id] }), {
      code: 'InvalidDhcpOptionsID.NotFound',
    });
    await alice.call('DeleteDhcpOptions', { DhcpOptionsId: id });
    await assert.rejects(alice.call('DescribeDhcpOptions', { DhcpOptionsIds: [id] }), {
      code: 'InvalidDhcpOptionsID.NotFound',
    });
    const tags = await alice.call('DescribeTags', { Filters: [{ Name: 'resource-id', Values: [id] }] });
    assert.deepEqual(tags.Tags, []);
  });

  it('change what devices are told of a VPC, with a new version; `default` is none at all', async () => {
    const before = await told();
    const standard = await ofVpc();
    const id = await make();
    await alice.call('AssociateDhcpOptions', { DhcpOptionsId: id, VpcId: vpcId });
    assert.equal(await ofVpc(), id);
    const { version, ...options } = await told();
    assert.ok((version ?? 0) > (before.version ?? 0));
    assert.deepEqual(options, {
      // This region provides no DNS servers of its own.
      dnsServers: ['192.0.2.1'],
      domainName: 'corp.example',
      dhcp: { ntpServers: ['192.0.2.3', '192.0.2.4'], netbiosNameServers: ['192.0.2.5'], netbiosNodeType: 2 },
    });
    await alice.call('AssociateDhcpOptions', { DhcpOptionsId: 'default', VpcId: vpcId });
    assert.equal(await ofVpc(), 'default');
    const none = await told();
    assert.deepEqual([none.dnsServers, none.domainName, none.dhcp], [[], '', undefined]);
    const byFilter = await alice.call('DescribeVpcs', {
      Filters: [{ Name: 'dhcp-options-id', Values: ['default'] }],
    });
    assert.deepEqual(
      byFilter.Vpcs?.map((one) => one.VpcId),
      [vpcId],
    );
    await alice.call('AssociateDhcpOptions', { DhcpOptionsId: standard ?? '', VpcId: vpcId });
    const { version: _newer, ...again } = await told();
    assert.deepEqual({ ...again, version: undefined }, { ...before, version: undefined });
  });

  it('are not deleted while a VPC uses them, also when both happen at once', async () => {
    const id = await make();
    await alice.call('AssociateDhcpOptions', { DhcpOptionsId: id, VpcId: vpcId });
    await assert.rejects(alice.call('DeleteDhcpOptions', { DhcpOptionsId: id }), {
      code: 'DependencyViolation',
    });
    await alice.call('AssociateDhcpOptions', { DhcpOptionsId: 'default', VpcId: vpcId });
    await alice.call('DeleteDhcpOptions', { DhcpOptionsId: id });
    for (let round = 0; round < 8; round += 1) {
      const raced = await make();
      const [associated, deleted] = await Promise.allSettled([
        alice.call('AssociateDhcpOptions', { DhcpOptionsId: raced, VpcId: vpcId }),
        alice.call('DeleteDhcpOptions', { DhcpOptionsId: raced }),
      ]);
      assert.notEqual(associated.status, deleted.status);
      const lost = associated.status === 'rejected' ? associated : deleted;
      assert.ok(lost.status === 'rejected');
      assert.match(
        String(PandoError.from(lost.reason).code),
        /DependencyViolation|InvalidDhcpOptionsID\.NotFound/,
      );
      assert.equal((await ofVpc()) === raced, associated.status === 'fulfilled');
      await alice.call('AssociateDhcpOptions', { DhcpOptionsId: 'default', VpcId: vpcId });
    }
  });

  it('of other accounts are not there', async () => {
    const foreign = await make(full, mallory);
    await assert.rejects(alice.call('AssociateDhcpOptions', { DhcpOptionsId: foreign, VpcId: vpcId }), {
      code: 'InvalidDhcpOptionsID.NotFound',
    });
    await assert.rejects(alice.call('DeleteDhcpOptions', { DhcpOptionsId: foreign }), {
      code: 'InvalidDhcpOptionsID.NotFound',
    });
    await assert.rejects(mallory.call('AssociateDhcpOptions', { DhcpOptionsId: foreign, VpcId: vpcId }), {
      code: 'InvalidVpcID.NotFound',
    });
  });

  it('a new VPC has the account’s own default set, also when others are older or it was deleted', async () => {
    const carol = await region.account();
    const { Vpcs: [first] = [] } = await carol.call('DescribeVpcs', {});
    await make(full, carol);
    const cidr = { CidrBlock: '10.9.0.0/16' };
    assert.equal((await carol.call('CreateVpc', cidr)).Vpc?.DhcpOptionsId, first?.DhcpOptionsId);
    for (const vpc of (await carol.call('DescribeVpcs', {})).Vpcs ?? [])
      await carol.call('AssociateDhcpOptions', { DhcpOptionsId: 'default', VpcId: vpc.VpcId ?? '' });
    await carol.call('DeleteDhcpOptions', { DhcpOptionsId: first?.DhcpOptionsId ?? '' });
    const { Vpc: later } = await carol.call('CreateVpc', { CidrBlock: '10.8.0.0/16' });
    const { DhcpOptions: [set] = [] } = await carol.call('DescribeDhcpOptions', {
      DhcpOptionsIds: [later?.DhcpOptionsId ?? ''],
    });
    assert.deepEqual(
      set?.DhcpConfigurations?.map((one) => [one.Key, one.Values?.[0]?.Value]),
      [
        ['domain-name', 'test-1.compute.internal'],
        ['domain-name-servers', 'AmazonProvidedDNS'],
      ],
    );
  });

  it('refuse what EC2 refuses', () => {
    for (const Values of [
      [],
      ['a b; reboot'],
      ['$(id)'],
      ['x'.repeat(64)],
      ['one', 'two'],
      ['.'],
      ['a..b'],
      ['é'],
    ])
      assert.throws(
        () => readDhcpConfiguration([{ Key: 'domain-name', Values }]),
        PandoError,
        String(Values),
      );
    for (const Values of [['1.2.3'], ['::1'], ['a', 'b'], Array(5).fill('10.0.0.1')])
      for (const Key of ['domain-name-servers', 'ntp-servers', 'netbios-name-servers'])
        assert.throws(() => readDhcpConfiguration([{ Key, Values }]), { code: 'InvalidParameterValue' });
    assert.throws(
      () => readDhcpConfiguration([{ Key: 'ntp-servers', Values: ['AmazonProvidedDNS'] }]),
      PandoError,
    );
    for (const Values of [['3'], ['0'], ['1', '2']])
      assert.throws(() => readDhcpConfiguration([{ Key: 'netbios-node-type', Values }]), PandoError);
    for (const Key of ['', 'router', '__proto__', 'constructor'])
      assert.throws(() => readDhcpConfiguration([{ Key, Values: ['1'] }]), { code: 'InvalidParameterValue' });
    assert.throws(() => readDhcpConfiguration([]), { code: 'MissingParameter' });
    const twice = [full[0] ?? {}, full[0] ?? {}];
    assert.throws(() => readDhcpConfiguration(twice), { code: 'InvalidParameterValue' });
  });

  it('property: whatever is taken fits DHCP’s options of 255 bytes, as plain words', () => {
    const words = fc.oneof(
      fc.string(),
      fc.domain(),
      fc.ipV4(),
      fc.constantFrom('AmazonProvidedDNS', '1', '8'),
    );
    const entry = fc.record({
      Key: fc.constantFrom(...full.map((one) => one.Key)),
      Values: fc.array(words, { maxLength: 6 }),
    });
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 3 }), (given) => {
        let taken: ReturnType<typeof readDhcpConfiguration>;
        try {
          taken = readDhcpConfiguration(given);
        } catch (error) {
          assert.ok(error instanceof PandoError, String(error));
          return;
        }
        const { dnsServers, domainName, dhcp } = dhcpOf(taken, ['10.0.0.2', '10.0.0.3']);
        assert.match(domainName, /^[A-Za-z0-9._ -]{0,253}$/);
        for (const list of [dnsServers, dhcp?.ntpServers ?? [], dhcp?.netbiosNameServers ?? []]) {
          assert.ok(list.length * 4 <= 255);
          for (const ip of list) assert.match(ip, /^\d{1,3}(\.\d{1,3}){3}$/);
        }
      }),
      { numRuns: 500 },
    );
  });
});
