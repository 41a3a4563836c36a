/**
 * The fault matrix of every workflow on simulated hosts; then crashes in each undo and in each part of the critical phase.
 * `fault-matrix-real.test.ts` runs launch and terminate on real ones.
 */
import { after, before, test } from 'node:test';
import {
  crashAtEachUndo,
  everyKind,
  everyStepEveryFault,
  FaultMatrix,
  forever,
} from './support/fault-matrix.ts';
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

test('a crash in each part of the critical phase ends on the target, with one owner', async (t) => {
  for (const part of ['hold', 'flush', 'switch', 'commission', 'confirm', 'direct']) {
    const point = `migrate.critical.${part}.after`;
    await t.test(part, () =>
      matrix.runCase({
        kind: 'migrate',
        point,
        ends: 'done',
        arrange: (faults, kill) => faults.crashAt(point, kill),
      }),
    );
  }
});

test('cards that are started again in the critical phase lose the queue, not the migration', async (t) => {
  for (const part of ['switch', 'commission', 'confirm']) {
    const point = `migrate.critical.${part}.after`;
    await t.test(part, () =>
      matrix.runCase({
        kind: 'migrate',
        point,
        ends: 'done',
        arrange: (faults) => faults.doAt(point, () => ground.restartCards()),
      }),
    );
  }
});

test('a failure before the switch gives the guest back to the source', async (t) => {
  for (const part of ['hold', 'flush']) {
    const point = `migrate.critical.${part}.after`;
    await t.test(part, () =>
      matrix.runCase({
        kind: 'migrate',
        point,
        ends: 'undone',
        arrange: (faults) => faults.failAt(point, forever),
      }),
    );
  }
});
