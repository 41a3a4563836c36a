/** Idempotent creates: a client token names the resource that it made, in the transaction that made it. */
import { createHash } from 'node:crypto';
import { PandoError } from '#contracts/errors.ts';
import type { ActionContext } from './context.ts';
import type { RegionTransaction } from './schema.ts';

const tokenCharsMax = 64;

interface TokenInput {
  readonly ClientToken?: string | undefined;
}

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
