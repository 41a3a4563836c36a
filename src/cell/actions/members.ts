/** What each of the cell's actions does with its members. What is not listed is refused (`wire/members.ts`). */
import type { MemberTable } from '#wire/members.ts';

const page = ['Filters', 'MaxResults', 'NextToken', 'DryRun'];

/** There are none of what these ask to be shown as well. */
const nothingMore = [true, false];

export const cellMembers: MemberTable = {
  // What it does not have it refuses itself: run-unsupported.ts, run-network.ts, run-input.ts.
  RunInstances: { effect: '*' },
  DescribeInstances: {
    effect: ['InstanceIds', ...page],
    always: { IncludeManagedResources: nothingMore },
  },
  StartInstances: { effect: ['InstanceIds', 'DryRun'] },
  StopInstances: { effect: ['InstanceIds', 'Hibernate', 'Force', 'SkipOsShutdown', 'DryRun'] },
  RebootInstances: { effect: ['InstanceIds', 'DryRun'] },
  // A terminated VM is not asked to shut down first.
  TerminateInstances: {
    effect: ['InstanceIds', 'DryRun'],
    always: { Force: nothingMore, SkipOsShutdown: nothingMore },
  },
  DescribeInstanceStatus: {
    effect: ['InstanceIds', 'IncludeAllInstances', ...page],
    always: { IncludeManagedResources: nothingMore },
  },
  DescribeInstanceAttribute: { effect: ['InstanceId', 'Attribute', 'DryRun'] },
  ModifyInstanceAttribute: {
    effect: [
      'InstanceId',
      'Attribute',
      'Value',
      'BlockDeviceMappings',
      'DisableApiStop',
      'DisableApiTermination',
      'EbsOptimized',
      'EnaSupport',
      'Groups',
      'InstanceInitiatedShutdownBehavior',
      'InstanceType',
      'Kernel',
      'Ramdisk',
      'SourceDestCheck',
      'SriovNetSupport',
      'UserData',
      'DryRun',
    ],
  },
  ModifyInstanceEventStartTime: { effect: '*' },
  ModifyInstanceMaintenanceOptions: { effect: ['InstanceId', 'AutoRecovery', 'RebootMigration', 'DryRun'] },
  ModifyInstanceMetadataOptions: { effect: '*' },
  // What it does not have it refuses itself: modify-placement.ts.
  ModifyInstancePlacement: { effect: '*' },
  CreateCapacityReservation: {
    effect: [
      ...[
        'ClientToken',
        'InstanceType',
        'InstancePlatform',
        'AvailabilityZone',
        'AvailabilityZoneId',
        'Tenancy',
      ],
      ...[
        'InstanceCount',
        'EbsOptimized',
        'EphemeralStorage',
        'EndDate',
        'EndDateType',
        'InstanceMatchCriteria',
      ],
      ...['TagSpecifications', 'DryRun'],
    ],
  },
  DescribeCapacityReservations: { effect: ['CapacityReservationIds', ...page] },
  ModifyCapacityReservation: {
    effect: ['CapacityReservationId', 'InstanceCount', 'EndDate', 'EndDateType', 'DryRun'],
  },
  CancelCapacityReservation: { effect: ['CapacityReservationId', 'DryRun'] },
  ModifyInstanceCapacityReservationAttributes: { effect: '*' },
  AllocateHosts: {
    effect: [
      ...['AutoPlacement', 'ClientToken', 'InstanceType', 'InstanceFamily', 'Quantity', 'AvailabilityZone'],
      ...['AvailabilityZoneId', 'HostRecovery', 'HostMaintenance', 'TagSpecifications'],
    ],
  },
  DescribeHosts: { effect: ['HostIds', 'Filter', 'MaxResults', 'NextToken'] },
  ModifyHosts: {
    effect: ['HostIds', 'AutoPlacement', 'HostRecovery', 'HostMaintenance', 'InstanceType', 'InstanceFamily'],
  },
  ReleaseHosts: { effect: ['HostIds'] },
  DescribeInstanceTypes: {
    effect: ['InstanceTypes', ...page],
    always: { IncludeUnsupportedInRegion: nothingMore },
  },
  DescribeInstanceTypeOfferings: { effect: ['LocationType', ...page] },
  GetLaunchTemplateData: { effect: ['InstanceId', 'DryRun'] },
  DescribeInstanceCreditSpecifications: { effect: ['InstanceIds', ...page] },
  // What is given is always the latest.
  GetConsoleOutput: { effect: ['InstanceId', 'DryRun'], always: { Latest: nothingMore } },
  DescribeVolumes: {
    effect: ['VolumeIds', ...page],
    always: { IncludeManagedResources: nothingMore },
  },
  DescribeVolumeStatus: {
    effect: ['VolumeIds', ...page],
    always: { IncludeManagedResources: nothingMore },
  },
  AssociateIamInstanceProfile: { effect: '*' },
  DisassociateIamInstanceProfile: { effect: '*' },
  ReplaceIamInstanceProfileAssociation: { effect: '*' },
  DescribeIamInstanceProfileAssociations: {
    effect: ['AssociationIds', 'Filters', 'MaxResults', 'NextToken'],
  },
  CreateTags: { effect: ['Resources', 'Tags', 'DryRun'] },
  DeleteTags: { effect: ['Resources', 'Tags', 'DryRun'] },
  DescribeTags: { effect: page },
};
