/** Idempotent creates: a client token names the resource that it made, in the transaction that made it. */
import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import type { ActionContext } from './context.ts';
import type { Database, RegionTransaction } from './schema.ts';

const tokenCharsMax = 64;

interface TokenInput {
  readonly ClientToken?: string | undefined;
}

/** For how long EC2 may be asked again, and an hour. */
const keptHours = 25;
const sweptPerPassMax = 20_000;

/** Forgets tokens that nobody sends again: who makes and deletes things by tokens all day leaves no more than a day's. */
export const sweepClientTokens = async (db: Database): Promise<void> => {
  await sql`
    delete from client_token where (account_id, action, token) in (
      select account_id, action, token from client_token where created_at < now() - ${keptHours} * interval '1 hour'
      order by account_id, action, token limit ${sweptPerPassMax} for update skip locked)`.execute(db);
};

/** The id of what an earlier call with the same token and parameters made; undefined: go on and make it under `newId`. */
export const claimToken = async (
  tx: RegionTransaction,
  context: ActionContext,
  action: string,
  input: TokenInput & object,
  newId: string,
): Promise<string | undefined> => {
  const { ClientToken: token, ...rest } = input;
  if (token === undefined || token === '') return undefined;
  if (token.length > tokenCharsMax)
    throw new PandoError('InvalidParameterValue', `ClientToken has more than ${tokenCharsMax} characters.`);
  const parameters = createHash('sha256').update(JSON.stringify(rest)).digest('hex');
  const row = { account_id: context.accountId, action, token, parameters, resource_id: newId };
  // Of two calls at once, the second waits here for the first to commit.
  const inserted = await tx
    .insertInto('client_token')
    .values(row)
    .onConflict((conflict) => conflict.doNothing())
    .returning('resource_id')
    .executeTakeFirst();
  if (inserted !== undefined) return undefined;
  const earlier = await tx
    .selectFrom('client_token')
    .select(['resource_id', 'parameters'])
    .where('account_id', '=', context.accountId)
    .where('action', '=', action)
    .where('token', '=', token)
    .executeTakeFirstOrThrow();
  if (earlier.parameters !== parameters)
    throw new PandoError('IdempotentParameterMismatch', 'The client token was used with other parameters.');
  return earlier.resource_id;
};
