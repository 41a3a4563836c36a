/** Webhooks that were given up, for operators: which, why, and another try. */
import type { ParsedParams, Result } from '#base/rpc/contract.ts';
import type { cellOperatorContract } from '#contracts/cell-operator.ts';
import { PandoError } from '#contracts/errors.ts';
import { deadLettersShownMax } from './limits.ts';
import type { CellServices } from './services.ts';
import { deadLetters, replayDead } from './store/capacity-deliveries.ts';

type Contract = typeof cellOperatorContract;
type Names = 'operator.deadLetters' | 'operator.replayDeadLetters';
export type WebhookOperations = {
  readonly [M in Names]: (params: ParsedParams<Contract, M>) => Promise<Result<Contract, M>>;
};

export const webhookOperations = ({ db, identity, log }: CellServices): WebhookOperations => ({
  'operator.deadLetters': async ({ limit = deadLettersShownMax }) => ({
    cellId: identity.cellId,
    letters: (await deadLetters(db, Math.min(limit, deadLettersShownMax))).map((letter) => ({
      ...{ eventId: letter.event_id, requestId: letter.request_id, accountId: letter.account_id },
      ...{ kind: letter.kind, url: letter.url, attempts: letter.attempts },
      ...{ reason: letter.last_error ?? '', at: letter.updated_at.toISOString() },
    })),
  }),

  'operator.replayDeadLetters': async ({ eventId, accountId }) => {
    const replayed = await replayDead(db, { eventId, accountId });
    if (eventId !== undefined && replayed === 0)
      throw new PandoError('NotFound', `The event ${eventId} is no dead letter of this cell.`);
    log.info({ eventId, accountId, replayed }, 'dead letters are tried again');
    return { replayed };
  },
});
