/** DescribeInstances: grouped by reservation, filtered, in a stable order, page by page. */

import type { Instance } from '@aws-sdk/client-ec2';
import { endDryRun } from '#wire/dryRun.ts';
import { compileFilters, type FilterSpec } from '#wire/filters.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
import type { In, Out } from '#wire/types.ts';
import { guestVcpus } from '../instance-types.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { findInstances } from './find.ts';
import { interfacesOf } from './interfaces.ts';
import { renderInstance, renderReservations } from './render.ts';

interface Item {
  readonly row: InstanceRow;
  readonly instance: Instance;
}

const nics = (item: Item) => item.instance.NetworkInterfaces ?? [];

export const instanceFilters: FilterSpec<Item> = {
  affinity: () => undefined,
  architecture: ({ row }) => row.spec.image.architecture,
  'availability-zone': ({ row }) => row.spec.zone,
  'block-device-mapping.attach-time': ({ row }) => row.created_at,
  'block-device-mapping.delete-on-termination': ({ row }) => row.spec.volumeDeleteOnTermination,
  'block-device-mapping.device-name': ({ row }) => row.spec.image.rootDeviceName,
  'block-device-mapping.status': () => 'attached',
  'block-device-mapping.volume-id': ({ row }) => row.spec.volumeId,
  'client-token': ({ row }) => row.spec.clientToken,
  'dns-name': ({ instance }) => instance.PublicDnsName,
  'group-id': ({ row }) => row.spec.groups.map((group) => group.groupId),
  'group-name': ({ row }) => row.spec.groups.map((group) => group.groupName),
  hypervisor: () => 'xen',
  'iam-instance-profile.arn': () => undefined,
  'image-id': ({ row }) => row.spec.image.imageId,
  'instance-id': ({ row }) => row.id,
  'instance-lifecycle': () => undefined,
  'instance-state-code': ({ instance }) => instance.State?.Code,
  'instance-state-name': ({ row }) => row.state,
  'instance-type': ({ row }) => row.spec.instanceType,
  'instance.group-id': ({ row }) => row.spec.groups.map((group) => group.groupId),
  'instance.group-name': ({ row }) => row.spec.groups.map((group) => group.groupName),
  'ip-address': ({ instance }) => instance.PublicIpAddress,
  'kernel-id': () => undefined,
  'key-name': ({ row }) => row.spec.keyName,
  'launch-index': ({ row }) => row.launch_index,
  'launch-time': ({ row }) => row.launch_time,
  'metadata-options.http-endpoint': ({ row }) => row.spec.metadata.httpEndpoint,
  'metadata-options.http-put-response-hop-limit': ({ row }) => row.spec.metadata.hopLimit,
  'metadata-options.http-tokens': ({ row }) => row.spec.metadata.httpTokens,
  'metadata-options.instance-metadata-tags': ({ row }) => row.spec.metadata.instanceTags,
  'monitoring-state': ({ row }) => (row.spec.monitoring ? 'enabled' : 'disabled'),
  'network-interface.addresses.private-ip-address': (item) => nics(item).map((nic) => nic.PrivateIpAddress),
  'network-interface.association.public-ip': (item) => nics(item).map((nic) => nic.Association?.PublicIp),
  'network-interface.group-id': (item) =>
    nics(item).flatMap((nic) => nic.Groups?.map((group) => group.GroupId) ?? []),
  'network-interface.mac-address': (item) => nics(item).map((nic) => nic.MacAddress),
  'network-interface.network-interface-id': (item) => nics(item).map((nic) => nic.NetworkInterfaceId),
  'network-interface.private-dns-name': (item) => nics(item).map((nic) => nic.PrivateDnsName),
  'network-interface.subnet-id': (item) => nics(item).map((nic) => nic.SubnetId),
  'network-interface.vpc-id': (item) => nics(item).map((nic) => nic.VpcId),
  'owner-id': ({ row }) => row.account_id,
  'placement-group-name': () => '',
  platform: () => undefined,
  'platform-details': () => 'Linux/UNIX',
  'private-dns-name': ({ instance }) => instance.PrivateDnsName,
  'private-ip-address': ({ instance }) => instance.PrivateIpAddress,
  'product-code': () => undefined,
  'ramdisk-id': () => undefined,
  reason: ({ row }) => row.transition_reason,
  'requester-id': () => undefined,
  'reservation-id': ({ row }) => row.reservation_id,
  'root-device-name': ({ row }) => row.spec.image.rootDeviceName,
  'root-device-type': () => 'ebs',
  'source-dest-check': ({ row }) => row.spec.sourceDestCheck,
  'spot-instance-request-id': () => undefined,
  'state-reason-code': ({ instance }) => instance.StateReason?.Code,
  'state-reason-message': ({ instance }) => instance.StateReason?.Message,
  'subnet-id': ({ instance }) => instance.SubnetId,
  tenancy: () => 'default',
  vcpus: ({ row }) => guestVcpus(row.vcpus_milli),
  'virtualization-type': () => 'hvm',
  'vpc-id': ({ instance }) => instance.VpcId,
};

/** Sorts as the store does: by time of creation, then by reservation and place in it. */
export const cursorOf = (row: InstanceRow): string =>
  `${row.created_at.toISOString()} ${row.reservation_id} ${String(row.launch_index).padStart(5, '0')} ${row.id}`;

export const describeInstances = async (
  input: In<'DescribeInstances'>,
  context: CellContext,
): Promise<Out<'DescribeInstances'>> => {
  const page = readPage(input, {
    secret: context.pageSecret,
    scope: `${context.request.accountId}/DescribeInstances`,
    ids: { parameter: 'instancesSet', values: input.InstanceIds },
  });
  const filter = compileFilters(input.Filters, instanceFilters, ({ row }: Item) => row.tags);
  const rows = await findInstances(context, input.InstanceIds);
  endDryRun(input);
  // Filters may look at addresses, which the region knows; without filters only the page's interfaces are asked for.
  const filtered = (input.Filters?.length ?? 0) > 0;
  const all = filtered ? await interfacesOf(context, rows) : {};
  const matching = filtered
    ? rows.filter((row) => filter({ row, instance: renderInstance(row, all) }))
    : rows;
  const cut = cutPage(matching, page, cursorOf);
  const interfaces = filtered ? all : await interfacesOf(context, cut.items);
  return {
    Reservations: renderReservations(context, cut.items, interfaces),
    ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }),
  };
};
