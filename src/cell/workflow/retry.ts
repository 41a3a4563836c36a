/** What is done about an error: its class, by the catalogue for our own, by SQLSTATE and errno for the store's. */
import { sqlStateOf } from '#base/postgres/transaction.ts';
import { errorCatalogue, isErrorCode, PandoError, type RetryClass } from '#contracts/errors.ts';
import type { WorkflowError } from '../store/workflows.ts';

/** Classes of SQLSTATEs, and states, in which the server is away, shuts down, or is not the one that takes writes. */
const storeAway = /^(08...|57P0[1-5]|57014|25006|53...|55P03|58...)$/;
const storeBusy = /^40...$/;
const connectionErrnos: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);
/** The driver gives these no code. */
const connectionWords =
  /connection terminated|timeout exceeded|connection timeout|client has encountered a connection|query read timeout/i;

const errnoOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

export const retryClassOf = (error: unknown): RetryClass => {
  if (error instanceof PandoError) return error.class;
  const state = sqlStateOf(error);
  if (state !== undefined)
    return storeAway.test(state) ? 'unreachable' : storeBusy.test(state) ? 'busy' : 'fault';
  if (connectionErrnos.has(errnoOf(error) ?? '')) return 'unreachable';
  return error instanceof Error && connectionWords.test(error.message) ? 'unreachable' : 'fault';
};

/** What was away, where the error names it (`host/h-1`): whoever reaches it may try at once. */
export const hindranceOf = (error: unknown): string | undefined =>
  error instanceof PandoError && error.class === 'unreachable' ? error.details?.resource : undefined;

const messageCharsMax = 2_000;

/** The class of an error that a row keeps. */
export const retryClassOfCode = (code: string): RetryClass =>
  isErrorCode(code) ? errorCatalogue[code].class : 'fault';

/** An error as a row keeps it, for operators: in its own words. PostgreSQL's JSON has no NUL. */
export const workflowErrorOf = (error: unknown, step: string): WorkflowError => {
  const code = error instanceof PandoError ? error.code : codeByClass[retryClassOf(error)];
  const message = error instanceof Error ? error.message : String(error);
  return { code, message: message.replaceAll('\0', '').slice(0, messageCharsMax), step };
};

const codeByClass = {
  unreachable: 'Unavailable',
  busy: 'Conflict',
  fault: 'InternalError',
  refused: 'InternalError',
} as const satisfies Record<RetryClass, string>;
