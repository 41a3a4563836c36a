/** Work that stops after each slice of it, so that whoever drives it can let others have a turn. */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Values of a request that are handled in one slice: each costs its handling, however short it is. */
export const sliceValues = 256;

/** Does all of it without a pause. */
export function atOnce<T>(work: Generator<undefined, T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

/** Does it with a turn of the event loop for others after each slice. */
export async function inTurns<T>(work: Generator<undefined, T>): Promise<T> {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
    await nextTurn();
  }
}

/** Counts values over the whole of one request, however they are nested. */
export class SliceOfValues {
  #left = sliceValues;

  /** One more is done. Whether the slice ends with it. */
  ends(): boolean {
    this.#left -= 1;
    if (this.#left > 0) return false;
    this.#left = sliceValues;
    return true;
  }
}
