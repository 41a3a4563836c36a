/** What a host remembers of commands: an older epoch of a workflow is refused, a repeated step is answered from its record. */
import { PandoError } from '#contracts/errors.ts';
import type { CommandKey } from '#contracts/host.ts';

export const workflowsRememberedMax = 10_000;

interface Remembered {
  epoch: number;
  readonly results: Map<string, Promise<unknown>>;
}

export class CommandRecord {
  readonly #workflows = new Map<string, Remembered>();

  /**
   * Does a step once. A repetition that arrives while the first runs waits for it; failures are not remembered.
   * @throws StaleEpoch
   */
  once<T>(key: CommandKey, work: () => Promise<T>): Promise<T> {
    const workflow = this.#workflow(key.workflowId);
    if (key.epoch < workflow.epoch)
      throw new PandoError(
        'StaleEpoch',
        `${key.workflowId} is at epoch ${workflow.epoch}; ${key.epoch} commands no more.`,
      );
    workflow.epoch = key.epoch;
    const done = workflow.results.get(key.step);
    if (done !== undefined) return done as Promise<T>;
    const result = work();
    workflow.results.set(key.step, result);
    result.catch(() => workflow.results.delete(key.step));
    return result;
  }

  #workflow(id: string): Remembered {
    const known = this.#workflows.get(id);
    if (known !== undefined) return known;
    const made: Remembered = { epoch: 0, results: new Map() };
    this.#workflows.set(id, made);
    const [oldest] = this.#workflows.keys();
    if (this.#workflows.size > workflowsRememberedMax && oldest !== undefined) this.#workflows.delete(oldest);
    return made;
  }
}
