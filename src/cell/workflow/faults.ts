/** Named fault points: nothing in production, ordered failures in tests (`launch.placeInterface.after`). */
export interface Faults {
  /** Called at a named point; may throw (the point fails) or never return to a processor that was dropped there. */
  hit(point: string): void | Promise<void>;
  /** Whether this step is to be carried out twice in a row, as a lost answer would. */
  repeats(step: string): boolean;
}

export const noFaults: Faults = { hit: () => undefined, repeats: () => false };
