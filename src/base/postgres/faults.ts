/**
 * What a store's error means for its caller: by SQLSTATE where the server answered, by the connection's end where it did not.
 *
 *   class       SQLSTATE                          connection   the transaction
 *   away        08xxx 57P01 ... 57P05             thrown away  is run again (unless its COMMIT was sent)
 *               25P03 25P04, no answer
 *   read-only   25006                             thrown away  is run again, on the server that takes writes
 *   contended   40001 40P01                       kept         is run again, a few times
 *   full        53100 53200 58xxx                 kept         fails: clients hear Unavailable
 *   busy        other 53xxx, 55P03 57014          kept         fails: clients hear Unavailable
 *
 * A COMMIT without an answer is `UnknownOutcome`: it may have happened, so it must not be run again blindly.
 */
import { PandoError } from '#contracts/errors.ts';

export type StoreFault = 'away' | 'read-only' | 'contended' | 'full' | 'busy';

/** No answer came: the connection ended, could not be made, or was silent for too long. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

const exact: Readonly<Record<string, StoreFault>> = {
  '57P01': 'away', // admin_shutdown
  '57P02': 'away', // crash_shutdown
  '57P03': 'away', // cannot_connect_now
  '57P04': 'away', // database_dropped
  '57P05': 'away', // idle_session_timeout
  '25P03': 'away', // idle_in_transaction_session_timeout
  '25P04': 'away', // transaction_timeout
  '25006': 'read-only', // read_only_sql_transaction
  '40001': 'contended', // serialization_failure
  '40P01': 'contended', // deadlock_detected
  '53100': 'full', // disk_full
  '53200': 'full', // out_of_memory
  '55P03': 'busy', // lock_not_available
  '57014': 'busy', // query_canceled: statement_timeout
};

const families: Readonly<Record<string, StoreFault>> = {
  '08': 'away', // connection_exception
  '53': 'busy', // insufficient_resources: too_many_connections, configuration_limit_exceeded
  '58': 'full', // system_error, io_error
};

/** The class of a SQLSTATE; undefined: an error of the statement itself, which says nothing of the store. */
export const faultOfState = (state: string): StoreFault | undefined =>
  exact[state] ?? families[state.slice(0, 2)];

/** The SQLSTATE of an error from PostgreSQL, anywhere in its chain of causes. */
export const sqlStateOf = (error: unknown): string | undefined => {
  if (!(error instanceof Error)) return undefined;
  const code = 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !isSystemCode(code)
    ? code
    : sqlStateOf(error.cause);
};

/** `EPIPE` has the form of a SQLSTATE and is none. */
const isSystemCode = (code: string): boolean => /^E[A-Z]{4}$/.test(code);

/** The class of an error, anywhere in its chain of causes. */
export const storeFaultOf = (error: unknown): StoreFault | undefined => {
  if (!(error instanceof Error)) return undefined;
  if (error instanceof ConnectionLost) return 'away';
  const state = sqlStateOf(error);
  return state === undefined ? storeFaultOf(error.cause) : faultOfState(state);
};

/** The name of the constraint that a unique, check or foreign key violation broke. */
export const violatedConstraint = (error: unknown): string | undefined => {
  if (!(error instanceof Error) || !sqlStateOf(error)?.startsWith('23')) return undefined;
  return 'constraint' in error && typeof error.constraint === 'string' ? error.constraint : undefined;
};

const retry = 'Retry your request.';
const words: Readonly<Record<StoreFault, string>> = {
  away: 'The database does not answer for the moment.',
  'read-only': 'The database changes to another server just now.',
  contended: 'The same records are being changed by other requests.',
  full: 'The database cannot store anything for the moment.',
  busy: 'The database has too much to do for the moment.',
};

/** Whether a COMMIT was sent and not answered. */
export const isUnknownOutcome = (error: unknown): boolean =>
  error instanceof PandoError && error.code === 'UnknownOutcome';

export const unknownOutcome = (cause: unknown): PandoError =>
  new PandoError('UnknownOutcome', 'The database did not say whether it kept the change.', { cause });

/** Of one whom the server does not let in, which is no matter of time: an operator is told by the log, whoever asks hears nothing of it. */
export const refusedError = (cause: unknown): PandoError =>
  new PandoError('Unavailable', `${words.away} ${retry}`, { cause });

/** The error as callers get it: of the catalogue where it tells of the store's state, else as it was. */
export const storeError = (error: unknown): unknown => {
  if (error instanceof PandoError) return error;
  const fault = storeFaultOf(error);
  if (fault === undefined) return error;
  const code = fault === 'contended' ? 'Conflict' : 'Unavailable';
  return new PandoError(code, `${words[fault]} ${retry}`, { cause: error });
};
