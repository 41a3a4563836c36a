/** An instance as EC2 shows it. Structures that EC2 always returns are always there, or clients see drift. */
import type { Instance, InstanceNetworkInterface, Reservation } from '@aws-sdk/client-ec2';
import { ec2State } from '../instance-states.ts';
import { guestVcpus } from '../instance-types.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { renderReservationChoice } from './instance-reservation.ts';

/** Interfaces by instance id, as the region tells them. */
export type InterfacesOf = Readonly<Record<string, readonly InstanceNetworkInterface[]>>;

/** EC2 shows no address and no interface of an instance that has ended. */
const ended = (row: InstanceRow): boolean => row.state === 'terminated';

export const renderInstance = (row: InstanceRow, interfaces: InterfacesOf): Instance => {
  const { spec } = row;
  const shown = ended(row) ? [] : [...(interfaces[row.id] ?? cachedInterface(row))];
  const primary = shown[0];
  return {
    InstanceId: row.id,
    ImageId: spec.image.imageId,
    State: ec2State(row.state),
    PrivateDnsName:
      primary?.PrivateDnsName ?? (primary?.PrivateIpAddress ? dnsName(row, primary.PrivateIpAddress) : ''),
    PublicDnsName: primary?.Association?.PublicDnsName ?? '',
    StateTransitionReason: row.transition_reason,
    ...(spec.keyName === undefined ? {} : { KeyName: spec.keyName }),
    AmiLaunchIndex: row.launch_index,
    ProductCodes: [],
    InstanceType: spec.instanceType as Instance['InstanceType'],
    LaunchTime: row.launch_time,
    Placement: {
      AvailabilityZone: spec.zone,
      AvailabilityZoneId: spec.zoneId,
      GroupName: spec.placementGroup?.groupName ?? '',
      ...(spec.placementGroup === undefined ? {} : { GroupId: spec.placementGroup.groupId }),
      ...(spec.placementGroup?.partition === undefined
        ? {}
        : { PartitionNumber: spec.placementGroup.partition }),
      Tenancy: spec.tenancy ?? 'default',
      ...(spec.dedicatedHost === undefined
        ? {}
        : { HostId: spec.dedicatedHost.hostId, Affinity: spec.dedicatedHost.affinity ?? 'default' }),
    },
    Monitoring: { State: spec.monitoring ? 'enabled' : 'disabled' },
    ...(spec.instanceProfile === undefined || ended(row)
      ? {}
      : { IamInstanceProfile: { Arn: spec.instanceProfile.arn, Id: spec.instanceProfile.profileId } }),
    ...(ended(row) ? {} : { SubnetId: spec.subnetId, VpcId: row.vpc_id }),
    ...(primary?.PrivateIpAddress === undefined ? {} : { PrivateIpAddress: primary.PrivateIpAddress }),
    ...(primary?.Association?.PublicIp === undefined
      ? {}
      : { PublicIpAddress: primary.Association.PublicIp }),
    ...(row.state_reason === null || row.state === 'running' ? {} : { StateReason: row.state_reason }),
    Architecture: spec.image.architecture as Instance['Architecture'],
    RootDeviceName: spec.image.rootDeviceName,
    RootDeviceType: 'ebs',
    BlockDeviceMappings: ended(row) ? [] : [rootMapping(row)],
    VirtualizationType: 'hvm',
    Hypervisor: 'xen',
    ClientToken: spec.clientToken ?? '',
    EbsOptimized: spec.ebsOptimized,
    EnaSupport: true,
    SourceDestCheck: primary?.SourceDestCheck ?? spec.sourceDestCheck,
    NetworkInterfaces: shown,
    SecurityGroups: ended(row) ? [] : (primary?.Groups ?? groupsOf(row)),
    Tags: [...row.tags],
    CpuOptions: { CoreCount: guestVcpus(row.vcpus_milli), ThreadsPerCore: 1 },
    CapacityReservationSpecification: renderReservationChoice(spec),
    ...(row.capacity_reservation_id === null || row.capacity_reservation_id === undefined
      ? {}
      : { CapacityReservationId: row.capacity_reservation_id }),
    HibernationOptions: { Configured: false },
    EnclaveOptions: { Enabled: false },
    MetadataOptions: renderMetadataOptions(row),
    MaintenanceOptions: { AutoRecovery: autoRecoveryOf(row) },
    PrivateDnsNameOptions: {
      HostnameType: 'ip-name',
      EnableResourceNameDnsARecord: false,
      EnableResourceNameDnsAAAARecord: false,
    },
    CurrentInstanceBootMode: 'legacy-bios',
    PlatformDetails: 'Linux/UNIX',
    UsageOperation: 'RunInstances',
    UsageOperationUpdateTime: row.created_at,
  };
};

/** Rows of the last release have no word for it: recovery was always EC2's default. */
export const autoRecoveryOf = ({ spec }: InstanceRow): 'default' | 'disabled' =>
  spec.autoRecovery ?? 'default';

export const renderMetadataOptions = (row: InstanceRow): NonNullable<Instance['MetadataOptions']> => ({
  // Until the guest's metadata service has been told.
  State: row.state === 'pending' || (row.metadata_due ?? null) !== null ? 'pending' : 'applied',
  HttpTokens: row.spec.metadata.httpTokens,
  HttpPutResponseHopLimit: row.spec.metadata.hopLimit,
  HttpEndpoint: row.spec.metadata.httpEndpoint,
  HttpProtocolIpv6: 'disabled',
  InstanceMetadataTags: row.spec.metadata.instanceTags,
});

const rootMapping = (row: InstanceRow): NonNullable<Instance['BlockDeviceMappings']>[number] => ({
  DeviceName: row.spec.image.rootDeviceName,
  Ebs: {
    VolumeId: row.spec.volumeId,
    Status: 'attached',
    AttachTime: row.created_at,
    DeleteOnTermination: row.spec.volumeDeleteOnTermination,
  },
});

const groupsOf = (row: InstanceRow) =>
  row.spec.groups.map(({ groupId, groupName }) => ({ GroupId: groupId, GroupName: groupName }));

const dnsName = (row: InstanceRow, ip: string): string =>
  `ip-${ip.replaceAll('.', '-')}.${row.spec.domainName}`;

/** What the cell itself knows of the interface, for when the region is not asked or does not answer. */
const cachedInterface = (row: InstanceRow): InstanceNetworkInterface[] => {
  const port = row.interface;
  if (port === null) return [];
  const name = dnsName(row, port.ip);
  const association =
    port.publicIp === undefined
      ? {}
      : { Association: { PublicIp: port.publicIp, PublicDnsName: '', IpOwnerId: 'amazon' } };
  return [
    {
      NetworkInterfaceId: port.eniId,
      MacAddress: port.mac,
      OwnerId: row.account_id,
      SubnetId: port.subnetId,
      VpcId: row.vpc_id,
      Description: row.spec.interfaceDescription ?? '',
      InterfaceType: 'interface',
      PrivateDnsName: name,
      PrivateIpAddress: port.ip,
      PrivateIpAddresses: [
        { Primary: true, PrivateDnsName: name, PrivateIpAddress: port.ip, ...association },
      ],
      SourceDestCheck: port.sourceDestCheck,
      Status: 'in-use',
      Groups: groupsOf(row),
      Ipv6Addresses: [],
      ...association,
    },
  ];
};

/** Groups instances by the launch that made them. */
export const renderReservations = (
  context: CellContext,
  rows: readonly InstanceRow[],
  interfaces: InterfacesOf,
): Reservation[] => {
  const groups = Map.groupBy(rows, (row) => row.reservation_id);
  return [...groups.values()].map((members) => ({
    ReservationId: members[0]?.reservation_id ?? '',
    OwnerId: context.request.accountId,
    Groups: [],
    Instances: members.map((row) => renderInstance(row, interfaces)),
  }));
};
