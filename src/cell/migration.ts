/** Begins a live migration: the target's capacity is claimed in the transaction that gives the instance to the workflow (S6.1). */
import { PandoError } from '#contracts/errors.ts';
import { epochAfter } from './generation.ts';
import { insufficientCapacity } from './insufficient-capacity.ts';
import type { Actor } from './lifecycle.ts';
import { migrationHostOf } from './store/claims.ts';
import { amountOf, findHost } from './store/hosts.ts';
import { changeInstance, lockInstances } from './store/instances.ts';
import { insertWorkflow, type WorkflowRow } from './store/workflows.ts';
import { newWorkflow } from './workflows/new-workflow.ts';

export interface BegunMigration {
  readonly workflow: WorkflowRow;
  readonly sourceHostId: string;
  readonly targetHostId: string;
}

/**
 * Without a target the cell chooses one. The caller starts the workflow.
 * @throws NotFound, IncorrectInstanceState, InvalidParameterValue, InsufficientInstanceCapacity
 */
export const beginMigration = (
  { services, owner }: Actor,
  instanceId: string,
  targetHostId?: string,
): Promise<BegunMigration> =>
  services.capacity.transaction(async (tx, placing) => {
    const [row] = await lockInstances(tx, undefined, [instanceId]);
    const hostId = row?.host_id;
    if (row === undefined) throw notFound(instanceId);
    const leaving = await migrationHostOf(tx, instanceId);
    if (row.state !== 'running' || row.workflow_id !== null || !hostId || leaving !== undefined)
      throw new PandoError(
        'IncorrectInstanceState',
        `The instance '${instanceId}' does not run, or is being changed.`,
      );
    const source = await findHost(tx, hostId);
    if (source === undefined) throw notFound(hostId);
    if (targetHostId === hostId)
      throw new PandoError(
        'InvalidParameterValue',
        `The instance '${instanceId}' runs on ${hostId} already.`,
      );
    const { instanceType: type, zone } = row.spec;
    const target = await placing.place({
      claim: { purpose: 'migration', holder: row.id, type, amount: amountOf(row) },
      zone,
      accept: (host) => host.hostId !== hostId && host.capabilities.has(source.accelerator),
      ...(targetHostId === undefined ? {} : { hostId: targetHostId }),
    });
    if (target === undefined) throw insufficientCapacity();
    const epoch = epochAfter(row.place_epoch);
    const input = { ...target, sourceHostId: hostId, sourceVtep: source.vtep, epoch };
    const made = newWorkflow(services, 'migrate', row.id, input);
    const workflow = await insertWorkflow(tx, made, owner);
    await changeInstance(tx, row.id, { workflow_id: made.id, place_epoch: epoch });
    return { workflow, sourceHostId: hostId, targetHostId: target.hostId };
  });

const notFound = (id: string): PandoError => new PandoError('NotFound', `${id} is not known in this cell.`);
