/** The instance's interface: allocated, made ready on a host, placed. */

import type { NetworkOperation, VmMetadata, VpcPort } from '#contracts/network.ts';
import type { CellServices } from '../../services.ts';
import type { InstanceRow } from '../../store/instances.ts';
import type { StepContext } from '../../workflow/definition.ts';
import { loadInstance, type PlaceInput } from './inputs.ts';

export interface NetworkResults {
  readonly administrative: NetworkOperation;
  readonly vpc: NetworkOperation;
}

/** The primary interface, made at the launch; the same instance gives the same interface again. */
export const interfaceOf = async <I, R>(
  context: StepContext<I, R, CellServices>,
): Promise<{ vpcId: string; port: VpcPort }> => {
  const row = await loadInstance(context);
  return context.services.region.call('region.allocateInterface', {
    accountId: row.account_id,
    instanceId: row.id,
    subnetId: row.spec.subnetId,
    groupIds: row.spec.groups.map((group) => group.groupId),
    privateIp: row.spec.privateIp,
    publicIp: row.spec.publicIp,
    description: row.spec.interfaceDescription,
    placementGroupId: row.spec.placementGroup?.groupId,
    tags: row.spec.interfaceTags === undefined ? undefined : [...row.spec.interfaceTags],
  });
};

/** The two network operations of a launch (S1.2) on a host, with the newest network state that is needed. */
export const prepareNetwork = async <I, R>(
  context: StepContext<I, R, CellServices>,
  place: PlaceInput,
  allocated: { vpcId: string; port: VpcPort },
  activate: boolean,
): Promise<NetworkResults> => {
  const { command, subject, services } = context;
  const row = await loadInstance(context);
  const vpc = await services.vpcs.current(allocated.vpcId, allocated.port.groupIds);
  const answer = await services.hosts.call(place.hostId, 'vm.prepareNetwork', {
    command,
    instanceId: subject,
    vpc,
    port: { ...allocated.port, vtep: place.vtep, epoch: place.epoch },
    metadata: metadataOf(services, row, allocated.port),
    activate,
  });
  services.vpcs.noteApplied(place.hostId, allocated.vpcId, vpc.version);
  return answer;
};

/** Declares where the interface is (`vtep` undefined: nowhere); answers once other devices were told. */
export const placeInterface = async <I, R>(
  { services }: StepContext<I, R, CellServices>,
  eniId: string,
  vtep: string | undefined,
  epoch: number,
): Promise<{ unreachable: readonly string[] }> => {
  const { state, unreachable } = await services.region.call('region.placeInterface', {
    eniId,
    vtep,
    epoch,
    withoutState: true,
  });
  // A region of the last release answers with it all the same.
  if (state !== undefined) services.vpcs.observe(state);
  return { unreachable };
};

export const metadataOf = (services: CellServices, row: InstanceRow, port: VpcPort): VmMetadata => ({
  instanceId: row.id,
  accountId: row.account_id,
  imageId: row.spec.image.imageId,
  instanceType: row.spec.instanceType,
  reservationId: row.reservation_id,
  launchIndex: row.launch_index,
  hostname: `ip-${port.ip.replaceAll('.', '-')}.${row.spec.domainName}`,
  availabilityZone: row.spec.zone,
  region: services.identity.region,
  keyName: row.spec.keyName,
  publicKey: row.spec.publicKey,
  userData: row.spec.userData,
  httpTokens: row.spec.metadata.httpTokens,
  httpEndpoint: row.spec.metadata.httpEndpoint,
  hopLimit: row.spec.metadata.hopLimit,
  launchTime: row.launch_time.toISOString(),
});
