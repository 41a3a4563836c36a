/** Network interfaces: the primary one of each instance. */
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers, Out } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { describe, withTags } from '../describe.ts';
import { associationOf, type InterfaceRow, privateDnsName, readInterfaces } from '../interface-view.ts';
import type { Tagged } from '../resource-tags.ts';

type NetworkInterface = NonNullable<Out<'DescribeNetworkInterfaces'>['NetworkInterfaces']>[number];
type EniRow = InterfaceRow & Tagged;

const association = (eni: EniRow) => {
  const shown = associationOf(eni);
  if (shown === undefined) return {};
  const ids =
    eni.allocation_id === null
      ? {}
      : { AllocationId: eni.allocation_id, AssociationId: eni.association_id ?? undefined };
  return { Association: { ...shown, ...ids } };
};

const show = (context: ActionContext, eni: EniRow): NetworkInterface => {
  const dnsName = privateDnsName(eni, context.region.network.domainName);
  return {
    NetworkInterfaceId: eni.eni_id,
    OwnerId: eni.account_id,
    VpcId: eni.vpc_id,
    SubnetId: eni.subnet_id,
    AvailabilityZone: eni.zone,
    Description: '',
    InterfaceType: 'interface',
    MacAddress: eni.mac,
    PrivateIpAddress: eni.ip,
    PrivateDnsName: dnsName,
    PrivateIpAddresses: [
      { Primary: true, PrivateIpAddress: eni.ip, PrivateDnsName: dnsName, ...association(eni) },
    ],
    Ipv6Addresses: [],
    RequesterManaged: false,
    SourceDestCheck: eni.source_dest_check,
    Status: 'in-use',
    Groups: eni.groups,
    Attachment: {
      AttachmentId: eni.attachment_id,
      AttachTime: eni.created_at,
      DeleteOnTermination: true,
      DeviceIndex: 0,
      NetworkCardIndex: 0,
      InstanceId: eni.instance_id,
      InstanceOwnerId: eni.account_id,
      Status: 'attached',
    },
    TagSet: eni.tags,
    ...association(eni),
  };
};

const filters = (context: ActionContext): FilterSpec<EniRow> => {
  const dnsName = (eni: EniRow) => privateDnsName(eni, context.region.network.domainName);
  return {
    'addresses.association.owner-id': (eni) => associationOf(eni)?.IpOwnerId,
    'addresses.association.public-ip': (eni) => eni.public_ip,
    'addresses.primary': () => true,
    'addresses.private-ip-address': (eni) => eni.ip,
    'association.allocation-id': (eni) => eni.allocation_id,
    'association.association-id': (eni) => eni.association_id,
    'association.ip-owner-id': (eni) => associationOf(eni)?.IpOwnerId,
    'association.public-dns-name': () => undefined,
    'association.public-ip': (eni) => eni.public_ip,
    'attachment.attach-time': (eni) => eni.created_at,
    'attachment.attachment-id': (eni) => eni.attachment_id,
    'attachment.delete-on-termination': () => true,
    'attachment.device-index': () => 0,
    'attachment.instance-id': (eni) => eni.instance_id,
    'attachment.instance-owner-id': (eni) => eni.account_id,
    'attachment.status': () => 'attached',
    'availability-zone': (eni) => eni.zone,
    description: () => '',
    'group-id': (eni) => eni.group_ids,
    'group-name': (eni) => eni.groups.map((group) => group.GroupName),
    'interface-type': () => 'interface',
    'mac-address': (eni) => eni.mac,
    'network-interface-id': (eni) => eni.eni_id,
    'owner-id': (eni) => eni.account_id,
    'private-dns-name': dnsName,
    'private-ip-address': (eni) => eni.ip,
    'requester-id': () => undefined,
    'requester-managed': () => false,
    'source-dest-check': (eni) => eni.source_dest_check,
    status: () => 'in-use',
    'subnet-id': (eni) => eni.subnet_id,
    'vpc-id': (eni) => eni.vpc_id,
  };
};

export const networkInterfaceHandlers: Handlers<ActionContext> = {
  async DescribeNetworkInterfaces(input, context) {
    const all = readInterfaces(context.region.db, context.accountId);
    const rows = await withTags(context, 'network-interface', all, (eni) => eni.eni_id);
    const page = describe(rows, input, context, {
      action: 'DescribeNetworkInterfaces',
      idOf: (eni) => eni.eni_id,
      filters: filters(context),
      tagsOf: (eni) => eni.tags,
      ids: { kind: 'networkInterface', parameter: 'networkInterfaceIds', values: input.NetworkInterfaceIds },
    });
    return { NetworkInterfaces: page.items.map((eni) => show(context, eni)), NextToken: page.nextToken };
  },
};
