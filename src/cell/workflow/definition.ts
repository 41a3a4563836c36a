/** What a workflow is: a table of steps, each with its why, its do and its undo. */
import type { CommandKey } from '#contracts/host.ts';
import { absentHostPatienceMs, unreachableWaitMs } from '../limits.ts';
import type { Sql } from '../store/sql.ts';
import type { DeliveredSignal } from '../store/workflow-waits.ts';
import type { NewWorkflow, WorkflowError, WorkflowRow } from '../store/workflows.ts';
import type { Wait } from './wait.ts';

export interface RetryPolicy {
  /** Attempts that fail for a fault before the step counts as failed. */
  readonly attemptsMax: number;
  readonly backoffMsMin: number;
  readonly backoffMsMax: number;
  /** Deadline of one attempt. */
  readonly deadlineMs: number;
  /**
   * How long the step waits for what is unreachable. Then it is run once more and sees `awayMs`; if that fails too, it has failed,
   * unless it is one that cannot be given up.
   */
  readonly unreachableMs: number;
}

export const retryDefault: RetryPolicy = {
  attemptsMax: 4,
  backoffMsMin: 50,
  backoffMsMax: 2_000,
  deadlineMs: 30_000,
  unreachableMs: unreachableWaitMs,
};
export const undoRetryDefault: RetryPolicy = {
  ...retryDefault,
  unreachableMs: absentHostPatienceMs,
};

/** What a step sees. `Results` maps each step's name to what it returned. */
export interface StepContext<Input, Results, Services> {
  readonly workflowId: string;
  /** What `subject` names: `instance`, `host`. */
  readonly subjectKind: string;
  readonly subject: string;
  readonly input: Input;
  readonly results: Readonly<Partial<Results>>;
  readonly services: Services;
  /** Who commands: hosts refuse an older epoch of this workflow, and answer a repeated step from their record. */
  readonly command: CommandKey;
  /** Aborted when the attempt is over its deadline or the processor stops. */
  readonly signal: AbortSignal;
  /** Makes a value once per execution of the workflow: what several steps read of the store. */
  once<T>(key: string, make: () => Promise<T>): Promise<T>;
  /** Whether a cancellation was asked for, as far as this processor knows. */
  cancelled(): boolean;
  /** How long this step has been failing for what is unreachable, parked time included. */
  readonly awayMs: number;
  /** How long it is since this step first answered that it waits. */
  readonly waitedMs: number;
  /** Whether the wait that the step asked for is over its deadline. */
  readonly timedOut: boolean;
  /** The signals that this step has taken so far, in the order in which they were sent; each once. */
  signals(name?: string): readonly DeliveredSignal[];
  /** The workflows that this one has started, as they are now. */
  children(): Promise<readonly Child[]>;
}

/** A workflow that another has started. */
export type Child = Pick<WorkflowRow, 'id' | 'kind' | 'subject' | 'state' | 'results' | 'error'> & {
  readonly key: string;
  /** Whether it has ended, well or not. */
  readonly ended: boolean;
};

/** What an undo returns is found under `<step>.undo` of the results by `onUndone`. */
export type UndoOf<Context> = ((context: Context) => Promise<unknown>) | { readonly none: string };

/** One row of the table. Effects on hosts and region are at-least-once; `commit` is exactly once. */
export interface Step<Name extends keyof Results, Input, Results, Services> {
  readonly name: Name;
  readonly why: string;
  /** Its result; or a `Wait`, and then it runs again when that is over. */
  do(context: StepContext<Input, Results, Services>): Promise<Results[Name] | Wait>;
  /** What of its result is written; default: all of it. The rest only this execution knows: another one must do without it. */
  keeps?(result: Results[Name]): Results[Name];
  /** Effect on the store, in the one transaction that also records the results and moves the cursor. */
  commit?(tx: Sql, context: StepContext<Input, Results, Services>, result: Results[Name]): Promise<void>;
  /** Must succeed also when the step never happened, happened in part, or was undone before. */
  readonly undo: UndoOf<StepContext<Input, Results, Services>>;
  /** Runs at the same time as the step before it. */
  readonly alongside?: true;
  /** `undo` (default) gives up and undoes; `retry` is for steps beyond which there is only forward. */
  readonly onFailure?: 'undo' | 'retry';
  /** From here on a cancellation is no longer honoured. The step before it has a `commit`. */
  readonly noReturn?: true;
  readonly retry?: Partial<RetryPolicy>;
  /** It is never parked when it fails: others wait for it in real time. */
  readonly staysInMemory?: true;
  /** An operator is told when the workflow stands here for longer. Default: the definition's. */
  readonly alarmAfterMs?: number;
}

export type AnyStep<Input, Results, Services> = {
  [Name in keyof Results]: Step<Name, Input, Results, Services>;
}[keyof Results];

/**
 * A kind of workflow. Only steps with `commit`, and the last, are durable: the results of others are kept in memory until then,
 * and a survivor repeats them, which their command keys make harmless. So a launch costs two transactions, not seven.
 */
export interface WorkflowDefinition<Input, Results, Services> {
  readonly kind: string;
  /**
   * Grows when rows of the table as it was can not be finished by the table as it is: a step renamed, removed, or given another
   * meaning. Then the earlier table stays beside this one until no row names it. Default 1.
   */
  readonly version?: number;
  /** The names by which the integer cursors of the first release are read; see `workflows/cursor-orders.ts`. */
  readonly cursorOrder?: readonly string[];
  readonly alarmAfterMs?: number;
  readonly steps: readonly AnyStep<Input, Results, Services>[];
  /** In the transaction that ends it. Returns workflows that follow at once. */
  onDone?(tx: Sql, context: StepContext<Input, Results, Services>): Promise<readonly NewWorkflow[]>;
  onUndone?(
    tx: Sql,
    context: StepContext<Input, Results, Services>,
    error: WorkflowError,
  ): Promise<readonly NewWorkflow[]>;
}

/** A definition as the engine sees it. The engine passes inputs and results through without looking at them. */
export type ErasedDefinition<Services> = WorkflowDefinition<unknown, Record<string, unknown>, Services>;

/** Checks a table and forgets its types: inputs and results go through the store as JSON, and come back to the same definition. */
export const defineWorkflow = <Input, Results, Services>(
  definition: WorkflowDefinition<Input, Results, Services>,
): ErasedDefinition<Services> => {
  const names = definition.steps.map((step) => String(step.name));
  if (new Set(names).size !== names.length || names.length === 0)
    throw new Error(`workflow ${definition.kind}: steps need names of their own`);
  if (definition.steps[0]?.alongside)
    throw new Error(`workflow ${definition.kind}: the first step is alongside nothing`);
  // Else a survivor, or who retries one that was stuck, might stand before it and undo what is beyond it.
  const before = definition.steps.findIndex((step) => step.noReturn) - 1;
  if (before >= 0 && definition.steps[before]?.commit === undefined)
    throw new Error(`workflow ${definition.kind}: what comes before the point of no return must be durable`);
  return definition as unknown as ErasedDefinition<Services>;
};
