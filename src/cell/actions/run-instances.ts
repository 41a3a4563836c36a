/**
 * RunInstances. Everything outside the cell is resolved first, by one call; then one transaction writes instances, placement and
 * workflows (S3.3); then the workflows start, here and at once.
 */

import { isUnknownOutcome } from '#base/postgres/faults.ts';
import type { Result } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import { newCellId, snapshotIdOf } from '#contracts/ids.ts';
import type { regionContract } from '#contracts/region.ts';
import type { Amount } from '#slots/amount.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import { claimOf, groupRowOf, lockKnown } from '../capacity/constrained.ts';
import type { Placed, Placing } from '../capacity/placing.ts';
import { firstPlaceEpoch } from '../generation.ts';
import { insufficientCapacity } from '../insufficient-capacity.ts';
import { interfaceWaitMsMax } from '../limits.ts';
import { newAssociation } from '../profile-association.ts';
import { findSlots, onlyReserved, takeSlots } from '../reservations/matching.ts';
import { lockTenants, placeOnTenants, tenantsFull } from '../reservations/tenants.ts';
import { claimToken, findToken } from '../store/client-tokens.ts';
import type { DedicatedHostRow } from '../store/dedicated-hosts.ts';
import { type InstanceRow, insertInstance, listReservation } from '../store/instances.ts';
import { returnSlots, useSlot } from '../store/reservations.ts';
import type { Sql } from '../store/sql.ts';
import { type BegunRow, insertWorkflow, type WorkflowRow } from '../store/workflows.ts';
import { newWorkflow } from '../workflows/new-workflow.ts';
import { knownInstance } from '../workflows/steps/inputs.ts';
import type { LaunchedInterface } from '../workflows/steps/network.ts';
import type { CellContext } from './context.ts';
import { checkOffered } from './host-placement.ts';
import { choiceOf } from './instance-reservation.ts';
import { interfacesOf } from './interfaces.ts';
import { checkPartition, constraintsOf } from './launch-placement.ts';
import { fromTemplate } from './launch-template.ts';
import { type LaunchClaim, launchClaimOf, underClaim } from './launch-token.ts';
import { checkVisibleTags } from './metadata-tags.ts';
import { renderInstance } from './render.ts';
import {
  metadataDefaultsOf,
  type RunRequest,
  readMetadataOptions,
  readRunInput,
  readToken,
  type TokenPart,
} from './run-input.ts';
import { isRootName } from './run-root.ts';

type Resolved = Result<typeof regionContract, 'region.resolveLaunch'>;

interface Launched {
  readonly reservationId: string;
  readonly rows: readonly InstanceRow[];
  readonly workflows: readonly BegunRow[];
}

export const runInstances = async (
  given: In<'RunInstances'>,
  context: CellContext,
): Promise<Out<'RunInstances'>> => {
  // Before the template is looked at: it may be another or gone by now.
  const earlier = given.LaunchTemplate && (await replay(context, readToken(given)));
  if (earlier !== undefined) return answer(context, earlier);
  const { input, tags } = await fromTemplate(given, context);
  const read = readRunInput(input, given);
  const request = { ...read, instanceTags: [...read.instanceTags, ...tags] };
  const claim = launchClaimOf(context, request.clientToken, input.DryRun === true);
  const replayed = await replay(context, request);
  if (replayed !== undefined) return answer(context, replayed);
  const resolved = await resolve(context, request, claim).catch(async (error: unknown) => {
    // A twin of this request, with the same token, may have taken the address or the last room: then its answer is ours.
    const made = await replay(context, request);
    if (made === undefined) throw error;
    return made;
  });
  if (!('image' in resolved)) return answer(context, resolved);
  const launched = await underClaim(context, claim, () => begin(input, context, request, resolved));
  if (context.request.offerId !== undefined) await context.services.faults.hit('offer.committed');
  context.begun({ changes: [], workflows: launched.workflows, cancelled: [] });
  if (context.request.offerId !== undefined) context.offers.told();
  return answer(context, launched.rows, await addresses(context, launched.workflows));
};

/** What a launch would take, were there room: for a request that is to wait for it. @throws as the launch itself */
export const sizeLaunch = async (
  given: In<'RunInstances'>,
  context: CellContext,
): Promise<{ type: string; count: number; amount: Amount; token: string }> => {
  const { input } = await fromTemplate(given, context);
  const request = readRunInput(input, given);
  const resolved = await resolve(context, request, undefined);
  checkPlace(context, request, resolved);
  const token = request.clientToken ?? context.request.requestId;
  return { type: request.size.name, count: request.min, amount: amountFor(request, resolved), token };
};

/** @throws where this cell, or a region of the last release, cannot place it as it was asked for */
const checkPlace = ({ services }: CellContext, request: RunRequest, resolved: Resolved): void => {
  if (resolved.zone !== services.identity.zone)
    throw new PandoError('InvalidParameterValue', `This cell has no hosts in the zone ${resolved.zone}.`);
  if (request.zoneId !== undefined && request.zoneId !== resolved.zoneId)
    throw new PandoError(
      'InvalidParameterValue',
      `Invalid availability zone-id: [${request.zoneId.slice(0, 64)}]`,
    );
  if (request.placementGroup !== undefined && resolved.placementGroup === undefined)
    throw new PandoError(
      'UnsupportedOperation',
      'Placement groups are not available until the region is upgraded.',
    );
  checkPartition(request, resolved);
  if (request.instanceProfile !== undefined && resolved.instanceProfile === undefined)
    throw new PandoError(
      'UnsupportedOperation',
      'Instance profiles are not available until the region is upgraded.',
    );
};

/** Checks what only the cell knows, and makes the launch durable. */
const begin = async (
  input: In<'RunInstances'>,
  context: CellContext,
  request: RunRequest,
  resolved: Resolved,
): Promise<Launched> => {
  checkPlace(context, request, resolved);
  const amount = amountFor(request, resolved);
  checkVisibleTags(metadataFor(request, resolved).instanceTags, request.instanceTags);
  context.engine.assertRoom();
  if (context.vms() + request.min > context.services.limits.vms) throw insufficientCapacity();
  endDryRun(input);
  const { capacity } = context.services;
  capacity.note(request.size.name, amount, 'arrival', request.min);
  return capacity
    .transaction((tx, placing) => launch(tx, placing, context, { request, resolved, amount }))
    .catch(async (error: unknown) => {
      // The commit's answer was lost. If the token is there it happened: whoever asks gets its instances, and the engine finds the
      // workflows, which are its own. If it is not there, the other processor of the cell is asked with the same token.
      const rows = isUnknownOutcome(error) ? await replay(context, request) : undefined;
      const refused = PandoError.from(error).code === 'InsufficientInstanceCapacity';
      if (refused) capacity.note(request.size.name, amount, 'refusal', request.min);
      if (rows === undefined) throw refused ? await refusal(context, PandoError.from(error)) : error;
      return { reservationId: '', rows, workflows: [] };
    });
};

/** What a client is told that found no room: with an offer to race for, that its request waits on. */
const refusal = ({ offers, request }: CellContext, error: PandoError): PandoError | Promise<PandoError> =>
  request.offerId === undefined ? error : offers.lost(request.offerId, request.accountId, error);

/** The same token with the same parameters: the instances that it made, as they are now. */
const replay = async (
  context: CellContext,
  request: TokenPart,
): Promise<readonly InstanceRow[] | undefined> => {
  if (request.clientToken === undefined) return undefined;
  const { accountId } = context.request;
  const { db } = context.services;
  const made = await findToken(db, {
    accountId,
    token: request.clientToken,
    requestHash: request.requestHash,
  });
  return made === undefined ? undefined : madeBefore(db, accountId, made);
};

/** What a token's launch made: never nothing, for a client takes the first of the list. @throws IdempotentInstanceTerminated */
const madeBefore = async (
  sql: Sql,
  accountId: string,
  reservationId: string,
): Promise<readonly InstanceRow[]> => {
  const rows = await listReservation(sql, accountId, reservationId);
  if (rows.some((row) => row.state !== 'terminated')) return rows;
  throw new PandoError(
    'IdempotentInstanceTerminated',
    'The client token was used by a launch whose instances are terminated. Use another token to launch anew.',
  );
};

const resolve = (
  context: CellContext,
  request: RunRequest,
  claim: LaunchClaim | undefined,
): Promise<Resolved> =>
  context.services.region.call('region.resolveLaunch', {
    accountId: context.request.accountId,
    imageId: request.imageId,
    keyName: request.keyName,
    subnetId: request.subnetId,
    zone: request.zone,
    groupIds: [...request.groupIds],
    groupNames: [...request.groupNames],
    privateIp: request.privateIp,
    placementGroup: request.placementGroup,
    instanceProfile: request.instanceProfile,
    count: request.min,
    cellId: context.services.identity.cellId,
    claim,
  });

const mibPerGib = 1024;

const amountFor = (request: RunRequest, { image }: Resolved): Amount => {
  const { size, root, max } = request;
  if (size.memoryMib < image.minMemoryMib)
    throw new PandoError(
      'InvalidParameterCombination',
      `The image '${image.imageId}' needs ${image.minMemoryMib} MiB of memory; the instance type ${size.name} has ${size.memoryMib}.`,
    );
  if (root.deviceName !== undefined && !isRootName(root.deviceName, image.rootDeviceName))
    throw new PandoError(
      'InvalidBlockDeviceMapping',
      `The image's root device is ${image.rootDeviceName}; other devices are not supported.`,
    );
  if (root.snapshotId !== undefined && root.snapshotId !== snapshotIdOf(image.imageId))
    throw new PandoError(
      'InvalidSnapshot.NotFound',
      `The snapshot '${root.snapshotId.slice(0, 64)}' is not that of the image '${image.imageId}': a root device is made of its image's alone.`,
    );
  if (request.privateIp !== undefined && max > 1)
    throw new PandoError(
      'InvalidParameterCombination',
      'A private IP address may not be specified for several instances.',
    );
  if (root.sizeGib !== undefined && root.sizeGib * mibPerGib < image.diskVirtualMib)
    throw new PandoError(
      'InvalidBlockDeviceMapping',
      `Volume of size ${root.sizeGib}GB is smaller than snapshot '${image.imageId}', expect size >= ${Math.ceil(image.diskVirtualMib / mibPerGib)}GB`,
    );
  return {
    vcpusMilli: size.vcpusMilli,
    memoryMib: size.memoryMib,
    networkMbps: size.networkMbps,
    diskMib: root.sizeGib === undefined ? image.diskVirtualMib : root.sizeGib * mibPerGib,
  };
};

interface LaunchOrder {
  readonly request: RunRequest;
  readonly resolved: Resolved;
  readonly amount: Amount;
}

interface PlacedInstance extends Placed {
  readonly id: string;
  /** Of the tenancy `host`: the one that it is on. */
  readonly tenantId?: string;
}

/** Where a launch may go, with everything locked that it takes. */
interface Room {
  /** A host for each of the first instances: what was reserved there is free to this transaction. */
  readonly offered: readonly string[];
  readonly max: number;
  /** Of the tenancy `host`: the dedicated hosts that will do. */
  readonly tenants?: readonly DedicatedHostRow[];
}

/** As many as fit up to the maximum; fewer than the minimum: nothing (the transaction is rolled back). */
const placeAll = async (
  placing: Placing,
  { services }: CellContext,
  { request, resolved, amount }: LaunchOrder,
  accountId: string,
  { offered, max, tenants }: Room,
): Promise<readonly PlacedInstance[]> => {
  const { zone } = resolved;
  const group = groupRowOf(resolved.placementGroup);
  const places: PlacedInstance[] = [];
  while (places.length < max) {
    const id = newCellId('instance', services.identity.cellNumber);
    const claimFor = (dedicatedHost?: { readonly hostId: string }) => {
      const spec = { instanceType: request.size.name, ...constraintsOf(request, resolved) };
      return claimOf(
        { id, account_id: accountId, spec: { ...spec, ...(dedicatedHost && { dedicatedHost }) } },
        'instance',
        amount,
      );
    };
    if (tenants !== undefined) {
      const placed = await placeOnTenants(placing, tenants, (tenant) => ({
        ...{ claim: claimFor({ hostId: tenant.id }), zone, group, hostId: tenant.host_id },
      }));
      if (placed === undefined) break;
      places.push({ id, ...placed });
      continue;
    }
    const hostId = offered[places.length];
    const wanted = { claim: claimFor(), zone, group, count: max - places.length };
    const there = hostId === undefined ? undefined : await placing.place({ ...wanted, hostId });
    // A host that takes no VMs just now is no reason to break an offer, where another one has room.
    const placed = there ?? (await placing.place(wanted));
    if (placed === undefined) break;
    places.push({ id, ...placed });
  }
  if (places.length < request.min)
    throw tenants === undefined ? insufficientCapacity() : tenantsFull(request.hostId);
  return places;
};

const launch = async (
  tx: Sql,
  placing: Placing,
  context: CellContext,
  order: LaunchOrder,
): Promise<Launched> => {
  const { services, owner } = context;
  const { request } = order;
  const { accountId } = context.request;
  const reservationId = newCellId('reservation', services.identity.cellNumber);
  let mayHaveSlots = true;
  if (request.clientToken !== undefined) {
    const claim = { accountId, token: request.clientToken, requestHash: request.requestHash, reservationId };
    const claimed = await claimToken(tx, claim);
    const { made } = claimed;
    if (made !== undefined)
      return { reservationId: made, rows: await madeBefore(tx, accountId, made), workflows: [] };
    mayHaveSlots = claimed.mayHaveSlots;
  }
  const { offerId } = context.request;
  const { amount } = order;
  const { name: type } = request.size;
  const { freeAddresses } = order.resolved;
  const most = Math.min(request.max, freeAddresses ?? request.max);
  const choice = choiceOf(request.attributes);
  checkOffered(context.request, request, choice);
  // Locks in the order of ARCHITECTURE.md: queue, reservations and dedicated hosts, group, hosts.
  const taken =
    offerId === undefined
      ? undefined
      : await context.offers.find(tx, { offerId, accountId, type, max: request.max, amount });
  const wanted = { accountId, type, zone: order.resolved.zone, tenancy: request.tenancy, choice };
  const slots =
    taken === undefined && (mayHaveSlots || onlyReserved(choice))
      ? await findSlots(tx, { ...wanted, min: request.min, max: most }, services.clock.now())
      : [];
  const tenants =
    request.tenancy === 'host'
      ? await lockTenants(tx, { accountId, type, hostId: request.hostId })
      : undefined;
  const group = order.resolved.placementGroup;
  if (group !== undefined) await lockKnown(tx, group.groupId, groupRowOf(group));
  if (taken !== undefined) await context.offers.take(tx, taken);
  if (slots.length > 0) await takeSlots(tx, slots);
  const places = await placeAll(placing, context, order, accountId, {
    offered: taken?.hostIds ?? slots.map((slot) => slot.host_id),
    max: onlyReserved(choice) ? Math.min(most, slots.length) : most,
    ...(tenants === undefined ? {} : { tenants }),
  });
  if (taken !== undefined) await context.offers.fulfil(tx, taken, reservationId);
  if (slots.length > places.length) await returnSlots(tx, slots.slice(places.length));
  const rows: InstanceRow[] = [];
  const workflows: BegunRow[] = [];
  for (const [index, { id, partition, tenantId, ...placed }] of places.entries()) {
    const placedRequest = {
      ...request,
      ...(partition === undefined ? {} : { partition }),
      ...(tenantId === undefined ? {} : { hostId: tenantId }),
    };
    const placedOrder = { ...order, request: placedRequest };
    const row = newInstance(context, placedOrder, { reservationId, index, id, placed });
    const workflow = newWorkflow(services, 'launch', row.id, { ...placed, epoch: firstPlaceEpoch });
    const owned = { ...row, workflow_id: workflow.id };
    await insertInstance(tx, owned);
    const slot = slots[index];
    if (slot !== undefined) await useSlot(tx, row.id, slot.reservation_id);
    workflows.push({ ...(await insertWorkflow(tx, workflow, owner)), known: knownInstance(owned) });
    rows.push(owned);
  }
  return { reservationId, rows, workflows };
};

const metadataFor = (
  request: RunRequest,
  { image, metadataDefaults }: Resolved,
): InstanceRow['spec']['metadata'] =>
  readMetadataOptions(request.metadataOptions, metadataDefaultsOf(image.imdsSupport, metadataDefaults));

const newInstance = (
  context: CellContext,
  { request, resolved, amount }: LaunchOrder,
  at: {
    readonly reservationId: string;
    readonly index: number;
    readonly id: string;
    readonly placed: Placed;
  },
): InstanceRow => {
  const { identity, clock } = context.services;
  const now = new Date(clock.now());
  const { image } = resolved;
  return {
    id: at.id,
    account_id: context.request.accountId,
    reservation_id: at.reservationId,
    launch_index: at.index,
    state: 'pending',
    version: 1,
    vpc_id: resolved.vpcId,
    host_id: at.placed.hostId,
    place_epoch: firstPlaceEpoch,
    workflow_id: null,
    locked: false,
    intent: null,
    vcpus_milli: amount.vcpusMilli,
    memory_mib: amount.memoryMib,
    disk_mib: amount.diskMib,
    network_mbps: amount.networkMbps,
    created_at: now,
    launch_time: now,
    terminated_at: null,
    state_reason: null,
    transition_reason: '',
    interface: null,
    tags: request.instanceTags,
    volume_tags: request.volumeTags,
    credentials_due: resolved.instanceProfile === undefined ? null : now,
    spec: {
      ...request.attributes,
      metadata: metadataFor(request, resolved),
      image: {
        imageId: image.imageId,
        digest: image.digest,
        architecture: image.architecture,
        rootDeviceName: request.root.deviceName ?? image.rootDeviceName,
        minMemoryMib: image.minMemoryMib,
      },
      instanceType: request.size.name,
      subnetId: resolved.subnetId,
      zone: resolved.zone,
      ...(resolved.zoneId === undefined ? {} : { zoneId: resolved.zoneId }),
      domainName: resolved.domainName,
      ...constraintsOf(request, resolved),
      ...(resolved.instanceProfile === undefined
        ? {}
        : { instanceProfile: newAssociation(identity.cellNumber, resolved.instanceProfile, now) }),
      groups: resolved.groups,
      publicIp: request.publicIp ?? resolved.mapPublicIp,
      volumeId: newCellId('volume', identity.cellNumber),
      volumeSizeGib: Math.max(1, Math.ceil(amount.diskMib / mibPerGib)),
      volumeType: request.root.type,
      volumeDeleteOnTermination: request.root.deleteOnTermination,
      sourceDestCheck: true,
      ...(request.keyName === undefined ? {} : { keyName: request.keyName }),
      ...(resolved.publicKey === undefined ? {} : { publicKey: resolved.publicKey }),
      ...(request.privateIp === undefined ? {} : { privateIp: request.privateIp }),
      ...(request.description === undefined ? {} : { interfaceDescription: request.description }),
      ...(request.interfaceTags.length === 0 ? {} : { interfaceTags: request.interfaceTags }),
      ...(request.userData === undefined ? {} : { userData: request.userData }),
      ...(request.clientToken === undefined ? {} : { clientToken: request.clientToken }),
    },
  };
};

/** The addresses that the launches get, if they are known in a moment: clients read them from this answer. */
const addresses = async (
  context: CellContext,
  workflows: readonly WorkflowRow[],
): Promise<ReadonlyMap<string, LaunchedInterface>> => {
  const ports = new Map<string, LaunchedInterface>();
  await Promise.all(
    workflows.map(async ({ id, subject }) => {
      const result = await context.engine.stepResult(id, 'allocateInterface', interfaceWaitMsMax);
      if (isAllocated(result)) ports.set(subject, result);
    }),
  );
  return ports;
};

const isAllocated = (result: unknown): result is LaunchedInterface =>
  typeof result === 'object' && result !== null && 'port' in result;

/** What DescribeInstances would show now. */
const answer = async (
  context: CellContext,
  made: readonly InstanceRow[],
  launched: ReadonlyMap<string, LaunchedInterface> = new Map(),
): Promise<Out<'RunInstances'>> => {
  const rows = made.map((row) => ({ ...row, interface: launched.get(row.id)?.port ?? row.interface }));
  const told = new Map(
    [...launched].flatMap(([id, { shown }]) => (shown === undefined ? [] : [[id, shown]])),
  );
  const interfaces = await interfacesOf(context, rows, told);
  return {
    ReservationId: rows[0]?.reservation_id ?? '',
    OwnerId: context.request.accountId,
    Groups: [],
    Instances: rows.map((row) => renderInstance(row, interfaces)),
  };
};
