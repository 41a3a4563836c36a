/** Runs workflows: starts them directly, bounds how many run at once, and takes over those of dead processors. */
import type { Logger } from '#base/log.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Clock } from '../clock.ts';
import { concurrentWorkflowsMax, leaseTtlMs, queuedWorkflowsMax, takeoverBatchMax } from '../limits.ts';
import type { Database } from '../store/sql.ts';
import { takeOver, type WorkflowRow } from '../store/workflows.ts';
import type { ErasedDefinition } from './definition.ts';
import { Execution } from './execution.ts';
import type { Faults } from './faults.ts';

export interface EngineOptions<Services> {
  readonly db: Database;
  /** This life of this processor. */
  readonly owner: string;
  readonly definitions: readonly ErasedDefinition<Services>[];
  readonly services: Services;
  readonly clock: Clock;
  readonly faults: Faults;
  readonly log: Logger;
  readonly concurrencyMax?: number;
  /** How long this processor's own lease must have been steady before it takes over from others. */
  readonly leaseTtlMs?: number;
}

export class WorkflowEngine<Services> {
  readonly #options: EngineOptions<Services>;
  readonly #definitions: ReadonlyMap<string, ErasedDefinition<Services>>;
  readonly #running = new Map<string, Execution<Services>>();
  readonly #queue: WorkflowRow[] = [];
  readonly #stop = new AbortController();
  readonly #idleWaiters = new Set<() => void>();

  constructor(options: EngineOptions<Services>) {
    this.#options = options;
    this.#definitions = new Map(options.definitions.map((definition) => [definition.kind, definition]));
  }

  get owner(): string {
    return this.#options.owner;
  }

  /** Running and waiting workflows. */
  get load(): number {
    return this.#running.size + this.#queue.length;
  }

  /** Whether another request may be accepted: its workflow would be queued within the limit. */
  assertRoom(): void {
    if (this.#queue.length >= queuedWorkflowsMax)
      throw new PandoError('RequestLimitExceeded', 'Request limit exceeded.');
  }

  /** Starts workflows whose rows are committed under this owner. */
  start(rows: readonly WorkflowRow[]): void {
    for (const row of rows) if (!this.#running.has(row.id)) this.#queue.push(row);
    this.#pump();
  }

  /** Tells a workflow that runs here of its cancel flag at once; elsewhere its owner finds the flag between steps. */
  cancel(id: string): void {
    this.#running.get(id)?.cancel();
  }

  /** The result of a step, as soon as it is known here; undefined if the workflow ends, is elsewhere, or `ms` pass first. */
  async stepResult(id: string, step: string, ms: number): Promise<unknown> {
    const execution = this.#running.get(id);
    if (execution === undefined) return undefined;
    const timer = new AbortController();
    try {
      return await Promise.race([
        execution.result(step),
        this.#options.clock.sleep(ms, timer.signal).then(() => undefined),
      ]);
    } finally {
      timer.abort();
    }
  }

  /** Takes over workflows whose owner's lease ran out, and tries stuck ones again. Returns how many. */
  async adopt(): Promise<number> {
    const ttlMs = this.#options.leaseTtlMs ?? leaseTtlMs;
    const rows = await takeOver(this.#options.db, this.owner, this.#here(), takeoverBatchMax, ttlMs);
    // A stuck workflow of our own comes back under a new epoch: the execution that gave it up is gone.
    this.start(rows);
    return rows.length;
  }

  /** Resolves when nothing runs or waits here. */
  idle(): Promise<void> {
    if (this.load === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.add(resolve));
  }

  /** Stops between steps. What was begun stays in the store for another processor. */
  stop(): void {
    this.#stop.abort();
    this.#queue.length = 0;
  }

  #here(): string[] {
    return [...this.#running.keys(), ...this.#queue.map((row) => row.id)];
  }

  #pump(): void {
    const max = this.#options.concurrencyMax ?? concurrentWorkflowsMax;
    while (this.#running.size < max && !this.#stop.signal.aborted) {
      const row = this.#queue.shift();
      if (row === undefined) break;
      this.#launch(row);
    }
    if (this.load === 0) {
      for (const wake of this.#idleWaiters) wake();
      this.#idleWaiters.clear();
    }
  }

  #launch(row: WorkflowRow): void {
    const { log } = this.#options;
    const definition = this.#definitions.get(row.kind);
    if (definition === undefined) {
      log.error(
        { workflow: row.id, kind: row.kind },
        'unknown kind of workflow: a newer version of Pando made it',
      );
      return;
    }
    const execution = new Execution({ ...this.#options, definition, stop: this.#stop.signal }, row);
    this.#running.set(row.id, execution);
    void execution
      .run()
      .then((followers) => {
        this.#running.delete(row.id);
        this.start(followers);
      })
      .catch((error: unknown) => {
        this.#running.delete(row.id);
        if (!this.#stop.signal.aborted)
          log.error({ err: error, workflow: row.id }, 'workflow left to a later take-over');
      })
      .finally(() => this.#pump());
  }
}
