/** What a command prints when it fails: what is wrong and what to do next, and a stack only where that is our fault. */
import { isInternalCode, PandoError } from '#contracts/errors.ts';
import { LockHeld } from '#node/lock.ts';
import { Ec2Error } from './ec2Client.ts';
import { UserError } from './output.ts';

export interface Failure {
  readonly message: string;
  /** Nothing that a stack would explain. */
  readonly expected: boolean;
}

const serverError = 500;

/** Advice by the beginning of an error's code. */
const advice: readonly (readonly [string, string])[] = [
  ['InvalidInstanceID', 'pando status shows the instances.'],
  ['InsufficientInstanceCapacity', 'pando status shows what is free on which host.'],
  ['IncorrectInstanceState', 'pando status shows its state.'],
  ['HostUnreachable', 'pando status shows what is away; pando up brings it back.'],
  ['DeadlineExceeded', 'pando status shows what is away; pando logs what it said.'],
];

const advised = (code: string, message: string): string => {
  const next = advice.find(([start]) => code.startsWith(start))?.[1];
  return next === undefined ? message : `${message.replace(/\.?$/, '.')} ${next}`;
};

/** Turns anything that was thrown into what its reader needs. */
export function failureOf(error: unknown): Failure {
  if (error instanceof UserError || error instanceof LockHeld)
    return { message: error.message, expected: true };
  if (error instanceof Ec2Error) {
    if (error.status >= serverError)
      return { message: `${error.message}. See: pando logs --request ${error.requestId}`, expected: true };
    return { message: advised(error.code, `${error.code}: ${error.reason}`), expected: true };
  }
  if (error instanceof PandoError && error.code === 'InternalError')
    return {
      message:
        'Something broke inside, or a store is away. pando status shows what; pando up brings it back.',
      expected: true,
    };
  if (error instanceof PandoError)
    return { message: advised(error.code, error.message), expected: !isInternalCode(error.code) };
  return { message: error instanceof Error ? error.message : String(error), expected: false };
}
