/** Transactions, run again where PostgreSQL asks for it, and where nobody can know whether it committed. */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { PaymentsError } from '../base/errors.ts';
import { gather, type Pool, send } from './pool.ts';

export const transactionAttemptsMax = 8;
const backoffMsMin = 2;
const backoffMsMax = 250;

const serializationFailure = '40001';
const deadlock = '40P01';
const lockNotAvailable = '55P03';

/** The SQLSTATE of a database error, '' for any other. */
export function sqlStateOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** The constraint that a database error names, '' for any other. */
export function constraintOf(error: unknown): string {
  return error instanceof Error && 'constraint' in error && typeof error.constraint === 'string'
    ? error.constraint
    : '';
}

/** Rolled back for certain, by no fault of the statements: the same again may succeed. */
const isConflict = (error: unknown): boolean => [serializationFailure, deadlock].includes(sqlStateOf(error));

/** The connection is gone or the server is going or coming. After COMMIT was sent, the outcome is unknown. */
export function isConnectionLoss(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (/^(08...|57P0[1-5]|25006|ECONN\w+|EPIPE|ENOENT|ETIMEDOUT)$/.test(state)) return true;
  return (
    error instanceof Error &&
    /Connection terminated|timeout exceeded when trying to connect/i.test(error.message)
  );
}

/** The server has no room (connections, disk, memory), its disk fails, or it has cut a statement off: nothing was done, and it passes. */
export const isOverloaded = (error: unknown): boolean => /^(53...|58...|57014)$/.test(sqlStateOf(error));

export interface TransactionOptions {
  /**
   * Run it again after the connection was lost. Only where a repeated run finds what the first one committed: under an
   * idempotency key, or where nothing is written.
   */
  readonly repeatable?: boolean;
  /** Called with each failed attempt's error. */
  onRetry?(error: unknown): void;
}

/**
 * Takes writes that have been sent and whose answers nobody waits for: COMMIT goes out right behind them. Should one of them fail,
 * PostgreSQL undoes the transaction at COMMIT, and the write's error is the transaction's. So each must be one statement that is sent
 * by the time of the call: what is sent later comes after the COMMIT, and what refuses without asking the server is not undone by it.
 */
export type Behind = (writes: Promise<unknown>) => void;

/** Runs `work` in one READ COMMITTED transaction; again on conflicts, up to `transactionAttemptsMax` times. */
export async function transaction<Result>(
  pool: Pool,
  work: (client: pg.PoolClient, behind: Behind) => Promise<Result>,
  options: TransactionOptions = {},
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await once(pool, work);
    } catch (error) {
      if (sqlStateOf(error) === lockNotAvailable)
        throw new PaymentsError('busy', 'Another request holds what this one needs. Try again.', {
          cause: error,
          retryAfterS: 1,
        });
      const again = isConflict(error) || (options.repeatable === true && isConnectionLoss(error));
      if (!again || attempt >= transactionAttemptsMax) throw error;
      options.onRetry?.(error);
      await delay(Math.random() * Math.min(backoffMsMax, backoffMsMin * 2 ** attempt));
    }
  }
}

async function once<Result>(
  pool: Pool,
  work: (client: pg.PoolClient, behind: Behind) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect();
  const unawaited: Promise<unknown>[] = [];
  const failed: { readonly error: unknown }[] = [];
  let broken: Error | undefined;
  try {
    // Sent together with the work's first statement; should it fail, so does everything behind it.
    gather(client);
    const begun = send(client, 'begin');
    begun.catch(() => undefined);
    const result = await work(client, (writes) => {
      writes.catch((error: unknown) => failed.push({ error }));
      unawaited.push(writes);
    });
    await begun;
    // A write that was never sent: the server would not know that it failed, and would commit the rest.
    if (failed[0] !== undefined) throw failed[0].error;
    gather(client);
    const { command } = await send(client, 'commit');
    await Promise.all(unawaited);
    // A statement failed whose error the work did not pass on: PostgreSQL answers COMMIT all the same, having undone everything.
    if (command !== 'COMMIT')
      throw new Error('the transaction was rolled back at COMMIT: a statement had failed');
    return result;
  } catch (error) {
    if (isConnectionLoss(error)) broken = error instanceof Error ? error : new Error(String(error));
    else
      await send(client, 'rollback').catch((failure: Error) => {
        broken = failure;
      });
    throw error;
  } finally {
    client.release(broken);
  }
}
