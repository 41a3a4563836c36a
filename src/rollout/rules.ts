/** What a policy says about a rollout as it stands. */
import type { DeviceBook } from './devices.ts';
import type { World } from './orders.ts';
import type { RolloutRecord } from './record.ts';
import { isOpen } from './window.ts';

export const isApproved = ({ policy, approved }: RolloutRecord, wave: number): boolean => {
  if (policy.approval === undefined || approved.includes(wave)) return true;
  const { before } = policy.approval;
  return before === 'first' ? wave !== 0 : before === 'second' && wave !== 1;
};

const programOf = (object: RolloutRecord['transitions'][number]['to']): unknown =>
  object !== undefined &&
  object.kind === 'fleet' &&
  object.body !== null &&
  typeof object.body === 'object' &&
  'cardProgram' in object.body
    ? object.body.cardProgram
    : undefined;

/** Whether the change makes each card begin anew as another version of its program: it answers nothing until that one is there. */
export const restartsCards = ({ transitions }: Pick<RolloutRecord, 'transitions'>): boolean =>
  transitions.some(({ from, to }) => programOf(from) !== programOf(to));

/** Devices of a wave that count as failed. */
export const failuresOf = (
  { policy }: RolloutRecord,
  devices: Pick<DeviceBook, 'count'>,
  wave: number,
): number =>
  devices.count(wave, [
    'refused',
    'drifted',
    'lost',
    ...(policy.unreachable === 'fail' ? (['away'] as const) : []),
  ]);

/** Why nothing is begun though it could be, for people; undefined: it goes on. */
export const waitsFor = (
  record: RolloutRecord,
  devices: Pick<DeviceBook, 'wave'>,
  world: Pick<World, 'wallMs' | 'turn'>,
): string | undefined => {
  const { phase, paused, wave, policy } = record;
  if (paused) return 'paused: pando rollout resume goes on';
  if (phase === 'halted') return 'an operator: resume accepts what failed, abort goes back';
  if (phase !== 'pending' && phase !== 'applying') return undefined;
  if (!isApproved(record, wave)) return `approval of wave ${wave + 1} by ${policy.approval?.by.join(' or ')}`;
  if (!isOpen(policy.window, world.wallMs))
    return `its time window, ${policy.window?.from} to ${policy.window?.to} UTC`;
  const waiting = devices.wave(wave).find(({ deviceId }) => world.turn(deviceId) === 'wait');
  return waiting && `an earlier rollout that has ${waiting.deviceId}`;
};
