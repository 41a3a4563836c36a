/**
 * Dedicated hosts: a machine that is one account's alone, and only for the instances that are to be there. Each is a tenant of its own: its
 * claims carry its id in the place of the account's, so the rule that keeps strangers off a dedicated machine keeps all others off it.
 */
import { PandoError } from '#contracts/errors.ts';
import { newCellId, notFound, parseId } from '#contracts/ids.ts';
import type { Amount } from '#slots/amount.ts';
import { fits } from '#slots/amount.ts';
import type { ValidTag } from '#wire/tags.ts';
import type { Placed, PlacementRequest, Placing } from '../capacity/placing.ts';
import { instanceTypeCatalogue, sizeOf } from '../instance-types.ts';
import * as limits from '../limits.ts';
import type { CellServices } from '../services.ts';
import { claimIdOf, releaseClaim } from '../store/claims.ts';
import {
  changeDedicatedHost,
  countDedicatedHosts,
  type DedicatedHostRow,
  endDedicatedHost,
  insertDedicatedHost,
  listAllocatedBy,
  listTenantInstances,
  lockDedicatedHosts,
} from '../store/dedicated-hosts.ts';
import { lockHosts } from '../store/hosts.ts';
import type { Sql } from '../store/sql.ts';

const nothing: Amount = { vcpusMilli: 0, memoryMib: 0, diskMib: 0, networkMbps: 0 };

export const familyOf = (type: string): string => type.split('.', 1)[0] ?? type;

export const takesType = (
  { type, family }: Pick<DedicatedHostRow, 'type' | 'family'>,
  wanted: string,
): boolean => (type === null ? family === familyOf(wanted) : type === wanted);

/** The types that a host of this family may have. */
export const typesOf = ({ type, family }: Pick<DedicatedHostRow, 'type' | 'family'>): string[] =>
  type === null
    ? instanceTypeCatalogue.map(({ name }) => name).filter((name) => familyOf(name) === family)
    : [type];

/** The dedicated hosts that a launch may use, locked. @throws InvalidHostID.NotFound, InvalidHostState, InvalidParameterCombination */
export const lockTenants = async (
  tx: Sql,
  wanted: { readonly accountId: string; readonly type: string; readonly hostId?: string | undefined },
): Promise<DedicatedHostRow[]> => {
  const { accountId, type, hostId } = wanted;
  const named = hostId === undefined ? undefined : [parseId('host', hostId)];
  const rows = await lockDedicatedHosts(tx, accountId, named);
  if (hostId === undefined) return rows.filter((row) => takesType(row, type));
  const [row] = rows;
  if (row === undefined) throw notFound('host', hostId);
  if (row.state !== 'available')
    throw new PandoError('InvalidHostState', `The Dedicated Host '${row.id}' is ${row.state}.`);
  if (!takesType(row, type))
    throw new PandoError(
      'InvalidParameterCombination',
      `The Dedicated Host '${row.id}' is for ${row.type ?? `the family ${row.family}`}, not for ${type}.`,
    );
  return rows;
};

export const tenantsFull = (hostId: string | undefined): PandoError =>
  new PandoError(
    'InsufficientHostCapacity',
    hostId === undefined
      ? 'No Dedicated Host of yours with auto-placement has room for the instances. Allocate one for their type.'
      : `There is not enough capacity on the Dedicated Host '${hostId}' to launch the instances.`,
  );

/** On the first of them that has room. */
export const placeOnTenants = async (
  placing: Placing,
  tenants: readonly DedicatedHostRow[],
  requestFor: (tenant: DedicatedHostRow) => PlacementRequest,
): Promise<(Placed & { readonly tenantId: string }) | undefined> => {
  for (const tenant of tenants) {
    const placed = await placing.place(requestFor(tenant));
    if (placed !== undefined) return { ...placed, tenantId: tenant.id };
  }
  return undefined;
};

export interface NewHosts {
  readonly accountId: string;
  readonly token?: string | undefined;
  readonly requestHash: string;
  readonly type: string | null;
  readonly family: string | null;
  readonly zoneId?: string | undefined;
  readonly quantity: number;
  readonly autoPlacement: 'on' | 'off';
  readonly hostRecovery: 'on' | 'off';
  readonly hostMaintenance: 'on' | 'off';
  readonly tags: readonly ValidTag[];
}

/** Whole machines without anybody's VM, all or none. @throws InsufficientHostCapacity, HostLimitExceeded, IdempotentParameterMismatch */
export const allocateHosts = (
  { capacity, identity }: CellServices,
  wanted: NewHosts,
): Promise<readonly string[]> => {
  const { accountId, token, requestHash, quantity } = wanted;
  const [smallest = ''] = typesOf(wanted);
  const { vcpusMilli, memoryMib, networkMbps, needs = [] } = sizeOf(smallest);
  const least = { vcpusMilli, memoryMib, networkMbps, diskMib: 0 };
  return capacity.transaction(async (tx, placing) => {
    const made = token === undefined ? [] : await listAllocatedBy(tx, accountId, token);
    if (made.some((row) => row.request_hash !== requestHash))
      throw new PandoError(
        'IdempotentParameterMismatch',
        'The request uses the same client token as a previous, but non-identical request.',
      );
    if (made.length > 0) return made.map(({ id }) => id);
    if ((await countDedicatedHosts(tx, accountId)) + quantity > limits.dedicatedHostsMax)
      throw new PandoError(
        'HostLimitExceeded',
        `You may have ${limits.dedicatedHostsMax} Dedicated Hosts. Release one to allocate another.`,
      );
    const ids: string[] = [];
    while (ids.length < quantity) {
      const id = newCellId('host', identity.cellNumber);
      const claim = {
        purpose: 'dedicated-host' as const,
        ...{
          holder: id,
          type: smallest,
          amount: nothing,
          accountId: id,
          dedicated: true,
          capabilities: needs,
        },
      };
      const placed = await placing.place({
        ...{ claim, zone: identity.zone },
        accept: (host) => (host.accounts?.size ?? 0) === 0 && fits(host.limit, least),
      });
      if (placed === undefined)
        throw new PandoError(
          'InsufficientHostCapacity',
          `There are not ${quantity} hosts without instances of others in ${identity.zone} now. Try again later, or in another zone.`,
        );
      await insertDedicatedHost(tx, {
        ...{
          id,
          account_id: accountId,
          token: token ?? null,
          request_hash: requestHash,
          host_id: placed.hostId,
        },
        ...{ type: wanted.type, family: wanted.family, zone: identity.zone, zone_id: wanted.zoneId ?? null },
        ...{ auto_placement: wanted.autoPlacement, host_recovery: wanted.hostRecovery },
        ...{ host_maintenance: wanted.hostMaintenance, tags: wanted.tags },
      });
      ids.push(id);
    }
    return ids;
  });
};

export interface Outcomes {
  readonly done: readonly string[];
  readonly failed: readonly { readonly id: string; readonly code: string; readonly message: string }[];
}

/** Each by itself: one that cannot be changed is told, and holds up no other. @throws InvalidHostID.NotFound where one is not there at all */
const each = async (
  { db }: CellServices,
  accountId: string,
  ids: readonly string[],
  change: (
    tx: Sql,
    row: DedicatedHostRow,
    instances: readonly { readonly id: string; readonly type: string }[],
  ) => Promise<string | undefined>,
): Promise<Outcomes> => {
  const wanted = [...new Set(ids)].map((id) => parseId('host', id));
  return db.transaction(async (tx) => {
    const rows = await lockDedicatedHosts(tx, accountId, wanted);
    const missing = wanted.filter((id) => !rows.some((row) => row.id === id));
    if (missing.length > 0) throw notFound('host', missing);
    await lockHosts(
      tx,
      rows.map((row) => row.host_id),
    );
    const instances = await listTenantInstances(tx, rows);
    const done: string[] = [];
    const failed: { id: string; code: string; message: string }[] = [];
    for (const row of rows) {
      const own = instances.filter(({ tenant }) => tenant === row.id);
      const why =
        row.state === 'available'
          ? await change(tx, row, own)
          : `The Dedicated Host '${row.id}' is ${row.state}.`;
      if (why === undefined) done.push(row.id);
      else failed.push({ id: row.id, code: 'InvalidHostState', message: why });
    }
    return { done, failed };
  });
};

export const releaseHosts = (
  services: CellServices,
  accountId: string,
  ids: readonly string[],
): Promise<Outcomes> =>
  each(services, accountId, ids, async (tx, { id }, instances) => {
    const [first] = instances;
    // A stopped instance has its disk there.
    if (first !== undefined)
      return `The Dedicated Host '${id}' has instances, such as ${first.id}: terminate them first.`;
    await releaseClaim(tx, claimIdOf('dedicated-host', id));
    await endDedicatedHost(tx, id);
    return undefined;
  });

export type HostChange = Partial<
  Pick<DedicatedHostRow, 'type' | 'family' | 'auto_placement' | 'host_recovery' | 'host_maintenance'>
>;

export const modifyHosts = (
  services: CellServices,
  accountId: string,
  ids: readonly string[],
  change: HostChange,
): Promise<Outcomes> =>
  each(services, accountId, ids, async (tx, row, instances) => {
    const after = { ...row, ...change };
    const other = instances.find(({ type }) => !takesType(after, type));
    if (other !== undefined)
      return `The Dedicated Host '${row.id}' has the instance ${other.id} of the type ${other.type}.`;
    await changeDedicatedHost(tx, after);
    return undefined;
  });
