/** The simulated card passes what every card must do: the same checks as the real one. */
import type { Caller } from '#base/rpc/contract.ts';
import { cardContract } from '#contracts/card.ts';
import { SimCard } from '#simhost/card.ts';
import { cardContractSuite } from '../card-contract.suite.ts';

const card = new SimCard('198.18.1.11');
const caller: Caller<typeof cardContract> = {
  call: async (method, params) =>
    // What the card answers is parsed by the contract of this same method.
    cardContract[method].result.parse(await card.handle(method, params)) as never,
};

cardContractSuite('simulated card', () => ({
  caller,
  vtep: card.vtep,
  tap: async ({ eniId }) => `tap-${eniId.slice(-8)}`,
}));
