/** Transactions that are run again where that is safe. */

import { setTimeout as delay } from 'node:timers/promises';
import type { IsolationLevel, Kysely, Transaction } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import { monotonicMs } from '../monotonic.ts';
import { assertOutsideTransaction, insideTransaction } from '../transactionScope.ts';
import { isUnknownOutcome, type StoreFault, storeFaultOf } from './faults.ts';

export { sqlStateOf, violatedConstraint } from './faults.ts';

export const transactionAttemptsMax = 6;
/** How long a transaction whose connection broke is run again; the wait for a connection counts. */
const retryAwayMsMax = 5_000;
const backoffMsMin = 2;
const backoffMsMax = 100;

export interface RetryOptions {
  readonly attemptsMax?: number;
}

export interface TransactOptions extends RetryOptions {
  readonly isolation?: IsolationLevel;
}

/** Thrown inside of a transaction to have it run again from the start, as a serialization failure does. */
export const startAgain = (why: string): Error => Object.assign(new Error(why), { code: '40001' });

const passing: ReadonlySet<StoreFault> = new Set(['contended', 'away', 'read-only']);

/**
 * Runs `work` in a transaction; on a serialization failure, a deadlock or a broken connection runs it again, a bounded number of
 * times, so `work` must have no effect outside the transaction.
 *
 * @throws UnknownOutcome when COMMIT was sent and not answered: never run again here, since it may have happened. Callers find out
 * by what they wrote: a client token, a row's version, a name that is unique.
 * @throws Conflict, retryable, when rows were contended to the end. @throws Unavailable when the store is away, full or too busy.
 */
export const transact = <Schema, T>(
  db: Kysely<Schema>,
  work: (tx: Transaction<Schema>) => Promise<T>,
  options: TransactOptions = {},
): Promise<T> =>
  retried(() => {
    const transaction = db.transaction();
    return (options.isolation ? transaction.setIsolationLevel(options.isolation) : transaction).execute(
      (tx) => insideTransaction(() => work(tx)),
    );
  }, options);

/** Runs one whole transaction, and again where `transact` says so. */
export const retried = async <T>(once: () => Promise<T>, options: RetryOptions = {}): Promise<T> => {
  assertOutsideTransaction('a second transaction');
  const attemptsMax = options.attemptsMax ?? transactionAttemptsMax;
  const began = monotonicMs();
  for (let attempt = 1; ; attempt++) {
    try {
      return await once();
    } catch (error) {
      const fault = storeFaultOf(error);
      if (fault === undefined || !passing.has(fault) || isUnknownOutcome(error)) throw error;
      if (attempt >= attemptsMax && fault === 'contended')
        throw new PandoError('Conflict', `The same rows were changed at once ${attempt} times over.`, {
          cause: error,
        });
      if (attempt >= attemptsMax || (fault !== 'contended' && monotonicMs() - began > retryAwayMsMax))
        throw error;
      await delay(Math.random() * Math.min(backoffMsMax, backoffMsMin * 2 ** attempt));
    }
  }
};
