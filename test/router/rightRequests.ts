/** For each action a request that its handler reads to the end, and the same with one member more, or another. */
import { operationOf } from '#wire/actions.ts';
import type { KnownAction } from '#wire/types.ts';
import { type Belongings, valueFor } from './belongings.ts';
import type { InputMember } from './idMembers.ts';
import { zone } from './realCloud.ts';

export type Parameters = Record<string, string>;

/** What an action asks for beside its required members. */
const alsoNeeded = (action: string, own: Belongings): Parameters => {
  const permission = {
    'IpPermissions.1.IpProtocol': 'tcp',
    'IpPermissions.1.FromPort': '1',
    'IpPermissions.1.ToPort': '1',
  };
  const route = { DestinationCidrBlock: '192.0.2.0/24', GatewayId: own.gateway };
  const needed: Readonly<Record<string, Parameters>> = {
    AssociateAddress: { AllocationId: own.allocation, InstanceId: own.instance },
    AssociateIamInstanceProfile: { 'IamInstanceProfile.Name': own.profile },
    ReplaceIamInstanceProfileAssociation: { 'IamInstanceProfile.Name': own.profile },
    AssociateVpcCidrBlock: { CidrBlock: '10.52.0.0/16' },
    AssociateRouteTable: { SubnetId: own.subnet },
    AuthorizeSecurityGroupEgress: permission,
    AuthorizeSecurityGroupIngress: { GroupId: own.group, ...permission },
    AllocateHosts: { InstanceType: 'p1.nano', AvailabilityZone: zone, Quantity: '1' },
    CreateCapacityReservation: { AvailabilityZone: zone },
    ModifyCapacityReservation: { InstanceCount: '1' },
    ModifyHosts: { AutoPlacement: 'on' },
    ModifyInstanceCapacityReservationAttributes: {
      'CapacityReservationSpecification.CapacityReservationPreference': 'open',
    },
    AssociateInstanceEventWindow: { 'AssociationTarget.InstanceId.1': own.instance },
    DisassociateInstanceEventWindow: { 'AssociationTarget.InstanceId.1': own.instance },
    CreateInstanceEventWindow: { CronExpression: '* 0-4 * * 1' },
    ModifyInstanceEventWindow: { Name: 'right' },
    CreateDhcpOptions: {
      'DhcpConfiguration.1.Key': 'domain-name',
      'DhcpConfiguration.1.Value.1': 'x.example',
    },
    CreateLaunchTemplate: { LaunchTemplateName: 'right', 'LaunchTemplateData.ImageId': own.image },
    CreateLaunchTemplateVersion: {
      LaunchTemplateId: own.template,
      'LaunchTemplateData.ImageId': own.image,
    },
    CreatePlacementGroup: { GroupName: 'right', Strategy: 'spread' },
    CreateRoute: route,
    CreateSubnet: { CidrBlock: '10.50.77.0/24' },
    CreateTags: { 'Tag.1.Key': 'k' },
    CreateRouteTable: { ClientToken: 'token' },
    CreateVpc: { CidrBlock: '10.51.0.0/16' },
    DescribeImageAttribute: { Attribute: 'description' },
    DescribeLaunchTemplateVersions: { LaunchTemplateId: own.template },
    DeleteLaunchTemplate: { LaunchTemplateId: own.template },
    DeleteLaunchTemplateVersions: { LaunchTemplateId: own.template, 'LaunchTemplateVersion.1': '7' },
    ModifyLaunchTemplate: { LaunchTemplateId: own.template, SetDefaultVersion: '1' },
    DescribeNetworkInterfaceAttribute: { Attribute: 'description' },
    DisassociateAddress: { AssociationId: 'eipassoc-12345678' },
    DeleteKeyPair: { KeyName: own.keyName },
    DeleteRoute: { DestinationCidrBlock: '192.0.2.0/24' },
    DeleteSecurityGroup: { GroupId: own.group },
    ModifyInstanceAttribute: { 'DisableApiStop.Value': 'false' },
    ModifyInstancePlacement: { GroupName: 'right' },
    ModifyNetworkInterfaceAttribute: { 'Description.Value': 'd' },
    ModifySubnetAttribute: { 'MapPublicIpOnLaunch.Value': 'false' },
    ModifyVpcAttribute: { 'EnableDnsSupport.Value': 'true' },
    ReleaseAddress: { AllocationId: own.allocation },
    ReplaceRoute: route,
    RevokeSecurityGroupEgress: permission,
    RevokeSecurityGroupIngress: { GroupId: own.group, ...permission },
    RunInstances: { ImageId: own.image, InstanceType: 'p1.nano' },
  };
  return needed[action] ?? {};
};

/** Members of which only one may be given: setting the first removes the others. */
const instead: Readonly<Record<string, readonly string[]>> = {
  'AssociateAddress.NetworkInterfaceId': ['InstanceId'],
  'AssociateAddress.PublicIp': ['AllocationId'],
  'AssociateIamInstanceProfile.IamInstanceProfile.Arn': ['IamInstanceProfile.Name'],
  'ReplaceIamInstanceProfileAssociation.IamInstanceProfile.Arn': ['IamInstanceProfile.Name'],
  'AllocateHosts.InstanceFamily': ['InstanceType'],
  'CreateCapacityReservation.AvailabilityZoneId': ['AvailabilityZone'],
  'AllocateHosts.AvailabilityZoneId': ['AvailabilityZone'],
  'ModifyInstanceCapacityReservationAttributes.CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId':
    ['CapacityReservationSpecification.CapacityReservationPreference'],
  ...Object.fromEntries(
    ['AssociateInstanceEventWindow', 'DisassociateInstanceEventWindow'].flatMap((action) =>
      ['DedicatedHostIds', 'InstanceTags.Key', 'InstanceTags.Value'].map((path) => [
        `${action}.AssociationTarget.${path}`,
        ['AssociationTarget.InstanceId.1'],
      ]),
    ),
  ),
  ...Object.fromEntries(
    ['StartWeekDay', 'StartHour', 'EndWeekDay', 'EndHour'].map((name) => [
      `CreateInstanceEventWindow.TimeRanges.${name}`,
      ['CronExpression'],
    ]),
  ),
  'AssociateRouteTable.GatewayId': ['SubnetId'],
  'CreateRoute.InstanceId': ['GatewayId'],
  'CreateRoute.NetworkInterfaceId': ['GatewayId'],
  'CreateLaunchTemplateVersion.LaunchTemplateName': ['LaunchTemplateId'],
  'DeleteLaunchTemplate.LaunchTemplateName': ['LaunchTemplateId'],
  'DeleteLaunchTemplateVersions.LaunchTemplateName': ['LaunchTemplateId'],
  'DescribeLaunchTemplateVersions.LaunchTemplateName': ['LaunchTemplateId'],
  'ModifyLaunchTemplate.LaunchTemplateName': ['LaunchTemplateId'],
  'DeleteSecurityGroup.GroupName': ['GroupId'],
  'ReleaseAddress.PublicIp': ['AllocationId'],
  'ReplaceRoute.InstanceId': ['GatewayId'],
  'ReplaceRoute.NetworkInterfaceId': ['GatewayId'],
};

/** The required members and what else it takes. */
export const rightRequest = (action: KnownAction, own: Belongings): Parameters => {
  const { input } = operationOf(action);
  const required = (input?.members ?? [])
    .slice(0, input?.requiredCount)
    .filter(({ shape }) => (shape.kind === 'list' ? shape.element : shape).kind === 'scalar')
    .map(({ name, queryName, shape }) => [
      shape.kind === 'list' ? `${queryName}.1` : queryName,
      valueFor(action, name, own),
    ]);
  return { ...Object.fromEntries(required), ...alsoNeeded(action, own) };
};

/** The right request but for one member. */
export const requestWith = (
  action: KnownAction,
  member: InputMember,
  value: string,
  own: Belongings,
): Parameters => {
  const request: Parameters = { ...rightRequest(action, own), [member.form]: value };
  for (const [pattern, name, right] of companions(action, own)) {
    const inside = pattern.exec(member.form)?.[0];
    if (inside !== undefined && !(`${inside}${name}` in request)) request[`${inside}${name}`] = right;
  }
  for (const other of instead[`${action}.${member.path}`] ?? []) delete request[other];
  const one = oneAttribute[action];
  if (
    one !== undefined &&
    member.form !== one &&
    !/^(InstanceId|NetworkInterfaceId|SubnetId|VpcId|DryRun)$/.test(member.form)
  )
    delete request[one];
  return request;
};

/** Actions that change one attribute at a time, and the one of their right request. */
const oneAttribute: Readonly<Record<string, string>> = {
  ModifyInstanceAttribute: 'DisableApiStop.Value',
  ModifyNetworkInterfaceAttribute: 'Description.Value',
  ModifySubnetAttribute: 'MapPublicIpOnLaunch.Value',
  ModifyVpcAttribute: 'EnableDnsSupport.Value',
};

/** Members that mean something only beside another one of the same structure. */
const companions = (
  action: string,
  own: Belongings,
): readonly (readonly [inside: RegExp, name: string, value: string])[] => [
  [/^.*\.Groups\.1\.(?=(?!GroupName)\w+$)/, 'GroupId', own.group],
  [/^.*\.IpRanges\.1\./, 'CidrIp', '192.0.2.0/24'],
  [/^.*\.Ipv6Ranges\.1\./, 'CidrIpv6', '2001:db8::/32'],
  [/^.*\.PrefixListIds\.1\./, 'PrefixListId', 'pl-12345678'],
  [/^TagSpecification\.1\./, 'ResourceType', taggedBy(action)],
  [/^TagSpecification\.1\./, 'Tag.1.Key', 'k'],
  [/^TagSpecifications\.1\./, 'ResourceType', taggedBy(action)],
  [/^TagSpecifications\.1\./, 'Tag.1.Key', 'k'],
  [/^Tag\.1\./, 'Key', 'k'],
  [/^Filter\.1\./, 'Name', action === 'DescribeInstanceCreditSpecifications' ? 'instance-id' : 'tag-key'],
  [/^Filter\.1\./, 'Value.1', 'x'],
  [/^Monitoring\./, 'Enabled', 'true'],
  [/^ElasticInferenceAccelerator\.1\./, 'Type', 'eia1.medium'],
  [/^LaunchTemplate\.(?=Version$)/, 'LaunchTemplateId', own.template],
  [/^BlockDeviceMapping\.1\./, 'DeviceName', '/dev/vda'],
];

/** What an action makes, as tags name it. */
const taggedBy = (action: string): string => {
  if (action.startsWith('AuthorizeSecurityGroup')) return 'security-group-rule';
  if (action === 'AllocateAddress') return 'elastic-ip';
  if (action === 'RunInstances') return 'instance';
  if (action === 'AllocateHosts') return 'dedicated-host';
  return action
    .replace(/^(Create|Import|Register)/, '')
    .replaceAll(/(?<=[a-z])(?=[A-Z])/g, '-')
    .toLowerCase();
};
