/**
 * The fault matrix of every workflow on simulated hosts; then crashes in each undo and in each part of the critical phase.
 * `fault-matrix-real.test.ts` runs launch and terminate on real ones.
 */
import { after, before } from 'node:test';
import {
  crashAtEachUndo,
  crashOrders,
  everyKind,
  everyStepAway,
  everyStepEveryFault,
  forever,
  type Order,
  testCases,
} from './support/fault-matrix.ts';
import type { OrderedFaults } from './support/ordered-faults.ts';
import type { SimulatedGround } from './support/simulated-ground.ts';
import { SimulatedLanes } from './support/simulated-lanes.ts';

const lanes = new SimulatedLanes();
before(() => lanes.open());
after(() => lanes.close());

everyStepEveryFault(everyKind, lanes);
crashAtEachUndo(everyKind, lanes);
everyStepAway(everyKind, lanes);

testCases(
  'rows of the first release, which know their place as an integer alone, are resumed at it',
  lanes,
  crashOrders(everyKind).map((order) => ({
    name: order.point,
    run: () =>
      lanes.use(async ({ ground, matrix }) => {
        await ground.cursorsOnly(true);
        try {
          await matrix.runCase(order);
        } finally {
          await ground.cursorsOnly(false);
        }
      }),
  })),
);

/** Declares the tests of one fault after each of these parts of the critical phase. */
const afterEachPart = (
  what: string,
  parts: readonly string[],
  ends: Order['ends'],
  order: (faults: OrderedFaults, point: string, kill: () => void, ground: SimulatedGround) => void,
): void =>
  testCases(
    what,
    lanes,
    parts.map((part) => ({
      name: part,
      run: () =>
        lanes.use(({ ground, matrix }) => {
          const point = `migrate.critical.${part}.after`;
          const arrange: Order['arrange'] = (faults, kill) => order(faults, point, kill, ground);
          return matrix.runCase({ kind: 'migrate', point, ends, arrange });
        }),
    })),
  );

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
  (faults, point, _kill, ground) => faults.doAt(point, () => ground.restartCards()),
);

afterEachPart(
  'a failure before the switch gives the guest back to the source',
  ['queue', 'flush'],
  'undone',
  (faults, point) => faults.failAt(point, forever),
);
