/** Client tokens: the same token and parameters give the same reservation; other parameters are refused. */
import { PandoError } from '#contracts/errors.ts';
import { purgeBatchMax } from '../limits.ts';
import type { Sql } from './sql.ts';

export interface TokenClaim {
  readonly accountId: string;
  readonly token: string;
  readonly requestHash: string;
  readonly reservationId: string;
}

const mismatch = (): PandoError =>
  new PandoError(
    'IdempotentParameterMismatch',
    'The request uses the same client token as a previous, but non-identical request.',
  );

interface TokenRow {
  readonly request_hash: string;
  readonly reservation_id: string;
}

/** The reservation that this token already made, if any. @throws IdempotentParameterMismatch */
export const findToken = async (
  sql: Sql,
  claim: Omit<TokenClaim, 'reservationId'>,
): Promise<string | undefined> => {
  const [row] = await sql.query<TokenRow>(
    'select request_hash, reservation_id from client_tokens where account_id = $1 and token = $2',
    [claim.accountId, claim.token],
  );
  if (row !== undefined && row.request_hash !== claim.requestHash) throw mismatch();
  return row?.reservation_id;
};

export interface TokenClaimed {
  /** The reservation that the token has made before: the caller answers with it. Absent: the token is ours. */
  readonly made?: string | undefined;
  /** Whether the account may have slots of capacity reservations: few have, and the others need not be asked about. */
  readonly mayHaveSlots: boolean;
}

/**
 * Claims the token in the launch's transaction. Of two racing requests the second waits here for the first to commit, then finds its
 * reservation.
 */
export const claimToken = async (tx: Sql, claim: TokenClaim): Promise<TokenClaimed> => {
  const [told] = await tx.query<{ claimed: boolean; reserved: boolean }>(
    `with claimed as (
       insert into client_tokens (account_id, token, request_hash, reservation_id, created_at) values ($1, $2, $3, $4, now())
       on conflict do nothing returning token)
     select exists (select from claimed) as claimed,
       exists (select from capacity_reservations where account_id = $1 and state = 'active') as reserved`,
    [claim.accountId, claim.token, claim.requestHash, claim.reservationId],
  );
  const mayHaveSlots = told?.reserved !== false;
  return told?.claimed === true ? { mayHaveSlots } : { made: await findToken(tx, claim), mayHaveSlots };
};

export const purgeTokens = async (sql: Sql, before: Date): Promise<void> => {
  await sql.query(
    `delete from client_tokens where (account_id, token) in (
       select account_id, token from client_tokens where created_at < $1
       order by account_id, token limit $2 for update skip locked)`,
    [before, purgeBatchMax],
  );
};
