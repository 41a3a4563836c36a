/** A real card passes what every card must do: the same checks as the simulated one. */
import { after, before } from 'node:test';
import { cardContractSuite } from '../card-contract.suite.ts';
import { Lab, type LabCard } from './lab.ts';

let lab: Lab;
let card: LabCard;
let taps = 0;
before(async () => {
  lab = await Lab.create();
  card = await lab.card('c1');
});
after(() => lab[Symbol.asyncDispose]());

cardContractSuite('real card', () => ({
  caller: card.client,
  vtep: card.vtep,
  tap: async (port) => (await lab.vm(`k${taps++}`, card, port)).tap,
}));
