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

export const regressions: readonly Regression[] = [
  {
    seed: 103,
    found:
      'a stop was stuck for ever after the cell’s store had forgotten that the instance was terminated: its interface was released for good',
    workMs: 8_000,
  },
];
