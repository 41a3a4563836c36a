/**
 * Idempotency keys after Stripe's conventions: the first request with a key is carried out and its answer kept, whether success or
 * refusal; the same key with the same body gets that answer again; with another body it is an error, and nothing is written. A retry
 * that comes while the first one runs waits for it (it waits for the row's lock, so it wakes with the answer).
 *
 * The key's row is written in the transaction that carries the request out. So after a crash, or a COMMIT whose answer was lost, a
 * retry finds either the answer or no trace.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { PaymentsError } from '../base/errors.ts';
import type { ErrorCode } from '../contract/codes.ts';
import { idempotencyKeyCharsMax, idempotencyKeyHoursMin } from '../contract/limits.ts';
import type { SchemaStep } from '../store/migrate.ts';
import { first, type Pool, type Queryable, run } from '../store/pool.ts';
import { sqlStateOf, transaction } from '../store/transaction.ts';

export const idempotencySchema: SchemaStep = {
  name: '0002-idempotency',
  up: `
create table idempotency_key (
  person_id text not null,
  key text not null,
  fingerprint bytea not null,
  -- {"answer": …} or {"error": {"code", "message"}}; null only inside the transaction that carries the request out.
  -- json and not jsonb: a replay is the first answer to the byte.
  outcome json,
  at_ms bigint not null,
  primary key (person_id, key)
);
create index on idempotency_key (at_ms);
`,
};

export type Outcome<Answer> =
  | { readonly answer: Answer }
  | { readonly error: { readonly code: ErrorCode; readonly message: string } };

export interface Once {
  readonly personId: string;
  readonly key: string;
  /** The operation and the exact request: what a second use of the key is compared with. */
  readonly request: string;
  readonly nowMs: number;
}

export interface OnceResult<Answer> {
  readonly outcome: Outcome<Answer>;
  readonly replayed: boolean;
}

/** Errors that say nothing about the request: they are not kept, and the same key may be tried again. */
const passing: readonly ErrorCode[] = ['busy', 'internal', 'rate_limited', 'idempotency_in_progress'];

export const fingerprintOf = (request: string): Buffer => createHash('sha256').update(request).digest();

/** Refuses keys that are empty, too long or not printable ASCII. */
export function checkKey(key: unknown): string {
  if (typeof key !== 'string' || key === '')
    throw new PaymentsError(
      'idempotency_key_missing',
      'Send an Idempotency-Key header: a new one for each new intent.',
    );
  if (key.length > idempotencyKeyCharsMax || !/^[\x21-\x7e]+$/.test(key))
    throw new PaymentsError(
      'invalid_request',
      `An Idempotency-Key is at most ${idempotencyKeyCharsMax} printable characters.`,
    );
  return key;
}

/** The kept answer of an earlier request with this key, if there is one. Error: `idempotency_key_reused`. */
export async function recall<Answer>(on: Queryable, request: Once): Promise<OnceResult<Answer> | undefined> {
  const row = await first<{ fingerprint: Buffer; outcome: Outcome<Answer> | null }>(
    on,
    'select fingerprint, outcome from idempotency_key where person_id = $1 and key = $2',
    [request.personId, request.key],
  );
  if (row === undefined) return undefined;
  if (!row.fingerprint.equals(fingerprintOf(request.request)))
    throw new PaymentsError(
      'idempotency_key_reused',
      'This Idempotency-Key was used for another request. Nothing was done. Use a new key for a new intent.',
    );
  if (row.outcome === null) throw new Error('a committed idempotency key has no outcome');
  return { outcome: row.outcome, replayed: true };
}

/**
 * Carries `work` out once for a key. A {@link PaymentsError} that `work` throws undoes what it wrote and is kept as the answer.
 * Runs again by itself after serialization failures and lost connections.
 */
export async function once<Answer>(
  pool: Pool,
  request: Once,
  work: (client: pg.PoolClient) => Promise<Answer>,
): Promise<OnceResult<Answer>> {
  try {
    return await keep(pool, request, async (client) => ({ answer: await work(client) }));
  } catch (error) {
    if (
      !(error instanceof PaymentsError) ||
      passing.includes(error.code) ||
      error.code === 'idempotency_key_reused'
    )
      throw error;
    // In a transaction of its own: the first one is rolled back with all that it wrote. Whoever took the key in between was first.
    const { code, message } = error;
    return keep<Answer>(pool, request, async () => ({ error: { code, message } }));
  }
}

/** Takes the key and keeps the outcome of `work` with it, or gives the outcome that is kept. */
const keep = <Answer>(
  pool: Pool,
  request: Once,
  work: (client: pg.PoolClient) => Promise<Outcome<Answer>>,
): Promise<OnceResult<Answer>> =>
  transaction(
    pool,
    async (client) => {
      if (!(await claim(client, request))) {
        const kept = await recall<Answer>(client, request);
        if (kept === undefined) throw new PaymentsError('busy', 'Try again.', { retryAfterS: 1 });
        return kept;
      }
      const outcome = await work(client);
      await run(client, 'update idempotency_key set outcome = $3 where person_id = $1 and key = $2', [
        request.personId,
        request.key,
        JSON.stringify(outcome),
      ]);
      return { outcome, replayed: false };
    },
    { repeatable: true },
  );

/** True: the key is ours. False: another transaction with this key has committed (its row is visible now). */
async function claim(client: pg.PoolClient, request: Once): Promise<boolean> {
  try {
    const rows = await run(
      client,
      `insert into idempotency_key (person_id, key, fingerprint, at_ms) values ($1, $2, $3, $4)
       on conflict do nothing returning key`,
      [request.personId, request.key, fingerprintOf(request.request), request.nowMs],
    );
    return rows.length === 1;
  } catch (error) {
    if (sqlStateOf(error) !== '55P03') throw error;
    throw new PaymentsError(
      'idempotency_in_progress',
      'The first request with this Idempotency-Key is still being carried out. Try again with the same key.',
      { cause: error, retryAfterS: 1 },
    );
  }
}

/** Forgets keys that are older than the promise. Bounded; call again while it returns `limit`. */
export async function forgetKeys(on: Queryable, nowMs: number, limit = 10_000): Promise<number> {
  const rows = await run(
    on,
    `delete from idempotency_key where (person_id, key) in
       (select person_id, key from idempotency_key where at_ms < $1 order by at_ms limit $2) returning key`,
    [nowMs - idempotencyKeyHoursMin * 3_600_000, limit],
  );
  return rows.length;
}
