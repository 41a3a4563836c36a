/** Runs workflows: starts them directly, bounds how many run at once, wakes those that are due, takes over those of dead processors. */
import type { Logger } from '#base/log.ts';
import { inSpan } from '#base/spans.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Clock } from '../clock.ts';
import {
  alarmBatchMax,
  concurrentWorkflowsMax,
  dueBatchMax,
  leaseTtlMs,
  pendingSignalsMax,
  queuedWorkflowsMax,
  signalPayloadBytesMax,
  takeoverBatchMax,
  workflowAlarmAfterMs,
} from '../limits.ts';
import type { Database } from '../store/sql.ts';
import {
  insertSignal,
  isAnyDue,
  type Signal,
  type SignalOutcome,
  takeOverdue,
  wakeDue,
} from '../store/workflow-waits.ts';
import {
  type BegunRow,
  listLost,
  runnableKey,
  takeOver,
  type WaitFacts,
  type WorkflowRow,
} from '../store/workflows.ts';
import type { ErasedDefinition } from './definition.ts';
import { DuePoller } from './due-poller.ts';
import { Execution } from './execution.ts';
import type { Faults } from './faults.ts';
import { refuseRow } from './refused-row.ts';
import { type EngineTiming, engineTiming } from './timing.ts';

export interface EngineOptions<Services> {
  readonly db: Database;
  /** This life of this processor. */
  readonly owner: string;
  /** Each kind in each version that this processor can run. */
  readonly definitions: readonly ErasedDefinition<Services>[];
  readonly services: Services;
  readonly clock: Clock;
  readonly faults: Faults;
  readonly log: Logger;
  readonly concurrencyMax?: number;
  readonly timing?: Partial<EngineTiming>;
  newWorkflowId(): string;
  /** What this processor reaches now that others may not (`host/h-1`). Default: nothing is known to be reached. */
  reached?(): readonly string[];
  /** Whether it may take over others' work and wake what waits. Default: always. */
  mayAdopt?(): boolean;
  /** How long this processor's own lease must have been steady before it takes over from others. */
  readonly leaseTtlMs?: number;
}

const cameBackMsMax = 5_000;

type TakenRow = BegunRow & Partial<WaitFacts>;

export class WorkflowEngine<Services> {
  readonly #options: EngineOptions<Services>;
  readonly #definitions: ReadonlyMap<string, ErasedDefinition<Services>>;
  readonly #runnable: readonly string[];
  readonly #running = new Map<string, Execution<Services>>();
  readonly #queue: TakenRow[] = [];
  readonly #stop = new AbortController();
  readonly #idleWaiters = new Set<() => void>();
  readonly #poller: DuePoller;
  readonly #timing: EngineTiming;
  /** What came back, and when by the monotonic clock. */
  readonly #cameBack = new Map<string, number>();
  /** Rows that a look at the store may still bring: another look at the same time must not count on the same room. */
  #expected = 0;

  constructor(options: EngineOptions<Services>) {
    this.#options = options;
    this.#definitions = new Map(
      options.definitions.map((each) => [runnableKey({ kind: each.kind, version: each.version ?? 1 }), each]),
    );
    this.#runnable = [...this.#definitions.keys()];
    const { clock, log } = options;
    this.#timing = { ...engineTiming, ...options.timing };
    this.#poller = new DuePoller({
      ...{ clock, log, stop: this.#stop.signal, everyMs: this.#timing.duePollMs },
      turn: (hinted) => this.#wake(hinted),
    });
  }

  get owner(): string {
    return this.#options.owner;
  }

  /** Workflows that run here or are queued for a slot. Workflows that wait as rows count for no processor. */
  get load(): number {
    return this.#running.size + this.#queue.length;
  }

  /** The same apart: at work, and queued. */
  get slots(): { readonly running: number; readonly queued: number } {
    return { running: this.#running.size, queued: this.#queue.length };
  }

  /** How often due workflows were looked for. */
  get looks(): number {
    return this.#poller.looks;
  }

  /** The table that goes on with a row; undefined where this release does not have it. */
  definitionOf(row: Pick<WorkflowRow, 'kind' | 'version'>): ErasedDefinition<Services> | undefined {
    return this.#definitions.get(runnableKey(row));
  }

  /** Whether another request may be accepted: its workflow would be queued within the limit. */
  assertRoom(): void {
    if (this.#queue.length >= queuedWorkflowsMax)
      throw new PandoError('RequestLimitExceeded', 'Request limit exceeded.');
  }

  /** Looks for waiting workflows that are due, from now until `stop`. */
  watch(): void {
    void this.#poller.run();
  }

  /** Starts workflows whose rows are committed under this owner. */
  start(rows: readonly TakenRow[]): void {
    // A row that was just parked here may be due, and taken, before its execution has returned: that one does nothing more.
    this.#queue.push(...rows);
    this.#pump();
  }

  /** Tells a workflow that runs here of its cancel flag at once; elsewhere its owner finds the flag, or that it is due. */
  cancel(id: string): void {
    this.#running.get(id)?.cancel();
    this.#poller.hint();
  }

  /** What was away is there again: what waits for it is tried at once. */
  reached(resource: string): void {
    this.#cameBack.set(resource, this.#options.clock.monotonicMs());
    this.#poller.hint();
  }

  /** Waiting workflows may have been made due by this processor. */
  hint(): void {
    this.#poller.hint();
  }

  /** Leaves a signal for a workflow: durable when this resolves, delivered once, however often it is sent under its id. */
  async signal(signal: Signal): Promise<SignalOutcome> {
    if (JSON.stringify(signal.payload ?? null).length > signalPayloadBytesMax)
      throw new PandoError(
        'InvalidParameterValue',
        `A signal carries ${signalPayloadBytesMax} bytes at most.`,
      );
    const outcome = await this.#options.db.transaction((tx) => insertSignal(tx, signal, pendingSignalsMax));
    if (outcome === 'full')
      throw new PandoError(
        'RequestLimitExceeded',
        `${signal.workflowId} has not taken its earlier signals yet.`,
      );
    this.#poller.hint();
    return outcome;
  }

  /** The result of a step, as soon as it is known here; undefined if the workflow ends, waits, is elsewhere, or `ms` pass first. */
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
      timer.abort('over');
    }
  }

  /** Takes over workflows whose owner's lease ran out. Returns how many. */
  async adopt(): Promise<number> {
    if (!this.#mayTake()) return 0;
    const rows = await this.#take(takeoverBatchMax, (limit) =>
      takeOver(this.#options.db, this.owner, {
        runningHere: [...this.#running.keys(), ...this.#queue.map((row) => row.id)],
        runnable: this.#runnable,
        limit,
        leaseTtlMs: this.#options.leaseTtlMs ?? leaseTtlMs,
      }),
    );
    return rows.length;
  }

  /** What runs or is queued here, and is another's by now. */
  async lost(): Promise<readonly { readonly workflowId: string; readonly epoch: number }[]> {
    if (this.load === 0) return [];
    const here = [...[...this.#running.values()].map(({ row }) => row), ...this.#queue];
    const rows = await listLost(this.#options.db, this.owner, here);
    return rows.map(({ id, epoch }) => ({ workflowId: id, epoch }));
  }

  /** Tells operators, once each, of workflows that have stood at one step for longer than they should. */
  async alarm(): Promise<void> {
    for (const row of await takeOverdue(this.#options.db, workflowAlarmAfterMs, alarmBatchMax))
      this.#options.log.error(
        { alarm: 'workflow-overdue', workflow: row.id, ...row },
        'workflow takes longer than it should: pando workflow show tells where it stands',
      );
  }

  /** Resolves when nothing runs or is queued here. */
  idle(): Promise<void> {
    if (this.load === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.add(resolve));
  }

  /** Stops between steps. What was begun stays in the store for another processor. */
  stop(): void {
    this.#stop.abort();
    this.#queue.length = 0;
  }

  get #max(): number {
    return this.#options.concurrencyMax ?? concurrentWorkflowsMax;
  }

  /** No more is taken than can soon run: the rest stays rows, which others may take. */
  #room(): number {
    return Math.max(0, 2 * this.#max - this.load - this.#expected);
  }

  #mayTake(): boolean {
    return !this.#stop.signal.aborted && this.#room() > 0 && (this.#options.mayAdopt?.() ?? true);
  }

  async #wake(hinted: boolean): Promise<boolean> {
    if (!this.#mayTake()) return false;
    const limit = Math.min(dueBatchMax, this.#room());
    const { db, clock } = this.#options;
    const cameBack = new Map(this.#cameBack);
    const reached = [...(this.#options.reached?.() ?? []), ...cameBack.keys()];
    const claim = { owner: this.owner, runnable: this.#runnable, reached };
    const rows = await this.#take(limit, async (most) =>
      hinted || (await isAnyDue(db, { ...claim, limit: most }))
        ? db.transaction((tx) => wakeDue(tx, { ...claim, limit: most }))
        : [],
    );
    const full = rows.length >= limit;
    // What is gone again wakes nobody for longer than this, however many wait for it.
    for (const [resource, atMs] of cameBack)
      if (this.#cameBack.get(resource) === atMs && (!full || clock.monotonicMs() - atMs > cameBackMsMax))
        this.#cameBack.delete(resource);
    return full;
  }

  /** Starts what `look` brings, at most what there is room for. */
  async #take(batchMax: number, look: (limit: number) => Promise<TakenRow[]>): Promise<readonly TakenRow[]> {
    const limit = Math.min(batchMax, this.#room());
    this.#expected += limit;
    try {
      const rows = await look(limit);
      this.start(rows);
      return rows;
    } finally {
      this.#expected -= limit;
    }
  }

  #pump(): void {
    const wasFull = this.#room() === 0;
    while (this.#running.size < this.#max && !this.#stop.signal.aborted) {
      const row = this.#queue.shift();
      if (row === undefined) break;
      this.#launch(row);
    }
    if (wasFull && this.#room() > 0) this.#poller.hint();
    if (this.load === 0) {
      for (const wake of this.#idleWaiters) wake();
      this.#idleWaiters.clear();
    }
  }

  #launch(row: TakenRow): void {
    const { log } = this.#options;
    const execution = this.#execution(row);
    if (execution === undefined) return;
    this.#running.set(row.id, execution);
    // A slot may have come free in another request's trace: this row's own is the one that counts.
    const span = { name: `workflow ${row.kind}`, kind: 'internal', parent: row.trace ?? undefined } as const;
    void inSpan({ ...span, attributes: { workflow: row.id, subject: row.subject } }, () => execution.run())
      .then((begun) => {
        this.#ended(row.id, execution);
        this.start(begun);
      })
      .catch((error: unknown) => {
        this.#ended(row.id, execution);
        if (!this.#stop.signal.aborted)
          log.error({ err: error, workflow: row.id }, 'workflow left to a later take-over');
      })
      .finally(() => this.#pump());
  }

  #ended(id: string, execution: Execution<Services>): void {
    if (this.#running.get(id) === execution) this.#running.delete(id);
  }

  /** Undefined: the table of this release cannot go on with the row, which ends stuck. */
  #execution(row: TakenRow): Execution<Services> | undefined {
    const definition = this.definitionOf(row);
    try {
      if (definition === undefined) throw new Error(`There is no ${runnableKey(row)} in this release.`);
      return new Execution(
        {
          ...this.#options,
          definition,
          stop: this.#stop.signal,
          timing: this.#timing,
          reaches: (resource) => this.#options.reached?.().includes(resource) ?? false,
          parked: (ms) => this.#poller.hint(ms),
        },
        row,
      );
    } catch (error) {
      void refuseRow(this.#options, row, error);
      return undefined;
    }
  }
}
