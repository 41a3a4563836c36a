/** `aws ec2 wait …` of the AWS CLI: each waiter ends when what it waits for is so, and says by its exit code when that cannot be. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { findCommand } from '#cli/provision/machine.ts';
import { type ClientRegion, startClientRegion } from '../clients/support/clients.ts';

const awsCommand = findCommand('aws');
/** What the CLI says when the state that it waits for cannot come any more. */
const failedExitCode = 255;
const absent = { interface: 'eni-0ffffffffffffffff', volume: 'vol-0ffffffffffffffff' };

describe('aws ec2 wait', { skip: awsCommand === undefined && 'needs apt-get install awscli' }, () => {
  let region: ClientRegion;
  let ids: readonly string[];
  before(async () => {
    region = await startClientRegion();
    const made = await region.owner.run({ MinCount: 2, MaxCount: 2 });
    ids = made.map(({ InstanceId = '' }) => InstanceId);
  });
  after(() => region?.close());

  const wait = (waiter: string, option?: string, ...values: readonly string[]): Promise<string> =>
    region.run(awsCommand ?? 'aws', [
      ...['--endpoint-url', region.endpoint, 'ec2', 'wait', waiter],
      ...(option === undefined ? [] : [option, ...values]),
    ]);
  const failure = async (waiter: string, option: string, ...values: readonly string[]): Promise<string> => {
    const thrown: unknown = await wait(waiter, option, ...values).catch((error: unknown) => error);
    assert.ok(thrown instanceof Error, `${waiter} did not fail`);
    assert.match(thrown.message, new RegExp(`ended with ${failedExitCode}:`));
    return thrown.message;
  };

  it('instance-exists, -running, -status-ok and system-status-ok of instances that are being launched', async () => {
    for (const waiter of ['instance-exists', 'instance-running', 'instance-status-ok', 'system-status-ok'])
      await wait(waiter, '--instance-ids', ...ids);
    for (const id of ids) assert.equal((await region.owner.instance(id)).State?.Name, 'running');
  });

  it('what exists at once: image, key pair, group, subnet, VPC, gateway, volume in use', async () => {
    const { owner } = region;
    await owner.call('CreateKeyPair', { KeyName: 'waited' });
    const { GroupId = '' } = await owner.call('CreateSecurityGroup', {
      GroupName: 'waited',
      Description: 'd',
    });
    const {
      VpcId = '',
      SubnetId = '',
      BlockDeviceMappings: [disk] = [],
    } = await owner.instance(ids[0] ?? '');
    const { InternetGateway } = await owner.call('CreateInternetGateway', {});
    for (const [waiter, option, value = ''] of [
      ['image-exists', '--image-ids', region.cloud.imageId],
      ['image-available', '--image-ids', region.cloud.imageId],
      ['key-pair-exists', '--key-names', 'waited'],
      ['security-group-exists', '--group-ids', GroupId],
      ['subnet-available', '--subnet-ids', SubnetId],
      ['vpc-available', '--vpc-ids', VpcId],
      ['vpc-exists', '--vpc-ids', VpcId],
      ['internet-gateway-exists', '--internet-gateway-ids', InternetGateway?.InternetGatewayId],
      ['volume-in-use', '--volume-ids', disk?.Ebs?.VolumeId],
    ] as const)
      await wait(waiter, option, value);
  });

  it('instance-stopped, then instance-terminated and volume-deleted', async () => {
    const [id = '', other = ''] = ids;
    const { BlockDeviceMappings: [disk] = [] } = await region.owner.instance(id);
    await region.owner.call('StopInstances', { InstanceIds: [id] });
    await wait('instance-stopped', '--instance-ids', id);
    await region.owner.call('TerminateInstances', { InstanceIds: [id, other] });
    await wait('instance-terminated', '--instance-ids', id, other);
    await wait('volume-deleted', '--volume-ids', disk?.Ebs?.VolumeId ?? '');
  });

  it('one that cannot come true ends at once, and says why', async () => {
    const [id = ''] = ids;
    const running = await failure('instance-running', '--instance-ids', id);
    assert.match(running, /Waiter InstanceRunning failed/);
    assert.match(await failure('instance-stopped', '--instance-ids', id), /Waiter InstanceStopped failed/);
    assert.match(
      await failure('network-interface-available', '--network-interface-ids', absent.interface),
      /InvalidNetworkInterfaceID.NotFound|Waiter NetworkInterfaceAvailable failed/,
    );
    assert.match(await failure('volume-available', '--volume-ids', absent.volume), /InvalidVolume.NotFound/);
  });
});
