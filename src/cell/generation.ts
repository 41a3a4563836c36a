/**
 * An instance's generation (contracts/fences.ts), and the epoch of its interface's place: one number in two scales, so that neither can
 * be forgotten. Each change of the instance's life takes two epochs, one for what it does and one for what its undo does, and is one
 * generation. It grows in the transaction that begins the change.
 */

/** Of the launch. */
export const firstPlaceEpoch = 2;

/** Of the next change after the one that had `epoch`. */
export const epochAfter = (epoch: number): number => epoch + 2;

/** The generation whose place has this epoch. */
export const generationOf = (placeEpoch: number): number => Math.floor(placeEpoch / 2);

/** The epoch of a generation's place. */
export const placeEpochOf = (generation: number): number => 2 * generation;

/**
 * The generation that a workflow was begun under; undefined: it is about no instance, or a processor of the last release made it,
 * which kept no epoch in the inputs of terminate and reboot.
 */
export const generationOfInput = (input: unknown): number | undefined => {
  if (typeof input !== 'object' || input === null || !('epoch' in input)) return undefined;
  return typeof input.epoch === 'number' ? generationOf(input.epoch) : undefined;
};
