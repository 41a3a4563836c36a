/** What a workflow is: a table of steps, each with its why, its do and its undo. */
import type { CommandKey } from '#contracts/host.ts';
import type { Sql } from '../store/sql.ts';
import type { NewWorkflow, WorkflowError } from '../store/workflows.ts';

export interface RetryPolicy {
  /** Attempts before the step counts as failed; ignored where `onFailure` is `retry`. */
  readonly attemptsMax: number;
  readonly backoffMsMin: number;
  readonly backoffMsMax: number;
  /** Deadline of one attempt. */
  readonly deadlineMs: number;
}

export const retryDefault: RetryPolicy = {
  attemptsMax: 4,
  backoffMsMin: 50,
  backoffMsMax: 2_000,
  deadlineMs: 30_000,
};
export const undoRetryDefault: RetryPolicy = {
  attemptsMax: 20,
  backoffMsMin: 50,
  backoffMsMax: 5_000,
  deadlineMs: 30_000,
};

/** What a step sees. `Results` maps each step's name to what it returned. */
export interface StepContext<Input, Results, Services> {
  readonly workflowId: string;
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
}

/** What an undo returns is found under `<step>.undo` of the results by `onUndone`. */
export type UndoOf<Context> = ((context: Context) => Promise<unknown>) | { readonly none: string };

/** One row of the table. Effects on hosts and region are at-least-once; `commit` is exactly once. */
export interface Step<Name extends keyof Results, Input, Results, Services> {
  readonly name: Name;
  readonly why: string;
  do(context: StepContext<Input, Results, Services>): Promise<Results[Name]>;
  /** Effect on the store, in the one transaction that also records the results and moves the cursor. */
  commit?(tx: Sql, context: StepContext<Input, Results, Services>, result: Results[Name]): Promise<void>;
  /** Must hold also when the step never happened, happened in part, or was undone before. */
  readonly undo: UndoOf<StepContext<Input, Results, Services>>;
  /** Runs at the same time as the step before it. */
  readonly alongside?: true;
  /** `undo` (default) gives up and undoes; `retry` is for steps beyond which there is only forward. */
  readonly onFailure?: 'undo' | 'retry';
  /** From here on a cancellation is no longer honoured. */
  readonly noReturn?: true;
  readonly retry?: Partial<RetryPolicy>;
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
  readonly steps: readonly AnyStep<Input, Results, Services>[];
  /** In the transaction that ends it. Returns workflows that follow at once. */
  onDone?(tx: Sql, context: StepContext<Input, Results, Services>): Promise<readonly NewWorkflow[]>;
  onUndone?(
    tx: Sql,
    context: StepContext<Input, Results, Services>,
    error: WorkflowError,
  ): Promise<readonly NewWorkflow[]>;
}

/** A definition as the engine holds it: it passes inputs and results through without looking at them. */
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
  return definition as unknown as ErasedDefinition<Services>;
};
