/** What guests read of the metadata service follows the API, while they run: by AWS's own SDK, down to the host. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ModifyInstanceMetadataOptionsRequest } from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import type { VmMetadata } from '#contracts/network.ts';
import { eventually } from '../card/lab.ts';
import { type RealClient, type RealCloud, startRealCloud } from './realCloud.ts';

describe('metadata of running instances', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  let id: string;
  before(async () => {
    cloud = await startRealCloud();
    alice = await cloud.account();
    id = await launched();
  });
  after(() => cloud.close());

  const launched = async (input: Parameters<RealClient['run']>[0] = {}): Promise<string> => {
    const [made] = await alice.run(input);
    const instanceId = made?.InstanceId ?? '';
    await alice.reaches(instanceId, 'running');
    return instanceId;
  };
  /** What the host of the instance was told. */
  const told = (instanceId = id): VmMetadata | undefined =>
    cloud.hosts.find((host) => host.vms.has(instanceId))?.vms.get(instanceId)?.metadata;
  const eventuallyTold = (holds: (metadata: VmMetadata | undefined) => boolean, instanceId = id) =>
    eventually(async () => told(instanceId), holds);
  const options = async (instanceId = id) => (await alice.instance(instanceId)).MetadataOptions;
  const applied = async (instanceId = id) =>
    eventually(
      () => options(instanceId),
      (shown) => shown?.State === 'applied',
    );
  const modify = (
    change: Omit<Partial<ModifyInstanceMetadataOptionsRequest>, 'InstanceId'>,
    InstanceId = id,
  ) => alice.call('ModifyInstanceMetadataOptions', { InstanceId, ...change });

  it('are told an identity that the region signed, names of groups, and where they are', async () => {
    const instance = await alice.instance(id);
    const metadata = told();
    const document = JSON.parse(metadata?.identity?.document ?? '{}');
    assert.deepEqual(
      [document.instanceId, document.accountId, document.privateIp, document.imageId, document.instanceType],
      [id, alice.accountId, instance.PrivateIpAddress, cloud.imageId, instance.InstanceType],
    );
    assert.ok((metadata?.identity?.pkcs7.length ?? 0) > 400);
    assert.deepEqual(
      metadata?.groups?.map(({ groupName }) => groupName),
      ['default'],
    );
    assert.equal(metadata?.availabilityZoneId, instance.Placement?.AvailabilityZoneId);
    assert.equal(metadata?.rootDeviceName, instance.RootDeviceName);
    assert.equal(metadata?.tags, undefined, 'tags are not shown unless their owner lets them be');
  });

  it('change their options: pending at first, applied once the host has them', async () => {
    const { InstanceMetadataOptions: answered } = await modify({
      HttpTokens: 'optional',
      HttpPutResponseHopLimit: 3,
    });
    assert.deepEqual(
      [answered?.State, answered?.HttpTokens, answered?.HttpPutResponseHopLimit],
      ['pending', 'optional', 3],
    );
    const shown = await applied();
    assert.deepEqual([shown?.HttpTokens, shown?.HttpPutResponseHopLimit], ['optional', 3]);
    assert.deepEqual([told()?.httpTokens, told()?.hopLimit], ['optional', 3]);
    await modify({ HttpEndpoint: 'disabled' });
    await eventuallyTold((metadata) => metadata?.httpEndpoint === 'disabled');
    assert.equal(told()?.httpTokens, 'optional', 'what is not named stays');
    await modify({ HttpEndpoint: 'enabled', HttpTokens: 'required' });
    await eventuallyTold(
      (metadata) => metadata?.httpEndpoint === 'enabled' && metadata.httpTokens === 'required',
    );
    await assert.rejects(modify({ HttpTokens: 'optional', DryRun: true }), { name: 'DryRunOperation' });
    await applied();
    assert.equal(told()?.httpTokens, 'required');
  });

  it('stay pending while the host is away, and are applied when it is back', async () => {
    const other = await launched();
    const host = cloud.hosts.find((each) => each.vms.has(other));
    assert.ok(host !== undefined);
    host.faults.order(
      'vm.updateMetadata',
      { kind: 'fail', error: new PandoError('HostUnreachable', 'It is away.') },
      3,
    );
    await modify({ HttpPutResponseHopLimit: 9 }, other);
    assert.equal((await options(other))?.State, 'pending');
    assert.equal((await options(other))?.HttpPutResponseHopLimit, 9);
    assert.notEqual(told(other)?.hopLimit, 9);
    host.faults.clear();
    await applied(other);
    assert.equal(told(other)?.hopLimit, 9);
  });

  it('of a stopped instance are applied at once, and told at its start', async () => {
    const other = await launched();
    await alice.call('StopInstances', { InstanceIds: [other] });
    await alice.reaches(other, 'stopped');
    const { InstanceMetadataOptions: answered } = await modify({ HttpPutResponseHopLimit: 5 }, other);
    assert.equal(answered?.State, 'applied');
    await alice.call('StartInstances', { InstanceIds: [other] });
    await alice.reaches(other, 'running');
    assert.equal(told(other)?.hopLimit, 5);
    await alice.call('TerminateInstances', { InstanceIds: [other] });
    await alice.reaches(other, 'terminated');
    await assert.rejects(modify({ HttpPutResponseHopLimit: 5 }, other), { name: 'IncorrectInstanceState' });
  });

  it('show tags where their owner lets them, as they are now, and refuses keys that are no names there', async () => {
    const bad = { name: 'InvalidParameterValue', message: /is not a valid tag key/ };
    await alice.call('CreateTags', { Resources: [id], Tags: [{ Key: 'a b', Value: '' }] });
    await assert.rejects(modify({ InstanceMetadataTags: 'enabled' }), bad);
    await alice.call('DeleteTags', { Resources: [id], Tags: [{ Key: 'a b' }] });
    await alice.call('CreateTags', { Resources: [id], Tags: [{ Key: 'Name', Value: 'one' }] });
    assert.equal(told()?.tags, undefined);
    await modify({ InstanceMetadataTags: 'enabled' });
    await eventuallyTold((metadata) => metadata?.tags?.[0]?.Value === 'one');
    await alice.call('CreateTags', { Resources: [id], Tags: [{ Key: 'Name', Value: 'two' }] });
    await eventuallyTold((metadata) => metadata?.tags?.[0]?.Value === 'two');
    for (const Key of ['a b', 'a/b', '.', '..', '_index', 'ä'])
      await assert.rejects(
        alice.call('CreateTags', { Resources: [id], Tags: [{ Key, Value: '' }] }),
        bad,
        Key,
      );
    await alice.call('DeleteTags', { Resources: [id], Tags: [{ Key: 'Name' }] });
    await eventuallyTold((metadata) => metadata?.tags?.length === 0);
    await modify({ InstanceMetadataTags: 'disabled' });
    await eventuallyTold((metadata) => metadata?.tags === undefined);
    await alice.call('CreateTags', { Resources: [id], Tags: [{ Key: 'a b', Value: '' }] });

    const MetadataOptions = { InstanceMetadataTags: 'enabled' as const };
    const tagged = (Key: string) => ({
      TagSpecifications: [{ ResourceType: 'instance' as const, Tags: [{ Key, Value: 'x' }] }],
    });
    await assert.rejects(alice.run({ MetadataOptions, ...tagged('a b') }), bad);
    const shown = await launched({ MetadataOptions, ...tagged('a.b') });
    assert.deepEqual(told(shown)?.tags, [{ Key: 'a.b', Value: 'x' }]);
    assert.equal((await options(shown))?.InstanceMetadataTags, 'enabled');
  });

  it('take what the account has set for its launches', async () => {
    await alice.call('ModifyInstanceMetadataDefaults', { InstanceMetadataTags: 'enabled' });
    assert.deepEqual((await alice.call('GetInstanceMetadataDefaults', {})).AccountLevel, {
      InstanceMetadataTags: 'enabled',
    });
    const other = await launched();
    assert.deepEqual(told(other)?.tags, []);
    await alice.call('ModifyInstanceMetadataDefaults', { InstanceMetadataTags: 'no-preference' });
    assert.equal(told(await launched())?.tags, undefined);
  });

  it('name the groups that the instance has now', async () => {
    const { GroupId = '' } = await alice.call('CreateSecurityGroup', {
      GroupName: 'web',
      Description: 'test',
    });
    await alice.call('ModifyInstanceAttribute', { InstanceId: id, Groups: [GroupId] });
    await eventuallyTold((metadata) => metadata?.groups?.[0]?.groupName === 'web');
    assert.deepEqual(told()?.groups, [{ groupId: GroupId, groupName: 'web' }]);
  });
});
