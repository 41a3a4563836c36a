/** DescribeInstanceStatus and DescribeInstanceCreditSpecifications. */
import type { EventCode, InstanceStatus } from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { applyFilters, compileFilters, type FilterSpec } from '#wire/filters.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
import type { In, Out } from '#wire/types.ts';
import type { ShownCheck, ShownChecks } from '../health/shown.ts';
import { ec2State } from '../instance-states.ts';
import { eventsOfInstances, type InstanceEventRow } from '../store/instance-events.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { findInstances } from './find.ts';
import { cursorOf, narrowingOf, scanInstances } from './scan.ts';
import { checksOf } from './status-checks.ts';

const reachability = {
  ok: 'passed',
  initializing: 'initializing',
  impaired: 'failed',
  'insufficient-data': 'insufficient-data',
  'not-applicable': undefined,
} as const;

const summary = ({ status, since }: ShownCheck): NonNullable<InstanceStatus['SystemStatus']> => {
  const passed = reachability[status];
  const impaired = since === undefined ? {} : { ImpairedSince: since };
  return {
    Status: status,
    Details: passed === undefined ? [] : [{ Name: 'reachability', Status: passed, ...impaired }],
  };
};

const prefixes = { completed: '[Completed] ', canceled: '[Canceled] ' } as const;

export const renderEvent = (row: InstanceEventRow): NonNullable<InstanceStatus['Events']>[number] => ({
  InstanceEventId: row.id,
  Code: row.code as EventCode,
  Description: `${row.outcome === null ? '' : prefixes[row.outcome]}${row.description}`,
  NotAfter: row.not_after,
  NotBefore: row.not_before,
  ...(row.not_before_deadline === null ? {} : { NotBeforeDeadline: row.not_before_deadline }),
});

const render = (
  row: InstanceRow,
  { instance, system, disk }: ShownChecks,
  events: readonly InstanceEventRow[] = [],
): InstanceStatus => {
  return {
    InstanceId: row.id,
    AvailabilityZone: row.spec.zone,
    AvailabilityZoneId: row.spec.zoneId,
    InstanceState: ec2State(row.state),
    SystemStatus: summary(system),
    InstanceStatus: summary(instance),
    AttachedEbsStatus: summary(disk),
    Events: events.map(renderEvent),
  };
};

const statusFilters: FilterSpec<InstanceStatus> = {
  'availability-zone': (item) => item.AvailabilityZone,
  'availability-zone-id': (item) => item.AvailabilityZoneId,
  'application-status.status': () => undefined,
  'operator.managed': () => false,
  'operator.principal': () => undefined,
  'event.code': (item) => item.Events?.map((event) => event.Code),
  'event.description': (item) => item.Events?.map((event) => event.Description),
  'event.instance-event-id': (item) => item.Events?.map((event) => event.InstanceEventId),
  'event.not-after': (item) => item.Events?.map((event) => event.NotAfter),
  'event.not-before': (item) => item.Events?.map((event) => event.NotBefore),
  'event.not-before-deadline': (item) => item.Events?.map((event) => event.NotBeforeDeadline),
  'instance-state-code': (item) => item.InstanceState?.Code,
  'instance-state-name': (item) => item.InstanceState?.Name,
  'instance-status.reachability': (item) => item.InstanceStatus?.Details?.map((detail) => detail.Status),
  'instance-status.status': (item) => item.InstanceStatus?.Status,
  'system-status.reachability': (item) => item.SystemStatus?.Details?.map((detail) => detail.Status),
  'system-status.status': (item) => item.SystemStatus?.Status,
  'attached-ebs-status.status': (item) => item.AttachedEbsStatus?.Status,
};

export const describeInstanceStatus = async (
  input: In<'DescribeInstanceStatus'>,
  context: CellContext,
): Promise<Out<'DescribeInstanceStatus'>> => {
  const page = readPage(input, {
    secret: context.pageSecret,
    scope: `${context.request.accountId}/DescribeInstanceStatus`,
    ids: { parameter: 'instancesSet', values: input.InstanceIds },
  });
  const matches = compileFilters(input.Filters, statusFilters);
  const cursors = new Map<string, string>();
  const select = async (rows: readonly InstanceRow[]): Promise<InstanceStatus[]> => {
    const checks = await checksOf(context, rows);
    const events = await eventsOfInstances(
      context.services.db,
      rows.map(({ id }) => id),
    );
    return rows.flatMap((row) => {
      if (row.state !== 'running' && !input.IncludeAllInstances) return [];
      cursors.set(row.id, cursorOf(row));
      const status = render(row, checks(row), events.get(row.id));
      return matches(status) ? [status] : [];
    });
  };
  const only = input.IncludeAllInstances ? narrowingOf(input.Filters ?? []) : { states: ['running'] };
  const named = input.InstanceIds ?? [];
  const statuses =
    named.length > 0
      ? await select(await findInstances(context, named))
      : await scanInstances(context, { after: page.after, count: page.items + 1, only, ended: true, select });
  endDryRun(input);
  const cut = cutPage(statuses, page, (item) => cursors.get(item.InstanceId ?? '') ?? '');
  return {
    InstanceStatuses: [...cut.items],
    ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }),
  };
};

export const describeInstanceCreditSpecifications = async (
  input: In<'DescribeInstanceCreditSpecifications'>,
  context: CellContext,
): Promise<Out<'DescribeInstanceCreditSpecifications'>> => {
  const page = readPage(input, {
    secret: context.pageSecret,
    scope: `${context.request.accountId}/DescribeInstanceCreditSpecifications`,
    ids: { parameter: 'instanceIds', values: input.InstanceIds },
  });
  const known = (input.Filters ?? []).find(({ Name }) => Name !== 'instance-id');
  if (known !== undefined)
    throw new PandoError('InvalidParameterValue', `The filter '${known.Name}' is invalid`);
  const select = (rows: readonly InstanceRow[]): InstanceRow[] =>
    applyFilters(
      rows.filter((row) => row.state !== 'terminated'),
      input.Filters,
      { 'instance-id': (row: InstanceRow) => row.id },
    );
  const named = input.InstanceIds ?? [];
  const only = narrowingOf(input.Filters ?? []);
  const matching =
    named.length > 0
      ? select(await findInstances(context, named))
      : await scanInstances(context, {
          after: page.after,
          count: page.items + 1,
          only,
          ended: false,
          select,
        });
  endDryRun(input);
  const cut = cutPage(matching, page, cursorOf);
  return {
    InstanceCreditSpecifications: cut.items.map((row) => ({
      InstanceId: row.id,
      CpuCredits: row.spec.cpuCredits,
    })),
    ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }),
  };
};
