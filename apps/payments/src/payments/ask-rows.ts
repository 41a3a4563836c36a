/** Asks as they are stored, and who may see them. */
import { timingSafeEqual } from 'node:crypto';
import type { Unit } from '../app.ts';
import type { AskId, Currency, EstablishmentId, PaymentId } from '../contract/primitives.ts';
import { first } from '../store/pool.ts';

export interface AskRow {
  ask_id: AskId;
  payee_id: string;
  establishment_id: EstablishmentId | null;
  from_id: string | null;
  currency: Currency;
  amount_minor: bigint;
  note: string;
  token: string;
  state: 'open' | 'paid' | 'declined' | 'cancelled' | 'expired';
  payment_id: PaymentId | null;
  at_ms: bigint;
  expires_ms: bigint;
}

/** The ask, locked, for whoever made it, whom it is made out to, or who has its token; undefined for anybody else. */
export async function askRowFor(
  unit: Unit,
  askId: string,
  personId: string,
  token = '',
): Promise<AskRow | undefined> {
  const row = await first<AskRow>(unit.on, 'select * from ask where ask_id = $1 for update', [askId]);
  if (row === undefined) return undefined;
  if (row.payee_id === personId || row.from_id === personId) return row;
  // An ask that is made out to somebody has no token that works for others.
  return row.from_id === null && sameToken(row.token, token) ? row : undefined;
}

function sameToken(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
