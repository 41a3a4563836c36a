/**
 * The fault matrix of launch and terminate on a real host: a real agent with real VMMs and a real card, driven by processors over
 * PostgreSQL. One VM at a time. After each case exactly one VMM or none, and after each termination nothing: no process, tap,
 * control group, mount, file, namespace or port.
 */
import { after, before } from 'node:test';
import {
  crashAtEachUndo,
  everyStepEveryFault,
  FaultMatrix,
  type Kind,
  type Lanes,
} from './support/fault-matrix.ts';
import { RealGround } from './support/real-ground.ts';

let ground: RealGround;
let matrix: FaultMatrix;

before(async () => {
  ground = await RealGround.start();
  matrix = new FaultMatrix(ground);
});
after(() => ground.stop());

const kinds: readonly Kind[] = ['launch', 'terminate'];
const lanes: Lanes = { count: 1, run: (order) => matrix.runCase(order) };
everyStepEveryFault(kinds, lanes);
crashAtEachUndo(kinds, lanes);
