/** Runs tasks one after another; refuses more than a bounded number that wait. */
import { PandoError } from '#contracts/errors.ts';

export class SerialQueue {
  readonly #waitingMax: number;
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(waitingMax: number) {
    this.#waitingMax = waitingMax;
  }

  get idle(): boolean {
    return this.#waiting === 0;
  }

  run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#waiting >= this.#waitingMax)
      return Promise.reject(new PandoError('RequestLimitExceeded', 'Too many commands wait for this VM.'));
    this.#waiting += 1;
    const result = this.#tail.then(task);
    this.#tail = result
      .catch(() => undefined)
      .finally(() => {
        this.#waiting -= 1;
      });
    return result;
  }
}
