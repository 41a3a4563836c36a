/** EC2's Dedicated Hosts: allocate, describe with the room that there is, modify, release. */
import type { Host } from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import { notFound, parseId } from '#contracts/ids.ts';
import { countOf } from '#slots/amount.ts';
import { compileFilters, type FilterSpec } from '#wire/filters.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
import { parseTagSpecifications } from '#wire/tags.ts';
import type { In, Out } from '#wire/types.ts';
import { guestVcpus, sizeOf } from '../instance-types.ts';
import * as limits from '../limits.ts';
import {
  allocateHosts as allocate,
  familyOf,
  type HostChange,
  modifyHosts as modify,
  type Outcomes,
  releaseHosts as release,
  typesOf,
} from '../reservations/tenants.ts';
import {
  type DedicatedHostRow,
  listDedicatedHosts,
  listMachines,
  listTenantInstances,
  type Machine,
  type TenantInstance,
} from '../store/dedicated-hosts.ts';
import { checkZone, readClientToken, requestHashOf } from './capacity-reservations.ts';
import type { CellContext } from './context.ts';
import { oneOf } from './run-input.ts';

type Kind = { readonly InstanceType?: string | undefined; readonly InstanceFamily?: string | undefined };

const onOff = ['on', 'off'] as const;

/** One type, or one family. @throws InvalidParameterCombination, InvalidParameterValue */
const readKind = ({
  InstanceType: type,
  InstanceFamily: family,
}: Kind): { type: string | null; family: string | null } => {
  if ((type === undefined) === (family === undefined))
    throw new PandoError(
      'InvalidParameterCombination',
      'Either an InstanceType or an InstanceFamily must be given.',
    );
  const kind = { type: type === undefined ? null : sizeOf(type).name, family: family ?? null };
  if (typesOf(kind).length === 0)
    throw new PandoError(
      'InvalidParameterValue',
      `Value (${String(family).slice(0, 64)}) for parameter InstanceFamily is invalid: no instance type is of it.`,
    );
  return kind;
};

export const allocateHosts = async (
  input: In<'AllocateHosts'>,
  context: CellContext,
): Promise<Out<'AllocateHosts'>> => {
  checkZone(context, input);
  const quantity = input.Quantity ?? 1;
  if (quantity < 1 || quantity > limits.dedicatedHostsMax)
    throw new PandoError(
      'InvalidParameterValue',
      `Value (${quantity}) for parameter quantity is invalid. Expecting 1 to ${limits.dedicatedHostsMax}.`,
    );
  const tags = parseTagSpecifications(input.TagSpecifications, ['dedicated-host']);
  const { AvailabilityZoneId: zoneId } = input;
  const ids = await allocate(context.services, {
    ...{ accountId: context.request.accountId, token: readClientToken(input.ClientToken), quantity },
    ...{ requestHash: requestHashOf(input), ...readKind(input), ...(zoneId ? { zoneId } : {}) },
    autoPlacement: oneOf('AutoPlacement', onOff, input.AutoPlacement, 'on'),
    hostRecovery: oneOf('HostRecovery', onOff, input.HostRecovery, 'off'),
    hostMaintenance: oneOf('HostMaintenance', onOff, input.HostMaintenance, 'off'),
    tags: tags.get('dedicated-host') ?? [],
  });
  return { HostIds: [...ids] };
};

/** How many more of a type the machine takes, and how many it would take empty. */
const roomFor = (row: DedicatedHostRow, machine: Machine | undefined) => {
  const [vcpus = 0, memory = 0, disk = 0, network] = machine?.limit ?? [];
  const [usedVcpus = 0, usedMemory = 0, usedDisk = 0, usedNetwork = 0] = machine?.used ?? [];
  const networkLimit = network ?? Number.POSITIVE_INFINITY;
  const total = { vcpusMilli: vcpus, memoryMib: memory, diskMib: disk, networkMbps: networkLimit };
  const free = {
    ...{ vcpusMilli: vcpus - usedVcpus, memoryMib: memory - usedMemory, diskMib: disk - usedDisk },
    networkMbps: networkLimit - usedNetwork,
  };
  const types = typesOf(row).map((type) => {
    const { vcpusMilli, memoryMib, networkMbps } = sizeOf(type);
    const amount = { vcpusMilli, memoryMib, networkMbps, diskMib: 0 };
    return {
      InstanceType: type,
      AvailableCapacity: Math.max(0, countOf(free, amount)),
      TotalCapacity: Math.max(0, countOf(total, amount)),
    };
  });
  return { types, freeVcpus: Math.max(0, Math.floor(free.vcpusMilli / 1000)) };
};

const render = (
  row: DedicatedHostRow,
  machine: Machine | undefined,
  instances: readonly TenantInstance[],
): Host => {
  const { types, freeVcpus } = roomFor(row, machine);
  const cores = guestVcpus(machine?.vcpus_milli ?? 0);
  const gone = row.state === 'released';
  return {
    HostId: row.id,
    OwnerId: row.account_id,
    State: row.state,
    AvailabilityZone: row.zone,
    ...(row.zone_id === null ? {} : { AvailabilityZoneId: row.zone_id }),
    AutoPlacement: row.auto_placement,
    HostRecovery: row.host_recovery,
    HostMaintenance: row.host_maintenance,
    AllowsMultipleInstanceTypes: row.type === null ? 'on' : 'off',
    ...(row.token === null ? {} : { ClientToken: row.token }),
    AllocationTime: row.allocated_at,
    ...(row.released_at === null ? {} : { ReleaseTime: row.released_at }),
    HostProperties: {
      ...{ Cores: cores, Sockets: 1, TotalVCpus: cores },
      ...(row.type === null ? {} : { InstanceType: row.type }),
      InstanceFamily: row.family ?? familyOf(row.type ?? ''),
    },
    AvailableCapacity: gone
      ? { AvailableInstanceCapacity: [], AvailableVCpus: 0 }
      : { AvailableInstanceCapacity: types, AvailableVCpus: freeVcpus },
    Instances: instances.map(({ id, type }) => ({
      InstanceId: id,
      InstanceType: type,
      OwnerId: row.account_id,
    })),
    MemberOfServiceLinkedResourceGroup: false,
    Tags: [...row.tags],
  };
};

const filters: FilterSpec<Host> = {
  'auto-placement': (host) => host.AutoPlacement,
  'availability-zone': (host) => host.AvailabilityZone,
  'availability-zone-id': (host) => host.AvailabilityZoneId,
  'client-token': (host) => host.ClientToken,
  'host-reservation-id': () => undefined,
  'instance-type': (host) => host.HostProperties?.InstanceType,
  state: (host) => host.State,
};

const renderAll = async (context: CellContext, rows: readonly DedicatedHostRow[]): Promise<Host[]> => {
  const { db } = context.services;
  const here = rows.filter(({ state }) => state === 'available');
  const machines = await listMachines(
    db,
    here.map((row) => row.host_id),
  );
  const instances = await listTenantInstances(db, here);
  return rows.map((row) =>
    render(
      row,
      machines.find(({ id }) => id === row.host_id),
      instances.filter(({ tenant }) => tenant === row.id),
    ),
  );
};

export const describeHosts = async (
  input: In<'DescribeHosts'>,
  context: CellContext,
): Promise<Out<'DescribeHosts'>> => {
  const { accountId } = context.request;
  const page = readPage(input, {
    secret: context.pageSecret,
    scope: `${accountId}/DescribeHosts`,
    ids: { parameter: 'hostIdSet', values: input.HostIds },
  });
  const named = [...new Set(input.HostIds ?? [])].map((id) => parseId('host', id));
  const matches = compileFilters(input.Filter, filters, (one) =>
    (one.Tags ?? []).map(({ Key = '', Value = '' }) => ({ Key, Value })),
  );
  const ids = named.length === 0 ? undefined : named;
  const found: Host[] = [];
  let { after } = page;
  for (;;) {
    const limit = Math.max(page.items + 1, named.length);
    const rows = await listDedicatedHosts(context.services.db, { accountId, ids, after, limit });
    const missing = named.filter((id) => !rows.some((row) => row.id === id));
    if (missing.length > 0) throw notFound('host', missing);
    found.push(...(await renderAll(context, rows)).filter(matches));
    after = rows.at(-1)?.id;
    if (rows.length < limit || found.length > page.items) break;
  }
  const cut = cutPage(found, page, ({ HostId: id = '' }) => id);
  return { Hosts: [...cut.items], ...(cut.nextToken === undefined ? {} : { NextToken: cut.nextToken }) };
};

const answer = ({ done, failed }: Outcomes) => ({
  Successful: [...done],
  Unsuccessful: failed.map(({ id, code, message }) => ({
    ResourceId: id,
    Error: { Code: code, Message: message },
  })),
});

const idsOf = ({ HostIds: ids }: { readonly HostIds?: string[] | undefined }): string[] => {
  if (ids === undefined || ids.length === 0)
    throw new PandoError('MissingParameter', 'The request must contain the parameter HostId');
  return ids;
};

export const modifyHosts = async (
  input: In<'ModifyHosts'>,
  context: CellContext,
): Promise<Out<'ModifyHosts'>> => {
  const { InstanceType: type, InstanceFamily: family } = input;
  const change: HostChange = {
    ...(type === undefined && family === undefined ? {} : readKind(input)),
    ...(input.AutoPlacement === undefined
      ? {}
      : { auto_placement: oneOf('AutoPlacement', onOff, input.AutoPlacement, 'on') }),
    ...(input.HostRecovery === undefined
      ? {}
      : { host_recovery: oneOf('HostRecovery', onOff, input.HostRecovery, 'off') }),
    ...(input.HostMaintenance === undefined
      ? {}
      : { host_maintenance: oneOf('HostMaintenance', onOff, input.HostMaintenance, 'off') }),
  };
  if (Object.keys(change).length === 0)
    throw new PandoError('MissingParameter', 'The request must contain what is to be changed.');
  return answer(await modify(context.services, context.request.accountId, idsOf(input), change));
};

export const releaseHosts = async (
  input: In<'ReleaseHosts'>,
  context: CellContext,
): Promise<Out<'ReleaseHosts'>> =>
  answer(await release(context.services, context.request.accountId, idsOf(input)));
