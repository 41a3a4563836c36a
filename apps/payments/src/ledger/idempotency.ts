/**
 * Idempotency keys after Stripe's conventions: the first request with a key is carried out and its answer kept, whether success or
 * refusal; the same key with the same body gets that answer again; with another body it is an error, and nothing is written. A retry
 * that comes while the first one runs waits for it (it waits for the row's lock, so it wakes with the answer).
 *
 * The key's row is written in the transaction that carries the request out. So after a crash, or a COMMIT whose answer was lost, a
 * retry finds either the answer or no trace.
 *
 * Retries that reach one process while the first runs there wait for it in the process: a phone that insists must not take the pool's
 * connections from everybody else. Retries that reach other processes wait for the row.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { PaymentsError } from '../base/errors.ts';
import type { ErrorCode } from '../contract/codes.ts';
import { idempotencyKeyCharsMax, idempotencyKeyHoursMin } from '../contract/limits.ts';
import type { SchemaStep } from '../store/migrate.ts';
import { first, gather, type Pool, type Queryable, run, send } from '../store/pool.ts';
import { type Behind, sqlStateOf, transaction } from '../store/transaction.ts';

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

export const idempotencyClaimSchema: SchemaStep = {
  name: '0006-idempotency-claim',
  up: `
-- Takes a key, or gives what is kept under it, in one round trip. A function sees with each of its statements what has been committed
-- by then: an insert that waited for another's row is followed by a look at that row.
create function idempotency_claim(person text, wanted text, print bytea, at bigint)
  returns table (mine boolean, fingerprint bytea, outcome json) language plpgsql as $$
begin
  insert into idempotency_key as k (person_id, key, fingerprint, at_ms) values (person, wanted, print, at) on conflict do nothing;
  if found then
    return query select true, print, null::json;
  else
    return query select false, k.fingerprint, k.outcome from idempotency_key k where k.person_id = person and k.key = wanted;
  end if;
end $$;
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
  /** Sent ahead of the claim. Where it rejects, nothing is written, and nobody is told what is kept. Absent: who asks was let in before. */
  readonly letIn?: (on: Queryable) => Promise<void>;
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

interface Kept<Answer> {
  readonly fingerprint: Buffer;
  readonly outcome: Outcome<Answer> | null;
}

/** The kept answer of an earlier request with this key, if there is one. Error: `idempotency_key_reused`. */
export async function recall<Answer>(on: Queryable, request: Once): Promise<OnceResult<Answer> | undefined> {
  const row = await first<Kept<Answer>>(
    on,
    'select fingerprint, outcome from idempotency_key where person_id = $1 and key = $2',
    [request.personId, request.key],
  );
  return row && replayOf(row, fingerprintOf(request.request));
}

function replayOf<Answer>(kept: Kept<Answer>, fingerprint: Buffer): OnceResult<Answer> {
  if (!kept.fingerprint.equals(fingerprint))
    throw new PaymentsError(
      'idempotency_key_reused',
      'This Idempotency-Key was used for another request. Nothing was done. Use a new key for a new intent.',
    );
  if (kept.outcome === null) throw new Error('a committed idempotency key has no outcome');
  return { outcome: kept.outcome, replayed: true };
}

/** The rest of a request, once its key is known to be its own. It calls `behind` at most once, as the last that it does. */
type Rest<Answer> = (client: pg.PoolClient, behind: Behind) => Promise<Answer>;

/**
 * What a request does. `begin` sends its first questions, which go out together with the claim of the key, and answers how it goes on:
 * should the key have been used before, what they did is undone and nothing goes on.
 */
export type Work<Answer> = Rest<Answer> | { begin(client: pg.PoolClient): Rest<Answer> };

/** Requests that are being carried out by this process, by pool: as many as there are requests. */
const running = new WeakMap<Pool, Map<string, Promise<OnceResult<unknown>>>>();

/**
 * Carries `work` out once for a key. A {@link PaymentsError} that `work` throws undoes what it wrote and is kept as the answer.
 * Runs again by itself after serialization failures and lost connections.
 */
export async function once<Answer>(
  pool: Pool,
  request: Once,
  work: Work<Answer>,
): Promise<OnceResult<Answer>> {
  const fingerprint = fingerprintOf(request.request);
  const here = running.get(pool) ?? new Map<string, Promise<OnceResult<unknown>>>();
  running.set(pool, here);
  // The body is part of the name: another body does not get this one's answer, and waits for the row.
  const name = `${request.personId}\n${request.key}\n${fingerprint.toString('hex')}`;
  const sooner = here.get(name);
  // The same name is the same operation and body, so what comes of it is an Answer.
  if (sooner !== undefined) {
    const [kept] = await Promise.all([sooner, request.letIn?.(pool)]);
    return { ...(kept as OnceResult<Answer>), replayed: true };
  }
  const result = carryOut(pool, { ...request, fingerprint }, work).finally(() => here.delete(name));
  here.set(name, result);
  return result;
}

type Claim = Once & { readonly fingerprint: Buffer };

/**
 * Takes the key and keeps the outcome of `work` with it, or gives the outcome that is kept. Where writes that nobody waited for are
 * refused, COMMIT has undone the key with them: the request is carried out again, and this time each write is waited for.
 */
async function carryOut<Answer>(pool: Pool, request: Claim, work: Work<Answer>): Promise<OnceResult<Answer>> {
  const state = { isRefusedBehind: false };
  try {
    return await attempt(pool, request, work, (writes, behind) => {
      const noted = writes.catch((error: unknown) => {
        state.isRefusedBehind ||= error instanceof PaymentsError;
        throw error;
      });
      behind(noted);
    });
  } catch (error) {
    if (!state.isRefusedBehind) throw error;
    return attempt(pool, request, work);
  }
}

/** `defer`: what becomes of writes that the work does not wait for. Absent: they are waited for. */
const attempt = <Answer>(
  pool: Pool,
  request: Claim,
  work: Work<Answer>,
  defer?: (writes: Promise<unknown>, behind: Behind) => void,
): Promise<OnceResult<Answer>> =>
  transaction(
    pool,
    async (client, behind) => {
      gather(client);
      const letIn = request.letIn?.(client);
      const claimed = claim<Answer>(client, request);
      send(client, 'savepoint before_work').catch(() => undefined);
      const rest = typeof work === 'function' ? work : work.begin(client);
      const [kept] = await Promise.all([claimed, letIn]);
      if (kept !== undefined) {
        // COMMIT goes out right behind it.
        if (typeof work !== 'function')
          send(client, 'rollback to savepoint before_work').catch(() => undefined);
        return replayOf(kept, request.fingerprint);
      }
      const outcome = await outcomeOf(client, rest, defer && ((writes) => defer(writes, behind)));
      // COMMIT goes out right behind it; should this fail, that is told there.
      run(client, 'update idempotency_key set outcome = $3 where person_id = $1 and key = $2', [
        request.personId,
        request.key,
        JSON.stringify(outcome),
      ]).catch(() => undefined);
      return { outcome, replayed: false };
    },
    { repeatable: true },
  );

/** The answer of the work; or its refusal, with what it wrote undone and the key still ours. Other errors end the transaction. */
async function outcomeOf<Answer>(
  client: pg.PoolClient,
  rest: Rest<Answer>,
  behind: Behind | undefined,
): Promise<Outcome<Answer>> {
  try {
    let written: Promise<unknown> | undefined;
    const answer = await rest(client, (writes) => {
      if (behind === undefined) written = writes;
      else behind(writes);
    });
    await written;
    return { answer };
  } catch (error) {
    if (!(error instanceof PaymentsError) || passing.includes(error.code)) throw error;
    await send(client, 'rollback to savepoint before_work');
    return { error: { code: error.code, message: error.message } };
  }
}

/** Undefined: the key is ours. Else what another transaction with this key has committed. */
async function claim<Answer>(client: pg.PoolClient, request: Claim): Promise<Kept<Answer> | undefined> {
  try {
    const row = await first<Kept<Answer> & { mine: boolean }>(
      client,
      'select mine, fingerprint, outcome from idempotency_claim($1, $2, $3, $4)',
      [request.personId, request.key, request.fingerprint, request.nowMs],
    );
    // Its row was forgotten between the two looks.
    if (row === undefined) throw new PaymentsError('busy', 'Try again.', { retryAfterS: 1 });
    return row.mine ? undefined : row;
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
