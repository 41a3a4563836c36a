/** What a host remembers of commands: former owners are refused, a repeated step is answered from its record. */
import { PandoError } from '#contracts/errors.ts';
import { type InstanceFence, passFence } from '#contracts/fences.ts';
import type { CommandKey } from '#contracts/host.ts';

export const workflowsRememberedMax = 10_000;
/** A simulated host forgets the instance heard of longest ago; a real one refuses new ones before it forgets a young one. */
export const instancesRememberedMax = 100_000;

interface Remembered {
  epoch: number;
  readonly results: Map<string, Promise<unknown>>;
  /** Steps whose result is not there yet. */
  readonly underWay: Set<string>;
}

/** A command, and whether it takes the instance (contracts/fences.ts). */
export interface Command {
  readonly key: CommandKey;
  readonly instanceId: string;
  readonly visits?: boolean;
}

export class CommandRecord {
  readonly #workflows = new Map<string, Remembered>();
  readonly #fences = new Map<string, InstanceFence>();
  /** The last command of each instance that has one under way. */
  readonly #tails = new Map<string, Promise<unknown>>();

  /** The highest generation heard of the instance. */
  generationOf(instanceId: string): number | undefined {
    return this.#fences.get(instanceId)?.generation;
  }

  /** What was heard of the instance, to be written down and remembered later. */
  fenceOf(instanceId: string): InstanceFence | undefined {
    return this.#fences.get(instanceId);
  }

  remember(instanceId: string, fence: InstanceFence): void {
    this.#fences.set(instanceId, fence);
  }

  /** Refuses a former owner; remembers who is none. @throws StaleEpoch */
  pass({ key, instanceId, visits = false }: Command): void {
    const workflow = this.#workflow(key.workflowId);
    if (key.epoch < workflow.epoch)
      throw new PandoError(
        'StaleEpoch',
        `${key.workflowId} is at epoch ${workflow.epoch}; ${key.epoch} commands no more.`,
      );
    const heard = passFence(this.#fences.get(instanceId), key, visits);
    workflow.epoch = key.epoch;
    if (heard === undefined) return;
    this.#fences.delete(instanceId);
    this.#fences.set(instanceId, heard);
    const [oldest] = this.#fences.keys();
    if (this.#fences.size > instancesRememberedMax && oldest !== undefined) this.#fences.delete(oldest);
  }

  /**
   * Does a step once, after the commands before it on the same instance, as a real host does. Its generation is checked when its turn
   * comes, so that nothing of it happens after a newer command. Failures are not remembered.
   * @throws StaleEpoch
   */
  async once<T>(command: Command, work: () => Promise<T>): Promise<T> {
    const { instanceId } = command;
    const turn = (this.#tails.get(instanceId) ?? Promise.resolve()).then(() => this.#now(command, work));
    const tail = turn.catch(() => undefined);
    this.#tails.set(instanceId, tail);
    try {
      return await turn;
    } finally {
      if (this.#tails.get(instanceId) === tail) this.#tails.delete(instanceId);
    }
  }

  #now<T>(command: Command, work: () => Promise<T>): Promise<T> {
    const { workflowId, step } = command.key;
    this.pass(command);
    const { results, underWay } = this.#workflow(workflowId);
    const done = results.get(step);
    // What was remembered is what this same step returned, of this same type.
    if (done !== undefined) return done as Promise<T>;
    const result = work();
    results.set(step, result);
    underWay.add(step);
    result.then(
      () => underWay.delete(step),
      () => {
        underWay.delete(step);
        if (results.get(step) === result) results.delete(step);
      },
    );
    return result;
  }

  /** Those who did what has no result yet are gone: it is done again when it is asked for again. */
  forgetUnfinished(): void {
    this.#tails.clear();
    for (const { results, underWay } of this.#workflows.values()) {
      for (const step of underWay) results.delete(step);
      underWay.clear();
    }
  }

  #workflow(id: string): Remembered {
    const known = this.#workflows.get(id);
    if (known !== undefined) return known;
    const made: Remembered = { epoch: 0, results: new Map(), underWay: new Set() };
    this.#workflows.set(id, made);
    const [oldest] = this.#workflows.keys();
    if (this.#workflows.size > workflowsRememberedMax && oldest !== undefined) this.#workflows.delete(oldest);
    return made;
  }
}
