/** DescribeVolumeStatus: how the root volumes are, which is what is known of the disk under them. */
import type { VolumeStatusItem } from '@aws-sdk/client-ec2';
import { endDryRun } from '#wire/dryRun.ts';
import { compileFilters, type FilterSpec } from '#wire/filters.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
import type { In, Out } from '#wire/types.ts';
import type { ShownCheck } from '../health/shown.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { checksOf } from './status-checks.ts';
import { selectVolumes } from './volume-rows.ts';

/** EC2 shows a volume whose instance does not run as ok, and one that was not looked at yet as insufficient-data. */
const shownAs = {
  ok: ['ok', 'passed'],
  'not-applicable': ['ok', 'passed'],
  impaired: ['impaired', 'failed'],
  initializing: ['insufficient-data', undefined],
  'insufficient-data': ['insufficient-data', undefined],
} as const satisfies Record<ShownCheck['status'], readonly [string, string | undefined]>;

const render = ({ id, spec }: InstanceRow, disk: ShownCheck): VolumeStatusItem => {
  const [status, enabled] = shownAs[disk.status];
  return {
    VolumeId: spec.volumeId,
    AvailabilityZone: spec.zone,
    ...(spec.zoneId === undefined ? {} : { AvailabilityZoneId: spec.zoneId }),
    VolumeStatus: {
      Status: status,
      Details:
        enabled === undefined
          ? []
          : [
              { Name: 'io-enabled', Status: enabled },
              { Name: 'io-performance', Status: 'not-applicable' },
            ],
    },
    Events: [],
    Actions: [],
    AttachmentStatuses: enabled === undefined ? [] : [{ InstanceId: id, IoPerformance: 'not-applicable' }],
  };
};

/** Events and actions: there are none. */
const never = (): undefined => undefined;

const statusFilters: FilterSpec<VolumeStatusItem> = {
  'action.code': never,
  'action.description': never,
  'action.event-id': never,
  'attachment-status.instance-id': (item) => item.AttachmentStatuses?.map(({ InstanceId }) => InstanceId),
  'attachment-status.io-performance': (item) => item.AttachmentStatuses?.map((each) => each.IoPerformance),
  'availability-zone': (item) => item.AvailabilityZone,
  'availability-zone-id': (item) => item.AvailabilityZoneId,
  'event.description': never,
  'event.event-id': never,
  'event.event-type': never,
  'event.not-after': never,
  'event.not-before': never,
  'operator.managed': () => false,
  'operator.principal': never,
  'volume-status.details-name': (item) => item.VolumeStatus?.Details?.map(({ Name }) => Name),
  'volume-status.details-status': (item) => item.VolumeStatus?.Details?.map(({ Status }) => Status),
  'volume-status.status': (item) => item.VolumeStatus?.Status,
};

const cursorOf = ({ VolumeId = '' }: VolumeStatusItem): string => VolumeId;

export const describeVolumeStatus = async (
  input: In<'DescribeVolumeStatus'>,
  context: CellContext,
): Promise<Out<'DescribeVolumeStatus'>> => {
  const page = readPage(input, {
    secret: context.pageSecret,
    scope: `${context.request.accountId}/DescribeVolumeStatus`,
    ids: { parameter: 'volumesSet', values: input.VolumeIds },
  });
  const matches = compileFilters(input.Filters, statusFilters);
  const found = await selectVolumes(context, {
    volumeIds: input.VolumeIds ?? [],
    page,
    select: async (rows) => {
      const checks = await checksOf(context, rows);
      return rows.map((row) => render(row, checks(row).disk)).filter(matches);
    },
  });
  endDryRun(input);
  const cut = cutPage(found, page, cursorOf);
  return {
    VolumeStatuses: [...cut.items],
    ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }),
  };
};
