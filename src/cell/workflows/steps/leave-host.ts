/** An instance leaves its host: its VM is destroyed, what it reserved there is given back. */

import { PandoError } from '#contracts/errors.ts';
import type { VmReport } from '#contracts/host.ts';
import { firstPlaceEpoch } from '../../generation.ts';
import { absentHostPatienceMs } from '../../limits.ts';
import type { CellServices } from '../../services.ts';
import { claimIdOf, releaseClaim } from '../../store/claims.ts';
import { changeInstance, lockInstances } from '../../store/instances.ts';
import { quarantineVm } from '../../store/quarantine.ts';
import type { Sql } from '../../store/sql.ts';
import type { StepContext } from '../../workflow/definition.ts';
import type { PlaceInput } from './inputs.ts';
import { endsForOwner, raiseAbove, seenWhereRefused } from './overtaken.ts';

/** Gives back what the instance reserves on its host beyond `keep`. */
export const releaseReserved = async (tx: Sql, instanceId: string, keep: 'disk' | 'none'): Promise<void> => {
  const [row] = await lockInstances(tx, undefined, [instanceId]);
  if (row !== undefined) await releaseClaim(tx, claimIdOf('instance', instanceId), { keep });
};

export interface DestroyOutcome {
  readonly destroyed: boolean;
  /** What the host has, where it refused because it has heard of a later change than the store knows. */
  readonly newer?: VmReport;
}

/**
 * An instance whose VM is destroyed leaves its host; one whose host is away keeps its place until that one is back. A VM of which its
 * host knows more than the store is nobody's from now on, until an operator decides.
 */
export const leaveHost = async (
  tx: Sql,
  instanceId: string,
  outcome: DestroyOutcome | undefined,
): Promise<void> => {
  if (outcome?.newer !== undefined) await quarantineNewer(tx, instanceId, outcome.newer);
  else if (outcome?.destroyed === false) return;
  await releaseReserved(tx, instanceId, 'none');
  await changeInstance(tx, instanceId, { host_id: null });
};

const quarantineNewer = async (tx: Sql, instanceId: string, report: VmReport): Promise<void> => {
  const [row] = await lockInstances(tx, undefined, [instanceId]);
  if (typeof row?.host_id === 'string') await quarantineVm(tx, row.host_id, report, 'newer');
};

/** Of a step that destroys: it waits for its host as long as a termination may be delayed. */
export const destroyRetry = { unreachableMs: absentHostPatienceMs } as const;

/**
 * Destroys a VM, or reports that its host stayed away too long. The capacity then stays reserved, and the reconciler destroys the VM and
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
    if (PandoError.from(error).code === 'StaleEpoch') return refusedDestroy(context, hostId, error);
    // Until then the workflow waits as a row: many that wait for one dead host hold no slot.
    if (PandoError.from(error).code !== 'HostUnreachable' || context.awayMs < absentHostPatienceMs)
      throw error;
    return { destroyed: false };
  }
};

/**
 * The undo of a launch. A report may have raised it to what its host has heard, so that the host would not refuse any more: then the VM
 * has a later history than the store knows, and is left all the same.
 */
export const destroyLaunched = async <R>(
  context: StepContext<PlaceInput, R, CellServices>,
): Promise<DestroyOutcome> => {
  const { services, input, subject } = context;
  if (input.epoch > firstPlaceEpoch && !(await endsForOwner(context))) {
    const newer = await services.hosts.call(input.hostId, 'vm.describe', { instanceId: subject });
    if (newer.state !== 'absent') return leave(context, input.hostId, newer);
  }
  return destroyOrLeave(context, input.hostId);
};

const refusedDestroy = async <I, R>(
  context: StepContext<I, R, CellServices>,
  hostId: string,
  error: unknown,
): Promise<DestroyOutcome> => {
  const newer = await seenWhereRefused(context, hostId, error);
  if (newer.state === 'absent') return { destroyed: true };
  if (await endsForOwner(context)) {
    await raiseAbove(context, newer);
    throw error;
  }
  return leave(context, hostId, newer);
};

const leave = <I, R>(
  context: StepContext<I, R, CellServices>,
  hostId: string,
  newer: VmReport,
): DestroyOutcome => {
  context.services.log.error(
    { host: hostId, instance: context.subject, state: newer.state, generation: newer.generation },
    'ALARM: a host has heard of a later change of a VM than the store knows: it is left alone',
  );
  return { destroyed: false, newer };
};
