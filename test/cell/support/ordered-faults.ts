/** Faults at named points of workflows, as a test orders them. */

import type { Faults } from '#cell/workflow/faults.ts';
import { PandoError } from '#contracts/errors.ts';

export type Mode = 'fail-before' | 'fail-after' | 'crash-before' | 'crash-after' | 'repeat';
export const modes: readonly Mode[] = ['fail-before', 'fail-after', 'crash-before', 'crash-after', 'repeat'];

/** An error that trying again would not change. */
const finalError = (): PandoError => new PandoError('InvalidParameterValue', 'This failure was ordered.');

export class OrderedFaults implements Faults {
  readonly #actions = new Map<string, () => void | Promise<void>>();
  readonly #repeated = new Set<string>();
  /** Points that were reached, so that a test knows that its fault happened. */
  readonly reached = new Set<string>();

  /** Fails `times` times at a point. */
  failAt(point: string, times: number): void {
    let left = times;
    this.#actions.set(point, () => {
      if (left-- > 0) throw finalError();
    });
  }

  /** What is beyond a point is unreachable, `times` times. */
  awayAt(point: string, times: number): void {
    let left = times;
    this.#actions.set(point, () => {
      if (left-- > 0) throw new PandoError('HostUnreachable', 'This absence was ordered.');
    });
  }

  /** Ends the processor at a point: nothing of it goes on. */
  crashAt(point: string, kill: () => void): void {
    this.#actions.set(point, () => {
      kill();
      return new Promise(() => undefined);
    });
  }

  /** Does something else at a point, and goes on. */
  doAt(point: string, action: () => void): void {
    this.#actions.set(point, action);
  }

  repeat(step: string): void {
    this.#repeated.add(step);
  }

  /** From now on nothing fails. */
  clear(): void {
    this.#actions.clear();
    this.#repeated.clear();
  }

  hit(point: string): void | Promise<void> {
    const action = this.#actions.get(point);
    if (action === undefined) return;
    this.reached.add(point);
    return action();
  }

  repeats(step: string): boolean {
    const repeated = this.#repeated.has(step);
    if (repeated) this.reached.add(step);
    return repeated;
  }
}
