/** What an account has set, and reports on what it has: those that have one answer here, and those on its VPCs, groups and images. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

const unavailable = { code: 'UnsupportedOperation' };

describe('settings and reports', () => {
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

  it('encryption by default: off, can be switched off, and no key but EC2’s own can be the default', async () => {
    const off = await alice.call('GetEbsEncryptionByDefault', {});
    assert.deepEqual(off, { EbsEncryptionByDefault: false, SseType: 'none' });
    assert.deepEqual(await alice.call('DisableEbsEncryptionByDefault', {}), {
      EbsEncryptionByDefault: false,
    });
    await assert.rejects(alice.call('EnableEbsEncryptionByDefault', {}), unavailable);
    const key = { KmsKeyId: 'alias/aws/ebs' };
    assert.deepEqual(await alice.call('GetEbsDefaultKmsKeyId', {}), key);
    assert.deepEqual(await alice.call('ModifyEbsDefaultKmsKeyId', key), key);
    assert.deepEqual(await alice.call('ResetEbsDefaultKmsKeyId', {}), key);
    await assert.rejects(alice.call('ModifyEbsDefaultKmsKeyId', { KmsKeyId: 'alias/mine' }), unavailable);
  });

  it('settings that stand: serial console, public access, allowed images', async () => {
    assert.equal((await alice.call('GetSerialConsoleAccessStatus', {})).SerialConsoleAccessEnabled, false);
    assert.equal((await alice.call('DisableSerialConsoleAccess', {})).SerialConsoleAccessEnabled, false);
    assert.equal((await alice.call('GetSnapshotBlockPublicAccessState', {})).State, 'unblocked');
    assert.equal(
      (await alice.call('GetImageBlockPublicAccessState', {})).ImageBlockPublicAccessState,
      'unblocked',
    );
    assert.equal((await alice.call('GetAllowedImagesSettings', {})).State, 'disabled');
    const { VpcBlockPublicAccessOptions: options } = await alice.call(
      'DescribeVpcBlockPublicAccessOptions',
      {},
    );
    assert.deepEqual([options?.InternetGatewayBlockMode, options?.State], ['off', 'default-state']);
  });

  it('ClassicLink: every VPC of the account, without it', async () => {
    const { Vpcs: all = [] } = await alice.call('DescribeVpcs', {});
    const links = await alice.call('DescribeVpcClassicLink', {});
    assert.deepEqual(links.Vpcs?.map((one) => one.VpcId).sort(), all.map((one) => one.VpcId).sort());
    assert.ok(links.Vpcs?.every((one) => one.ClassicLinkEnabled === false));
    const dns = await alice.call('DescribeVpcClassicLinkDnsSupport', { VpcIds: [vpcId] });
    assert.deepEqual(dns.Vpcs, [{ VpcId: vpcId, ClassicLinkDnsSupported: false }]);
    for (const action of ['DescribeVpcClassicLink', 'DescribeVpcClassicLinkDnsSupport'] as const)
      await assert.rejects(mallory.call(action, { VpcIds: [vpcId] }), { code: 'InvalidVpcID.NotFound' });
    const enabled = await alice.call('DescribeVpcClassicLink', {
      Filters: [{ Name: 'is-classic-link-enabled', Values: ['true'] }],
    });
    assert.deepEqual(enabled.Vpcs, []);
  });

  it('stale rules cannot be: a group that is referred to is not deleted', async () => {
    const group = async (GroupName: string) =>
      (await alice.call('CreateSecurityGroup', { GroupName, Description: 'd', VpcId: vpcId })).GroupId ?? '';
    const [one, two] = [await group('one'), await group('two')];
    await alice.call('AuthorizeSecurityGroupIngress', {
      GroupId: one,
      IpPermissions: [{ IpProtocol: '-1', UserIdGroupPairs: [{ GroupId: two }] }],
    });
    await assert.rejects(alice.call('DeleteSecurityGroup', { GroupId: two }), {
      code: 'DependencyViolation',
    });
    assert.deepEqual(
      (await alice.call('DescribeStaleSecurityGroups', { VpcId: vpcId })).StaleSecurityGroupSet,
      [],
    );
    const { SecurityGroupReferenceSet: references } = await alice.call('DescribeSecurityGroupReferences', {
      GroupId: [one, two],
    });
    assert.deepEqual(references, []);
    await assert.rejects(mallory.call('DescribeStaleSecurityGroups', { VpcId: vpcId }), {
      code: 'InvalidVpcID.NotFound',
    });
    await assert.rejects(mallory.call('DescribeSecurityGroupReferences', { GroupId: [one] }), {
      code: 'InvalidGroup.NotFound',
    });
    const { SecurityGroupForVpcs: usable } = await alice.call('GetSecurityGroupsForVpc', { VpcId: vpcId });
    assert.deepEqual(usable?.map((entry) => entry.GroupName).sort(), ['default', 'one', 'two']);
    const { SecurityGroupForVpcs: named } = await alice.call('GetSecurityGroupsForVpc', {
      VpcId: vpcId,
      Filters: [{ Name: 'group-name', Values: ['one'] }],
    });
    assert.deepEqual(
      named?.map((entry) => [entry.GroupId, entry.PrimaryVpcId, entry.OwnerId]),
      [[one, vpcId, alice.accountId]],
    );
  });

  it('reservations of a subnet’s range: none, of a subnet of one’s own', async () => {
    const { Subnet } = await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.0.1.0/24' });
    const SubnetId = Subnet?.SubnetId ?? '';
    const none = await alice.call('GetSubnetCidrReservations', { SubnetId });
    assert.deepEqual([none.SubnetIpv4CidrReservations, none.SubnetIpv6CidrReservations], [[], []]);
    await assert.rejects(mallory.call('GetSubnetCidrReservations', { SubnetId }), {
      code: 'InvalidSubnetID.NotFound',
    });
  });

  it('an image’s attributes are told to its owner', async () => {
    const ImageId = 'ami-0123456789abcdef0';
    const row = {
      image_id: ImageId,
      account_id: alice.accountId,
      name: 'own',
      description: 'described',
      digest: 'd',
      location: 'l',
      is_public: false,
      architecture: 'x86_64',
      boot_mode: 'bios',
      min_memory_mib: 64,
      disk_virtual_mib: 1_500,
      root_device_name: '/dev/vda',
      imds_support: 'v2.0' as const,
    };
    await region.region.db.insertInto('image').values(row).execute();
    const of = (Attribute: 'description') => alice.call('DescribeImageAttribute', { ImageId, Attribute });
    assert.deepEqual((await of('description')).Description, { Value: 'described' });
    assert.deepEqual((await of('launchPermission' as 'description')).LaunchPermissions, []);
    assert.deepEqual((await of('imdsSupport' as 'description')).ImdsSupport, { Value: 'v2.0' });
    const { BlockDeviceMappings: [disk] = [] } = await of('blockDeviceMapping' as 'description');
    assert.deepEqual([disk?.DeviceName, disk?.Ebs?.VolumeSize], ['/dev/vda', 2]);
    for (const wrong of ['', 'userData', '__proto__'])
      await assert.rejects(of(wrong as 'description'), { code: 'InvalidParameterValue' });
    const foreign = { ImageId, Attribute: 'description' as const };
    await assert.rejects(mallory.call('DescribeImageAttribute', foreign), { code: 'InvalidAMIID.NotFound' });
    await region.region.db
      .updateTable('image')
      .set({ is_public: true })
      .where('image_id', '=', ImageId)
      .execute();
    await assert.rejects(mallory.call('DescribeImageAttribute', foreign), { code: 'AuthFailure' });
    assert.deepEqual((await of('launchPermission' as 'description')).LaunchPermissions, [{ Group: 'all' }]);
  });
});
