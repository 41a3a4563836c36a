/** Private and public addresses of launches, through the real router, region and cell. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type RealClient, type RealCloud, startRealCloud, until } from './realCloud.ts';

describe('addresses of launches', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  let subnetId: string;
  before(async () => {
    cloud = await startRealCloud({ regionConfig: { privateRestMs: 3_600_000, publicRestMs: 3_600_000 } });
    alice = await cloud.account();
    const vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
    await alice.call('ModifyVpcAttribute', { VpcId: vpcId, EnableDnsHostnames: { Value: true } });
    const gateway = (await alice.call('CreateInternetGateway', {})).InternetGateway?.InternetGatewayId ?? '';
    await alice.call('AttachInternetGateway', { VpcId: vpcId, InternetGatewayId: gateway });
    const made = await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.0.0.0/28' });
    subnetId = made.Subnet?.SubnetId ?? '';
    await alice.call('ModifySubnetAttribute', { SubnetId: subnetId, MapPublicIpOnLaunch: { Value: true } });
  });
  after(() => cloud?.close());

  const fill = async (count: number): Promise<string[]> => {
    const made = await alice.run({ SubnetId: subnetId, MinCount: count, MaxCount: count });
    const ids = made.map(({ InstanceId = '' }) => InstanceId);
    for (const id of ids) await alice.reaches(id, 'running');
    return ids;
  };
  const empty = async (ids: readonly string[]): Promise<void> => {
    await alice.call('TerminateInstances', { InstanceIds: [...ids] });
    for (const id of ids) await alice.reaches(id, 'terminated');
  };

  it('reserved addresses are refused by RunInstances at once, inside of NetworkInterfaces too', async () => {
    for (const ip of ['10.0.0.0', '10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.15']) {
      const refused = {
        name: 'InvalidParameterValue',
        message: `Address ${ip} is in subnet's reserved address range`,
      };
      const nic = { DeviceIndex: 0, SubnetId: subnetId };
      await assert.rejects(alice.run({ SubnetId: subnetId, PrivateIpAddress: ip }), refused);
      await assert.rejects(alice.run({ NetworkInterfaces: [{ ...nic, PrivateIpAddress: ip }] }), refused);
      const listed = [{ PrivateIpAddress: ip, Primary: true }];
      await assert.rejects(
        alice.run({ NetworkInterfaces: [{ ...nic, PrivateIpAddresses: listed }] }),
        refused,
      );
    }
    const { Reservations } = await alice.call('DescribeInstances', {});
    assert.deepEqual(Reservations, [], 'nothing was made');
  });

  it('a /28 that has just been emptied is filled again at once', async () => {
    for (let round = 0; round < 2; round++) {
      const ids = await fill(11);
      await assert.rejects(alice.run({ SubnetId: subnetId }), { name: 'InsufficientFreeAddressesInSubnet' });
      await empty(ids);
      const { Subnets } = await alice.call('DescribeSubnets', { SubnetIds: [subnetId] });
      assert.equal(Subnets?.[0]?.AvailableIpAddressCount, 11);
    }
  });

  // Amazon EC2 User Guide, "Amazon EC2 instance IP addressing" and "Stop and start Amazon EC2 instances".
  it('an automatic public address and its names go at a stop, wherever they are shown, and others come at the start', async () => {
    const [id = ''] = await fill(1);
    const first = await alice.instance(id);
    const address = first.PublicIpAddress ?? '';
    const shown = async () => {
      const byAddress = { Filters: [{ Name: 'ip-address', Values: [address] }] };
      const { Reservations = [] } = await alice.call('DescribeInstances', byAddress);
      const { NetworkInterfaces: [eni] = [] } = await alice.call('DescribeNetworkInterfaces', {
        Filters: [{ Name: 'attachment.instance-id', Values: [id] }],
      });
      const { PublicIpAddress, PublicDnsName, NetworkInterfaces: [nic] = [] } = await alice.instance(id);
      const found = Reservations.length;
      return { found, PublicIpAddress, PublicDnsName, nic: nic?.Association, eni: eni?.Association };
    };
    const nameOf = (ip = '') => `ec2-${ip.replaceAll('.', '-')}.`;
    const before = await shown();
    assert.deepEqual([before.found, before.nic?.PublicIp, before.eni?.PublicIp], [1, address, address]);
    assert.ok(before.PublicDnsName?.startsWith(nameOf(address)), before.PublicDnsName);
    await alice.call('StopInstances', { InstanceIds: [id] });
    await alice.reaches(id, 'stopped');
    assert.deepEqual(await shown(), {
      ...{ found: 0, PublicIpAddress: undefined, PublicDnsName: '', nic: undefined, eni: undefined },
    });
    const { PrivateIpAddress, PrivateDnsName } = await alice.instance(id);
    assert.deepEqual(
      [PrivateIpAddress, PrivateDnsName],
      [first.PrivateIpAddress, first.PrivateDnsName],
      'private ones stay',
    );
    await alice.call('StartInstances', { InstanceIds: [id] });
    const { PublicIpAddress: next } = await alice.reaches(id, 'running');
    assert.ok(next !== undefined && next !== address);
    const after = await shown();
    assert.deepEqual([after.found, after.nic?.PublicIp, after.eni?.PublicIp], [0, next, next]);
    assert.ok(after.PublicDnsName?.startsWith(nameOf(next)), after.PublicDnsName);
    await empty([id]);
  });

  it('a reboot and a recovery keep the automatic address, an elastic one outlives a stop', async () => {
    const [id = ''] = await fill(1);
    const { PublicIpAddress: own } = await alice.instance(id);
    await alice.call('RebootInstances', { InstanceIds: [id] });
    await cloud.quiet();
    const [host] = cloud.hosts.filter((each) => each.vms.get(id)?.state === 'running');
    host?.faults.order('vm.launch', { kind: 'fail' }, 1);
    host?.killVmm(id);
    await until('it runs again', () => host?.vms.get(id)?.state === 'running');
    await cloud.quiet();
    assert.equal((await alice.instance(id)).PublicIpAddress, own);
    const { AllocationId, PublicIp } = await alice.call('AllocateAddress', { Domain: 'vpc' });
    await alice.call('AssociateAddress', { AllocationId, InstanceId: id });
    for (const [action, state] of [
      ['StopInstances', 'stopped'],
      ['StartInstances', 'running'],
    ] as const) {
      await alice.call(action, { InstanceIds: [id] });
      assert.equal((await alice.reaches(id, state)).PublicIpAddress, PublicIp, state);
    }
    await empty([id]);
    await alice.call('ReleaseAddress', { AllocationId });
  });

  it('an automatic public address comes back when the elastic one goes, also by a start', async () => {
    const [id = ''] = await fill(1);
    const { AllocationId, PublicIp } = await alice.call('AllocateAddress', { Domain: 'vpc' });
    const associate = () => alice.call('AssociateAddress', { AllocationId, InstanceId: id });
    const { AssociationId: first } = await associate();
    assert.equal((await alice.instance(id)).PublicIpAddress, PublicIp);
    await alice.call('DisassociateAddress', { AssociationId: first });
    const { PublicIpAddress: back } = await alice.instance(id);
    assert.ok(back !== undefined && back !== PublicIp);
    const { AssociationId: second } = await associate();
    await alice.call('StopInstances', { InstanceIds: [id] });
    await alice.reaches(id, 'stopped');
    await alice.call('DisassociateAddress', { AssociationId: second });
    assert.equal((await alice.instance(id)).PublicIpAddress, undefined, 'it is stopped');
    await alice.call('StartInstances', { InstanceIds: [id] });
    assert.notEqual((await alice.reaches(id, 'running')).PublicIpAddress, undefined);
    await alice.call('ReleaseAddress', { AllocationId });
    await empty([id]);
  });
});
