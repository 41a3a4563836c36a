/** EC2's Capacity Reservations: create, describe with exact counts, modify, cancel. */
import { createHash } from 'node:crypto';
import type { CapacityReservation } from '@aws-sdk/client-ec2';
import { canonicalJson } from '#contracts/canonicalJson.ts';
import { PandoError } from '#contracts/errors.ts';
import { notFound, parseId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { compileFilters, type FilterSpec } from '#wire/filters.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
import { parseTagSpecifications } from '#wire/tags.ts';
import type { In, Out } from '#wire/types.ts';
import { sizeOf } from '../instance-types.ts';
import * as limits from '../limits.ts';
import {
  cancelReservation,
  createReservation,
  modifyReservation,
  type NewReservation,
} from '../reservations/reserving.ts';
import { countSlots, listReservations, type ReservationRow, type SlotCounts } from '../store/reservations.ts';
import type { CellContext } from './context.ts';
import { oneOf } from './run-input.ts';

const platform = 'Linux/UNIX';

const invalid = (message: string): PandoError => new PandoError('InvalidParameterValue', message);
const combination = (message: string): PandoError => new PandoError('InvalidParameterCombination', message);

export const readClientToken = (token: string | undefined): string | undefined => {
  if (token === undefined || token === '') return undefined;
  if (token.length > limits.clientTokenCharsMax)
    throw invalid(`The client token is longer than ${limits.clientTokenCharsMax} characters.`);
  return token;
};

/** What two requests with one token must agree on. */
export const requestHashOf = ({
  ClientToken: _token,
  DryRun: _dry,
  ...rest
}: {
  readonly ClientToken?: string | undefined;
  readonly DryRun?: boolean | undefined;
}): string =>
  createHash('sha256')
    .update(canonicalJson(JSON.parse(JSON.stringify(rest))))
    .digest('hex');

/** The zone is the router's to look at; what comes here names this cell's. */
export const checkZone = (
  { services }: CellContext,
  input: { readonly AvailabilityZone?: string | undefined; readonly AvailabilityZoneId?: string | undefined },
): void => {
  const { AvailabilityZone: zone, AvailabilityZoneId: zoneId } = input;
  if (!zone && !zoneId)
    throw new PandoError('MissingParameter', 'The request must contain the parameter AvailabilityZone');
  if (zone && zone !== services.identity.zone)
    throw invalid(`Invalid availability zone: [${zone.slice(0, 64)}]`);
};

const endOf = (type: string | undefined, date: Date | undefined, nowMs: number): Date | null | undefined => {
  const word =
    type === undefined ? undefined : oneOf('EndDateType', ['unlimited', 'limited'], type, 'unlimited');
  if (word === 'unlimited' && date !== undefined)
    throw combination('An EndDate may not be given with the EndDateType unlimited.');
  if (word === 'limited' && date === undefined)
    throw combination('An EndDate must be given with the EndDateType limited.');
  if (word === 'unlimited') return null;
  if (date !== undefined && !(date.getTime() > nowMs)) throw invalid('The EndDate must be in the future.');
  return date;
};

const countOf = (count: number | undefined): number => {
  if (count === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameter InstanceCount');
  if (count < 1 || count > limits.reservedInstancesMax)
    throw invalid(
      `Value (${count}) for parameter instanceCount is invalid. Expecting 1 to ${limits.reservedInstancesMax}.`,
    );
  return count;
};

const readNew = (input: In<'CreateCapacityReservation'>, context: CellContext): NewReservation => {
  checkZone(context, input);
  if (input.InstanceType === undefined || input.InstancePlatform === undefined)
    throw new PandoError(
      'MissingParameter',
      `The request must contain the parameter ${input.InstanceType === undefined ? 'InstanceType' : 'InstancePlatform'}`,
    );
  if (input.InstancePlatform !== platform)
    throw new PandoError(
      'UnsupportedOperation',
      `The parameter InstancePlatform is not supported with the value '${input.InstancePlatform.slice(0, 64)}': instances run ${platform}.`,
    );
  const tags = parseTagSpecifications(input.TagSpecifications, ['capacity-reservation']);
  const { AvailabilityZoneId: zoneId, EndDateType: endType, EndDate: endDate } = input;
  return {
    accountId: context.request.accountId,
    token: readClientToken(input.ClientToken),
    requestHash: requestHashOf(input),
    type: sizeOf(input.InstanceType).name,
    ...(zoneId ? { zoneId } : {}),
    tenancy: oneOf('Tenancy', ['default', 'dedicated'], input.Tenancy, 'default'),
    match: oneOf('InstanceMatchCriteria', ['open', 'targeted'], input.InstanceMatchCriteria, 'open'),
    count: countOf(input.InstanceCount),
    endDate: endOf(endType, endDate, context.services.clock.now()) ?? null,
    ebsOptimized: input.EbsOptimized ?? false,
    ephemeral: input.EphemeralStorage ?? false,
    tags: tags.get('capacity-reservation') ?? [],
  };
};

const render = (
  { services }: CellContext,
  row: ReservationRow,
  { free, used }: SlotCounts = { free: 0, used: 0 },
): CapacityReservation => ({
  CapacityReservationId: row.id,
  CapacityReservationArn: `arn:aws:ec2:${services.identity.region}:${row.account_id}:capacity-reservation/${row.id}`,
  OwnerId: row.account_id,
  AvailabilityZone: row.zone,
  ...(row.zone_id === null ? {} : { AvailabilityZoneId: row.zone_id }),
  InstanceType: row.type,
  InstancePlatform: platform,
  Tenancy: row.tenancy,
  TotalInstanceCount: row.total,
  AvailableInstanceCount: row.state === 'active' ? free : 0,
  CapacityAllocations: row.state === 'active' && used > 0 ? [{ AllocationType: 'used', Count: used }] : [],
  EbsOptimized: row.ebs_optimized,
  EphemeralStorage: row.ephemeral,
  State: row.state,
  StartDate: row.created_at,
  CreateDate: row.created_at,
  ...(row.end_date === null ? {} : { EndDate: row.end_date }),
  EndDateType: row.end_date === null ? 'unlimited' : 'limited',
  InstanceMatchCriteria: row.match,
  Tags: [...row.tags],
});

const renderAll = async (
  context: CellContext,
  rows: readonly ReservationRow[],
): Promise<CapacityReservation[]> => {
  const counts = await countSlots(
    context.services.db,
    rows.map(({ id }) => id),
  );
  return rows.map((row) => render(context, row, counts.get(row.id)));
};

export const createCapacityReservation = async (
  input: In<'CreateCapacityReservation'>,
  context: CellContext,
): Promise<Out<'CreateCapacityReservation'>> => {
  const wanted = readNew(input, context);
  endDryRun(input);
  const [made] = await renderAll(context, [await createReservation(context.services, wanted)]);
  return { CapacityReservation: made };
};

const filters: FilterSpec<CapacityReservation & { readonly token: string | undefined }> = {
  'availability-zone': (one) => one.AvailabilityZone,
  'availability-zone-id': (one) => one.AvailabilityZoneId,
  'end-date': (one) => one.EndDate,
  'end-date-type': (one) => one.EndDateType,
  'instance-match-criteria': (one) => one.InstanceMatchCriteria,
  'instance-platform': (one) => one.InstancePlatform,
  'instance-type': (one) => one.InstanceType,
  'outpost-arn': () => undefined,
  'owner-id': (one) => one.OwnerId,
  'placement-group-arn': () => undefined,
  'start-date': (one) => one.StartDate,
  state: (one) => one.State,
  tenancy: (one) => one.Tenancy,
  // Beyond EC2's: routers find a repeated request by it.
  'client-token': (one) => one.token,
};

export const describeCapacityReservations = async (
  input: In<'DescribeCapacityReservations'>,
  context: CellContext,
): Promise<Out<'DescribeCapacityReservations'>> => {
  const { accountId } = context.request;
  const { db } = context.services;
  const page = readPage(input, {
    secret: context.pageSecret,
    scope: `${accountId}/DescribeCapacityReservations`,
    ids: { parameter: 'capacityReservationIds', values: input.CapacityReservationIds },
  });
  const named = [...new Set(input.CapacityReservationIds ?? [])].map((id) =>
    parseId('capacityReservation', id),
  );
  const matches = compileFilters(input.Filters, filters, (one) =>
    (one.Tags ?? []).map(({ Key = '', Value = '' }) => ({ Key, Value })),
  );
  endDryRun(input);
  const ids = named.length === 0 ? undefined : named;
  const found: CapacityReservation[] = [];
  let { after } = page;
  for (;;) {
    const limit = Math.max(page.items + 1, named.length);
    const rows = await listReservations(db, { accountId, ids, after, limit });
    const missing = named.filter((id) => !rows.some((row) => row.id === id));
    if (missing.length > 0) throw notFound('capacityReservation', missing);
    const shown = await renderAll(context, rows);
    found.push(...shown.filter((one, at) => matches({ ...one, token: rows[at]?.token ?? undefined })));
    after = rows.at(-1)?.id;
    if (rows.length < limit || found.length > page.items) break;
  }
  const cut = cutPage(found, page, ({ CapacityReservationId: id = '' }) => id);
  return {
    CapacityReservations: [...cut.items],
    ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }),
  };
};

const owned = (
  input: { readonly CapacityReservationId?: string | undefined; readonly DryRun?: boolean | undefined },
  context: CellContext,
) => ({
  accountId: context.request.accountId,
  id: parseId('capacityReservation', input.CapacityReservationId ?? ''),
  check: () => endDryRun(input),
});

export const modifyCapacityReservation = async (
  input: In<'ModifyCapacityReservation'>,
  context: CellContext,
): Promise<Out<'ModifyCapacityReservation'>> => {
  const { InstanceCount: count, EndDateType: type, EndDate: date } = input;
  if (count === undefined && type === undefined && date === undefined)
    throw new PandoError(
      'MissingParameter',
      'The request must contain what is to be changed: InstanceCount, EndDate or EndDateType.',
    );
  const change = {
    ...(count === undefined ? {} : { count: countOf(count) }),
    endDate: endOf(type, date, context.services.clock.now()),
  };
  await modifyReservation(context.services, owned(input, context), change);
  return { Return: true };
};

export const cancelCapacityReservation = async (
  input: In<'CancelCapacityReservation'>,
  context: CellContext,
): Promise<Out<'CancelCapacityReservation'>> => {
  await cancelReservation(context.services, owned(input, context));
  return { Return: true };
};
