/**
 * A transaction whose statements need not wait for each other's answers. What `send` gives away is worked through by the server in
 * order, and the last of it goes out in one message with COMMIT. A failure of it is told by whatever is awaited next, at the latest by the
 * commit, which does not happen then.
 */
import { insideTransaction } from '../transactionScope.ts';
import type { StoreConnection } from './connection.ts';
import { isUnknownOutcome, storeFaultOf } from './faults.ts';
import type { StorePool } from './pool.ts';
import { type RetryOptions, retried } from './transaction.ts';

interface Sent {
  readonly text: string;
  readonly values: readonly unknown[];
  /** What its failure is to its caller; default: itself. */
  refused?(error: unknown): unknown;
}

export class PipelinedTransaction {
  readonly #connection: StoreConnection;
  /** The last that was given away: COMMIT may go out with it. */
  #held: Sent | undefined;
  readonly #unanswered: Promise<void>[] = [];
  #failure: { readonly error: unknown } | undefined;

  constructor(connection: StoreConnection) {
    this.#connection = connection;
  }

  async query<Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    this.#release();
    try {
      return (await this.#connection.query<Row>(text, values)).rows;
    } catch (error) {
      throw await this.#first(error);
    }
  }

  send(text: string, values: readonly unknown[] = [], refused?: (error: unknown) => unknown): void {
    this.#release();
    this.#held = { text, values, ...(refused === undefined ? {} : { refused }) };
  }

  async commit(): Promise<void> {
    const last = this.#held;
    this.#held = undefined;
    try {
      if (last === undefined) await this.#connection.query('commit', []);
      else await this.#connection.commit(last.text, last.values);
    } catch (error) {
      const told = last?.refused === undefined || isUnknownOutcome(error) ? error : last.refused(error);
      throw await this.#first(told);
    }
    // A COMMIT after a failure is a ROLLBACK.
    await Promise.all(this.#unanswered);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async rollback(): Promise<void> {
    this.#held = undefined;
    await this.#connection.query('rollback', []).catch(() => undefined);
  }

  #release(): void {
    const sent = this.#held;
    this.#held = undefined;
    if (sent === undefined) return;
    const answered = this.#connection.query(sent.text, sent.values).then(
      () => undefined,
      (error: unknown) => {
        this.#failure ??= { error: sent.refused?.(error) ?? error };
      },
    );
    this.#unanswered.push(answered);
  }

  /** What failed first: what follows it in an aborted transaction fails for that alone. */
  async #first(error: unknown): Promise<unknown> {
    await Promise.all(this.#unanswered);
    if (this.#failure === undefined) return error;
    // Both were cut off: what became of the commit is still unknown.
    if (isUnknownOutcome(error) && storeFaultOf(this.#failure.error) === 'away') return error;
    return this.#failure.error;
  }
}

/** Runs `work` in a transaction, as `transact` does, and again where that does. */
export const transactPipelined = <T>(
  pool: StorePool,
  work: (tx: PipelinedTransaction) => Promise<T>,
  options: RetryOptions = {},
): Promise<T> => retried(() => once(pool, work), options);

const once = async <T>(pool: StorePool, work: (tx: PipelinedTransaction) => Promise<T>): Promise<T> => {
  const connection = await pool.connect();
  try {
    const tx = new PipelinedTransaction(connection);
    try {
      await connection.query('begin', []);
      const value = await insideTransaction(() => work(tx));
      await tx.commit();
      return value;
    } catch (error) {
      await tx.rollback();
      throw error;
    }
  } finally {
    connection.release();
  }
};
