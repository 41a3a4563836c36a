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

// Seed 103 (`--cells 3 --hosts 2 --seconds 8 --every 1`) finds what is not mended yet: a launch whose interface the region had released for good,
// as its cell's store had forgotten the termination, ends stuck: its host has heard a newer generation and refuses the undo.
