/** Interfaces of instances: made, placed and released by their cells. The launch path: few round trips. */
import { sql } from 'kysely';
import { OwnershipTable, staleEpoch } from '#base/ownership.ts';
import { retried, sqlStateOf, transact } from '#base/postgres/transaction.ts';
import { type ErrorCode, PandoError } from '#contracts/errors.ts';
import { exactId, newId } from '#contracts/ids.ts';
import type { SignedIdentity, TemporaryCredentials } from '#contracts/metadata.ts';
import { portsPerVpcMax, type VpcPort, type VpcState } from '#contracts/network.ts';
import { interfaceReleased } from '#contracts/region.ts';
import { forgetInstance } from './event-windows/targets.ts';
import { issueCredentials } from './instance-credentials.ts';
import { signIdentity } from './instance-identity.ts';
import {
  type AllocateRequest,
  type PlacedEni,
  runAllocate,
  runAllocateShown,
  type ShownEni,
  type TriedShown,
} from './interface-allocation.ts';
import { instanceInterface, readInterfaces } from './interface-view.ts';
import { notFound } from './not-found.ts';
import { joinPlacementGroup } from './placement-groups.ts';
import { requireHost } from './private-addresses.ts';
import { automaticAddress, noteEmptyPool, releaseAutomatic } from './public-addresses.ts';
import type { Region } from './region.ts';
import { insertTags } from './resource-tags.ts';
import type { RegionTransaction } from './schema.ts';
import { statement } from './statement.ts';

/** An interface's place: its holder is the underlay address of the card that has it. */
const places = new OwnershipTable({ table: 'eni', id: 'eni_id', holder: 'vtep', epoch: 'epoch' });

/** Of a transaction that `allocate_interface` gave up; its message is the status. */
const allocationRefused = 'PA001';
const uniqueViolation = '23505';
const attemptsMax = 5;

const refusals: Readonly<Record<string, { readonly code: ErrorCode; readonly message: string }>> = {
  'no-subnet': { code: 'InvalidSubnetID.NotFound', message: 'The subnet does not exist' },
  'no-group': {
    code: 'InvalidGroup.NotFound',
    message: 'A security group does not exist in the network of the subnet',
  },
  full: {
    code: 'InsufficientFreeAddressesInSubnet',
    message: 'There are not enough free addresses in the subnet.',
  },
  'in-use': { code: 'InvalidIPAddress.InUse', message: 'The address is in use.' },
  'out-of-range': {
    code: 'InvalidParameterValue',
    message: 'The address does not fall within the range of the subnet.',
  },
  'too-many-ports': {
    code: 'NetworkInterfaceLimitExceeded',
    message: `A VPC has at most ${portsPerVpcMax} interfaces.`,
  },
  released: {
    code: 'StaleEpoch',
    message: 'The interface of this instance was released: it gets no other.',
  },
  'no-public-address': {
    code: 'InsufficientAddressCapacity',
    message: 'The region has no free public address now.',
  },
};

export interface Allocated {
  readonly vpcId: string;
  readonly shown?: unknown[];
  readonly port: VpcPort;
  readonly identity?: SignedIdentity;
  readonly credentials?: TemporaryCredentials;
}

/** The number of the address that was asked for, in its subnet; null: any. */
const hostOf = async (region: Region, request: AllocateRequest): Promise<number | null> => {
  if (request.privateIp === undefined) return null;
  const subnet = await region.db
    .selectFrom('subnet')
    .select(['base', 'last_host'])
    .where('subnet_id', '=', request.subnetId)
    .executeTakeFirst();
  if (subnet === undefined) throw notFound('subnet', request.subnetId);
  return requireHost(request.privateIp, subnet);
};

/** Makes the interface of an instance, or gives the one that it has. @throws StaleEpoch once it was released */
export const allocateInterface = async (region: Region, request: AllocateRequest): Promise<Allocated> => {
  exactId('instance', request.instanceId);
  const host = await hostOf(region, request);
  let takeResting = false;
  for (let attempt = 1; ; attempt++) {
    const { status, eni, shown } = await tryAllocate(region, request, host, takeResting);
    if (status === 'ok' || status === 'existing')
      return {
        ...(await allocatedOf(region, request, eni)),
        ...(shown === undefined ? {} : { shown: [viewOf(region, shown)] }),
      };
    if (status === 'resting') {
      await tellOfFormerHolders(region, request.subnetId);
      takeResting = true;
    } else if (status !== 'retry') throw refused(status);
    if (attempt >= attemptsMax)
      throw new PandoError('Conflict', 'The subnet changes too fast. Retry your request.');
  }
};

const viewOf = ({ network }: Pick<Region, 'network'>, { created_at: at, ...eni }: ShownEni): unknown =>
  instanceInterface({ ...eni, created_at: new Date(at) }, network);

/**
 * An address that still rests is given out: devices hear first that its former holder is gone, and what they track of it goes. One that
 * is out of reach does so when it hears of the new holder, before that one is wired there.
 */
const tellOfFormerHolders = async (region: Region, subnetId: string): Promise<void> => {
  const subnet = await region.db
    .selectFrom('subnet')
    .select('vpc_id')
    .where('subnet_id', '=', subnetId)
    .executeTakeFirst();
  const pushed = subnet === undefined ? undefined : await region.pusher.push(subnet.vpc_id);
  if (pushed !== undefined && pushed.unreachable.length > 0)
    region.log.info(
      { subnetId, unreachable: pushed.unreachable },
      'a resting address is given out before all devices know that its former holder is gone',
    );
};

const refused = (status: string): PandoError => {
  const { code, message } = refusals[status] ?? { code: 'InternalError' as const, message: status };
  return new PandoError(code, message, status === 'released' ? { details: interfaceReleased } : {});
};

const tryAllocate = async (
  region: Region,
  request: AllocateRequest,
  host: number | null,
  takeResting: boolean,
): Promise<TriedShown> => {
  const eniId = newId('networkInterface');
  const { description = '', tags = [], placementGroupId } = request;
  try {
    // What few launches ask for is not part of the one statement that all of them run.
    if (description === '' && tags.length === 0 && placementGroupId === undefined)
      return request.shown === true
        ? await runAllocateShown(region.db, request, { host, eniId, takeResting })
        : await runAllocate(region.db, request, { host, eniId, takeResting });
    return await transact(region.db, async (tx) => {
      const tried = await runAllocate(tx, request, { host, eniId, takeResting });
      if (tried.status === 'existing' && placementGroupId !== undefined)
        await rejoinPlacementGroup(tx, request, placementGroupId);
      if (tried.status !== 'ok') return tried;
      await tx.updateTable('eni').set({ description }).where('eni_id', '=', eniId).execute();
      await insertTags(tx, request.accountId, 'network-interface', eniId, tags);
      if (placementGroupId !== undefined)
        await joinPlacementGroup(tx, request.accountId, eniId, placementGroupId);
      return tried;
    });
  } catch (error) {
    const state = sqlStateOf(error);
    if (state === allocationRefused && error instanceof Error) return { status: error.message, eni: null };
    // A MAC or an id that is taken, or a deadlock: again with other random numbers.
    if (state === uniqueViolation || state === '40P01' || state === '40001')
      return { status: 'retry', eni: null };
    throw error;
  }
};

/** A change of groups that its cell did not come to write down, or wrote down alone: the cell's word counts. */
const rejoinPlacementGroup = async (
  tx: RegionTransaction,
  { accountId, instanceId }: AllocateRequest,
  groupId: string,
): Promise<void> => {
  const eni = await tx
    .selectFrom('eni')
    .select(['eni_id', 'placement_group_id'])
    .where('instance_id', '=', instanceId)
    .executeTakeFirst();
  if (eni !== undefined && eni.placement_group_id !== groupId)
    await joinPlacementGroup(tx, accountId, eni.eni_id, groupId);
};

const allocatedOf = async (
  region: Region,
  {
    instanceId,
    identity: claims,
    instanceProfileId,
  }: Pick<AllocateRequest, 'instanceId' | 'identity' | 'instanceProfileId'>,
  eni: PlacedEni | null,
): Promise<Allocated> => {
  // It was there a moment ago.
  if (eni === null) throw refused('released');
  region.interfaceOwners.note(eni.eni_id, instanceId);
  const { identityKey } = region;
  const facts = {
    ...{ accountId: eni.account_id, instanceId, privateIp: eni.ip },
    ...{ availabilityZone: eni.zone, region: region.config.regionName },
  };
  const credentials =
    instanceProfileId === undefined
      ? undefined
      : await issueCredentials(region, instanceProfileId, instanceId);
  return {
    ...(credentials === undefined ? {} : { credentials }),
    vpcId: eni.vpc_id,
    port: {
      eniId: eni.eni_id,
      instanceId: eni.instance_id,
      mac: eni.mac,
      ip: eni.ip,
      subnetId: eni.subnet_id,
      groupIds: eni.group_ids,
      sourceDestCheck: eni.source_dest_check,
      epoch: eni.epoch,
      ...(eni.vtep === null ? {} : { vtep: eni.vtep }),
      ...(eni.public_ip === null ? {} : { publicIp: eni.public_ip }),
    },
    ...(claims === undefined || identityKey === undefined
      ? {}
      : { identity: await signIdentity(identityKey, facts, claims) }),
  };
};

/** A VPC's row is locked before its interfaces': every change of a VPC does so, and two orders would wait for each other. */
const lockVpcOf = async (
  tx: RegionTransaction,
  column: 'eni_id' | 'instance_id',
  value: string,
): Promise<void> => {
  await sql`select 1 from vpc where vpc_id = (select vpc_id from eni where ${sql.ref(column)} = ${value})
    for no key update`.execute(tx);
};

export interface PlaceRequest {
  readonly eniId: string;
  readonly vtep?: string | undefined;
  readonly epoch: number;
  readonly withoutState?: boolean | undefined;
  readonly releaseAutomatic?: boolean | undefined;
}

export interface Placed {
  readonly state?: VpcState;
  readonly unreachable: string[];
  readonly publicIp?: string;
}

interface PlaceRow {
  readonly outcome: 'changed' | 'unchanged' | 'stale' | 'absent';
  readonly vpc_id: string | null;
  readonly holder: string | null;
  readonly epoch: number | null;
  readonly assigned: boolean | null;
}

const placeStatement = statement<PlaceRow>('select * from place_interface($1, $2::text, $3::bigint, $4)');

/** The compare-and-set of an interface's place, in one statement. Answers its VPC. Repeated it changes nothing. */
const place = async (region: Region, request: PlaceRequest): Promise<string | undefined> => {
  const { eniId, vtep = null, epoch } = request;
  const [found] = await retried(() =>
    placeStatement(region.db, eniId, vtep, epoch, newId('addressAssociation')),
  );
  if (found === undefined || found.outcome === 'absent') throw notFound('networkInterface', eniId);
  if (found.outcome === 'stale')
    throw staleEpoch(eniId, { holder: vtep, epoch }, { holder: found.holder, epoch: found.epoch ?? 0 });
  noteEmptyPool(region, eniId, found.assigned);
  return found.vpc_id ?? undefined;
};

/** The same of an instance that is stopped: its automatic public address goes back. */
const placeAndGiveBack = (region: Region, request: PlaceRequest): Promise<string | undefined> => {
  const wanted = { holder: request.vtep ?? null, epoch: request.epoch };
  return transact(region.db, async (tx) => {
    await lockVpcOf(tx, 'eni_id', request.eniId);
    const outcome = await places.set(tx, request.eniId, wanted);
    switch (outcome.kind) {
      case 'absent':
        throw notFound('networkInterface', request.eniId);
      case 'stale':
        throw staleEpoch(request.eniId, wanted, outcome.ownership);
      case 'unchanged':
      case 'changed': {
        const grown = outcome.kind === 'changed' ? 1 : 0;
        if (grown > 0) await releaseAutomatic(tx, region, request.eniId);
        const { rows } = await sql<{ vpc_id: string; assigned: boolean | null }>`
          update vpc set version = version + ${grown}::int
          where vpc_id = (select vpc_id from eni where eni_id = ${request.eniId})
          returning vpc_id, ${grown === 0 ? sql`null` : automaticAddress(request.eniId)} as assigned`.execute(
          tx,
        );
        noteEmptyPool(region, request.eniId, rows[0]?.assigned);
        return rows[0]?.vpc_id;
      }
    }
  });
};

/**
 * Says where an interface is from now on. Devices are told before the answer, as far as they can be reached in time. Once placed it gets
 * its automatic public address, if one is due; one that is nowhere gives it back where the caller says that its instance is stopped.
 */
export const placeInterface = async (region: Region, request: PlaceRequest): Promise<Placed> => {
  const giveBack = request.releaseAutomatic && request.vtep === undefined;
  const vpcId = await (giveBack ? placeAndGiveBack(region, request) : place(region, request));
  const pushed = vpcId === undefined ? undefined : await region.pusher.push(vpcId);
  if (pushed === undefined) throw notFound('networkInterface', request.eniId);
  const { state, unreachable } = pushed;
  const publicIp = state.ports.find(({ eniId }) => eniId === request.eniId)?.publicIp;
  return {
    ...(request.withoutState ? {} : { state }),
    ...(publicIp === undefined ? {} : { publicIp }),
    unreachable: [...unreachable],
  };
};

/** Tells devices what they do not have of a VPC yet; those that still do not have it. */
export const devicesBehind = async ({ pusher }: Pick<Region, 'pusher'>, vpcId: string): Promise<string[]> => [
  ...((await pusher.push(vpcId))?.unreachable ?? []),
];

/** Deletes the interface of an instance; its addresses rest before they are given out again. */
export const releaseInterface = async (
  region: Pick<Region, 'config' | 'db' | 'pusher'>,
  instanceId: string,
): Promise<void> => {
  const { privateRestMs, publicRestMs } = region.config;
  const vpcId = await transact(region.db, async (tx) => {
    await lockVpcOf(tx, 'instance_id', instanceId);
    const { rows } = await sql<{ vpc_id: string | null }>`
      select release_interface(${instanceId}, ${privateRestMs} * interval '1 millisecond',
        ${publicRestMs} * interval '1 millisecond') as vpc_id`.execute(tx);
    await forgetInstance(tx, instanceId);
    return rows[0]?.vpc_id ?? undefined;
  });
  if (vpcId !== undefined) await region.pusher.push(vpcId);
};

export const vpcStateOf = async (region: Region, vpcId: string): Promise<VpcState> => {
  const state = await region.compile(vpcId);
  if (state === undefined) throw notFound('vpc', vpcId);
  return state;
};

const instancesPerCallMax = 1_000;

/** Interfaces as EC2 shows them inside instances, by instance id. Of instances without one: nothing. */
export const interfacesOf = async (
  region: Region,
  accountId: string,
  instanceIds: readonly string[],
): Promise<Record<string, unknown[]>> => {
  if (instanceIds.length > instancesPerCallMax)
    throw new PandoError('InvalidParameterValue', `More than ${instancesPerCallMax} instances in one call.`);
  const rows = await readInterfaces(region.db, accountId, { instanceIds });
  return Object.fromEntries(rows.map((eni) => [eni.instance_id, [instanceInterface(eni, region.network)]]));
};
