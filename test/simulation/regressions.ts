/** Seeds that found a fault which has been mended, with what they found. The sizes are those of `seeds.test.ts` where none is given. */
import type { FaultKind } from './faults.ts';

export interface Regression {
  readonly seed: number;
  readonly found: string;
  readonly workMs?: number;
  readonly clients?: number;
  readonly faultEveryMs?: number;
  readonly faults?: readonly FaultKind[];
}

/** None whose history still meets its fault: that a stop stood still for a released interface is tested in `test/cell/forgotten-termination.test.ts`. */
export const regressions: readonly Regression[] = [];

/**
 * Not mended yet, and run by nobody: a launch whose interface the region had released for good (its cell's store had forgotten the termination)
 * ends stuck, since its host has heard a newer generation and refuses the undo. `node bench/simulate.ts --seed 103 --cells 3 --hosts 2 --seconds 8 --every 1`
 */
export const openFindings: readonly number[] = [103];
