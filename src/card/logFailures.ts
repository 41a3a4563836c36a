/** Handlers that log what a caller is only told as an internal error. */
import type { Logger } from '#base/log.ts';
import type { CallContext, Contract, Handlers } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';

type AnyHandler = (params: unknown, context: CallContext) => unknown;

/** The same handlers; a failure that is no `PandoError` is logged with its cause and its request id. */
export const logFailures = <C extends Contract>(handlers: Handlers<C>, log: Logger): Handlers<C> => {
  // Every entry keeps its own parameters: the wrapper passes on whatever it was given.
  const entries = Object.entries(handlers as Record<string, AnyHandler>).map(([method, handler]) => {
    const wrapped: AnyHandler = async (params, context) => {
      try {
        return await handler(params, context);
      } catch (error) {
        if (!(error instanceof PandoError))
          log.error({ err: error, method, requestId: context.requestId }, 'call failed');
        throw error;
      }
    };
    return [method, wrapped];
  });
  return Object.fromEntries(entries) as Handlers<C>;
};
