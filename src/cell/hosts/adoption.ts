/**
 * What an operator decides about a VM in quarantine: adopted, it gets a row again; removed, it goes with its disk. Both are asked for by
 * name and refused wherever something is left to believe.
 */
import type { Result } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import type { hostContract } from '#contracts/host.ts';
import { cellNumberOf, newCellId } from '#contracts/ids.ts';
import type { VmMetadata, VpcPort, VpcState } from '#contracts/network.ts';
import { claimOf } from '../capacity/constrained.ts';
import { epochAfter, placeEpochOf } from '../generation.ts';
import { isEndedByOwner } from '../instance-states.ts';
import { networkMbpsOf } from '../instance-types.ts';
import { newAssociation } from '../profile-association.ts';
import type { CellServices } from '../services.ts';
import { claimIdOf, releaseClaim, setClaim } from '../store/claims.ts';
import { amountOf, diskOf, findHost, lockHosts } from '../store/hosts.ts';
import {
  changeInstance,
  findInstance,
  type InstanceRow,
  insertInstance,
  lockInstances,
} from '../store/instances.ts';
import { listQuarantined, type QuarantinedVm } from '../store/quarantine.ts';
import type { Sql } from '../store/sql.ts';
import { allocationOf, isReleased } from '../workflows/steps/network.ts';

type Inspection = Result<typeof hostContract, 'vm.inspect'>;

export interface Adopted {
  readonly instanceId: string;
  readonly hostId: string;
  readonly accountId: string;
  readonly state: 'running' | 'stopped';
}

const mibPerGib = 1024;
const refuse = (message: string): PandoError => new PandoError('IncorrectState', message);

/** The one VM in quarantine that is meant. @throws NotFound, InvalidParameterValue where several hosts have one. */
const findQuarantined = async (
  { db, identity }: CellServices,
  instanceId: string,
  hostId: string | undefined,
): Promise<QuarantinedVm> => {
  const all = await listQuarantined(db, instanceId);
  const [found, ...more] = all.filter((vm) => hostId === undefined || vm.host_id === hostId);
  if (found === undefined) throw new PandoError('NotFound', `${instanceId} is not in quarantine here.`);
  if (more.length > 0)
    throw new PandoError(
      'InvalidParameterValue',
      `${instanceId} is in quarantine on ${all.map((vm) => vm.host_id).join(' and ')}: name the host.`,
    );
  if (cellNumberOf(instanceId) !== identity.cellNumber)
    throw refuse(
      `${instanceId} belongs to cell ${cellNumberOf(instanceId)}: connect ${found.host_id} to that cell, which alone may decide about it.`,
    );
  return found;
};

/**
 * Gives a VM in quarantine a row on the host that has it. Needs: the host connected, with what it was told at the VM's launch; the
 * region with the VM's interface; room on the host in the cell's books. What no one kept is left at its default: tags, client token,
 * termination protection, shutdown behaviour (`stop`).
 */
export const adoptVm = async (
  services: CellServices,
  instanceId: string,
  hostName: string | undefined,
): Promise<Adopted> => {
  const kept = await findQuarantined(services, instanceId, hostName);
  const hostId = kept.host_id;
  const found = await services.hosts.call(hostId, 'vm.inspect', { instanceId });
  const { state } = found.report;
  if (state !== 'running' && state !== 'stopped')
    throw refuse(`${instanceId} is ${state} on ${hostId}: only what runs or is stopped can be adopted.`);
  const row = await findInstance(services.db, instanceId);
  const accountId =
    row === undefined ? await rebuild(services, hostId, found) : await moveHere(services, kept, row, found);
  services.log.warn(
    { instance: instanceId, host: hostId, accountId, state },
    'an operator adopted a VM from quarantine',
  );
  return { instanceId, hostId, accountId, state };
};

/** The row is there and names another host: that one must say that it has nothing. Or it ended and the VM lived on (`newer`). */
const moveHere = async (
  services: CellServices,
  { host_id: hostId, reason }: QuarantinedVm,
  seen: InstanceRow,
  { network, report }: Inspection,
): Promise<string> => {
  const state = report.state === 'running' ? 'running' : 'stopped';
  if (seen.state === 'terminated' && (reason !== 'newer' || isEndedByOwner(seen)))
    throw refuse(`${seen.id} was terminated by its owner: it can only be removed.`);
  const port = seen.state === 'terminated' ? await keptInterface(services, seen, network?.port) : undefined;
  if (seen.workflow_id !== null) throw refuse(`${seen.id} is being changed: try again when that is done.`);
  if (seen.host_id !== null) {
    const there = await services.hosts.call(seen.host_id, 'vm.describe', { instanceId: seen.id });
    if (there.state !== 'absent')
      throw refuse(
        `${seen.id} is ${there.state} on ${seen.host_id}, its host, too: one instance has one VM.`,
      );
  }
  const epoch = epochAfter(
    Math.max(seen.place_epoch, network?.port.epoch ?? 0, placeEpochOf(report.generation ?? 0)),
  );
  if (state === 'running' && network !== undefined)
    await placeAt(services, hostId, network.port.eniId, epoch);
  await services.db.transaction(async (tx) => {
    const [row] = await lockInstances(tx, undefined, [seen.id]);
    // Closes the race with a request that changed the instance after its host was asked.
    if (row === undefined || row.version !== seen.version) throw refuse(`${seen.id} has changed: try again.`);
    await lockHosts(tx, [hostId, ...(row.host_id === null ? [] : [row.host_id])]);
    await releaseClaim(tx, claimIdOf('instance', row.id));
    await takeRoom(tx, hostId, row, state);
    await changeInstance(tx, row.id, {
      state,
      host_id: hostId,
      place_epoch: epoch,
      state_reason: null,
      transition_reason: '',
      ...(port === undefined ? {} : { terminated_at: null, interface: port }),
    });
    await forget(tx, row.id, hostId);
  });
  return seen.account_id;
};

/** Of an instance whose row has ended. Where the region has released its interface, the address may be another's by now. */
const keptInterface = async (
  services: CellServices,
  row: InstanceRow,
  told: VpcPort | undefined,
): Promise<VpcPort> => {
  const kept = await allocationOf(services, row).catch((error: unknown) => {
    if (!isReleased(error)) throw error;
    return undefined;
  });
  if (kept === undefined || (told !== undefined && told.eniId !== kept.port.eniId))
    throw refuse(`The region has released the interface of ${row.id}: its address may be another's by now.`);
  return kept.port;
};

/**
 * The region sends the interface's packets to where the VM is. Before the row says so: a place that is right and a row that failed
 * can be tried again, a row that is there is no longer in quarantine.
 */
const placeAt = async (
  services: CellServices,
  hostId: string,
  eniId: string,
  epoch: number,
): Promise<void> => {
  const vtep = (await findHost(services.db, hostId))?.vtep;
  const { state } = await services.region.call('region.placeInterface', { eniId, vtep, epoch });
  if (state !== undefined) services.vpcs.observe(state);
};

/** I3: also what is found again counts against its host's limits. */
const takeRoom = async (
  tx: Sql,
  hostId: string,
  row: InstanceRow,
  state: 'running' | 'stopped',
): Promise<void> => {
  const amount = state === 'running' ? amountOf(row) : diskOf(amountOf(row));
  if ((await setClaim(tx, hostId, claimOf(row, 'instance', amount))) === undefined)
    throw new PandoError(
      'InsufficientInstanceCapacity',
      `${hostId} has no room for it in the cell's books: move others first.`,
    );
};

const forget = (tx: Sql, instanceId: string, hostId: string): Promise<unknown> =>
  tx.query('delete from quarantined_vms where instance_id = $1 and host_id = $2', [instanceId, hostId]);

/** A row from what the host and the region know. */
const rebuild = async (services: CellServices, hostId: string, found: Inspection): Promise<string> => {
  const { report, image, network, metadata } = found;
  if (image === undefined || network === undefined || metadata === undefined) {
    const missing = Object.entries({ image, network, metadata }).flatMap(([part, value]) =>
      value === undefined ? part : [],
    );
    throw refuse(
      `${hostId} does not know of ${report.instanceId}: ${missing.join(', ')}. Without it no row can be made.`,
    );
  }
  const { state: vpc } = await services.region.call('region.vpcState', { vpcId: network.vpcId });
  const declared = vpc.ports.find((port) => port.eniId === network.port.eniId);
  if (declared === undefined || declared.instanceId !== report.instanceId)
    throw refuse(
      `The region has no interface ${network.port.eniId} of ${report.instanceId}: its address may be another's by now.`,
    );
  const row = await makeRow(services, { hostId, report, image, network, metadata }, declared, vpc);
  if (row.state === 'running') await placeAt(services, hostId, declared.eniId, row.place_epoch);
  await services.db.transaction(async (tx) => {
    await takeRoom(tx, hostId, row, report.state === 'running' ? 'running' : 'stopped');
    await insertInstance(tx, row);
    await forget(tx, row.id, hostId);
  });
  return row.account_id;
};

type Known = Required<Inspection> & { readonly hostId: string };

/** What the region says of image and groups, as far as it still does: an image may have been deregistered since. */
const resolve = ({ region }: CellServices, metadata: VmMetadata, port: VpcPort) =>
  region
    .call('region.resolveLaunch', {
      ...{ accountId: metadata.accountId, imageId: metadata.imageId, subnetId: port.subnetId },
      ...{ groupIds: port.groupIds, groupNames: [] },
    })
    .catch(() => undefined);

const makeRow = async (
  services: CellServices,
  { hostId, report, image, network, metadata }: Known,
  port: VpcPort,
  vpc: VpcState,
): Promise<InstanceRow> => {
  const { identity } = services;
  const resolved = await resolve(services, metadata, port);
  const { vcpus, memoryMib, rootDiskMib } = report.requirement;
  const launched = new Date(metadata.launchTime);
  const runs = report.state === 'running';
  const profile =
    metadata.profile && newAssociation(identity.cellNumber, metadata.profile, new Date(services.clock.now()));
  return {
    id: report.instanceId,
    account_id: metadata.accountId,
    reservation_id: metadata.reservationId,
    launch_index: metadata.launchIndex,
    state: runs ? 'running' : 'stopped',
    version: 1,
    vpc_id: network.vpcId,
    host_id: hostId,
    // Later than anything that the region or the host has seen of it.
    place_epoch: epochAfter(Math.max(port.epoch, network.port.epoch, placeEpochOf(report.generation ?? 0))),
    workflow_id: null,
    locked: false,
    intent: null,
    vcpus_milli: Math.round(vcpus * 1000),
    memory_mib: memoryMib,
    disk_mib: rootDiskMib,
    network_mbps: networkMbpsOf(Math.round(vcpus * 1000)),
    created_at: launched,
    launch_time: launched,
    terminated_at: null,
    state_reason: null,
    transition_reason: '',
    interface: port,
    tags: [],
    volume_tags: [],
    credentials_due: profile === undefined ? null : new Date(services.clock.now()),
    spec: {
      image: {
        ...image,
        architecture: resolved?.image.architecture ?? 'x86_64',
        rootDeviceName: resolved?.image.rootDeviceName ?? '/dev/vda',
        ...(resolved === undefined ? {} : { minMemoryMib: resolved.image.minMemoryMib }),
      },
      instanceType: metadata.instanceType,
      keyName: metadata.keyName,
      publicKey: metadata.publicKey,
      userData: metadata.userData,
      subnetId: port.subnetId,
      zone: metadata.availabilityZone,
      zoneId: resolved?.zoneId,
      domainName: resolved?.domainName ?? vpc.domainName,
      groups: resolved?.groups ?? port.groupIds.map((groupId) => ({ groupId, groupName: groupId })),
      publicIp: port.publicIp !== undefined,
      ...(profile === undefined ? {} : { instanceProfile: profile }),
      volumeId: newCellId('volume', identity.cellNumber),
      volumeSizeGib: Math.max(1, Math.ceil(rootDiskMib / mibPerGib)),
      volumeType: 'gp3',
      volumeDeleteOnTermination: true,
      disableApiTermination: false,
      disableApiStop: false,
      shutdownBehavior: 'stop',
      sourceDestCheck: port.sourceDestCheck,
      ebsOptimized: false,
      monitoring: false,
      cpuCredits: 'unlimited',
      metadata: {
        ...{ httpTokens: metadata.httpTokens, httpEndpoint: metadata.httpEndpoint },
        ...{ hopLimit: metadata.hopLimit, instanceTags: 'disabled' },
      },
    },
  };
};

/** Destroys a VM in quarantine, with its disk, because an operator says so. Of an instance without a row, or whose row has ended, its interface goes too. */
export const removeVm = async (
  services: CellServices,
  instanceId: string,
  hostName: string | undefined,
): Promise<{ hostId: string }> => {
  const { db, hosts, identity, region, log } = services;
  const { host_id: hostId } = await findQuarantined(services, instanceId, hostName);
  const row = await findInstance(db, instanceId);
  if (row?.host_id === hostId)
    throw refuse(`${instanceId} has a row on ${hostId} by now: terminate it instead.`);
  // Above all that the host has heard: nothing decided earlier brings the VM back.
  const { generation: heard = 0 } = await hosts.call(hostId, 'vm.describe', { instanceId });
  const workflowId = newCellId('workflow', identity.cellNumber);
  const command = { workflowId, step: 'remove', epoch: 1, generation: heard + 1 };
  await hosts.call(hostId, 'vm.destroy', { command, instanceId });
  const isEnded = row === undefined || row.state === 'terminated';
  if (isEnded && (await listQuarantined(db, instanceId)).length === 1)
    await region.call('region.releaseInterface', { instanceId });
  await forget(db, instanceId, hostId);
  log.warn({ instance: instanceId, host: hostId }, 'an operator removed a VM from quarantine');
  return { hostId };
};
