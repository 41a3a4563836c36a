/** Copies of disks, and tasks that make them: this region has none yet. */
import type { Handlers } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { type AbsentIds, absent } from './collection.ts';

const snapshotIds: AbsentIds = {
  member: 'SnapshotIds',
  prefix: 'snap',
  notFound: 'InvalidSnapshot.NotFound',
  malformed: 'InvalidSnapshotID.Malformed',
  noun: 'snapshot',
};

export const absentStorageHandlers: Handlers<ActionContext> = {
  DescribeSnapshots: absent({
    action: 'DescribeSnapshots',
    lists: ['Snapshots'],
    filters: [
      'description',
      'encrypted',
      'owner-alias',
      'owner-id',
      'progress',
      'snapshot-id',
      'start-time',
      'status',
      'storage-tier',
      'transfer-type',
      'volume-id',
      'volume-size',
    ],
    tagged: true,
    ids: snapshotIds,
  }),

  DescribeSnapshotAttribute: absent({
    action: 'DescribeSnapshotAttribute',
    ids: { ...snapshotIds, member: 'SnapshotId' },
  }),

  DescribeFastSnapshotRestores: absent({
    action: 'DescribeFastSnapshotRestores',
    lists: ['FastSnapshotRestores'],
    filters: ['availability-zone', 'availability-zone-id', 'owner-id', 'snapshot-id', 'state'],
  }),

  /** No volume has been modified: EC2 says of such a one that its modification does not exist. */
  DescribeVolumesModifications: absent({
    action: 'DescribeVolumesModifications',
    lists: ['VolumesModifications'],
    filters: [
      'modification-state',
      'original-iops',
      'original-size',
      'original-volume-type',
      'start-time',
      'target-iops',
      'target-size',
      'target-volume-type',
      'volume-id',
    ],
    ids: {
      member: 'VolumeIds',
      prefix: 'vol',
      notFound: 'InvalidVolumeModification.NotFound',
      malformed: 'InvalidVolumeID.Malformed',
      noun: 'modification for volume',
    },
  }),

  DescribeReplaceRootVolumeTasks: absent({
    action: 'DescribeReplaceRootVolumeTasks',
    lists: ['ReplaceRootVolumeTasks'],
    filters: ['instance-id'],
    tagged: true,
    ids: {
      member: 'ReplaceRootVolumeTaskIds',
      prefix: 'replacevol',
      notFound: 'InvalidReplaceRootVolumeTaskId.NotFound',
      malformed: 'InvalidReplaceRootVolumeTaskId.Malformed',
      noun: 'replace root volume task ID',
    },
  }),

  DescribeImportImageTasks: absent({
    action: 'DescribeImportImageTasks',
    lists: ['ImportImageTasks'],
    filters: ['task-state'],
    tagged: true,
    ids: { member: 'ImportTaskIds', notFound: 'InvalidConversionTaskId', noun: 'import task ID' },
  }),

  DescribeImportSnapshotTasks: absent({
    action: 'DescribeImportSnapshotTasks',
    lists: ['ImportSnapshotTasks'],
    filters: ['task-state'],
    tagged: true,
    ids: { member: 'ImportTaskIds', notFound: 'InvalidConversionTaskId', noun: 'import task ID' },
  }),
};
