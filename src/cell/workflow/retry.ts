/** What is done about an error: its class, by the catalogue for our own, by SQLSTATE and errno for the store's. */
import { type StoreFault, storeFaultOf } from '#base/postgres/faults.ts';
import { errorCatalogue, isErrorCode, PandoError, type RetryClass } from '#contracts/errors.ts';
import type { WorkflowError } from '../store/workflows.ts';

const classOfFault: Readonly<Record<StoreFault, RetryClass>> = {
  away: 'unreachable',
  'read-only': 'unreachable',
  contended: 'busy',
  full: 'unreachable',
  busy: 'unreachable',
};

export const retryClassOf = (error: unknown): RetryClass => {
  if (error instanceof PandoError) return error.class;
  const fault = storeFaultOf(error);
  return fault === undefined ? 'fault' : classOfFault[fault];
};

/** The resource that was away, where the error names it (`host/h-1`). A processor that reaches it may try at once. */
export const hindranceOf = (error: unknown): string | undefined =>
  error instanceof PandoError && error.class === 'unreachable' ? error.details?.resource : undefined;

const messageCharsMax = 2_000;

/** The class of an error that a row keeps. */
export const retryClassOfCode = (code: string): RetryClass =>
  isErrorCode(code) ? errorCatalogue[code].class : 'fault';

/** An error as a row keeps it, for operators: in its own words. PostgreSQL's JSON has no NUL and no half of a surrogate pair. */
export const workflowErrorOf = (error: unknown, step: string): WorkflowError => {
  const code = error instanceof PandoError ? error.code : codeByClass[retryClassOf(error)];
  const message = error instanceof Error ? error.message : String(error);
  return { code, message: message.replaceAll('\0', '').slice(0, messageCharsMax).toWellFormed(), step };
};

const codeByClass = {
  unreachable: 'Unavailable',
  busy: 'Conflict',
  fault: 'InternalError',
  refused: 'InternalError',
} as const satisfies Record<RetryClass, string>;
