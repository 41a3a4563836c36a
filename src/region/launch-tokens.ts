/**
 * Client tokens of RunInstances, each claimed for one cell (I4). A router that was never told of a token, or has forgotten it, may choose
 * another cell than the router before it: because the first one is away, or was full. That cell asks here before it launches.
 *
 * Claims are counted. A cell that refuses a launch gives its claim back, and another cell may have the token once none is left: while one
 * request is being refused, another one of the same token may still be accepted there. A claim whose fate is unknown stays, so a token
 * may be kept for a cell that never launched anything. Then nobody launches it, which is the safe side.
 */
import { sql } from 'kysely';
import { transact } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Database } from './schema.ts';
import { statement } from './statement.ts';

/** Longer than cells remember the tokens that they accepted. */
const keptHours = 25;
const sweptPerPassMax = 20_000;
/** A claim that is released between our two looks is asked for again. */
const looksMax = 3;

export interface TokenClaim {
  readonly accountId: string;
  readonly cellId: string;
  readonly token: string;
}

const claimOf = statement<{ cell_id: string }>(`
  insert into launch_token (account_id, token, cell_id) values ($1, $2, $3)
  on conflict (account_id, token) do update set claims = launch_token.claims + 1, claimed_at = now()
    where launch_token.cell_id = $3
  returning cell_id`);

/** @throws Unavailable with `tokenCellId` where another cell has the token */
export const claimLaunchToken = async (db: Database, claim: TokenClaim): Promise<void> => {
  const { accountId: account_id, cellId: cell_id, token } = claim;
  for (let look = 0; look < looksMax; look += 1) {
    const [claimed] = await claimOf(db, account_id, token, cell_id);
    if (claimed !== undefined) return;
    const other = await db
      .selectFrom('launch_token')
      .select('cell_id')
      .where('account_id', '=', account_id)
      .where('token', '=', token)
      .executeTakeFirst();
    if (other !== undefined)
      throw new PandoError(
        'Unavailable',
        'Another cell may have accepted this client token. Retry your request.',
        { details: { tokenCellId: other.cell_id } },
      );
  }
  throw new PandoError(
    'Unavailable',
    'This client token is being used by other requests. Retry your request.',
  );
};

/** Gives one claim back; one that is not there is no error. */
export const releaseLaunchToken = (db: Database, claim: TokenClaim): Promise<void> =>
  transact(db, async (tx) => {
    const mine = await tx
      .selectFrom('launch_token')
      .select('claims')
      .where('account_id', '=', claim.accountId)
      .where('token', '=', claim.token)
      .where('cell_id', '=', claim.cellId)
      .forUpdate()
      .executeTakeFirst();
    if (mine === undefined) return;
    const { accountId, token } = claim;
    if (mine.claims > 1)
      await tx
        .updateTable('launch_token')
        .set({ claims: mine.claims - 1 })
        .where('account_id', '=', accountId)
        .where('token', '=', token)
        .execute();
    else
      await tx
        .deleteFrom('launch_token')
        .where('account_id', '=', accountId)
        .where('token', '=', token)
        .execute();
  });

/** Forgets what is older than any cell remembers. */
export const sweepLaunchTokens = async (db: Database): Promise<void> => {
  await sql`
    delete from launch_token where (account_id, token) in (
      select account_id, token from launch_token where claimed_at < now() - ${keptHours} * interval '1 hour'
      order by account_id, token limit ${sweptPerPassMax} for update skip locked)`.execute(db);
};
