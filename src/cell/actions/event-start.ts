/** ModifyInstanceEventStartTime: a customer chooses when a planned move of an instance begins, within EC2's limits. */
import { type ErrorCode, PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import { eventStartAheadMsMin, eventStartFixedMs } from '../limits.ts';
import { chooseEventStart, type InstanceEventRow, lockEvent } from '../store/instance-events.ts';
import type { CellContext } from './context.ts';
import { renderEvent } from './describe-status.ts';
import { lockOne } from './find.ts';

const minuteMs = 60_000;

const refuse = (code: ErrorCode, message: string): never => {
  throw new PandoError(code, message);
};

export const modifyInstanceEventStartTime = async (
  input: In<'ModifyInstanceEventStartTime'>,
  context: CellContext,
): Promise<Out<'ModifyInstanceEventStartTime'>> => {
  const { db, clock } = context.services;
  const notBefore = startOf(input);
  const row = await db.transaction(async (tx) => {
    const instance = await lockOne(context, tx, input.InstanceId ?? '');
    // Locked: a drain that plans the move anew waits, and finds the start that was chosen.
    const event = await lockEvent(tx, instance.id, input.InstanceEventId ?? '');
    if (event === undefined)
      return refuse(
        'InvalidInstanceEventIDNotFound',
        `The instance event ID '${(input.InstanceEventId ?? '').slice(0, 64)}' does not exist`,
      );
    check(event, notBefore, clock.now());
    endDryRun(input);
    return chooseEventStart(tx, event, notBefore);
  });
  return { Event: renderEvent(row) };
};

const startOf = ({ NotBefore }: In<'ModifyInstanceEventStartTime'>): Date =>
  NotBefore instanceof Date && !Number.isNaN(NotBefore.getTime())
    ? NotBefore
    : refuse('MissingParameter', 'The request must contain the parameter NotBefore');

/** EC2's limits of rescheduling. @throws InstanceEventStartTimeCannotChange */
const check = (event: InstanceEventRow, notBefore: Date, nowMs: number): void => {
  const why = objection(event, notBefore.getTime(), nowMs);
  if (why !== undefined)
    throw new PandoError(
      'InstanceEventStartTimeCannotChange',
      `The start time of the event '${event.id}' cannot be changed: ${why}`,
    );
};

const objection = (event: InstanceEventRow, startMs: number, nowMs: number): string | undefined => {
  const { outcome, not_before: planned, not_before_deadline: deadline } = event;
  if (outcome !== null) return `it is ${outcome}.`;
  if (deadline === null) return 'it has no deadline, until which it could be put off.';
  if (planned.getTime() <= nowMs) return 'it has started.';
  if (planned.getTime() - nowMs < eventStartFixedMs)
    return `it starts within ${eventStartFixedMs / minuteMs} minutes.`;
  if (startMs - nowMs < eventStartAheadMsMin)
    return `the new start must be at least ${eventStartAheadMsMin / minuteMs} minutes from now.`;
  if (startMs > deadline.getTime())
    return `the new start must not be after its deadline, ${deadline.toISOString()}.`;
  return undefined;
};
