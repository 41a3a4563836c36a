/** The region's record of which cell a client token was sent to (I4): claimed before a launch, given back when it is refused. */
import { isUnknownOutcome } from '#base/postgres/faults.ts';
import type { CellContext } from './context.ts';

const releaseTimeoutMs = 2_000;

export interface LaunchClaim {
  readonly cellId: string;
  readonly token: string;
}

/** What to claim. Nothing for a dry run, nor for a token that the router made of the request's id: nobody sends that one again. */
export const launchClaimOf = (
  { request, services }: CellContext,
  token: string | undefined,
  dryRun: boolean,
): LaunchClaim | undefined =>
  token === undefined || token === request.requestId || dryRun
    ? undefined
    : { cellId: services.identity.cellId, token };

/** Runs the launch that claimed; one that was refused for certain gives its claim back before its caller hears of it. */
export const underClaim = async <T>(
  { request, services }: CellContext,
  claim: LaunchClaim | undefined,
  launch: () => Promise<T>,
): Promise<T> => {
  try {
    return await launch();
  } catch (error) {
    if (claim !== undefined && !isUnknownOutcome(error))
      await services.region
        .call(
          'region.releaseToken',
          { accountId: request.accountId, ...claim },
          { timeoutMs: releaseTimeoutMs },
        )
        // The token stays this cell's, until the region forgets it: no other cell carries the launch out, which is safe.
        .catch((failure: unknown) =>
          services.log.warn({ err: failure }, 'the claim of a client token was not given back'),
        );
    throw error;
  }
};
