/** What an account has, and which member of a request means which of it. */
import { createProfile } from '#region/instance-profiles.ts';
import { type RealClient, type RealCloud, zone } from './realCloud.ts';

/** Ids and names by the kind of thing. */
export type Belongings = Readonly<Record<Kind, string>>;

const kinds = [
  'instance',
  'vpc',
  'subnet',
  'group',
  'rule',
  'gateway',
  'table',
  'association',
  'acl',
  'eni',
  'allocation',
  'volume',
  'image',
  'keyName',
  'keyId',
  'dhcp',
  'template',
  'profile',
  'profileAssociation',
  'reservation',
  'host',
  'window',
] as const;
type Kind = (typeof kinds)[number];

/** Gives an account one of everything. */
export const furnish = async (cloud: RealCloud, client: RealClient): Promise<Belongings> => {
  const { call } = client;
  const { VpcId: vpc = '' } = (await call('CreateVpc', { CidrBlock: '10.50.0.0/16' })).Vpc ?? {};
  const { SubnetId: subnet = '' } =
    (await call('CreateSubnet', { VpcId: vpc, CidrBlock: '10.50.1.0/24' })).Subnet ?? {};
  const { GroupId: group = '' } = await call('CreateSecurityGroup', {
    GroupName: 'own',
    Description: 'own',
    VpcId: vpc,
  });
  const { SecurityGroupRules: [rule] = [] } = await call('DescribeSecurityGroupRules', {
    Filters: [{ Name: 'group-id', Values: [group] }],
  });
  const { InternetGatewayId: gateway = '' } = (await call('CreateInternetGateway', {})).InternetGateway ?? {};
  await call('AttachInternetGateway', { InternetGatewayId: gateway, VpcId: vpc });
  const { RouteTableId: table = '' } = (await call('CreateRouteTable', { VpcId: vpc })).RouteTable ?? {};
  const { AssociationId: association = '' } = await call('AssociateRouteTable', {
    RouteTableId: table,
    SubnetId: subnet,
  });
  const { NetworkAcls: [acl] = [] } = await call('DescribeNetworkAcls', {
    Filters: [{ Name: 'vpc-id', Values: [vpc] }],
  });
  const { AllocationId: allocation = '' } = await call('AllocateAddress', {});
  const key = await call('CreateKeyPair', { KeyName: 'own', KeyType: 'ed25519' });
  const { DhcpOptions: [dhcp] = [] } = await call('DescribeDhcpOptions', {});
  const { LaunchTemplate: template } = await call('CreateLaunchTemplate', {
    LaunchTemplateName: 'own-template',
    LaunchTemplateData: { ImageId: cloud.imageId, InstanceType: 't3.nano' },
  });
  const { name: profile } = await createProfile(cloud.region, {
    accountId: client.accountId,
    name: 'own-profile',
    policy: 'full',
  });
  const [made] = await client.run({ SubnetId: subnet, SecurityGroupIds: [group] });
  const instance = await client.reaches(made?.InstanceId ?? '', 'running');
  const { IamInstanceProfileAssociation: associated } = await call('AssociateIamInstanceProfile', {
    InstanceId: instance.InstanceId,
    IamInstanceProfile: { Name: profile },
  });
  const { CapacityReservation: reserved } = await call('CreateCapacityReservation', {
    ...{ InstanceType: 'p1.nano' as never, InstancePlatform: 'Linux/UNIX', AvailabilityZone: zone },
    ...{ InstanceCount: 1, InstanceMatchCriteria: 'targeted' },
  });
  const { InstanceEventWindow: window } = await call('CreateInstanceEventWindow', {
    CronExpression: '* 0-4 * * 1',
  });
  await cloud.quiet();
  return {
    window: window?.InstanceEventWindowId ?? '',
    reservation: reserved?.CapacityReservationId ?? '',
    // A whole host would be too much: it is looked for, and not there.
    host: 'h-00100000000000001',
    profile,
    profileAssociation: associated?.AssociationId ?? '',
    instance: instance.InstanceId ?? '',
    vpc,
    subnet,
    group,
    rule: rule?.SecurityGroupRuleId ?? '',
    gateway,
    table,
    association,
    acl: acl?.NetworkAclId ?? '',
    eni: instance.NetworkInterfaces?.[0]?.NetworkInterfaceId ?? '',
    allocation,
    volume: instance.BlockDeviceMappings?.[0]?.Ebs?.VolumeId ?? '',
    image: cloud.imageId,
    keyName: 'own',
    keyId: key.KeyPairId ?? '',
    dhcp: dhcp?.DhcpOptionsId ?? '',
    template: template?.LaunchTemplateId ?? '',
  };
};

/** Members that name a thing, by the pattern of their names; the first that fits. */
const meanings: readonly (readonly [RegExp, Kind])[] = [
  [/^InstanceIds?$/, 'instance'],
  [/^CapacityReservationIds?$/, 'reservation'],
  [/^(HostIds?|DedicatedHostIds)$/, 'host'],
  [/^InstanceEventWindowIds?$/, 'window'],
  [/^(VpcIds?|NetworkId)$/, 'vpc'],
  [/^SubnetIds?$/, 'subnet'],
  [/^SecurityGroupRuleIds?$/, 'rule'],
  [/^(SecurityGroupIds?|GroupIds?|Groups)$/, 'group'],
  [/^(InternetGatewayIds?|GatewayId)$/, 'gateway'],
  [/^RouteTableIds?$/, 'table'],
  [/^NetworkAclIds?$/, 'acl'],
  [/^NetworkInterfaceIds?$/, 'eni'],
  [/^AllocationIds?$/, 'allocation'],
  [/^AssociationIds?$/, 'association'],
  [/^VolumeIds?$/, 'volume'],
  [/^ImageIds?$/, 'image'],
  [/^(KeyNames?|KeyName)$/, 'keyName'],
  [/^KeyPairIds?$/, 'keyId'],
  [/^DhcpOptionsIds?$/, 'dhcp'],
  [/^LaunchTemplateIds?$/, 'template'],
  [/^Resources$/, 'vpc'],
];

/** The kind of thing that a member names. */
export const kindOf = (member: string): Kind | undefined =>
  meanings.find(([pattern]) => pattern.test(member))?.[1];

/** Its private half is nowhere. */
const publicKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIQCJDg1yZw+nT/jucaZmvJbZ31fRL6viXZcOV9tmUus pando';

/** Values that are right for members of that name, whatever the action. */
const plain: Readonly<Record<string, string>> = {
  MinCount: '1',
  MaxCount: '1',
  CidrBlock: '10.50.2.0/24',
  CidrIp: '192.0.2.0/24',
  DestinationCidrBlock: '198.51.100.0/24',
  IpProtocol: 'tcp',
  FromPort: '80',
  ToPort: '80',
  Description: 'text',
  GroupName: 'other',
  AvailabilityZone: zone,
  AvailabilityZoneId: 'l1-az1',
  InstancePlatform: 'Linux/UNIX',
  InstanceCount: '1',
  Quantity: '1',
  CronExpression: '* 0-4 * * 1',
  StartWeekDay: 'monday',
  EndWeekDay: 'friday',
  StartHour: '1',
  EndHour: '1',
  InstanceType: 'p1.nano',
  InstanceEventId: 'instance-event-0123456789abcdef0',
  NotBefore: '2040-01-01T00:00:00Z',
  PublicKeyMaterial: Buffer.from(publicKey).toString('base64'),
};

const attributes: Readonly<Record<string, string>> = {
  DescribeVpcAttribute: 'enableDnsSupport',
  DescribeInstanceAttribute: 'userData',
  DescribeNetworkInterfaceAttribute: 'groupSet',
};

/** A right value for a member, or something that is at least of no harm. */
export const valueFor = (action: string, member: string, own: Belongings): string => {
  const kind = kindOf(member);
  if (kind === 'association' && action.includes('IamInstanceProfile')) return own.profileAssociation;
  if (kind !== undefined) return own[kind];
  if (member === 'Attribute') return attributes[action] ?? 'userData';
  return plain[member] ?? 'text';
};
