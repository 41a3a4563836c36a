/** Dry runs: every changing action that knows them says that it would have succeeded, and changes nothing. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { routedActions } from '#router/actions.ts';
import { operationOf } from '#wire/actions.ts';
import type { KnownAction } from '#wire/types.ts';
import { type Belongings, furnish } from './belongings.ts';
import { codeOf } from './cloud.ts';
import { type RealClient, type RealCloud, startRealCloud, zone } from './realCloud.ts';

type Parameters = Readonly<Record<string, string>>;

const permission = {
  'IpPermissions.1.IpProtocol': 'tcp',
  'IpPermissions.1.FromPort': '81',
  'IpPermissions.1.ToPort': '81',
  'IpPermissions.1.IpRanges.1.CidrIp': '192.0.2.0/24',
};
const slots = { InstanceType: 'p1.nano', InstancePlatform: 'Linux/UNIX' };
const tag = { 'Tag.1.Key': 'k', 'Tag.1.Value': 'v' };

/** What each action needs to succeed, given one of everything; `spare` is a second set that nothing uses. */
const rightParameters = (own: Belongings, spare: Parameters): Readonly<Record<string, Parameters>> => ({
  RunInstances: {
    ImageId: own.image,
    InstanceType: 'p1.nano',
    MinCount: '1',
    MaxCount: '1',
    ClientToken: 'dry',
  },
  StartInstances: { 'InstanceId.1': own.instance },
  StopInstances: { 'InstanceId.1': own.instance },
  RebootInstances: { 'InstanceId.1': own.instance },
  TerminateInstances: { 'InstanceId.1': own.instance },
  ModifyInstanceAttribute: { InstanceId: own.instance, 'DisableApiTermination.Value': 'true' },
  ModifyInstanceEventStartTime: {
    InstanceId: own.instance,
    InstanceEventId: spare.event ?? '',
    NotBefore: new Date(Date.now() + 7_200_000).toISOString(),
  },
  ModifyInstanceMaintenanceOptions: { InstanceId: own.instance, AutoRecovery: 'disabled' },
  ModifyInstanceMetadataOptions: { InstanceId: own.instance, HttpTokens: 'required' },
  ModifyNetworkInterfaceAttribute: { NetworkInterfaceId: own.eni, 'SourceDestCheck.Value': 'false' },
  CreateTags: { 'ResourceId.1': own.instance, 'ResourceId.2': own.vpc, ...tag },
  DeleteTags: { 'ResourceId.1': own.vpc, ...tag },
  CreateKeyPair: { KeyName: 'dry' },
  ImportKeyPair: { KeyName: 'dry', PublicKeyMaterial: spare.publicKey ?? '' },
  DeleteKeyPair: { KeyName: own.keyName },
  RegisterImage: { Name: 'dry', ImageLocation: 'somewhere' },
  DeregisterImage: {},
  ModifyInstanceMetadataDefaults: { HttpTokens: 'required' },
  CreateVpc: { CidrBlock: '10.60.0.0/16' },
  DeleteVpc: { VpcId: spare.vpc ?? '' },
  CreateSubnet: { VpcId: own.vpc, CidrBlock: '10.50.9.0/24' },
  DeleteSubnet: { SubnetId: spare.subnet ?? '' },
  CreateInternetGateway: {},
  AttachInternetGateway: { InternetGatewayId: spare.gateway ?? '', VpcId: spare.vpc ?? '' },
  DetachInternetGateway: { InternetGatewayId: spare.defaultGateway ?? '', VpcId: spare.defaultVpc ?? '' },
  DeleteInternetGateway: { InternetGatewayId: spare.gateway ?? '' },
  CreateRouteTable: { VpcId: own.vpc },
  DeleteRouteTable: { RouteTableId: spare.table ?? '' },
  AssociateRouteTable: { RouteTableId: own.table, SubnetId: spare.subnet ?? '' },
  DisassociateRouteTable: { AssociationId: own.association },
  ReplaceRouteTableAssociation: { AssociationId: own.association, RouteTableId: spare.table ?? '' },
  CreateRoute: { RouteTableId: own.table, DestinationCidrBlock: '0.0.0.0/0', GatewayId: own.gateway },
  ReplaceRoute: {
    RouteTableId: spare.table ?? '',
    DestinationCidrBlock: '0.0.0.0/0',
    GatewayId: own.gateway,
  },
  DeleteRoute: { RouteTableId: spare.table ?? '', DestinationCidrBlock: '0.0.0.0/0' },
  CreateSecurityGroup: { GroupName: 'dry', GroupDescription: 'dry', VpcId: own.vpc },
  DeleteSecurityGroup: { GroupId: spare.group ?? '' },
  AuthorizeSecurityGroupIngress: { GroupId: own.group, ...permission },
  AuthorizeSecurityGroupEgress: { GroupId: own.group, ...permission },
  RevokeSecurityGroupIngress: { GroupId: spare.group ?? '', ...permission },
  RevokeSecurityGroupEgress: { GroupId: own.group, 'SecurityGroupRuleId.1': own.rule },
  AllocateAddress: {},
  AssociateAddress: { AllocationId: own.allocation, InstanceId: own.instance },
  DisassociateAddress: { AssociationId: spare.addressAssociation ?? '' },
  ReleaseAddress: { AllocationId: own.allocation },
  CreateDhcpOptions: {
    'DhcpConfiguration.1.Key': 'domain-name',
    'DhcpConfiguration.1.Value.1': 'dry.example',
  },
  AssociateDhcpOptions: { DhcpOptionsId: 'default', VpcId: own.vpc },
  DeleteDhcpOptions: { DhcpOptionsId: spare.dhcp ?? '' },
  CreateLaunchTemplate: { LaunchTemplateName: 'dry', 'LaunchTemplateData.ImageId': own.image },
  CreateLaunchTemplateVersion: {
    LaunchTemplateId: spare.template ?? '',
    'LaunchTemplateData.ImageId': own.image,
  },
  ModifyLaunchTemplate: { LaunchTemplateId: spare.template ?? '', SetDefaultVersion: '1' },
  DeleteLaunchTemplateVersions: { LaunchTemplateId: spare.template ?? '', 'LaunchTemplateVersion.1': '7' },
  DeleteLaunchTemplate: { LaunchTemplateId: spare.template ?? '' },
  CreateInstanceEventWindow: { CronExpression: '* 0-4 * * 1' },
  ModifyInstanceEventWindow: { InstanceEventWindowId: own.window, Name: 'dry' },
  DeleteInstanceEventWindow: { InstanceEventWindowId: own.window },
  AssociateInstanceEventWindow: {
    InstanceEventWindowId: own.window,
    'AssociationTarget.InstanceId.1': own.instance,
  },
  DisassociateInstanceEventWindow: {
    InstanceEventWindowId: spare.window ?? '',
    'AssociationTarget.InstanceTag.1.Key': 'team',
    'AssociationTarget.InstanceTag.1.Value': 'a',
  },
  CreateCapacityReservation: { ...slots, AvailabilityZone: zone, InstanceCount: '1' },
  ModifyCapacityReservation: { CapacityReservationId: own.reservation, InstanceCount: '2' },
  CancelCapacityReservation: { CapacityReservationId: own.reservation },
  ModifyInstanceCapacityReservationAttributes: {
    InstanceId: spare.stopped ?? '',
    'CapacityReservationSpecification.CapacityReservationPreference': 'none',
  },
  AllocateHosts: { InstanceType: 'p1.nano', AvailabilityZone: zone, Quantity: '1' },
  ModifyHosts: { 'HostId.1': spare.host ?? '', AutoPlacement: 'off' },
  ReleaseHosts: { 'HostId.1': spare.host ?? '' },
  CreatePlacementGroup: { GroupName: 'dry', Strategy: 'spread' },
  DeletePlacementGroup: { GroupName: 'spare' },
  DisableEbsEncryptionByDefault: {},
  ResetEbsDefaultKmsKeyId: {},
  ModifyEbsDefaultKmsKeyId: { KmsKeyId: 'alias/aws/ebs' },
  DisableSerialConsoleAccess: {},
});

describe('dry runs', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  let own: Belongings;
  let spare: Parameters;
  before(async () => {
    // One that is allocated, one that could be, and the others for instances and reservations.
    cloud = await startRealCloud({ hosts: 4 });
    alice = await cloud.account();
    own = await furnish(cloud, alice);
    const { call } = alice;
    const subnet = await call('CreateSubnet', { VpcId: own.vpc, CidrBlock: '10.50.8.0/24' });
    const group = await call('CreateSecurityGroup', { GroupName: 'spare', Description: 's', VpcId: own.vpc });
    await call('AuthorizeSecurityGroupIngress', {
      GroupId: group.GroupId,
      IpPermissions: [
        { IpProtocol: 'tcp', FromPort: 81, ToPort: 81, IpRanges: [{ CidrIp: '192.0.2.0/24' }] },
      ],
    });
    const { RouteTableId } = (await call('CreateRouteTable', { VpcId: own.vpc })).RouteTable ?? {};
    await call('CreateRoute', { RouteTableId, DestinationCidrBlock: '0.0.0.0/0', GatewayId: own.gateway });
    const { AllocationId } = await call('AllocateAddress', {});
    const { AssociationId } = await call('AssociateAddress', { AllocationId, InstanceId: own.instance });
    const { KeyPairs: [key] = [] } = await call('DescribeKeyPairs', { IncludePublicKey: true });
    const { InternetGateways: gateways = [] } = await call('DescribeInternetGateways', {});
    const other = gateways.find((one) => one.InternetGatewayId !== own.gateway);
    const { DhcpOptions: dhcp } = await call('CreateDhcpOptions', {
      DhcpConfigurations: [{ Key: 'domain-name', Values: ['spare.example'] }],
    });
    const { LaunchTemplate: template } = await call('CreateLaunchTemplate', {
      LaunchTemplateName: 'spare',
      LaunchTemplateData: { ImageId: own.image },
    });
    await call('CreatePlacementGroup', { GroupName: 'spare', Strategy: 'cluster' });
    const [second] = await alice.run({ SubnetId: own.subnet });
    const stopped = second?.InstanceId ?? '';
    await alice.reaches(stopped, 'running');
    await call('StopInstances', { InstanceIds: [stopped] });
    await alice.reaches(stopped, 'stopped');
    const { HostIds: [host = ''] = [] } = await call('AllocateHosts', {
      ...{ InstanceType: 'p1.nano', AvailabilityZone: zone, Quantity: 1 },
    });
    const { InstanceEventWindow: window } = await call('CreateInstanceEventWindow', {
      CronExpression: '* 0-4 * * 2',
    });
    await call('AssociateInstanceEventWindow', {
      InstanceEventWindowId: window?.InstanceEventWindowId ?? '',
      AssociationTarget: { InstanceTags: [{ Key: 'team', Value: 'a' }] },
    });
    const event = 'instance-event-0123456789abcdef0';
    // Only a drain that waits makes one.
    await cloud.cell.services.db.query(
      `insert into instance_events (id, instance_id, workflow_id, code, description, not_before, not_after, not_before_deadline)
       values ($1, $2, 'none', 'system-maintenance', 'd', now() + interval '1 day', now() + interval '25 hours', now() + interval '7 days')`,
      [event, own.instance],
    );
    spare = {
      event,
      ...{ stopped, host, window: window?.InstanceEventWindowId ?? '' },
      template: template?.LaunchTemplateId ?? '',
      dhcp: dhcp?.DhcpOptionsId ?? '',
      defaultGateway: other?.InternetGatewayId ?? '',
      defaultVpc: other?.Attachments?.[0]?.VpcId ?? '',
      vpc: (await call('CreateVpc', { CidrBlock: '10.61.0.0/16' })).Vpc?.VpcId ?? '',
      subnet: subnet.Subnet?.SubnetId ?? '',
      gateway: (await call('CreateInternetGateway', {})).InternetGateway?.InternetGatewayId ?? '',
      table: RouteTableId ?? '',
      group: group.GroupId ?? '',
      addressAssociation: AssociationId ?? '',
      publicKey: Buffer.from(key?.PublicKey ?? '').toString('base64'),
    };
  });
  after(() => cloud.close());

  const changing = routedActions.filter(
    (name) => !/^(Describe|Get)/.test(name) && operationOf(name as KnownAction).input?.byName.has('DryRun'),
  );

  it('are answered with DryRunOperation, and nothing is changed', async () => {
    const parameters = rightParameters(own, spare);
    const before = await cloud.fingerprint();
    for (const action of changing.filter((name) => name !== 'DeregisterImage')) {
      const right = parameters[action];
      assert.ok(right !== undefined, `${action} has no place in this test`);
      const reply = await alice.act(action, { ...right, DryRun: 'true' });
      assert.deepEqual([reply.status, codeOf(reply)], [412, 'DryRunOperation'], `${action}: ${reply.body}`);
    }
    // A public image is not the caller's to remove.
    assert.equal(
      codeOf(await alice.act('DeregisterImage', { ImageId: own.image, DryRun: 'true' })),
      'AuthFailure',
    );
    await cloud.quiet();
    assert.equal(await cloud.fingerprint(), before);
  });

  it('say what is wrong as the real call does', async () => {
    const absent = 'i-0010123456789abcd';
    const wrong: readonly (readonly [string, Parameters, string])[] = [
      ['DeleteSubnet', { SubnetId: own.subnet }, 'DependencyViolation'],
      ['DeleteRouteTable', { RouteTableId: own.table }, 'DependencyViolation'],
      ['DeleteInternetGateway', { InternetGatewayId: own.gateway }, 'DependencyViolation'],
      ['DeleteSecurityGroup', { GroupId: own.group }, 'DependencyViolation'],
      ['CreateSubnet', { VpcId: own.vpc, CidrBlock: '10.50.1.0/24' }, 'InvalidSubnet.Conflict'],
      ['CreateVpc', { CidrBlock: '10.0.0.0/8' }, 'InvalidVpc.Range'],
      ['CreateKeyPair', { KeyName: own.keyName }, 'InvalidKeyPair.Duplicate'],
      ['ReleaseAddress', { AllocationId: 'eipalloc-12345678' }, 'InvalidAllocationID.NotFound'],
      [
        'AttachInternetGateway',
        { InternetGatewayId: own.gateway, VpcId: own.vpc },
        'Resource.AlreadyAssociated',
      ],
      ['StopInstances', { 'InstanceId.1': own.instance, Hibernate: 'true' }, 'UnsupportedOperation'],
      ['StartInstances', { 'InstanceId.1': own.instance, AdditionalInfo: 'x' }, 'UnsupportedOperation'],
      ['CreateTags', { 'ResourceId.1': own.vpc, 'Tag.1.Key': 'aws:x' }, 'InvalidParameterValue'],
      ['AuthorizeSecurityGroupIngress', { GroupId: own.group, IpProtocol: 'tcp' }, 'MissingParameter'],
      ['TerminateInstances', { 'InstanceId.1': absent }, 'InvalidInstanceID.NotFound'],
      [
        'RunInstances',
        { ImageId: 'ami-0123456789abcdef0', MinCount: '1', MaxCount: '1' },
        'InvalidAMIID.NotFound',
      ],
      ['DeleteVpc', { VpcId: own.vpc }, 'DependencyViolation'],
      [
        'ModifyInstanceAttribute',
        { InstanceId: own.instance, 'InstanceType.Value': 'p1.micro' },
        'IncorrectInstanceState',
      ],
    ];
    for (const [action, parameters, code] of wrong)
      for (const DryRun of ['true', 'True', 'false'])
        assert.equal(codeOf(await alice.act(action, { ...parameters, DryRun })), code, `${action} ${DryRun}`);
  });
});
