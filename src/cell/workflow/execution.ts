/** One workflow on its way through its table: forward group by group, or back step by step, until it ends or is parked. */
import type { Logger } from '#base/log.ts';
import { metrics } from '#base/metrics.ts';
import { inSpan } from '#base/spans.ts';
import { currentTrace } from '#base/trace.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Clock } from '../clock.ts';
import { workflowAlarmAfterMs } from '../limits.ts';
import type { Database, Sql } from '../store/sql.ts';
import { childEnded, markStuck, parkWorkflow } from '../store/workflow-waits.ts';
import {
  advanceWorkflow,
  type BegunRow,
  type Direction,
  type NewWorkflow,
  type StepTiming,
  type WaitFacts,
  type WorkflowError,
  type WorkflowRow,
  type WorkflowState,
} from '../store/workflows.ts';
import { type AttemptOptions, attempt, Lost, TakenBack, TryLater } from './attempt.ts';
import { contextOf, type ErasedContext, Patience } from './context.ts';
import { type ErasedDefinition, retryDefault, undoRetryDefault } from './definition.ts';
import type { Faults } from './faults.ts';
import { CancelFirst, Mover, Poisoned } from './mover.ts';
import { askedTerms, busyAfterMs, causeOf, failedOutcome, type ParkTerms } from './parking.ts';
import { workflowErrorOf } from './retry.ts';
import { type ErasedStep, StepTable } from './step-table.ts';
import { tellEnd } from './tell-end.ts';
import type { EngineTiming } from './timing.ts';
import { type NewChild, Wait } from './wait.ts';

export interface ExecutionOptions<Services> {
  readonly db: Database;
  readonly definition: ErasedDefinition<Services>;
  readonly services: Services;
  readonly clock: Clock;
  readonly faults: Faults;
  readonly log: Logger;
  readonly stop: AbortSignal;
  readonly timing: EngineTiming;
  /** Whether this processor reaches a thing (`host/h-1`) now. */
  reaches(resource: string): boolean;
  newWorkflowId(): string;
  /** Told when this workflow was parked and is due after `ms`, at the latest. */
  parked(ms: number): void;
}

type Group<Services> = readonly ErasedStep<Services>[];

/** A user's cancellation, honoured between steps. */
class Cancelled extends PandoError {
  constructor() {
    super('Cancelled', 'The request was cancelled.');
  }
}

const none = async (): Promise<readonly NewWorkflow[]> => [];

export class Execution<Services> {
  readonly #options: ExecutionOptions<Services>;
  readonly #table: StepTable<Services>;
  readonly #mover: Mover;
  #results: Record<string, unknown>;
  readonly #timings: StepTiming[];
  readonly #waiters = new Map<string, ((value: unknown) => void)[]>();
  readonly #memo = new Map<string, Promise<unknown>>();
  readonly #cancel = new AbortController();
  readonly #patience: Patience;
  /** Steps that are done (forward), or still to be undone; the row lags behind until the next durable step. */
  #position: number;
  /** How often in a row the present step was parked because it failed. */
  #parks: number;

  /** @throws UnknownStep */
  constructor(options: ExecutionOptions<Services>, { known = {}, ...row }: BegunRow & Partial<WaitFacts>) {
    this.#options = options;
    this.#table = new StepTable(options.definition);
    this.#mover = new Mover(options, row);
    this.#results = { ...row.results };
    this.#timings = [...row.timings];
    this.#patience = new Patience(options.clock, row);
    this.#position = this.#table.positionOf(row, row.state === 'undoing' ? 'undoing' : 'running');
    this.#parks = row.attempts;
    if (row.cancel) this.#cancel.abort();
    for (const [key, value] of Object.entries(known)) this.#memo.set(key, Promise.resolve(value));
  }

  cancel(): void {
    this.#cancel.abort();
  }

  get row(): Pick<WorkflowRow, 'id' | 'epoch'> {
    return this.#mover.row;
  }

  /** What a step returned, once it has. Undefined if the workflow ends or is parked without it. */
  result(step: string): Promise<unknown> {
    if (Object.hasOwn(this.#results, step)) return Promise.resolve(this.#results[step]);
    return new Promise((resolve) => this.#waiters.set(step, [...(this.#waiters.get(step) ?? []), resolve]));
  }

  /** Runs to the end or the next wait; returns the workflows that begin with that. Rejects when the processor is lost. */
  async run(): Promise<readonly WorkflowRow[]> {
    try {
      if (this.#mover.row.state === 'running') {
        const begun = await this.#forward();
        if (begun !== undefined) return begun;
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
    const { steps } = this.#table;
    while (this.#position < steps.length) {
      const group = this.#table.groupAt(this.#position);
      const end = this.#position + group.length;
      try {
        this.#checkCancelled();
        const wait = await this.#runGroup(group);
        if (wait !== undefined) return await this.#parkAsAsked(group, wait);
        if (end === steps.length || group.some((step) => step.commit !== undefined)) {
          const begun = await this.#commitGroup(group, end);
          if (end === steps.length) return begun;
        }
        this.#next(end);
      } catch (error) {
        if (error instanceof Lost || this.#options.stop.aborted) throw error;
        return this.#afterFailure(group, this.#cancelledIf(error));
      }
    }
    return [];
  }

  /** Parked for another try, or `undoing` and undefined. */
  async #afterFailure(group: Group<Services>, error: unknown): Promise<readonly WorkflowRow[] | undefined> {
    try {
      const parked = await this.#parkForward(group, error);
      if (parked !== undefined) return parked;
      await this.#beginUndo(group, error);
    } catch (failure) {
      // The cancellation came while it was being parked.
      if (!(failure instanceof CancelFirst)) throw failure;
      await this.#beginUndo(group, this.#cancelledIf(failure));
    }
    return undefined;
  }

  #cancelledIf(error: unknown): unknown {
    if (!(error instanceof CancelFirst)) return error;
    this.#cancel.abort();
    return new Cancelled();
  }

  #next(position: number): void {
    this.#position = position;
    this.#parks = 0;
    this.#patience.reset();
  }

  #checkCancelled(): void {
    if (this.#cancel.signal.aborted && this.#position < this.#table.noReturnAt) throw new Cancelled();
  }

  /** All steps of a group are settled before a failure is acted on: undo must not race with a step that still runs. */
  async #runGroup(group: Group<Services>): Promise<Wait | undefined> {
    // A result that is there already is of before the group was parked.
    const open = group.filter((step) => !Object.hasOwn(this.#results, step.name));
    const outcomes = await Promise.allSettled(open.map((step) => this.#runStep(step)));
    const failures = outcomes.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    const failure = failures.find((each) => !(each instanceof TryLater)) ?? failures[0];
    if (failure !== undefined) throw failure;
    return outcomes.flatMap((each) => (each.status === 'fulfilled' && each.value ? [each.value] : []))[0];
  }

  async #runStep(step: ErasedStep<Services>): Promise<Wait | undefined> {
    const { clock, faults, definition } = this.#options;
    const name = `${definition.kind}.${step.name}`;
    const began = clock.monotonicMs();
    let attempts = this.#parks;
    const tryOnce = async (signal: AbortSignal): Promise<unknown> => {
      attempts++;
      await faults.hit(`${name}.before`);
      let value = await this.#fenced(() => step.do(this.#context(step.name, signal)));
      if (faults.repeats(name)) value = await this.#fenced(() => step.do(this.#context(step.name, signal)));
      await faults.hit(`${name}.after`);
      return value;
    };
    const policy = {
      ...this.#attemptOptions({ ...retryDefault, ...step.retry }),
      persistent: step.onFailure === 'retry',
      parks: step.staysInMemory !== true,
    };
    const value = await inSpan({ name, kind: 'internal', parent: currentTrace() }, () =>
      attempt(tryOnce, policy),
    );
    if (value instanceof Wait) return value;
    this.#results[step.name] = value;
    const ms = clock.monotonicMs() - began;
    this.#timings.push({ step: step.name, ms, attempts });
    metrics.stepSeconds.observe({ kind: definition.kind, step: step.name }, ms / 1000);
    for (const wake of this.#waiters.get(step.name) ?? []) wake(value);
    this.#waiters.delete(step.name);
    return undefined;
  }

  /** A host that has heard a newer epoch says so: then this execution is over, however late it noticed. */
  async #fenced<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof PandoError && error.code === 'StaleEpoch') await this.#mover.assertOwned();
      throw error;
    }
  }

  #attemptOptions(policy: AttemptOptions['policy']): AttemptOptions {
    return {
      policy,
      clock: this.#options.clock,
      stop: this.#options.stop,
      persistent: true,
      parks: true,
      parkedBefore: this.#parks > 0,
      inMemoryMs: this.#options.timing.retryInMemoryMs,
      onFailure: (failed) => {
        if (failed === 'unreachable' || failed === 'busy') this.#patience.noteAway();
      },
      ...(this.#cancellable() ? { giveUp: this.#cancel.signal } : {}),
    };
  }

  #cancellable(): boolean {
    return this.#mover.row.state === 'running' && this.#position < this.#table.noReturnAt;
  }

  #context(step: string, signal: AbortSignal): ErasedContext<Services> {
    const { services, db } = this.#options;
    return contextOf({
      ...{ row: this.#mover.row, step, results: this.#results, services, db, signal },
      patience: this.#patience,
      once: (key, make) => this.#once(key, make),
      cancelled: () => this.#cancel.signal.aborted,
    });
  }

  #once<T>(key: string, make: () => Promise<T>): Promise<T> {
    const known = this.#memo.get(key);
    if (known !== undefined) return known as Promise<T>;
    const made = make();
    this.#memo.set(key, made);
    made.catch(() => this.#memo.delete(key));
    return made;
  }

  /** The steps' effects on the store, the results, the place and, at the end, what follows: one transaction. */
  async #commitGroup(group: Group<Services>, end: number): Promise<readonly WorkflowRow[]> {
    const { definition, stop } = this.#options;
    const last = end === this.#table.steps.length;
    const begun = await this.#moveTo({ state: last ? 'done' : 'running', position: end }, async (tx) => {
      for (const step of group)
        await step.commit?.(tx, this.#context(step.name, stop), this.#results[step.name]);
      return last ? ((await definition.onDone?.(tx, this.#context('done', stop))) ?? []) : [];
    });
    for (const step of group) await this.#options.faults.hit(`${definition.kind}.${step.name}.committed`);
    return begun;
  }

  async #beginUndo(group: Group<Services>, thrown: unknown): Promise<void> {
    const cause = causeOf(thrown);
    const step = group.map((member) => member.name).join('+');
    if (!(cause instanceof PandoError))
      this.#options.log.error({ err: cause, workflow: this.#mover.row.id, step }, 'step failed');
    // The failed group may have had its effect in part: it is undone too.
    const position = Math.max(this.#position + group.length, this.#reachedByOthers());
    const undoing = { state: 'undoing', position, error: workflowErrorOf(cause, step) } as const;
    await this.#moveTo(undoing, none).catch((failure: unknown) => {
      if (!(failure instanceof Poisoned)) throw failure;
      // The store may refuse what a step answered: the undo does without it, as that of a survivor does.
      this.#results = { ...this.#mover.row.results };
      return this.#moveTo(undoing, none);
    });
    this.#next(position);
  }

  /**
   * How far an earlier owner may have come without writing it down. It may be frozen and go on there: what it began is undone, and the
   * hosts that the undo reaches have heard of this owner. Who parked a workflow wrote its place down, and is no such owner.
   */
  #reachedByOthers(): number {
    const { row } = this.#mover;
    const takenByLastRelease = row.epoch > 1 && row.step === null;
    return row.taken_over || takenByLastRelease
      ? this.#table.unwrittenEnd(this.#table.positionOf(row, 'running'))
      : 0;
  }

  async #backward(): Promise<readonly WorkflowRow[]> {
    const { definition, stop } = this.#options;
    const error = this.#mover.row.error ?? { code: 'InternalError', message: 'It failed.', step: '' };
    let undoing = this.#table.steps[Math.max(0, this.#position - 1)];
    try {
      while (this.#position > 0) {
        undoing = this.#table.steps[this.#position - 1];
        if (undoing !== undefined) await this.#undoStep(undoing);
        this.#next(this.#position - 1);
      }
      return await this.#moveTo({ state: 'undone', position: 0, error }, async (tx) => {
        return (await definition.onUndone?.(tx, this.#context('undone', stop), error)) ?? [];
      });
    } catch (failure) {
      if (failure instanceof Lost || stop.aborted) throw failure;
      // At least the first step: an undo must succeed also when it was done before.
      this.#position = Math.max(1, this.#position);
      return this.#parkFailed(undoing?.name ?? '', 'undoing', failure, undoRetryDefault.unreachableMs);
    }
  }

  async #undoStep(step: ErasedStep<Services>): Promise<void> {
    const { definition, faults } = this.#options;
    const { undo } = step;
    if (typeof undo !== 'function') return;
    const point = `${definition.kind}.${step.name}.undo`;
    const key = `${step.name}.undo`;
    await attempt(async (signal) => {
      await faults.hit(`${point}.before`);
      this.#results[key] = await this.#fenced(() => undo(this.#context(key, signal)));
      if (faults.repeats(point)) await this.#fenced(() => undo(this.#context(key, signal)));
      await faults.hit(`${point}.after`);
    }, this.#attemptOptions(undoRetryDefault));
  }

  /** The step answered that it waits. */
  #parkAsAsked(group: Group<Services>, { terms }: Wait): Promise<readonly WorkflowRow[]> {
    const asked = askedTerms(terms, this.#alarmAfterMs(this.#position));
    return this.#park(group[0]?.name ?? '', 'running', asked, terms.start);
  }

  /** Whether a failure on the way forward is for later; undefined: it is final, and what was done is undone. */
  async #parkForward(group: Group<Services>, thrown: unknown): Promise<readonly WorkflowRow[] | undefined> {
    if (thrown instanceof TakenBack || thrown instanceof Cancelled) return undefined;
    const forwardOnly =
      group.some((step) => step.onFailure === 'retry') || this.#position >= this.#table.noReturnAt;
    const cancelled = this.#cancel.signal.aborted && this.#cancellable();
    const later = thrown instanceof TryLater ? thrown : undefined;
    if (cancelled || (!forwardOnly && later === undefined)) return undefined;
    const patienceMs = Math.max(
      ...group.map((step) => step.retry?.unreachableMs ?? retryDefault.unreachableMs),
    );
    const step = group[0]?.name ?? '';
    const { awayMs } = this.#patience;
    const busyFrom = later?.failed === 'busy' ? busyAfterMs(this.#lastErrorAt(step), awayMs) : undefined;
    const boundMs = busyFrom === undefined ? patienceMs : busyFrom + this.#options.timing.busyWaitMs;
    if (!forwardOnly && awayMs >= boundMs) return undefined;
    return this.#parkFailed(step, 'running', thrown, boundMs, busyFrom);
  }

  /** Why the workflow was parked at this step before, if it was. */
  #lastErrorAt(step: string): WorkflowError | null {
    const { row } = this.#mover;
    return row.step === step ? row.last_error : null;
  }

  async #parkFailed(
    step: string,
    resume: Direction,
    thrown: unknown,
    patienceMs: number,
    busyFrom?: number,
  ): Promise<readonly WorkflowRow[]> {
    const { row } = this.#mover;
    const { awayMs } = this.#patience;
    const { reaches, log, timing } = this.#options;
    // By the row: an undo that is repeated from its first step on still fails at the same one.
    const parks = row.step === step ? row.attempts : 0;
    const last = this.#lastErrorAt(step);
    const outcome = failedOutcome({
      ...{ thrown, step, last, parks, awayMs, patienceMs, busyAfterMs: busyFrom, timing, reaches },
    });
    if (outcome.kind === 'stuck') return this.#stuck(resume, outcome.error, outcome.cause);
    log.info({ workflow: row.id, step, code: outcome.error.code }, 'workflow is parked for another try');
    return this.#park(step, resume, outcome.terms);
  }

  /** @throws CancelFirst on the way forward */
  async #park(
    step: string,
    resume: Direction,
    terms: ParkTerms,
    start: readonly NewChild[] = [],
  ): Promise<readonly WorkflowRow[]> {
    const { row } = this.#mover;
    const { faults, definition } = this.#options;
    const point = `${definition.kind}.${step}.park`;
    const cursor = this.#table.cursorAt(this.#position);
    const place = { resume, cursor, step, results: this.#table.kept(this.#results), timings: this.#timings };
    const park = { ...terms, ...place, ...(row.error === null ? {} : { error: row.error }) };
    const cancellable = this.#cancellable();
    let dueInMs = 0;
    try {
      await faults.hit(`${point}.before`);
      const begun = await this.#mover.move({
        to: { state: 'waiting', cursor, step },
        effects: async () => start.map((child) => this.#childOf(child)),
        write: async (tx, known) => {
          dueInMs = await parkWorkflow(tx, known, park, cancellable);
        },
      });
      await faults.hit(`${point}.after`);
      this.#options.parked(dueInMs);
      return begun;
    } catch (error) {
      if (error instanceof Lost || error instanceof CancelFirst || this.#options.stop.aborted) throw error;
      return this.#stuck(resume, workflowErrorOf(causeOf(error), step), causeOf(error));
    }
  }

  #childOf({ key, subjectKind, ...child }: NewChild): NewWorkflow {
    return {
      ...child,
      subjectKind,
      id: this.#options.newWorkflowId(),
      parent: { id: this.#mover.row.id, key },
    };
  }

  /** Nothing of the run's own results is written: they may be what the store refuses. */
  async #stuck(resume: Direction, error: WorkflowError, cause: unknown): Promise<readonly WorkflowRow[]> {
    const { row } = this.#mover;
    this.#options.log.error(
      {
        err: cause,
        alarm: 'workflow-stuck',
        workflow: row.id,
        kind: row.kind,
        subject: row.subject,
        step: error.step,
      },
      'workflow is stuck: pando workflow show tells why, pando workflow retry tries again',
    );
    await this.#mover.move({
      to: { state: 'stuck', cursor: row.cursor, step: row.step },
      effects: none,
      write: async (tx, known) => {
        if (!(await markStuck(tx, known, resume, error))) await this.#mover.assertOwned();
      },
    });
    return [];
  }

  #alarmAfterMs(position: number): number {
    const { alarmAfterMs } = this.#options.definition;
    return this.#table.steps[position]?.alarmAfterMs ?? alarmAfterMs ?? workflowAlarmAfterMs;
  }

  /** A durable move along the way, with its effects; it ends the wait that the row may have been in. */
  async #moveTo(
    next: { readonly state: WorkflowState; readonly position: number; readonly error?: WorkflowError },
    effects: (tx: Sql) => Promise<readonly NewWorkflow[]>,
  ): Promise<readonly WorkflowRow[]> {
    const { state, position, error } = next;
    const way: Direction = state === 'undoing' || state === 'undone' ? 'undoing' : 'running';
    const ended = state === 'done' || state === 'undone';
    const to = {
      state,
      cursor: this.#table.cursorAt(position),
      step: this.#table.nameAt(position, way),
      results: this.#table.kept(this.#results),
      ...{ error: error ?? null, last_error: null, attempts: 0, taken_over: false },
    };
    const advance = {
      ...{ state, cursor: to.cursor, step: to.step, results: to.results, timings: this.#timings },
      alarmAfterMs: this.#alarmAfterMs(position),
      ...(error === undefined ? {} : { error }),
    };
    const cancellable = way === 'running' && this.#cancellable();
    const { parent_id: parentId } = this.#mover.row;
    const begun = await this.#mover.move({
      to,
      effects,
      write: (tx, known) => advanceWorkflow(tx, known, advance, cancellable),
      ...(ended && parentId !== null ? { after: (tx: Sql) => childEnded(tx, parentId) } : {}),
    });
    if (ended) tellEnd(this.#options.log, this.#mover.row, this.#timings);
    return begun;
  }
}
