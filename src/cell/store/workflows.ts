/**
 * Workflow rows. Ownership is (owner, epoch): every write names both, and a write under an older epoch changes nothing.
 *
 * running → done        running → undoing → undone        undoing → stuck (undo exhausted, operator told) → undoing
 */
import { PandoError } from '#contracts/errors.ts';
import { purgeBatchMax } from '../limits.ts';
import { isSteady } from './processors.ts';
import type { Sql } from './sql.ts';

export type WorkflowState = 'running' | 'undoing' | 'done' | 'undone' | 'stuck';

export interface WorkflowError {
  readonly code: string;
  readonly message: string;
  readonly step: string;
}

export interface StepTiming {
  readonly step: string;
  readonly ms: number;
  readonly attempts: number;
}

export interface WorkflowRow {
  readonly id: string;
  readonly kind: string;
  readonly subject: string;
  readonly input: unknown;
  readonly state: WorkflowState;
  readonly cursor: number;
  readonly results: Readonly<Record<string, unknown>>;
  readonly timings: readonly StepTiming[];
  readonly owner: string;
  readonly epoch: number;
  readonly attempts: number;
  readonly wake_at: Date | null;
  readonly cancel: boolean;
  readonly error: WorkflowError | null;
  readonly created_at: Date;
  readonly updated_at: Date;
}

/** What makes a new workflow. */
export interface NewWorkflow {
  readonly id: string;
  readonly kind: string;
  readonly subject: string;
  readonly input: unknown;
}

export const insertWorkflow = async (tx: Sql, workflow: NewWorkflow, owner: string): Promise<WorkflowRow> => {
  await tx.query(
    `insert into workflows (id, kind, subject, input, state, owner) values ($1, $2, $3, $4, 'running', $5)`,
    [workflow.id, workflow.kind, workflow.subject, JSON.stringify(workflow.input), owner],
  );
  const now = new Date();
  return {
    ...workflow,
    state: 'running',
    cursor: 0,
    results: {},
    timings: [],
    owner,
    epoch: 1,
    attempts: 0,
    wake_at: null,
    cancel: false,
    error: null,
    created_at: now,
    updated_at: now,
  };
};

export const findWorkflow = async (sql: Sql, id: string): Promise<WorkflowRow | undefined> =>
  (await sql.query<WorkflowRow>('select * from workflows where id = $1', [id]))[0];

export interface Advance {
  readonly state: WorkflowState;
  readonly cursor: number;
  readonly results: Readonly<Record<string, unknown>>;
  readonly timings: readonly StepTiming[];
  readonly attempts: number;
  readonly wakeAt?: Date;
  readonly error?: WorkflowError;
}

/** Thrown inside the transaction of a move that the row no longer allows; the transaction is rolled back. */
export class MoveRefused extends Error {}

/**
 * Moves a workflow on, where its row is still as the executor knows it: this owner and epoch (a survivor raises the epoch), this
 * state and cursor (a commit whose answer was lost is not done twice), and, while it can be cancelled, no cancel flag.
 */
export const advanceWorkflow = async (
  tx: Sql,
  known: Pick<WorkflowRow, 'id' | 'owner' | 'epoch' | 'state' | 'cursor'>,
  next: Advance,
  cancellable: boolean,
): Promise<void> => {
  const rows = await tx.query<{ id: string }>(
    `update workflows set state = $6, cursor = $7, results = $8, timings = $9, attempts = $10, wake_at = $11, error = $12,
       updated_at = now()
     where id = $1 and owner = $2 and epoch = $3 and state = $4 and cursor = $5 and not (cancel and $13)
     returning id`,
    [
      known.id,
      known.owner,
      known.epoch,
      known.state,
      known.cursor,
      next.state,
      next.cursor,
      JSON.stringify(next.results),
      JSON.stringify(next.timings),
      next.attempts,
      next.wakeAt ?? null,
      next.error === undefined ? null : JSON.stringify(next.error),
      cancellable,
    ],
  );
  if (rows.length === 0)
    throw new MoveRefused(`workflow ${known.id} is no longer at ${known.state}/${known.cursor}`);
};

/** Asks a workflow to stop and undo; it is honoured between steps, up to its point of no return. */
export const requestCancel = async (tx: Sql, id: string): Promise<void> => {
  await tx.query(`update workflows set cancel = true where id = $1 and state in ('running', 'undoing')`, [
    id,
  ]);
};

/**
 * Takes over what dead processors left, stuck ones whose rest is over, and our own that nobody here runs (a commit whose answer was
 * lost): compare-and-set on (owner, epoch) in one statement, the oldest first. A lapsed lease counts only when our own has been steady
 * for `leaseTtlMs`: after an outage of the store every lease has lapsed, and the others are about to renew theirs. A lease that is not
 * there at all was given up.
 */
export const takeOver = async (
  sql: Sql,
  owner: string,
  runningHere: readonly string[],
  limit: number,
  leaseTtlMs: number,
): Promise<WorkflowRow[]> => {
  const rows = await sql.query<WorkflowRow>(
    `update workflows set owner = $1, epoch = epoch + 1, state = case state when 'stuck' then 'undoing' else state end
     where id in (
       select id from workflows w
       where (state in ('running', 'undoing') and owner <> $1 and (
                not exists (select 1 from processors p where p.owner = w.owner)
                or (${isSteady} and not exists (
                  select 1 from processors p where p.owner = w.owner and p.lease_until > now()))))
          or (state = 'stuck' and wake_at < now())
          or (state in ('running', 'undoing') and owner = $1 and updated_at < now() - interval '10 seconds' and id <> all($4))
       order by created_at, id limit $3 for update skip locked)
     returning *`,
    [owner, leaseTtlMs / 1000, limit, runningHere],
  );
  // An UPDATE answers in no order of its own.
  return rows.sort((a, b) => a.created_at.getTime() - b.created_at.getTime());
};

export const purgeEnded = async (sql: Sql, before: Date): Promise<void> => {
  await sql.query(
    `delete from workflows where id in (
       select id from workflows where state in ('done', 'undone') and updated_at < $1
       order by id limit $2 for update skip locked)`,
    [before, purgeBatchMax],
  );
};

/** The id of a workflow whose subject already has another: callers turn it into their own error. */
export const subjectBusy = (subject: string): PandoError =>
  new PandoError(
    'IncorrectInstanceState',
    `The instance '${subject}' is being changed by another request. Retry.`,
  );
