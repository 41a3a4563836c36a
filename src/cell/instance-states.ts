/** The states of an instance, their codes on the wire, and which action is allowed in which state. */
import { PandoError } from '#contracts/errors.ts';

/*
 * pending → running ⇄ stopping → stopped → pending        any → shutting-down → terminated
 *
 * A VM that ended by itself while its instance is running: its guest's shutdown → stopping or shutting-down (as the instance wishes);
 * any other end → running still, while it is recovered on its host, then stopping (hosts/endings.ts).
 */
export const instanceStates = [
  'pending',
  'running',
  'shutting-down',
  'terminated',
  'stopping',
  'stopped',
] as const;
export type InstanceState = (typeof instanceStates)[number];

const codes = {
  pending: 0,
  running: 16,
  'shutting-down': 32,
  terminated: 48,
  stopping: 64,
  stopped: 80,
} as const satisfies Record<InstanceState, number>;

/** A state as EC2 writes it. */
export const ec2State = (state: InstanceState): { Code: number; Name: InstanceState } => ({
  Code: codes[state],
  Name: state,
});

/** `yes` begins the change, `already` answers without one, `no` is IncorrectInstanceState. */
export type Permission = 'yes' | 'already' | 'no';
export type LifecycleAction = 'start' | 'stop' | 'reboot' | 'terminate' | 'modifyStopped';

export const allowedStates = {
  start: {
    pending: 'already',
    running: 'already',
    'shutting-down': 'no',
    terminated: 'no',
    stopping: 'no',
    stopped: 'yes',
  },
  stop: {
    pending: 'no',
    running: 'yes',
    'shutting-down': 'no',
    terminated: 'no',
    stopping: 'already',
    stopped: 'already',
  },
  reboot: {
    pending: 'no',
    running: 'yes',
    'shutting-down': 'no',
    terminated: 'no',
    stopping: 'no',
    stopped: 'no',
  },
  terminate: {
    pending: 'yes',
    running: 'yes',
    'shutting-down': 'already',
    terminated: 'already',
    stopping: 'yes',
    stopped: 'yes',
  },
  modifyStopped: {
    pending: 'no',
    running: 'no',
    'shutting-down': 'no',
    terminated: 'no',
    stopping: 'no',
    stopped: 'yes',
  },
} as const satisfies Record<LifecycleAction, Record<InstanceState, Permission>>;

const stopWords = {
  start: 'started',
  stop: 'stopped',
  reboot: 'rebooted',
  terminate: 'terminated',
  modifyStopped: 'modified',
} as const satisfies Record<LifecycleAction, string>;

/** Whether `action` may begin in `state`; EC2's IncorrectInstanceState where it may not. */
export const permit = (
  action: LifecycleAction,
  id: string,
  state: InstanceState,
): Exclude<Permission, 'no'> => {
  const permission = allowedStates[action][state];
  if (permission !== 'no') return permission;
  throw new PandoError(
    'IncorrectInstanceState',
    action === 'modifyStopped'
      ? `The instance '${id}' is not in the 'stopped' state.`
      : `The instance '${id}' is not in a state from which it can be ${stopWords[action]}.`,
  );
};

/**
 * What a changing call does to an instance that is being migrated (S6.3), before the lock and under it. `pass`: it is done where the guest
 * is; `wait`: it is accepted, and done once the guest is on one host again.
 */
export const migrationRules = {
  terminate: { copying: 'cancel', locked: 'follow' },
  stop: { copying: 'cancel', locked: 'follow' },
  start: { copying: 'block', locked: 'block' },
  reboot: { copying: 'pass', locked: 'wait' },
  modifyStopped: { copying: 'block', locked: 'block' },
} as const satisfies Record<
  LifecycleAction,
  Record<'copying' | 'locked', 'cancel' | 'follow' | 'pass' | 'wait' | 'block'>
>;

export interface StateReason {
  readonly Code: string;
  readonly Message: string;
}

/** Whether an instance that has ended did so because its owner asked for it: no later change takes that back. */
export const isEndedByOwner = (row: {
  readonly state: InstanceState;
  readonly state_reason: StateReason | null;
}): boolean => row.state === 'terminated' && row.state_reason?.Code === stateReasons.userShutdown.Code;

export const stateReasons = {
  userShutdown: {
    Code: 'Client.UserInitiatedShutdown',
    Message: 'Client.UserInitiatedShutdown: User initiated shutdown',
  },
  guestShutdown: {
    Code: 'Client.InstanceInitiatedShutdown',
    Message: 'Client.InstanceInitiatedShutdown: Instance initiated shutdown',
  },
  internal: { Code: 'Server.InternalError', Message: 'Server.InternalError: Internal error on launch' },
  lost: {
    Code: 'Server.InternalError',
    Message: 'Server.InternalError: The host no longer runs the instance',
  },
  recoveryFailed: {
    Code: 'Server.InternalError',
    Message: 'Server.InternalError: The instance ended unexpectedly and could not be recovered',
  },
  capacity: {
    Code: 'Server.InsufficientInstanceCapacity',
    Message: 'Server.InsufficientInstanceCapacity: Insufficient capacity to satisfy instance request',
  },
} as const satisfies Record<string, StateReason>;
