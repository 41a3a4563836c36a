/** How a workflow ends for its instance: the state that it leaves, and what a user asked for in the meantime. */

import { epochAfter } from '../../generation.ts';
import type { InstanceState } from '../../instance-states.ts';
import type { CellServices } from '../../services.ts';
import {
  changeInstance,
  changeLocked,
  type InstanceChange,
  type InstanceRow,
  lockInstances,
} from '../../store/instances.ts';
import type { Sql } from '../../store/sql.ts';
import type { NewWorkflow } from '../../store/workflows.ts';
import { newWorkflow } from '../new-workflow.ts';

/**
 * Ends a workflow's ownership of its instance: sets its state, unless a user asked for more in the meantime; then the workflow that does
 * that follows in the same transaction. The instance row is locked first, as every writer of both rows does.
 */
export const settle = async (
  tx: Sql,
  context: { readonly services: CellServices; readonly subject: string; readonly workflowId: string },
  state: InstanceState,
  change: InstanceChange = {},
): Promise<readonly NewWorkflow[]> => {
  const { services, subject, workflowId } = context;
  const ended = { ...change, state, workflow_id: null, locked: false, intent: null };
  const own = { workflow_id: workflowId };
  // Most often nobody has asked for more: one statement finds that out, locks the row and writes it.
  const expected = state === 'terminated' ? own : { ...own, intent: null };
  if (state !== 'stopping' && (await changeInstance(tx, subject, ended, expected))) return [];
  const [row] = await lockInstances(tx, undefined, [subject]);
  // The instance was lost (a survivor ended this workflow): the fenced move after this refuses the transaction.
  if (row === undefined || row.workflow_id !== workflowId) return [];
  // A stop is given up for a termination alone. Where that is not there, the store has forgotten it: the stop is still asked for.
  const intent = row.intent ?? (state === 'stopping' ? stopAgain : null);
  const kept = intent === null ? undefined : followsAs(intent.kind, state);
  if (intent === null || kept === undefined) {
    await changeLocked(tx, subject, ended);
    return [];
  }
  const follower = followerOf(services, { ...row, ...change, intent }, intent.force);
  await changeLocked(tx, subject, {
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

const stopAgain = { kind: 'stop', force: false } as const;

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
