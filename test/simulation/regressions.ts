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

/**
 * Those whose history still meets its fault. What was found by histories that are gone is tested beside what was mended: that a stop stood still
 * for a released interface (`test/cell/forgotten-termination.test.ts`), and the undo of a launch before a host that had heard of its
 * termination (`test/cell/overtaken.test.ts`).
 */
export const regressions: readonly Regression[] = [
  {
    seed: 7,
    found:
      'an offer that lapsed seven seconds early: a processor that had stood still counted all of that time at once',
    ...{ workMs: 8_000, clients: 8, faultEveryMs: 800, faults: ['freeze'] },
  },
];
