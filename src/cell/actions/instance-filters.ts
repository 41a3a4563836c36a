/** What each filter of DescribeInstances looks at. */
import type { Instance } from '@aws-sdk/client-ec2';
import type { FilterSpec, Tag } from '#wire/filters.ts';
import { guestVcpus } from '../instance-types.ts';
import type { InstanceRow } from '../store/instances.ts';
import { autoRecoveryOf } from './render.ts';

export interface Item {
  readonly row: InstanceRow;
  readonly instance: Instance;
}

const nics = (item: Item) => item.instance.NetworkInterfaces ?? [];
const groups = (item: Item) => item.instance.SecurityGroups ?? [];
const none = () => undefined;

/** The region tells them with the interface, though EC2 does not show them inside an instance. */
const nicTags = (item: Item): readonly Tag[] =>
  nics(item).flatMap((nic) => ('TagSet' in nic && Array.isArray(nic.TagSet) ? nic.TagSet : []));

/** Of what the region knows: an item must be rendered with its interfaces. */
const interfaceFilters: FilterSpec<Item> = {
  'dns-name': ({ instance }) => instance.PublicDnsName,
  'group-id': (item) => groups(item).map((group) => group.GroupId),
  'group-name': (item) => groups(item).map((group) => group.GroupName),
  'instance.group-id': (item) => groups(item).map((group) => group.GroupId),
  'instance.group-name': (item) => groups(item).map((group) => group.GroupName),
  'ip-address': ({ instance }) => instance.PublicIpAddress,
  'private-dns-name': ({ instance }) => instance.PrivateDnsName,
  'private-ip-address': ({ instance }) => instance.PrivateIpAddress,
  'source-dest-check': ({ instance }) => instance.SourceDestCheck,
  'network-interface.addresses.association.allocation-id': none,
  'network-interface.addresses.association.association-id': none,
  'network-interface.addresses.association.carrier-ip': none,
  'network-interface.addresses.association.customer-owned-ip': none,
  'network-interface.addresses.association.ip-owner-id': (item) =>
    nics(item).map((nic) => nic.Association?.IpOwnerId),
  'network-interface.addresses.association.public-dns-name': (item) =>
    nics(item).map((nic) => nic.Association?.PublicDnsName || undefined),
  'network-interface.addresses.association.public-ip': (item) =>
    nics(item).map((nic) => nic.Association?.PublicIp),
  'network-interface.addresses.primary': (item) => nics(item).map(() => true),
  'network-interface.addresses.private-dns-name': (item) => nics(item).map((nic) => nic.PrivateDnsName),
  'network-interface.addresses.private-ip-address': (item) => nics(item).map((nic) => nic.PrivateIpAddress),
  'network-interface.association.allocation-id': none,
  'network-interface.association.association-id': none,
  'network-interface.association.carrier-ip': none,
  'network-interface.association.customer-owned-ip': none,
  'network-interface.association.ip-owner-id': (item) => nics(item).map((nic) => nic.Association?.IpOwnerId),
  'network-interface.association.public-dns-name': (item) =>
    nics(item).map((nic) => nic.Association?.PublicDnsName || undefined),
  'network-interface.association.public-ip': (item) => nics(item).map((nic) => nic.Association?.PublicIp),
  'network-interface.attachment.attach-time': (item) => nics(item).map((nic) => nic.Attachment?.AttachTime),
  'network-interface.attachment.attachment-id': (item) =>
    nics(item).map((nic) => nic.Attachment?.AttachmentId),
  'network-interface.attachment.delete-on-termination': (item) => nics(item).map(() => true),
  'network-interface.attachment.device-index': (item) => nics(item).map(() => 0),
  'network-interface.attachment.instance-id': (item) => nics(item).map(() => item.row.id),
  'network-interface.attachment.instance-owner-id': (item) => nics(item).map((nic) => nic.OwnerId),
  'network-interface.attachment.network-card-index': (item) => nics(item).map(() => 0),
  'network-interface.attachment.status': (item) => nics(item).map(() => 'attached'),
  'network-interface.availability-zone': (item) => nics(item).map(() => item.row.spec.zone),
  'network-interface.deny-all-igw-traffic': none,
  'network-interface.description': (item) => nics(item).map((nic) => nic.Description),
  'network-interface.group-id': (item) =>
    nics(item).flatMap((nic) => nic.Groups?.map((group) => group.GroupId) ?? []),
  'network-interface.group-name': (item) =>
    nics(item).flatMap((nic) => nic.Groups?.map((group) => group.GroupName) ?? []),
  'network-interface.ipv4-prefixes.ipv4-prefix': none,
  'network-interface.ipv6-address': none,
  'network-interface.ipv6-addresses.ipv6-address': none,
  'network-interface.ipv6-addresses.is-primary-ipv6': none,
  'network-interface.ipv6-native': none,
  'network-interface.ipv6-prefixes.ipv6-prefix': none,
  'network-interface.mac-address': (item) => nics(item).map((nic) => nic.MacAddress),
  'network-interface.network-interface-id': (item) => nics(item).map((nic) => nic.NetworkInterfaceId),
  'network-interface.operator.managed': (item) => nics(item).map(() => false),
  'network-interface.operator.principal': none,
  'network-interface.outpost-arn': none,
  'network-interface.owner-id': (item) => nics(item).map((nic) => nic.OwnerId),
  'network-interface.private-dns-name': (item) => nics(item).map((nic) => nic.PrivateDnsName),
  'network-interface.private-ip-address': (item) => nics(item).map((nic) => nic.PrivateIpAddress),
  'network-interface.public-dns-name': (item) =>
    nics(item).map((nic) => nic.Association?.PublicDnsName || undefined),
  'network-interface.requester-id': none,
  'network-interface.requester-managed': (item) => nics(item).map(() => false),
  'network-interface.source-dest-check': (item) => nics(item).map((nic) => nic.SourceDestCheck),
  'network-interface.status': (item) => nics(item).map((nic) => nic.Status),
  'network-interface.subnet-id': (item) => nics(item).map((nic) => nic.SubnetId),
  'network-interface.tag-key': (item) => nicTags(item).map((tag) => tag.Key),
  'network-interface.tag-value': (item) => nicTags(item).map((tag) => tag.Value),
  'network-interface.vpc-id': (item) => nics(item).map((nic) => nic.VpcId),
};

/** Of what the cell knows by itself. */
const ownFilters: FilterSpec<Item> = {
  affinity: ({ row }) =>
    row.spec.tenancy === 'host' ? (row.spec.dedicatedHost?.affinity ?? 'default') : undefined,
  architecture: ({ row }) => row.spec.image.architecture,
  'availability-zone': ({ row }) => row.spec.zone,
  'availability-zone-id': ({ row }) => row.spec.zoneId,
  'block-device-mapping.attach-time': ({ row }) => row.created_at,
  'block-device-mapping.delete-on-termination': ({ row }) => row.spec.volumeDeleteOnTermination,
  'block-device-mapping.device-name': ({ row }) => row.spec.image.rootDeviceName,
  'block-device-mapping.status': () => 'attached',
  'block-device-mapping.volume-id': ({ row }) => row.spec.volumeId,
  'boot-mode': none,
  'capacity-reservation-id': ({ row }) => row.capacity_reservation_id ?? undefined,
  'capacity-reservation-specification.capacity-reservation-preference': ({ row }) =>
    row.spec.capacityReservation ?? 'open',
  'capacity-reservation-specification.capacity-reservation-target.capacity-reservation-id': ({ row }) =>
    row.spec.capacityReservationTarget,
  'capacity-reservation-specification.capacity-reservation-target.capacity-reservation-resource-group-arn':
    none,
  'client-token': ({ row }) => row.spec.clientToken,
  'current-instance-boot-mode': ({ instance }) => instance.CurrentInstanceBootMode,
  'ebs-optimized': ({ row }) => row.spec.ebsOptimized,
  'ena-support': ({ instance }) => instance.EnaSupport,
  'enclave-options.enabled': () => false,
  'hibernation-options.configured': () => false,
  'host-id': ({ row }) => row.spec.dedicatedHost?.hostId,
  hypervisor: () => 'xen',
  'iam-instance-profile.arn': ({ instance }) => instance.IamInstanceProfile?.Arn,
  'iam-instance-profile.id': ({ instance }) => instance.IamInstanceProfile?.Id,
  'image-id': ({ row }) => row.spec.image.imageId,
  'instance-id': ({ row }) => row.id,
  'instance-lifecycle': none,
  'instance-state-code': ({ instance }) => instance.State?.Code,
  'instance-state-name': ({ row }) => row.state,
  'instance-type': ({ row }) => row.spec.instanceType,
  'ipv6-address': none,
  'kernel-id': none,
  'key-name': ({ row }) => row.spec.keyName,
  'launch-index': ({ row }) => row.launch_index,
  'launch-time': ({ row }) => row.launch_time,
  'maintenance-options.auto-recovery': ({ row }) => autoRecoveryOf(row),
  'metadata-options.http-endpoint': ({ row }) => row.spec.metadata.httpEndpoint,
  'metadata-options.http-protocol-ipv4': ({ row }) => row.spec.metadata.httpEndpoint,
  'metadata-options.http-protocol-ipv6': () => 'disabled',
  'metadata-options.http-put-response-hop-limit': ({ row }) => row.spec.metadata.hopLimit,
  'metadata-options.http-tokens': ({ row }) => row.spec.metadata.httpTokens,
  'metadata-options.instance-metadata-tags': ({ row }) => row.spec.metadata.instanceTags,
  'metadata-options.state': ({ instance }) => instance.MetadataOptions?.State,
  'monitoring-state': ({ row }) => (row.spec.monitoring ? 'enabled' : 'disabled'),
  'network-performance-options.bandwidth-weighting': none,
  'operator.managed': () => false,
  'operator.principal': none,
  'outpost-arn': none,
  'owner-id': ({ row }) => row.account_id,
  'placement-group-name': ({ row }) => row.spec.placementGroup?.groupName ?? '',
  'placement-partition-number': ({ row }) => String(row.spec.placementGroup?.partition ?? ''),
  platform: none,
  'platform-details': () => 'Linux/UNIX',
  'private-dns-name-options.enable-resource-name-dns-a-record': () => false,
  'private-dns-name-options.enable-resource-name-dns-aaaa-record': () => false,
  'private-dns-name-options.hostname-type': () => 'ip-name',
  'product-code': none,
  'product-code.type': none,
  'ramdisk-id': none,
  reason: ({ row }) => row.transition_reason,
  'requester-id': none,
  'reservation-id': ({ row }) => row.reservation_id,
  'root-device-name': ({ row }) => row.spec.image.rootDeviceName,
  'root-device-type': () => 'ebs',
  'spot-instance-request-id': none,
  'state-reason-code': ({ instance }) => instance.StateReason?.Code,
  'state-reason-message': ({ instance }) => instance.StateReason?.Message,
  'subnet-id': ({ instance }) => instance.SubnetId,
  tenancy: ({ row }) => row.spec.tenancy ?? 'default',
  'tpm-support': none,
  'usage-operation': () => 'RunInstances',
  'usage-operation-update-time': ({ row }) => row.created_at,
  vcpus: ({ row }) => guestVcpus(row.vcpus_milli),
  'virtualization-type': () => 'hvm',
  'vpc-id': ({ instance }) => instance.VpcId,
};

export const instanceFilters: FilterSpec<Item> = { ...ownFilters, ...interfaceFilters };

/** Whether one of these filters looks at what only the region knows. */
export const needsInterfaces = (filters: readonly { readonly Name?: string | undefined }[]): boolean =>
  filters.some(({ Name = '' }) => Object.hasOwn(interfaceFilters, Name));
