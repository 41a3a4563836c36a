/** Which member of which action is an id of which kind. What is not listed here is no id, and `noIds` says so. */
import type { IdKind } from '#contracts/ids.ts';
import { type Shape, StructureShape } from '#wire/schema.ts';

/** Members by their names; `Action.Member` before a name that means several kinds. */
const kinds: Readonly<Record<string, IdKind>> = {
  AllocationId: 'allocation',
  AllocationIds: 'allocation',
  AttachmentId: 'interfaceAttachment',
  CapacityReservationId: 'capacityReservation',
  CapacityReservationIds: 'capacityReservation',
  HostId: 'host',
  HostIds: 'host',
  DedicatedHostIds: 'host',
  DhcpOptionsIds: 'dhcpOptions',
  GroupId: 'securityGroup',
  GroupIds: 'securityGroup',
  Groups: 'securityGroup',
  ImageId: 'image',
  ImageIds: 'image',
  InstanceId: 'instance',
  InstanceIds: 'instance',
  InstanceEventWindowId: 'instanceEventWindow',
  InstanceEventWindowIds: 'instanceEventWindow',
  InternetGatewayId: 'internetGateway',
  InternetGatewayIds: 'internetGateway',
  KeyPairIds: 'keyPair',
  NetworkAclIds: 'networkAcl',
  NetworkInterfaceId: 'networkInterface',
  NetworkInterfaceIds: 'networkInterface',
  PrefixListId: 'prefixList',
  RouteTableId: 'routeTable',
  RouteTableIds: 'routeTable',
  SecurityGroupIds: 'securityGroup',
  SecurityGroupRuleIds: 'securityGroupRule',
  SubnetId: 'subnet',
  SubnetIds: 'subnet',
  VolumeId: 'volume',
  VolumeIds: 'volume',
  VpcId: 'vpc',
  VpcIds: 'vpc',
  LaunchTemplateId: 'launchTemplate',
  LaunchTemplateIds: 'launchTemplate',
  DhcpOptionsId: 'dhcpOptions',
  'DescribePlacementGroups.GroupIds': 'placementGroup',
  'ModifyInstancePlacement.GroupId': 'placementGroup',
  'RunInstances.Placement.GroupId': 'placementGroup',
  'AssociateRouteTable.GatewayId': 'internetGateway',
  'DisassociateAddress.AssociationId': 'addressAssociation',
  'DescribeIamInstanceProfileAssociations.AssociationIds': 'instanceProfileAssociation',
  'DisassociateIamInstanceProfile.AssociationId': 'instanceProfileAssociation',
  'ReplaceIamInstanceProfileAssociation.AssociationId': 'instanceProfileAssociation',
  'DisassociateVpcCidrBlock.AssociationId': 'vpcCidrBlockAssociation',
  'DisassociateRouteTable.AssociationId': 'routeTableAssociation',
  'ReplaceRouteTableAssociation.AssociationId': 'routeTableAssociation',
};

/** The kind of thing that a member names, if it is an id. */
export const idKindOf = (action: string, { name, path }: InputMember): IdKind | undefined =>
  // What a launch template says is looked at when it is launched from.
  path.startsWith('LaunchTemplateData.') ? undefined : (kinds[`${action}.${path}`] ?? kinds[name]);

/** A member of an input: how a form names it (indexes are 1), how TypeScript does. */
export interface InputMember {
  readonly name: string;
  /** `NetworkInterface.1.SubnetId`. */
  readonly form: string;
  /** `NetworkInterfaces.SubnetId`. */
  readonly path: string;
  readonly shape: Shape;
}

const depthMax = 5;

/** Every member of an input that is no structure itself, in the order of the schema. */
export const membersOf = (input: StructureShape | undefined): readonly InputMember[] => {
  const found: InputMember[] = [];
  const walk = (shape: StructureShape, form: string, path: string, depth: number): void => {
    for (const member of shape.members) {
      const inside = member.shape.kind === 'list' ? member.shape.element : member.shape;
      const inForm = `${form}${member.queryName}${member.shape.kind === 'list' ? '.1' : ''}`;
      const inPath = `${path}${member.name}`;
      if (inside instanceof StructureShape) {
        if (depth < depthMax) walk(inside, `${inForm}.`, `${inPath}.`, depth + 1);
      } else found.push({ name: member.name, form: inForm, path: inPath, shape: inside });
    }
  };
  if (input !== undefined) walk(input, '', '', 1);
  return found;
};
