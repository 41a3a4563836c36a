/** Sessions: a random value in a cookie, its hash in the store. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Unit } from '../app.ts';
import { first, type Queryable, run } from '../store/pool.ts';

export const sessionMs = 30 * 86_400_000;
export const operatorSessionMs = 12 * 3_600_000;

const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest();

export type Session = { readonly kind: 'person'; readonly personId: string } | { readonly kind: 'operator' };

/** Begins a session; answers the cookie's value. */
export async function beginSession(unit: Unit, who: Session): Promise<string> {
  const token = randomBytes(32).toString('base64url');
  await run(
    unit.on,
    'insert into session (token_hash, person_id, is_operator, expires_ms) values ($1, $2, $3, $4)',
    [
      hashOf(token),
      who.kind === 'person' ? who.personId : null,
      who.kind === 'operator',
      unit.nowMs + (who.kind === 'person' ? sessionMs : operatorSessionMs),
    ],
  );
  return token;
}

export async function sessionOf(on: Queryable, token: string, nowMs: number): Promise<Session | undefined> {
  const row = await first<{ person_id: string | null; is_operator: boolean }>(
    on,
    'select person_id, is_operator from session where token_hash = $1 and expires_ms > $2',
    [hashOf(token), nowMs],
  );
  if (row === undefined) return undefined;
  if (row.is_operator) return { kind: 'operator' };
  return row.person_id === null ? undefined : { kind: 'person', personId: row.person_id };
}

export async function endSession(unit: Unit, token: string): Promise<void> {
  await run(unit.on, 'delete from session where token_hash = $1', [hashOf(token)]);
}

/** Compares secrets without telling by time where they differ. */
export const sameSecret = (a: string, b: string): boolean => timingSafeEqual(hashOf(a), hashOf(b));
