/** Begins the live migration of an instance, in a transaction of the caller's. */
import { PandoError } from '#contracts/errors.ts';
import type { HostFacts } from '#slots/slot-map.ts';
import { claimOf } from './capacity/constrained.ts';
import type { Placed, Placing } from './capacity/placing.ts';
import { epochAfter } from './generation.ts';
import { insufficientCapacity } from './insufficient-capacity.ts';
import type { Actor } from './lifecycle.ts';
import { migrationHostOf } from './store/claims.ts';
import { amountOf, findHost, type HostRow } from './store/hosts.ts';
import { changeInstance, type InstanceRow } from './store/instances.ts';
import type { Sql } from './store/sql.ts';
import { insertWorkflow, type WorkflowRow } from './store/workflows.ts';
import { newWorkflow } from './workflows/new-workflow.ts';

export interface Move {
  readonly workflow: WorkflowRow;
  readonly target: Placed;
}

export interface MoveOptions {
  readonly targetHostId?: string | undefined;
  /** Hosts that will do, beside having room and obeying the instance's constraints. */
  readonly accept?: (host: HostFacts) => boolean;
}

/** What the guest has seen of its host's processors it must find on the next one. A device is not passed to any guest. */
const seenByGuest = ({ accelerator, capabilities }: HostRow): readonly string[] =>
  accelerator === 'kvm' ? capabilities.filter((each) => each !== 'gpu') : [accelerator];

/**
 * `row` is locked. The target is claimed under the same constraints as a launch's host.
 *
 * @throws IncorrectInstanceState, InvalidParameterValue, InsufficientInstanceCapacity
 */
export const beginMove = async (
  { services, owner }: Actor,
  tx: Sql,
  placing: Placing,
  row: InstanceRow,
  { targetHostId, accept }: MoveOptions = {},
): Promise<Move> => {
  const { id: instanceId, host_id: hostId } = row;
  const leaving = await migrationHostOf(tx, instanceId);
  if (row.state !== 'running' || row.workflow_id !== null || hostId === null || leaving !== undefined)
    throw new PandoError(
      'IncorrectInstanceState',
      `The instance '${instanceId}' does not run, or is being changed.`,
    );
  const source = await findHost(tx, hostId);
  if (source === undefined) throw new PandoError('NotFound', `${hostId} is not known in this cell.`);
  if (targetHostId === hostId)
    throw new PandoError('InvalidParameterValue', `The instance '${instanceId}' runs on ${hostId} already.`);
  const claim = claimOf(row, 'migration', amountOf(row));
  const target = await placing.place({
    claim: { ...claim, capabilities: [...(claim.capabilities ?? []), ...seenByGuest(source)] },
    zone: row.spec.zone,
    accept: (host) => host.hostId !== hostId && (accept === undefined || accept(host)),
    ...(targetHostId === undefined ? {} : { hostId: targetHostId }),
  });
  if (target === undefined) throw insufficientCapacity();
  const epoch = epochAfter(row.place_epoch);
  const place = { hostId: target.hostId, vtep: target.vtep };
  const input = { ...place, sourceHostId: hostId, sourceVtep: source.vtep, epoch };
  const made = newWorkflow(services, 'migrate', row.id, input);
  const workflow = await insertWorkflow(tx, made, owner);
  await changeInstance(tx, row.id, { workflow_id: made.id, place_epoch: epoch });
  return { workflow, target };
};
