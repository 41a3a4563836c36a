/** Transactions that are run again when PostgreSQL asks for it. */
import { setTimeout as delay } from 'node:timers/promises';
import type { IsolationLevel, Kysely, Transaction } from 'kysely';
import { PandoError } from '#contracts/errors.ts';

export const transactionAttemptsMax = 6;
const backoffMsMin = 2;
const backoffMsMax = 100;

const serializationFailure = '40001';
const deadlockDetected = '40P01';

/** The SQLSTATE of an error from PostgreSQL, anywhere in its chain of causes. */
export const sqlStateOf = (error: unknown): string | undefined => {
  if (!(error instanceof Error)) return undefined;
  const code = 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : sqlStateOf(error.cause);
};

/** The name of the constraint that a unique, check or foreign key violation broke. */
export const violatedConstraint = (error: unknown): string | undefined => {
  if (!(error instanceof Error) || !sqlStateOf(error)?.startsWith('23')) return undefined;
  return 'constraint' in error && typeof error.constraint === 'string' ? error.constraint : undefined;
};

export interface TransactOptions {
  readonly isolation?: IsolationLevel;
  readonly attemptsMax?: number;
}

/**
 * Runs `work` in a transaction; on a serialization failure or a deadlock runs it again, a bounded number of times, so
 * `work` must have no effect outside the transaction. Exhausted: `Conflict`, which is retryable.
 */
export const transact = async <Schema, T>(
  db: Kysely<Schema>,
  work: (tx: Transaction<Schema>) => Promise<T>,
  options: TransactOptions = {},
): Promise<T> => {
  const attemptsMax = options.attemptsMax ?? transactionAttemptsMax;
  for (let attempt = 1; ; attempt++) {
    const transaction = db.transaction();
    try {
      return await (options.isolation
        ? transaction.setIsolationLevel(options.isolation)
        : transaction
      ).execute(work);
    } catch (error) {
      const state = sqlStateOf(error);
      if (state !== serializationFailure && state !== deadlockDetected) throw error;
      if (attempt >= attemptsMax)
        throw new PandoError('Conflict', `The same rows were changed at once ${attempt} times over.`, {
          cause: error,
        });
      await delay(Math.random() * Math.min(backoffMsMax, backoffMsMin * 2 ** attempt));
    }
  }
};
