/** The instance's interface: allocated, made ready on a host, placed. */

import type { Result } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import type { GuestProfile, TemporaryCredentials } from '#contracts/metadata.ts';
import type { NetworkOperation, VmMetadata, VpcPort } from '#contracts/network.ts';
import { interfaceReleased, type regionContract } from '#contracts/region.ts';
import type { CellServices } from '../../services.ts';
import type { InstanceRow, ProfileAssociation } from '../../store/instances.ts';
import type { StepContext } from '../../workflow/definition.ts';
import { loadInstance, type PlaceInput } from './inputs.ts';

export interface NetworkResults {
  readonly administrative: NetworkOperation;
  readonly vpc: NetworkOperation;
}

/** Of a step that asks the region. Over three seconds: one of the last release says `InternalError` while its store is started anew. */
export const regionRetry = { attemptsMax: 7 } as const;

type Allocation = Result<typeof regionContract, 'region.allocateInterface'>;

/** The primary interface, made at the launch; the same instance gives the same interface again. With its identity, signed. */
export const allocationOf = (
  { region }: Pick<CellServices, 'region'>,
  row: InstanceRow,
  shown?: true,
): Promise<Allocation> =>
  region.call('region.allocateInterface', {
    shown,
    accountId: row.account_id,
    instanceId: row.id,
    subnetId: row.spec.subnetId,
    groupIds: row.spec.groups.map((group) => group.groupId),
    privateIp: row.spec.privateIp,
    publicIp: row.spec.publicIp,
    description: row.spec.interfaceDescription,
    placementGroupId: row.spec.placementGroup?.groupId,
    tags: row.spec.interfaceTags === undefined ? undefined : [...row.spec.interfaceTags],
    identity: {
      imageId: row.spec.image.imageId,
      instanceType: row.spec.instanceType,
      architecture: row.spec.image.architecture,
      pendingTime: row.launch_time.toISOString(),
    },
    instanceProfileId: row.spec.instanceProfile?.profileId,
  });

/** Asked for once: the step that makes the interface keeps where it is, a later one tells the host the rest too. */
const allocated = <I, R>(context: StepContext<I, R, CellServices>, shown?: true): Promise<Allocation> =>
  context.once('interface', async () => allocationOf(context.services, await loadInstance(context), shown));

export const interfaceOf = async <I, R>(
  context: StepContext<I, R, CellServices>,
): Promise<{ vpcId: string; port: VpcPort }> => {
  const { vpcId, port } = await allocated(context);
  return { vpcId, port };
};

/** What a launch keeps of its interface. */
export interface LaunchedInterface {
  readonly vpcId: string;
  readonly port: VpcPort;
  /** What EC2 shows of it, for the launch's answer, and not written down; absent: it is asked for there. */
  readonly shown?: readonly unknown[];
}

export const launchedInterface = async <I, R>(
  context: StepContext<I, R, CellServices>,
): Promise<LaunchedInterface> => {
  const { vpcId, port, shown } = await allocated(context, true);
  return { vpcId, port, ...(shown === undefined ? {} : { shown }) };
};

/** The two network operations of a launch (S1.2) on a host, with the newest network state that is needed. */
export const prepareNetwork = async <I, R>(
  context: StepContext<I, R, CellServices>,
  place: PlaceInput,
  { vpcId, port }: { vpcId: string; port: VpcPort },
  activate: boolean,
): Promise<NetworkResults> => {
  const { command, subject, services } = context;
  const row = await loadInstance(context);
  const { identity, credentials } = await allocated(context);
  return services.vpcs.withDeclared(place.hostId, vpcId, port.groupIds, (declaration) =>
    services.hosts.call(place.hostId, 'vm.prepareNetwork', {
      command,
      instanceId: subject,
      ...declaration,
      port: { ...port, vtep: place.vtep, epoch: place.epoch },
      metadata: metadataOf(services, row, { port, identity, credentials }),
      activate,
    }),
  );
};

export interface Placed {
  readonly unreachable: readonly string[];
  /** Absent: it has none, or the region is of the last release. */
  readonly publicIp?: string | undefined;
}

/** Declares where the interface is (`vtep` undefined: nowhere); answers once other devices were told. */
export const placeInterface = async <I, R>(
  { services }: StepContext<I, R, CellServices>,
  eniId: string,
  vtep: string | undefined,
  epoch: number,
  releaseAutomatic = false,
): Promise<Placed> => {
  const { state, unreachable, publicIp } = await services.region.call('region.placeInterface', {
    ...{ eniId, vtep, epoch, withoutState: true },
    ...(releaseAutomatic ? { releaseAutomatic } : {}),
  });
  // A region of the last release answers with it all the same.
  if (state !== undefined) services.vpcs.observe(state);
  return { unreachable, publicIp };
};

/** Whether the region says that the instance's interface was released for good. */
export const isReleased = (error: unknown): boolean =>
  error instanceof PandoError && error.details?.interface === interfaceReleased.interface;

/**
 * Of an instance that is stopped: nowhere. Its automatic public address goes back where that is asked for, an elastic one stays (EC2).
 * Answers what it has then; null: its interface was released, which a store that has lost commits does not know. Then no device sends there either, and the
 * instance must not stand still for it.
 */
export const unplaceStopped = async <I, R>(
  context: StepContext<I, R, CellServices>,
  epoch: number,
  releaseAutomatic: boolean,
): Promise<{ readonly port: VpcPort } | null> => {
  const found = await interfaceOf(context).catch((error: unknown) => {
    if (isReleased(error)) return undefined;
    throw error;
  });
  if (found === undefined) return null;
  const { port } = found;
  const { publicIp } = await placeInterface(context, port.eniId, undefined, epoch, releaseAutomatic);
  return { port: withPlaced(port, publicIp) };
};

/** The port with the public address that it has since it was placed. */
export const withPlaced = (port: VpcPort, publicIp: string | undefined): VpcPort => ({ ...port, publicIp });

const guestProfileOf = (
  { arn, profileId, name }: ProfileAssociation,
  credentials: TemporaryCredentials | undefined,
): GuestProfile => ({ arn, profileId, name, credentials });

export const metadataOf = (
  services: CellServices,
  row: InstanceRow,
  { port, identity, credentials }: Pick<Allocation, 'port' | 'identity' | 'credentials'>,
): VmMetadata => ({
  instanceId: row.id,
  accountId: row.account_id,
  imageId: row.spec.image.imageId,
  instanceType: row.spec.instanceType,
  reservationId: row.reservation_id,
  launchIndex: row.launch_index,
  hostname: `ip-${port.ip.replaceAll('.', '-')}.${row.spec.domainName}`,
  availabilityZone: row.spec.zone,
  availabilityZoneId: row.spec.zoneId,
  placementGroup: row.spec.placementGroup?.groupName,
  partitionNumber: row.spec.placementGroup?.partition,
  region: services.identity.region,
  keyName: row.spec.keyName,
  publicKey: row.spec.publicKey,
  userData: row.spec.userData,
  rootDeviceName: row.spec.image.rootDeviceName,
  groups: [...row.spec.groups],
  ...(row.spec.metadata.instanceTags === 'enabled' ? { tags: [...row.tags] } : {}),
  monitoring: row.spec.monitoring,
  identity,
  profile: row.spec.instanceProfile && guestProfileOf(row.spec.instanceProfile, credentials),
  httpTokens: row.spec.metadata.httpTokens,
  httpEndpoint: row.spec.metadata.httpEndpoint,
  hopLimit: row.spec.metadata.hopLimit,
  launchTime: row.launch_time.toISOString(),
});
