/** DescribeVolumes: the root devices of instances, shown as the volumes that EC2's clients expect them to be. */
import type { Volume } from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import { parseId, snapshotIdOf } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { compileFilters, type FilterSpec, type Tag } from '#wire/filters.ts';
import { cutPage, type PageRequest, readPage } from '#wire/pagination.ts';
import type { In, Out } from '#wire/types.ts';
import { listVolumesAfter } from '../store/instance-lists.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';

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

/** All of these, or an error. */
const namedVolumes = async (context: CellContext, ids: readonly string[]): Promise<Volume[]> => {
  const volumeIds = [...new Set(ids)];
  const { accountId } = context.request;
  const rows = await listVolumesAfter(context.services.db, { accountId, volumeIds, limit: volumeIds.length });
  const found = new Set(rows.map((row) => row.spec.volumeId));
  const missing = volumeIds.find((id) => !found.has(id));
  if (missing !== undefined)
    throw new PandoError('InvalidVolume.NotFound', `The volume '${missing}' does not exist.`);
  return rows.map(render);
};

/** Those that match, from the page's place on, until the page is full. */
const nextVolumes = async (
  context: CellContext,
  page: PageRequest,
  matches: (volume: Volume) => boolean,
): Promise<Volume[]> => {
  const { accountId } = context.request;
  const limit = page.items + 1;
  const found: Volume[] = [];
  let { after } = page;
  for (;;) {
    const rows = await listVolumesAfter(context.services.db, { accountId, after, limit });
    found.push(...rows.map(render).filter(matches));
    after = rows.at(-1)?.spec.volumeId;
    if (rows.length < limit || found.length >= limit) return found;
  }
};

export const describeVolumes = async (
  input: In<'DescribeVolumes'>,
  context: CellContext,
): Promise<Out<'DescribeVolumes'>> => {
  const page = readPage(input, {
    secret: context.pageSecret,
    scope: `${context.request.accountId}/DescribeVolumes`,
    ids: { parameter: 'volumesSet', values: input.VolumeIds },
  });
  const wanted = (input.VolumeIds ?? []).map((id) => parseId('volume', id));
  const matches = compileFilters(input.Filters, volumeFilters, tagsOf);
  const found = await (wanted.length > 0
    ? namedVolumes(context, wanted)
    : nextVolumes(context, page, matches));
  endDryRun(input);
  const matching = found.filter(matches);
  matching.sort((a, b) => (cursorOf(a) < cursorOf(b) ? -1 : 1));
  const cut = cutPage(matching, page, cursorOf);
  return { Volumes: [...cut.items], ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }) };
};
