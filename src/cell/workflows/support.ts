/** What the workflows of an instance share. */

import type { Result } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import type { hostContract, MigrationCredential } from '#contracts/host.ts';
import { newCellId } from '#contracts/ids.ts';
import type { NetworkOperation, VmMetadata, VpcPort } from '#contracts/network.ts';
import { epochAfter } from '../generation.ts';
import type { InstanceState } from '../instance-states.ts';
import { absentHostPatienceMs } from '../limits.ts';
import type { CellServices } from '../services.ts';
import { amountOf, partOf, releaseCapacity, requirementOf } from '../store/hosts.ts';
import {
  changeInstance,
  findInstance,
  type InstanceChange,
  type InstanceRow,
  lockInstances,
} from '../store/instances.ts';
import type { Sql } from '../store/sql.ts';
import type { NewWorkflow } from '../store/workflows.ts';
import type { StepContext } from '../workflow/definition.ts';
import { versionOf } from './versions.ts';

/** Where the instance goes or is, fixed when the workflow was made. */
export interface PlaceInput {
  readonly hostId: string;
  readonly vtep: string;
  /** Epoch of the interface's place for this workflow, and so its generation; its undo uses the next one. */
  readonly epoch: number;
}

/** The instance as the workflow found it: what a host needs of it does not change while the workflow holds it. */
export const loadInstance = <I, R>(context: StepContext<I, R, CellServices>): Promise<InstanceRow> =>
  context.once('instance', async () => {
    const row = await findInstance(context.services.db, context.subject);
    if (row === undefined)
      throw new PandoError(
        'InvalidInstanceID.NotFound',
        `The instance ID '${context.subject}' does not exist`,
      );
    return row;
  });

/** A result that an earlier step must have left: its absence is a fault in the table, not of a user. */
export const need = <T>(value: T | undefined, what: string): T => {
  if (value === undefined) throw new Error(`the result of ${what} is missing`);
  return value;
};

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
    tags: row.spec.interfaceTags === undefined ? undefined : [...row.spec.interfaceTags],
  });
};

const imageTimeoutMs = 600_000;
const launchTimeoutMs = 120_000;

/** A step that waits for a host's answer is tried for a little longer than one call may take. */
const beyondCallMs = 10_000;
export const launchRetry = { deadlineMs: launchTimeoutMs + beyondCallMs } as const;

/** Of every workflow that runs a VM on a host: beside the step before it, since it can take longest. */
export const ensureImageStep = {
  name: 'ensureImage',
  alongside: true,
  retry: { deadlineMs: imageTimeoutMs + beyondCallMs },
  do: <R>(context: StepContext<PlaceInput, R, CellServices>) => ensureImage(context, context.input.hostId),
  undo: { none: 'a cached image is the host’s to keep' },
} as const;

/** Makes the instance's image present on a host. */
const ensureImage = async <I, R>(
  context: StepContext<I, R, CellServices>,
  hostId: string,
): Promise<{ fetched: boolean }> => {
  const { command, subject, services } = context;
  const { spec } = await loadInstance(context);
  const image = { imageId: spec.image.imageId, digest: spec.image.digest };
  const params = { command, instanceId: subject, image };
  return services.hosts.call(hostId, 'vm.ensureImage', params, { timeoutMs: imageTimeoutMs });
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

/** Starts the VMM: at once (`diskRequired`: only on the disk that it had), or waiting for a migration from the VMM of `peer`. */
export const launchVm = async <I, R>(
  context: StepContext<I, R, CellServices>,
  hostId: string,
  network: NetworkResults,
  incoming: boolean,
  {
    peer,
    diskRequired,
  }: { readonly peer?: MigrationCredential | undefined; readonly diskRequired?: true } = {},
): Promise<Result<typeof hostContract, 'vm.launch'>> => {
  const { command, subject, services } = context;
  const row = await loadInstance(context);
  const image = { imageId: row.spec.image.imageId, digest: row.spec.image.digest };
  const requirement = requirementOf(amountOf(row));
  const params = { command, instanceId: subject, requirement, image, network, incoming, diskRequired, peer };
  return services.hosts.call(hostId, 'vm.launch', params, { timeoutMs: launchTimeoutMs });
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

export interface NetworkResults {
  readonly administrative: NetworkOperation;
  readonly vpc: NetworkOperation;
}

const newWorkflowId = (services: Pick<CellServices, 'identity'>): string =>
  newCellId('workflow', services.identity.cellNumber);

export const newWorkflow = (
  services: Pick<CellServices, 'identity'>,
  kind: string,
  subject: string,
  input: unknown,
): NewWorkflow => ({ id: newWorkflowId(services), kind, version: versionOf(kind), subject, input });

/**
 * Ends a workflow's hold on its instance: sets its state, unless a user asked for more in the meantime; then the workflow that does
 * that follows in the same transaction. The instance row is locked first, as every writer of both rows does.
 */
export const settle = async (
  tx: Sql,
  context: { readonly services: CellServices; readonly subject: string; readonly workflowId: string },
  state: InstanceState,
  change: InstanceChange = {},
): Promise<readonly NewWorkflow[]> => {
  const { services, subject, workflowId } = context;
  const [row] = await lockInstances(tx, undefined, [subject]);
  // The hold was lost (a survivor ended this workflow): the fenced move after this refuses the transaction.
  if (row === undefined || row.workflow_id !== workflowId) return [];
  if (row.intent === null || state === 'terminated') {
    await changeInstance(tx, subject, { ...change, state, workflow_id: null, locked: false, intent: null });
    return [];
  }
  const follower = followerOf(services, { ...row, ...change }, row.intent.force);
  const kept = followsAs(row.intent.kind, state);
  if (kept === undefined) {
    await changeInstance(tx, subject, { ...change, state, workflow_id: null, locked: false, intent: null });
    return [];
  }
  await changeInstance(tx, subject, {
    ...change,
    state: kept,
    state_reason: row.state_reason,
    transition_reason: row.transition_reason,
    workflow_id: follower.id,
    place_epoch: epochAfter(row.place_epoch),
    locked: false,
    intent: null,
  });
  return [follower];
};

/** The state that an awaited change shows; undefined where the end of the earlier workflow already is what was asked for. */
const followsAs = (kind: 'stop' | 'terminate', state: InstanceState): InstanceState | undefined => {
  if (kind === 'terminate') return 'shutting-down';
  return state === 'stopped' ? undefined : 'stopping';
};

/** The workflow that carries out an instance's intent. */
const followerOf = (services: CellServices, row: InstanceRow, force: boolean): NewWorkflow => {
  const epoch = epochAfter(row.place_epoch);
  return row.intent?.kind === 'terminate'
    ? newWorkflow(services, 'terminate', row.id, { hostId: row.host_id, epoch })
    : newWorkflow(services, 'stop', row.id, { hostId: row.host_id, force, epoch });
};

/** Gives back what the instance holds on its host beyond `keep`, once: the row says what is held. */
export const releaseHeld = async (tx: Sql, instanceId: string, keep: 'disk' | 'none'): Promise<void> => {
  const [row] = await lockInstances(tx, undefined, [instanceId]);
  if (row === undefined || row.host_id === null || row.held === 'none' || row.held === keep) return;
  const amount = amountOf(row);
  const held = partOf(amount, row.held);
  const kept = partOf(amount, keep);
  await releaseCapacity(tx, row.host_id, {
    vcpusMilli: held.vcpusMilli - kept.vcpusMilli,
    memoryMib: held.memoryMib - kept.memoryMib,
    diskMib: held.diskMib - kept.diskMib,
  });
  await changeInstance(tx, instanceId, { held: keep });
};

export interface DestroyOutcome {
  readonly destroyed: boolean;
}

/** An instance whose VM is destroyed leaves its host; one whose host is away keeps its place until that one is back. */
export const leaveHost = async (
  tx: Sql,
  instanceId: string,
  outcome: DestroyOutcome | undefined,
): Promise<void> => {
  if (outcome?.destroyed === false) return;
  await releaseHeld(tx, instanceId, 'none');
  await changeInstance(tx, instanceId, { host_id: null });
};

/** Of a step that destroys: it waits for its host as long as a termination may be held up. */
export const destroyRetry = { unreachableMs: absentHostPatienceMs } as const;

/**
 * Destroys a VM, or reports that its host stayed away too long. The capacity then stays held, and the reconciler destroys the VM and
 * gives it back when the host returns: a termination does not wait for a dead machine (I1: an absent host's place is not reused).
 */
export const destroyOrLeave = async <I, R>(
  context: StepContext<I, R, CellServices>,
  hostId: string,
): Promise<DestroyOutcome> => {
  const { hosts } = context.services;
  try {
    await hosts.call(hostId, 'vm.destroy', { command: context.command, instanceId: context.subject });
    return { destroyed: true };
  } catch (error) {
    // Until then the workflow waits as a row: many that wait for one dead host hold no slot.
    if (PandoError.from(error).code !== 'HostUnreachable' || context.awayMs < absentHostPatienceMs)
      throw error;
    return { destroyed: false };
  }
};
