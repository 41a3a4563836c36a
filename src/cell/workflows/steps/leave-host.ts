/** An instance leaves its host: its VM is destroyed, what it reserved there is given back. */

import { PandoError } from '#contracts/errors.ts';
import { absentHostPatienceMs } from '../../limits.ts';
import type { CellServices } from '../../services.ts';
import { claimIdOf, releaseClaim } from '../../store/claims.ts';
import { changeInstance, lockInstances } from '../../store/instances.ts';
import type { Sql } from '../../store/sql.ts';
import type { StepContext } from '../../workflow/definition.ts';

/** Gives back what the instance reserves on its host beyond `keep`. */
export const releaseReserved = async (tx: Sql, instanceId: string, keep: 'disk' | 'none'): Promise<void> => {
  const [row] = await lockInstances(tx, undefined, [instanceId]);
  if (row !== undefined) await releaseClaim(tx, claimIdOf('instance', instanceId), { keep });
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
  await releaseReserved(tx, instanceId, 'none');
  await changeInstance(tx, instanceId, { host_id: null });
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
    // Until then the workflow waits as a row: many that wait for one dead host hold no slot.
    if (PandoError.from(error).code !== 'HostUnreachable' || context.awayMs < absentHostPatienceMs)
      throw error;
    return { destroyed: false };
  }
};
