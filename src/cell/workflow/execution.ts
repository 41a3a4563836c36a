/** One workflow on its way through its table: forward group by group, or back step by step. */
import type { Logger } from '#base/log.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Clock } from '../clock.ts';
import { generationOfInput } from '../generation.ts';
import type { Database, Sql } from '../store/sql.ts';
import {
  type Advance,
  advanceWorkflow,
  findWorkflow,
  insertWorkflow,
  MoveRefused,
  type NewWorkflow,
  type StepTiming,
  type WorkflowError,
  type WorkflowRow,
} from '../store/workflows.ts';
import { type AttemptOptions, attempt, Lost } from './attempt.ts';
import type { AnyStep, ErasedDefinition, StepContext } from './definition.ts';
import { retryDefault, undoRetryDefault } from './definition.ts';
import type { Faults } from './faults.ts';

export interface ExecutionOptions<Services> {
  readonly db: Database;
  readonly definition: ErasedDefinition<Services>;
  readonly services: Services;
  readonly clock: Clock;
  readonly faults: Faults;
  readonly log: Logger;
  readonly stop: AbortSignal;
}

type ErasedStep<Services> = AnyStep<unknown, Record<string, unknown>, Services>;
type Context<Services> = StepContext<unknown, Record<string, unknown>, Services>;

/** A user's cancellation, honoured between steps. */
class Cancelled extends PandoError {
  constructor() {
    super('Cancelled', 'The request was cancelled.');
  }
}

const stuckRestMs = 60_000;
const storeRetryMs = 200;

export class Execution<Services> {
  readonly #options: ExecutionOptions<Services>;
  readonly #steps: readonly ErasedStep<Services>[];
  readonly #noReturnAt: number;
  readonly #results: Record<string, unknown>;
  readonly #timings: StepTiming[];
  readonly #waiters = new Map<string, ((value: unknown) => void)[]>();
  readonly #memo = new Map<string, Promise<unknown>>();
  readonly #cancel = new AbortController();
  /** The row as the store has it. */
  #row: WorkflowRow;
  /** Steps before this one have run here; the row's cursor lags behind until the next durable step. */
  #cursor: number;

  constructor(options: ExecutionOptions<Services>, row: WorkflowRow) {
    this.#options = options;
    this.#row = row;
    this.#cursor = row.cursor;
    this.#results = { ...row.results };
    this.#timings = [...row.timings];
    this.#steps = options.definition.steps;
    const at = this.#steps.findIndex((step) => step.noReturn);
    this.#noReturnAt = at < 0 ? this.#steps.length : at;
    if (row.cancel) this.#cancel.abort();
  }

  cancel(): void {
    this.#cancel.abort();
  }

  /** What a step returned, once it has. Undefined if the workflow ends without it. */
  result(step: string): Promise<unknown> {
    if (Object.hasOwn(this.#results, step)) return Promise.resolve(this.#results[step]);
    return new Promise((resolve) => this.#waiters.set(step, [...(this.#waiters.get(step) ?? []), resolve]));
  }

  /** Runs to the end; returns the workflows that follow it. Rejects when the store or the processor is lost. */
  async run(): Promise<readonly WorkflowRow[]> {
    try {
      if (this.#row.state === 'running') {
        const followers = await this.#forward();
        if (followers !== undefined) return followers;
      }
      return await this.#backward();
    } catch (error) {
      if (error instanceof Lost) return [];
      throw error;
    } finally {
      for (const waiters of this.#waiters.values()) for (const wake of waiters) wake(undefined);
    }
  }

  /** Undefined: it failed, the row says `undoing`. */
  async #forward(): Promise<readonly WorkflowRow[] | undefined> {
    while (this.#cursor < this.#steps.length) {
      const group = this.#groupAt(this.#cursor);
      try {
        this.#checkCancelled();
        await this.#runGroup(group);
        const end = this.#cursor + group.length;
        if (end === this.#steps.length || group.some((step) => step.commit !== undefined)) {
          const followers = await this.#commitGroup(group, end);
          if (end === this.#steps.length) return followers;
        }
        this.#cursor = end;
      } catch (error) {
        if (error instanceof Lost || this.#options.stop.aborted) throw error;
        await this.#beginUndo(group, error);
        return undefined;
      }
    }
    return [];
  }

  #groupAt(at: number): readonly ErasedStep<Services>[] {
    let end = at + 1;
    while (this.#steps[end]?.alongside) end++;
    return this.#steps.slice(at, end);
  }

  #checkCancelled(): void {
    if (this.#cancel.signal.aborted && this.#cursor < this.#noReturnAt) throw new Cancelled();
  }

  /** All steps of a group are settled before a failure is acted on: undo must not race with a step that still runs. */
  async #runGroup(group: readonly ErasedStep<Services>[]): Promise<void> {
    const outcomes = await Promise.allSettled(group.map((step) => this.#runStep(step)));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }

  async #runStep(step: ErasedStep<Services>): Promise<void> {
    const { clock, faults, definition } = this.#options;
    const name = `${definition.kind}.${step.name}`;
    const began = clock.monotonicMs();
    let attempts = 0;
    const value = await attempt(
      async (signal) => {
        attempts++;
        const context = this.#context(step.name, signal);
        await faults.hit(`${name}.before`);
        let value = await this.#fenced(() => step.do(context));
        if (faults.repeats(name)) value = await this.#fenced(() => step.do(context));
        await faults.hit(`${name}.after`);
        return value;
      },
      { ...this.#attemptOptions({ ...retryDefault, ...step.retry }), forever: step.onFailure === 'retry' },
    );
    this.#results[step.name] = value;
    this.#timings.push({ step: step.name, ms: clock.monotonicMs() - began, attempts });
    for (const wake of this.#waiters.get(step.name) ?? []) wake(value);
    this.#waiters.delete(step.name);
  }

  /** A host that has heard a newer epoch says so: then this execution is over, however late it noticed. */
  async #fenced<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof PandoError && error.code === 'StaleEpoch') await this.#assertOwned();
      throw error;
    }
  }

  async #assertOwned(): Promise<WorkflowRow> {
    const row = await findWorkflow(this.#options.db, this.#row.id);
    if (row === undefined || row.owner !== this.#row.owner || row.epoch !== this.#row.epoch) throw new Lost();
    return row;
  }

  #attemptOptions(policy: AttemptOptions['policy']): AttemptOptions {
    const cancellable = this.#row.state === 'running' && this.#cursor < this.#noReturnAt;
    return {
      policy,
      clock: this.#options.clock,
      stop: this.#options.stop,
      forever: false,
      ...(cancellable ? { giveUp: this.#cancel.signal } : {}),
    };
  }

  #context(step: string, signal: AbortSignal): Context<Services> {
    const { id, subject, input, epoch } = this.#row;
    return {
      workflowId: id,
      subject,
      input,
      results: this.#results,
      services: this.#options.services,
      command: { workflowId: id, step, epoch, generation: generationOfInput(input) },
      signal,
      once: (key, make) => this.#once(key, make),
      cancelled: () => this.#cancel.signal.aborted,
    };
  }

  #once<T>(key: string, make: () => Promise<T>): Promise<T> {
    const known = this.#memo.get(key);
    if (known !== undefined) return known as Promise<T>;
    const made = make();
    this.#memo.set(key, made);
    made.catch(() => this.#memo.delete(key));
    return made;
  }

  /** The steps' effects on the store, the results, the cursor and, at the end, what follows: one transaction. */
  async #commitGroup(group: readonly ErasedStep<Services>[], end: number): Promise<readonly WorkflowRow[]> {
    const { definition } = this.#options;
    const last = end === this.#steps.length;
    const followers = await this.#move(
      { ...this.#advance(), state: last ? 'done' : 'running', cursor: end },
      this.#cursor < this.#noReturnAt,
      async (tx) => {
        for (const step of group)
          await step.commit?.(tx, this.#context(step.name, this.#options.stop), this.#results[step.name]);
        if (!last) return [];
        return (await definition.onDone?.(tx, this.#context('done', this.#options.stop))) ?? [];
      },
    );
    for (const step of group) await this.#options.faults.hit(`${definition.kind}.${step.name}.committed`);
    return followers;
  }

  async #beginUndo(group: readonly ErasedStep<Services>[], thrown: unknown): Promise<void> {
    const known = PandoError.from(thrown);
    const step = group.map((member) => member.name).join('+');
    if (!(thrown instanceof PandoError))
      this.#options.log.error({ err: thrown, workflow: this.#row.id, step }, 'step failed');
    // The failed group may have had its effect in part: it is undone too.
    const cursor = Math.max(this.#cursor + group.length, this.#reachedByOthers());
    this.#cursor = cursor;
    const error: WorkflowError = { code: known.code, message: known.message, step };
    await this.#move({ ...this.#advance(), state: 'undoing', cursor, error }, false, async () => []);
  }

  /**
   * How far an earlier owner may have come without writing it down: to the end of the group that is. It may be frozen and go on there:
   * what it began is undone, and the hosts that the undo reaches have heard of this owner.
   */
  #reachedByOthers(): number {
    if (this.#row.epoch <= 1) return 0;
    let end = this.#row.cursor;
    while (end < this.#steps.length) {
      const group = this.#groupAt(end);
      end += group.length;
      if (group.some((step) => step.commit !== undefined)) break;
    }
    return end;
  }

  async #backward(): Promise<readonly WorkflowRow[]> {
    const { definition, faults, clock, log } = this.#options;
    const error = this.#row.error ?? { code: 'InternalError', message: 'The workflow failed.', step: '' };
    try {
      for (const step of this.#steps.slice(0, this.#row.cursor).reverse()) {
        const { undo } = step;
        if (typeof undo !== 'function') continue;
        const point = `${definition.kind}.${step.name}.undo`;
        await attempt(
          async (signal) => {
            const context = this.#context(`${step.name}.undo`, signal);
            await faults.hit(`${point}.before`);
            this.#results[`${step.name}.undo`] = await this.#fenced(() => undo(context));
            if (faults.repeats(point)) await this.#fenced(() => undo(context));
            await faults.hit(`${point}.after`);
          },
          { ...this.#attemptOptions(undoRetryDefault), evenIfFinal: true },
        );
      }
    } catch (failure) {
      if (failure instanceof Lost || this.#options.stop.aborted) throw failure;
      log.error({ err: failure, workflow: this.#row.id }, 'undo is exhausted: it rests and is tried again');
      const wakeAt = new Date(clock.now() + stuckRestMs);
      await this.#move(
        { ...this.#advance(), state: 'stuck', cursor: this.#row.cursor, error, wakeAt },
        false,
        async () => [],
      );
      return [];
    }
    return this.#move({ ...this.#advance(), state: 'undone', cursor: 0, error }, false, async (tx) => {
      return (await definition.onUndone?.(tx, this.#context('undone', this.#options.stop), error)) ?? [];
    });
  }

  #advance(): Omit<Advance, 'state' | 'cursor'> {
    return { results: this.#results, timings: this.#timings, attempts: this.#row.attempts };
  }

  /**
   * One fenced transaction. A lost database is waited for: nothing was acknowledged, and if the lost answer was to a commit that
   * did happen, the row shows it.
   */
  async #move(
    next: Advance,
    cancellable: boolean,
    effects: (tx: Sql) => Promise<readonly NewWorkflow[]>,
  ): Promise<readonly WorkflowRow[]> {
    const { db, clock, log, stop } = this.#options;
    for (;;) {
      if (stop.aborted) throw new Lost();
      try {
        const followers = await db.transaction(async (tx) => {
          const follow = await effects(tx);
          await advanceWorkflow(tx, this.#row, next, cancellable);
          const rows: WorkflowRow[] = [];
          for (const workflow of follow) rows.push(await insertWorkflow(tx, workflow, this.#row.owner));
          return rows;
        });
        this.#row = { ...this.#row, state: next.state, cursor: next.cursor, error: next.error ?? null };
        return followers;
      } catch (error) {
        if (stop.aborted) throw new Lost();
        if (error instanceof MoveRefused) {
          if (await this.#wasMoved(next)) return [];
        } else if (error instanceof PandoError && !error.retryable) throw error;
        else {
          log.warn({ err: error, workflow: this.#row.id }, 'the store did not take a move: trying again');
          await clock.sleep(storeRetryMs, stop);
        }
      }
    }
  }

  /** Why a move was refused: it had happened (true), was cancelled (throws Cancelled), or the row has another owner (throws Lost). */
  async #wasMoved(next: Advance): Promise<boolean> {
    const row = await this.#assertOwned();
    if (row.state === next.state && row.cursor === next.cursor) {
      this.#row = row;
      return true;
    }
    if (!row.cancel) throw new Lost();
    this.#cancel.abort();
    throw new Cancelled();
  }
}
