/**
 * The fault matrix of every workflow on simulated hosts; then crashes in each undo and in each part of the critical phase.
 * `fault-matrix-real.test.ts` runs launch and terminate on real ones.
 */
import { after, before, test } from 'node:test';
import {
  crashAtEachUndo,
  crashOrders,
  everyKind,
  everyStepAway,
  everyStepEveryFault,
  FaultMatrix,
  forever,
  type Order,
} from './support/fault-matrix.ts';
import type { OrderedFaults } from './support/ordered-faults.ts';
import { type SimulatedGround, simulatedGround } from './support/simulated-ground.ts';

let ground: SimulatedGround;
let matrix: FaultMatrix;

before(async () => {
  ground = await simulatedGround();
  matrix = new FaultMatrix(ground);
});
after(() => ground.stop());

everyStepEveryFault(everyKind, () => matrix);
crashAtEachUndo(everyKind, () => matrix);
everyStepAway(everyKind, () => matrix);

test('rows of the first release, which know their place as an integer alone, are resumed at it', async (t) => {
  await ground.cursorsOnly(true);
  t.after(() => ground.cursorsOnly(false));
  for (const order of crashOrders(everyKind)) await t.test(order.point, () => matrix.runCase(order));
});

/** Declares the tests of one fault after each of these parts of the critical phase. */
const afterEachPart = (
  what: string,
  parts: readonly string[],
  ends: Order['ends'],
  order: (faults: OrderedFaults, point: string, kill: () => void) => void,
): void => {
  test(what, async (t) => {
    for (const part of parts) {
      const point = `migrate.critical.${part}.after`;
      const arrange: Order['arrange'] = (faults, kill) => order(faults, point, kill);
      await t.test(part, () => matrix.runCase({ kind: 'migrate', point, ends, arrange }));
    }
  });
};

afterEachPart(
  'a crash in each part of the critical phase ends on the target, with one owner',
  ['queue', 'flush', 'switch', 'commission', 'confirm', 'direct'],
  'done',
  (faults, point, kill) => faults.crashAt(point, kill),
);

afterEachPart(
  'cards that are started again in the critical phase lose the queue, not the migration',
  ['switch', 'commission', 'confirm'],
  'done',
  (faults, point) => faults.doAt(point, () => ground.restartCards()),
);

afterEachPart(
  'a failure before the switch gives the guest back to the source',
  ['queue', 'flush'],
  'undone',
  (faults, point) => faults.failAt(point, forever),
);
