/** Sessions: a random value in a cookie, its hash in the store. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Unit } from '../app.ts';
import { first, type Queryable, run } from '../store/pool.ts';
import type { SignerRow } from './devices.ts';

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

/** A person's session, and what is kept of the device of theirs that a message names: in one look. */
export async function signedSessionOf(
  on: Queryable,
  token: string,
  nowMs: number,
  deviceId: string,
): Promise<{ readonly personId: string; readonly device: SignerRow | undefined } | undefined> {
  const row = await first<{ person_id: string } & (SignerRow | { device_id: null })>(
    on,
    `select s.person_id, d.device_id, d.public_key, d.phone_number, d.last_report_ms, d.suspect_until_ms
     from session s left join device d on d.device_id = $3 and d.person_id = s.person_id and d.removed_ms is null
     where s.token_hash = $1 and s.expires_ms > $2 and s.person_id is not null and not s.is_operator`,
    [hashOf(token), nowMs, deviceId],
  );
  return row && { personId: row.person_id, device: row.device_id === null ? undefined : row };
}

export async function endSession(unit: Unit, token: string): Promise<void> {
  await run(unit.on, 'delete from session where token_hash = $1', [hashOf(token)]);
}

/** Compares secrets without telling by time where they differ. */
export const sameSecret = (a: string, b: string): boolean => timingSafeEqual(hashOf(a), hashOf(b));
