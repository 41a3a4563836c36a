/** What a step's code sees of its workflow, and what is known of how long it has waited. */
import type { Clock } from '../clock.ts';
import { generationOfInput } from '../generation.ts';
import type { Database } from '../store/sql.ts';
import { type DeliveredSignal, listChildren, signalsKey } from '../store/workflow-waits.ts';
import type { WaitFacts, WorkflowRow } from '../store/workflows.ts';
import type { StepContext } from './definition.ts';

export type ErasedContext<Services> = StepContext<unknown, Record<string, unknown>, Services>;

/** How long the present step has waited and failed, over all processors that had it. Durations go on by this processor's clock. */
export class Patience {
  readonly #clock: Clock;
  #takenAtMs: number;
  #waitedMs: number;
  #awayMs: number | undefined;
  #timedOut: boolean;

  constructor(clock: Clock, facts: Partial<WaitFacts>) {
    this.#clock = clock;
    this.#takenAtMs = clock.monotonicMs();
    this.#waitedMs = facts.waited_ms ?? 0;
    this.#awayMs = facts.away_ms ?? undefined;
    this.#timedOut = facts.timed_out ?? false;
  }

  /** The first failure for what is away; later ones change nothing. */
  noteAway(): void {
    this.#awayMs ??= this.#takenAtMs - this.#clock.monotonicMs();
  }

  get awayMs(): number {
    return this.#awayMs === undefined ? 0 : this.#awayMs + this.#clock.monotonicMs() - this.#takenAtMs;
  }

  get waitedMs(): number {
    return this.#waitedMs;
  }

  get timedOut(): boolean {
    return this.#timedOut;
  }

  /** Another step begins. */
  reset(): void {
    this.#takenAtMs = this.#clock.monotonicMs();
    this.#waitedMs = 0;
    this.#awayMs = undefined;
    this.#timedOut = false;
  }
}

export interface ContextParts<Services> {
  readonly row: WorkflowRow;
  readonly step: string;
  readonly results: Readonly<Record<string, unknown>>;
  readonly services: Services;
  readonly db: Database;
  readonly signal: AbortSignal;
  readonly patience: Patience;
  once<T>(key: string, make: () => Promise<T>): Promise<T>;
  cancelled(): boolean;
}

export const contextOf = <Services>(parts: ContextParts<Services>): ErasedContext<Services> => {
  const { row, step, results, services, db, signal, patience } = parts;
  return {
    workflowId: row.id,
    subjectKind: row.subject_kind,
    subject: row.subject,
    input: row.input,
    results,
    services,
    command: { workflowId: row.id, step, epoch: row.epoch, generation: generationOfInput(row.input) },
    signal,
    once: parts.once,
    cancelled: parts.cancelled,
    awayMs: patience.awayMs,
    waitedMs: patience.waitedMs,
    timedOut: patience.timedOut,
    signals: (name) => {
      const kept = results[signalsKey(step)];
      const all: readonly DeliveredSignal[] = Array.isArray(kept) ? kept : [];
      return name === undefined ? all : all.filter((each) => each.name === name);
    },
    children: async () =>
      (await listChildren(db, row.id)).map((child) => ({
        ...{ id: child.id, kind: child.kind, subject: child.subject, state: child.state },
        ...{ results: child.results, error: child.error, key: child.parent_key ?? '' },
        ended: child.state === 'done' || child.state === 'undone',
      })),
  };
};
