/** DescribeVolumes: the root devices of instances, shown as the volumes that EC2's clients expect them to be. */
import type { Volume } from '@aws-sdk/client-ec2';
import { snapshotIdOf } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { compileFilters, type FilterSpec, type Tag } from '#wire/filters.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
import type { In, Out } from '#wire/types.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { selectVolumes } from './volume-rows.ts';

const gp3IopsDefault = 3_000;
const gp3ThroughputDefault = 125;
const gp2IopsMin = 100;

/** What EC2 shows of each type's default performance: drift otherwise. */
const performanceOf = (type: string): Pick<Volume, 'Iops' | 'Throughput'> => {
  if (type === 'gp3') return { Iops: gp3IopsDefault, Throughput: gp3ThroughputDefault };
  return type === 'gp2' ? { Iops: gp2IopsMin } : {};
};

const render = (row: InstanceRow): Volume => ({
  VolumeId: row.spec.volumeId,
  AvailabilityZone: row.spec.zone,
  AvailabilityZoneId: row.spec.zoneId,
  CreateTime: row.created_at,
  Encrypted: false,
  Size: row.spec.volumeSizeGib,
  SnapshotId: snapshotIdOf(row.spec.image.imageId),
  State: 'in-use',
  VolumeType: row.spec.volumeType as Volume['VolumeType'],
  ...performanceOf(row.spec.volumeType),
  MultiAttachEnabled: false,
  FastRestored: false,
  Tags: [...row.volume_tags],
  Attachments: [
    {
      InstanceId: row.id,
      VolumeId: row.spec.volumeId,
      Device: row.spec.image.rootDeviceName,
      State: 'attached',
      AttachTime: row.created_at,
      DeleteOnTermination: row.spec.volumeDeleteOnTermination,
    },
  ],
});

const attachments = (volume: Volume) => volume.Attachments ?? [];

const volumeFilters: FilterSpec<Volume> = {
  'attachment.attach-time': (volume) => attachments(volume).map((each) => each.AttachTime),
  'attachment.delete-on-termination': (volume) => attachments(volume).map((each) => each.DeleteOnTermination),
  'attachment.device': (volume) => attachments(volume).map((each) => each.Device),
  'attachment.instance-id': (volume) => attachments(volume).map((each) => each.InstanceId),
  'attachment.status': (volume) => attachments(volume).map((each) => each.State),
  'availability-zone': (volume) => volume.AvailabilityZone,
  'availability-zone-id': (volume) => volume.AvailabilityZoneId,
  'create-time': (volume) => volume.CreateTime,
  encrypted: (volume) => volume.Encrypted,
  'fast-restored': (volume) => volume.FastRestored,
  'multi-attach-enabled': (volume) => volume.MultiAttachEnabled,
  'operator.managed': () => false,
  'operator.principal': () => undefined,
  size: (volume) => volume.Size,
  'snapshot-id': (volume) => volume.SnapshotId,
  status: (volume) => volume.State,
  'volume-id': (volume) => volume.VolumeId,
  'volume-type': (volume) => volume.VolumeType,
};

const tagsOf = (volume: Volume): readonly Tag[] => volume.Tags ?? [];

const cursorOf = (volume: Volume): string => volume.VolumeId ?? '';

export const describeVolumes = async (
  input: In<'DescribeVolumes'>,
  context: CellContext,
): Promise<Out<'DescribeVolumes'>> => {
  const page = readPage(input, {
    secret: context.pageSecret,
    scope: `${context.request.accountId}/DescribeVolumes`,
    ids: { parameter: 'volumesSet', values: input.VolumeIds },
  });
  const matches = compileFilters(input.Filters, volumeFilters, tagsOf);
  const matching = await selectVolumes(context, {
    volumeIds: input.VolumeIds ?? [],
    page,
    select: (rows) => rows.map(render).filter(matches),
  });
  endDryRun(input);
  const cut = cutPage(matching, page, cursorOf);
  return { Volumes: [...cut.items], ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }) };
};
