/** Debian's cloud-init (its Ec2 data source), ec2-metadata and ec2metadata against a real card's guest services: they read all that they ask for. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { VmMetadata } from '#contracts/network.ts';
import { attach, Lab, type LabCard, type LabVm, metadataOf, portOf, vpcOf } from '../lab.ts';
import { type StockTools, stockTools } from './stockTools.ts';

describe('stock clients of the metadata service', () => {
  let lab: Lab;
  let card: LabCard;
  let vm: LabVm;
  let tools: StockTools | string;

  before(async () => {
    lab = await Lab.create();
    tools = await stockTools(lab.directory);
    card = await lab.card('c1');
    vm = await lab.vm('a', card, portOf(10, card.vtep, { publicIp: '203.0.113.20' }));
    const state = vpcOf('vpc-1', 210, 1, [vm.port], { publicDomainName: 'compute.example' });
    await card.client.call('card.applyVpc', { state });
    await attach(card, 'vpc-1', vm);
    await card.client.call('card.prepareAdministrative', {
      ...{ vpcId: 'vpc-1', eniId: vm.port.eniId, metadata },
    });
  });
  after(() => lab[Symbol.asyncDispose]());

  const port = portOf(10, undefined);
  const metadata: VmMetadata = {
    ...metadataOf(port),
    availabilityZoneId: 'pan1-az1',
    rootDeviceName: '/dev/xvda',
    groups: [{ groupId: 'sg-open', groupName: 'everything' }],
    tags: [
      { Key: 'Name', Value: 'first' },
      { Key: 'empty', Value: '' },
    ],
    identity: {
      document: JSON.stringify({ instanceId: 'i-10', availabilityZone: 'pando-1a', region: 'pando-1' }),
      signature: 'c2ln',
      pkcs7: 'cGs3\ncGs3',
    },
  };

  const use = (skip: (reason: string) => void): StockTools | undefined => {
    if (typeof tools !== 'string') return tools;
    skip(tools);
    return undefined;
  };

  it('cloud-init crawls everything that is listed, with a token, and finds instance, zone, keys and user data', async (context) => {
    const stock = use((reason) => context.skip(reason));
    if (stock === undefined) return;
    const { ok, out } = await vm.run(stock.cloudInit, 60_000);
    assert.ok(ok, out);
    const lines = out.trim().split('\n');
    const read = JSON.parse(lines[0] ?? '');
    // Warnings are of what it found missing or broken.
    assert.deepEqual(lines.slice(1), []);
    assert.deepEqual(
      [read.got, read.instanceId, read.zone, read.region, read.userData, read.classic],
      [true, 'i-10', 'pando-1a', 'pando-1', 'hello eni-10', false],
    );
    assert.deepEqual(read.keys, ['ssh-ed25519 AAAA laptop']);
    const { 'meta-data': data, dynamic, _metadata_api_version: version } = read.crawled;
    assert.equal(version, '2021-03-23');
    assert.deepEqual(data.tags.instance, { Name: 'first', empty: '' });
    assert.deepEqual(data['block-device-mapping'], { ami: '/dev/xvda', root: '/dev/xvda' });
    assert.deepEqual(data.placement, {
      ...{ 'availability-zone': 'pando-1a', 'availability-zone-id': 'pan1-az1', region: 'pando-1' },
    });
    assert.equal(data['security-groups'], 'everything');
    assert.equal(data['public-hostname'], 'ec2-203-0-113-20.compute.example');
    const [nic] = Object.values<Record<string, unknown>>(data.network.interfaces.macs);
    assert.deepEqual(
      [nic?.['vpc-id'], nic?.['subnet-ipv4-cidr-block'], nic?.['local-ipv4s']],
      ['vpc-1', '10.0.0.0/24', '10.0.0.10'],
    );
    assert.deepEqual(dynamic['instance-identity'].pkcs7, ['cGs3', 'cGs3']);
    assert.equal(dynamic['instance-identity'].document.instanceId, 'i-10');
  });

  it('ec2-metadata prints all of it; what is not available is not there at EC2 either', async (context) => {
    const stock = use((reason) => context.skip(reason));
    if (stock === undefined) return;
    const { ok, out } = await vm.run(`${stock.ec2Metadata} --all`, 60_000);
    assert.ok(ok, out);
    const missing = out.split('\n').flatMap((line) => /^(\S+): not available$/.exec(line)?.[1] ?? []);
    assert.deepEqual(missing, ['ancestor-ami-ids', 'kernel-id', 'product-codes', 'ramdisk-id']);
    for (const line of [
      ...[
        'instance-id: i-10',
        'placement: pando-1a',
        'security-groups: everything',
        'user-data: hello eni-10',
      ],
      ...[
        'keyname:laptop',
        'format:openssh-key',
        'ssh-ed25519 AAAA laptop',
        '\t root: /dev/xvda',
        '\t Name: first',
      ],
    ])
      assert.ok(out.split('\n').includes(line), line);
  });

  it('ec2metadata, which knows version 1 alone, reads where no token is demanded', async (context) => {
    const stock = use((reason) => context.skip(reason));
    if (stock === undefined) return;
    await card.client.call('card.prepareAdministrative', {
      ...{ vpcId: 'vpc-1', eniId: vm.port.eniId },
      metadata: { ...metadata, httpTokens: 'optional' },
    });
    const { ok, out } = await vm.run(stock.ec2metadata, 60_000);
    assert.ok(ok, out);
    for (const line of ['instance-id: i-10', 'public-hostname: ec2-203-0-113-20.compute.example'])
      assert.ok(out.split('\n').includes(line), out);
  });
});
