/** Begins changes of an instance's life, each in the transaction that checks that it may begin. Used by actions and reconcilers. */
import { PandoError } from '#contracts/errors.ts';
import { claimOf } from './capacity/constrained.ts';
import { epochAfter } from './generation.ts';
import {
  type InstanceState,
  migrationRules,
  permit,
  type StateReason,
  stateReasons,
} from './instance-states.ts';
import { insufficientCapacity } from './insufficient-capacity.ts';
import type { CellServices } from './services.ts';
import { setClaim } from './store/claims.ts';
import { amountOf, findHost } from './store/hosts.ts';
import { changeInstance, type InstanceRow, type Intent, type Recovery } from './store/instances.ts';
import type { Sql } from './store/sql.ts';
import { type BegunRow, insertWorkflow, requestCancel } from './store/workflows.ts';
import { newWorkflow } from './workflows/new-workflow.ts';

export interface Change {
  readonly instanceId: string;
  readonly previous: InstanceState;
  readonly current: InstanceState;
}

/** What a transaction decided: told to clients after it, and to the engine. */
export interface Begun {
  readonly changes: readonly Change[];
  readonly workflows: readonly BegunRow[];
  /** Workflows whose cancel flag was set. */
  readonly cancelled: readonly string[];
}

export const nothingBegun: Begun = { changes: [], workflows: [], cancelled: [] };

export interface Cause {
  readonly reason: StateReason;
  readonly words: string;
}

/** EC2's words for a change that a user asked for, with the time of the request. */
export const byUser = (nowMs: number): Cause => ({
  reason: stateReasons.userShutdown,
  words: `User initiated (${new Date(nowMs).toISOString().slice(0, 19).replace('T', ' ')} GMT)`,
});

export interface Actor {
  readonly services: CellServices;
  readonly owner: string;
}

const unchanged = (row: InstanceRow): Begun => ({
  ...nothingBegun,
  changes: [{ instanceId: row.id, previous: row.state, current: row.state }],
});

/** Another workflow owns the instance: the intent is kept, that workflow is asked to stop, and this one follows (S6.3). */
const followUp = async (
  tx: Sql,
  row: InstanceRow,
  workflowId: string,
  state: InstanceState,
  intent: Intent,
  cause: Cause,
): Promise<Begun> => {
  await changeInstance(tx, row.id, {
    state,
    intent,
    state_reason: cause.reason,
    transition_reason: cause.words,
  });
  await requestCancel(tx, workflowId);
  return {
    changes: [{ instanceId: row.id, previous: row.state, current: state }],
    workflows: [],
    cancelled: [workflowId],
  };
};

/** Begins a workflow that owns the instance until it ends. */
const beginWorkflow = async (
  actor: Actor,
  tx: Sql,
  row: InstanceRow,
  workflow: { readonly kind: string; readonly input: unknown },
  change: Parameters<typeof changeInstance>[2] & { readonly state: InstanceState },
): Promise<Begun> => {
  const made = newWorkflow(actor.services, workflow.kind, row.id, workflow.input);
  const inserted = await insertWorkflow(tx, made, actor.owner);
  await changeInstance(tx, row.id, {
    ...change,
    workflow_id: made.id,
    place_epoch: epochAfter(row.place_epoch),
  });
  return {
    changes: [{ instanceId: row.id, previous: row.state, current: change.state }],
    workflows: [inserted],
    cancelled: [],
  };
};

export const beginTerminate = async (
  actor: Actor,
  tx: Sql,
  row: InstanceRow,
  cause: Cause,
): Promise<Begun> => {
  if (permit('terminate', row.id, row.state) === 'already') return unchanged(row);
  if (row.workflow_id !== null)
    return followUp(tx, row, row.workflow_id, 'shutting-down', { kind: 'terminate', force: true }, cause);
  return beginWorkflow(
    actor,
    tx,
    row,
    { kind: 'terminate', input: { hostId: row.host_id, epoch: epochAfter(row.place_epoch) } },
    {
      state: 'shutting-down',
      state_reason: cause.reason,
      transition_reason: cause.words,
    },
  );
};

export const beginStop = async (
  actor: Actor,
  tx: Sql,
  row: InstanceRow,
  force: boolean,
  cause: Cause,
): Promise<Begun> => {
  if (permit('stop', row.id, row.state) === 'already') return unchanged(row);
  if (row.workflow_id !== null)
    return followUp(tx, row, row.workflow_id, 'stopping', { kind: 'stop', force }, cause);
  const input = { hostId: row.host_id, force, epoch: epochAfter(row.place_epoch) };
  return beginWorkflow(
    actor,
    tx,
    row,
    { kind: 'stop', input },
    {
      state: 'stopping',
      state_reason: cause.reason,
      transition_reason: cause.words,
    },
  );
};

/** Takes vCPUs and memory again where the disk lies. @throws InsufficientInstanceCapacity */
export const beginStart = async (actor: Actor, tx: Sql, row: InstanceRow): Promise<Begun> => {
  if (permit('start', row.id, row.state) === 'already') return unchanged(row);
  const hostId = row.host_id;
  if (hostId === null || row.workflow_id !== null) throw busy(row);
  const placed = await setClaim(tx, hostId, claimOf(row, 'instance', amountOf(row)));
  if (placed === undefined) throw insufficientCapacity();
  const input = { hostId, vtep: placed.vtep, epoch: epochAfter(row.place_epoch) };
  return beginWorkflow(
    actor,
    tx,
    row,
    { kind: 'start', input },
    {
      state: 'pending',
      launch_time: new Date(actor.services.clock.now()),
      state_reason: null,
      transition_reason: '',
    },
  );
};

/** Starts an instance again on its host and its disk, whose VM ended though nobody asked. It shows as running meanwhile, as EC2 does. */
export const beginRecovery = async (
  actor: Actor,
  tx: Sql,
  row: InstanceRow,
  recovery: Recovery,
): Promise<Begun> => {
  const host = row.host_id === null ? undefined : await findHost(tx, row.host_id);
  if (host === undefined || row.workflow_id !== null) return nothingBegun;
  const input = { hostId: host.id, vtep: host.vtep, epoch: epochAfter(row.place_epoch) };
  return beginWorkflow(actor, tx, row, { kind: 'recover', input }, { state: row.state, recovery });
};

/** A reboot does not own the instance: it may come to nothing if the instance stops first. */
export const beginReboot = async (actor: Actor, tx: Sql, row: InstanceRow): Promise<Begun> => {
  permit('reboot', row.id, row.state);
  assertNotMigrating(row, 'reboot');
  const made = newWorkflow(actor.services, 'reboot', row.id, {
    hostId: row.host_id,
    epoch: row.place_epoch,
    launchTime: row.launch_time.toISOString(),
  });
  return { ...nothingBegun, workflows: [await insertWorkflow(tx, made, actor.owner)] };
};

/** @throws IncorrectInstanceState while a migration blocks this action (S6.3). */
export const assertNotMigrating = (row: InstanceRow, action: keyof typeof migrationRules): void => {
  if (row.workflow_id === null) return;
  if (migrationRules[action][row.locked ? 'locked' : 'copying'] === 'block') throw busy(row);
};

const busy = (row: InstanceRow): PandoError =>
  new PandoError(
    'IncorrectInstanceState',
    `The instance '${row.id}' is being changed by another request. Retry when it is done.`,
  );
