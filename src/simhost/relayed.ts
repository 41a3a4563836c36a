/** What a cell asks of a simulated host's card, by way of the host. */
import type { Handlers, ParsedParams, Result } from '#base/rpc/contract.ts';
import type { RelayKey, relayedToCard } from '#contracts/host.ts';

type Relayed = typeof relayedToCard;

/** `ask` answers a method by the card's contract. */
export const relayedHandlers = (
  ask: (method: keyof Relayed, params: RelayKey) => Promise<unknown>,
): Required<Handlers<Relayed>> => {
  const relay =
    <M extends keyof Relayed>(method: M) =>
    async (params: ParsedParams<Relayed, M>): Promise<Result<Relayed, M>> =>
      (await ask(method, params)) as Result<Relayed, M>;
  return {
    'card.status': relay('card.status'),
    'card.applyVpc': relay('card.applyVpc'),
    'card.objects': relay('card.objects'),
    'card.transact': relay('card.transact'),
    'card.preview': relay('card.preview'),
    'card.confirm': relay('card.confirm'),
    'card.probe': relay('card.probe'),
    'card.removeVpc': relay('card.removeVpc'),
    'card.prepareAdministrative': relay('card.prepareAdministrative'),
    'card.attachPort': relay('card.attachPort'),
    'card.detachPort': relay('card.detachPort'),
    'card.openQueue': relay('card.openQueue'),
    'card.setQueue': relay('card.setQueue'),
    'card.closeQueue': relay('card.closeQueue'),
    'card.plugPort': relay('card.plugPort'),
    'card.prepareRedirect': relay('card.prepareRedirect'),
    'card.redirectPort': relay('card.redirectPort'),
    'card.exportFlows': relay('card.exportFlows'),
    'card.importFlows': relay('card.importFlows'),
    'card.activatePort': relay('card.activatePort'),
    'card.counters': relay('card.counters'),
  };
};
