/**
 * Workflow rows. Ownership is (owner, epoch): every write names both, and a write under an older epoch changes nothing.
 *
 * running → done      running → undoing → undone      running, undoing ⇄ waiting      waiting → stuck → waiting (an operator's retry)
 *
 * A waiting row has no owner that counts: whichever processor finds it due takes it, under the next epoch (`workflow-waits.ts`).
 */
import { sqlStateOf } from '#base/postgres/faults.ts';
import { currentTrace, type Trace } from '#base/trace.ts';
import { purgeBatchMax, workflowAlarmAfterMs } from '../limits.ts';
import { hasLapsed, isSteady } from './processors.ts';
import { type Sql, send } from './sql.ts';

export const workflowStates = ['running', 'undoing', 'waiting', 'stuck', 'done', 'undone'] as const;
export type WorkflowState = (typeof workflowStates)[number];
/** Which way a workflow goes, and will go on after a wait. */
export type Direction = 'running' | 'undoing';

export interface WorkflowError {
  readonly code: string;
  readonly message: string;
  readonly step: string;
  /** Of a step that waits for what is busy: how long it had waited for what was unreachable before. */
  readonly busyAfterMs?: number;
}

export interface StepTiming {
  readonly step: string;
  readonly ms: number;
  readonly attempts: number;
}

export interface WorkflowRow {
  readonly id: string;
  readonly kind: string;
  /** Of the definition that made it: only a processor that has this version goes on with it. */
  readonly version: number;
  readonly subject: string;
  /** What `subject` names: `instance`, `host`. */
  readonly subject_kind: string;
  readonly input: unknown;
  readonly state: WorkflowState;
  /** For processors of the last release; the truth is `step`. */
  readonly cursor: number;
  /** Forward: the next step. Undoing: the last step that is still to be undone. Null: see `cursor`. */
  readonly step: string | null;
  readonly step_cursor: number | null;
  readonly results: Readonly<Record<string, unknown>>;
  readonly timings: readonly StepTiming[];
  readonly owner: string;
  readonly epoch: number;
  /** Times in a row that the present step was parked because it failed. */
  readonly attempts: number;
  readonly wake_at: Date | null;
  readonly cancel: boolean;
  /** Why it is undone. */
  readonly error: WorkflowError | null;
  /** Why it waits or is stuck, where something failed. */
  readonly last_error: WorkflowError | null;
  readonly created_at: Date;
  readonly updated_at: Date;
  /** Whoever had it before may have come further than the row says; until the next durable step. */
  readonly taken_over: boolean;
  /** Of a waiting or stuck row: the way that it goes on. Null in a stuck row of the last release, which goes on undoing. */
  readonly resume_state: Direction | null;
  /** What was away (`host/h-1`): a processor that reaches it wakes the workflow. */
  readonly waits_on: string | null;
  readonly signal_names: readonly string[] | null;
  readonly awaits_children: boolean;
  /** When the present step first answered that it waits. */
  readonly wait_began_at: Date | null;
  readonly wait_deadline: Date | null;
  /** Since when the present step fails for what is away. */
  readonly away_since: Date | null;
  /** When an operator is told that it takes too long. */
  readonly alarm_at: Date | null;
  readonly alarmed_at: Date | null;
  readonly parent_id: string | null;
  readonly parent_key: string | null;
  /** What it is done for. Null: for no request, or made by a processor of the last release. */
  readonly trace: Trace | null;
}

/** What the database knows of a row's wait at the present hour: extra columns of a row that is taken. */
export interface WaitFacts {
  readonly waited_ms: number | null;
  readonly away_ms: number | null;
  readonly timed_out: boolean;
}

/** A row as a processor takes it, with those facts. */
export type WokenRow = WorkflowRow & WaitFacts;

export const waitFacts = `
  ceil(extract(epoch from now() - wait_began_at) * 1000)::float8 as waited_ms,
  ceil(extract(epoch from now() - away_since) * 1000)::float8 as away_ms,
  coalesce(wait_deadline <= now(), false) as timed_out`;

/** A row that this process has just made, with what its steps would otherwise read of the store, by the key under which they do. */
export type BegunRow = WorkflowRow & { readonly known?: Readonly<Record<string, unknown>> };

/** What makes a new workflow. */
export interface NewWorkflow {
  readonly id: string;
  readonly kind: string;
  readonly subject: string;
  readonly input: unknown;
  /** Default `instance`. */
  readonly subjectKind?: string;
  /** Default 1. */
  readonly version?: number;
  /** The workflow that awaits this one, and the key by which it knows it. */
  readonly parent?: { readonly id: string; readonly key: string };
  /** Default `workflowAlarmAfterMs`. */
  readonly alarmAfterMs?: number;
}

/** Makes a workflow's row, for the request that is being served: whoever runs it, and what follows it, goes on under that trace. */
export const insertWorkflow = async (tx: Sql, workflow: NewWorkflow, owner: string): Promise<WorkflowRow> => {
  const { id, kind, subject, input, subjectKind = 'instance', version = 1, parent } = workflow;
  const trace = currentTrace() ?? null;
  await send(
    tx,
    `insert into workflows (id, kind, subject, input, state, owner, subject_kind, version, alarm_at, parent_id, parent_key,
       trace)
     values ($1, $2, $3, $4, 'running', $5, $6, $7, now() + make_interval(secs => $8), $9, $10, $11)`,
    [
      id,
      kind,
      subject,
      JSON.stringify(input),
      owner,
      subjectKind,
      version,
      (workflow.alarmAfterMs ?? workflowAlarmAfterMs) / 1000,
      parent?.id ?? null,
      parent?.key ?? null,
      trace === null ? null : JSON.stringify(trace),
    ],
  );
  return freshRow(workflow, owner, trace);
};

const freshRow = (workflow: NewWorkflow, owner: string, trace: Trace | null): WorkflowRow => {
  const { id, kind, subject, input, subjectKind = 'instance', version = 1, parent } = workflow;
  const now = new Date();
  return {
    ...{ id, kind, version, subject, subject_kind: subjectKind, input, owner },
    ...{ state: 'running', cursor: 0, step: null, step_cursor: null, results: {}, timings: [] },
    ...{ epoch: 1, attempts: 0, wake_at: null, cancel: false, created_at: now, updated_at: now },
    ...{ error: null, last_error: null, taken_over: false },
    ...{ resume_state: null, waits_on: null, signal_names: null, awaits_children: false },
    ...{ wait_began_at: null, wait_deadline: null, away_since: null, alarm_at: null, alarmed_at: null },
    ...{ parent_id: parent?.id ?? null, parent_key: parent?.key ?? null, trace },
  };
};

export const findWorkflow = async (sql: Sql, id: string): Promise<WorkflowRow | undefined> =>
  (await sql.query<WorkflowRow>('select * from workflows where id = $1', [id]))[0];

/** What a row must still be for a move to happen. */
export type Known = Pick<WorkflowRow, 'id' | 'owner' | 'epoch' | 'state' | 'cursor' | 'step'>;

export interface Advance {
  readonly state: WorkflowState;
  readonly cursor: number;
  readonly step: string | null;
  readonly results: Readonly<Record<string, unknown>>;
  readonly timings: readonly StepTiming[];
  readonly error?: WorkflowError;
  /** From now until an operator is told. */
  readonly alarmAfterMs: number;
}

/** Thrown inside the transaction of a move that the row no longer allows; the transaction is rolled back. */
export class MoveRefused extends Error {}

/** The guard of every move: this owner and epoch, this place in the table, and no cancellation that has to be honoured first. */
export const knownGuard = `id = $1 and owner = $2 and epoch = $3 and state = $4 and cursor = $5 and step is not distinct from $6
  and not (cancel and $7)`;

export const knownValues = (known: Known, cancellable: boolean): unknown[] => [
  known.id,
  known.owner,
  known.epoch,
  known.state,
  known.cursor,
  known.step,
  cancellable,
];

const elsewhere = 'the workflow is not where its owner left it';

/**
 * Fails where nothing has moved, so that no commit follows, though nobody has waited for the answer. The text that is no number is what
 * the error is known by, and what the server's log shows.
 */
const orRefused = `select case count(*) when 0 then '${elsewhere}' else '1' end::int from moved`;

/** By its text too: a result that is no valid JSON for the store has the same code (invalid_text_representation). */
const isElsewhere = (error: unknown): boolean =>
  error instanceof Error && sqlStateOf(error) === '22P02' && error.message.includes(elsewhere);

/**
 * Moves a workflow on, where its row is still as the executor knows it: this owner and epoch (a survivor raises the epoch), this
 * state and step (a commit whose answer was lost is not done twice), and, while it can be cancelled, no cancel flag.
 */
export const advanceWorkflow = async (
  tx: Sql,
  known: Known,
  next: Advance,
  cancellable: boolean,
): Promise<void> => {
  await send(
    tx,
    `with moved as (
     update workflows set state = $8, cursor = $9, step = $10, step_cursor = $9, results = $11, timings = $12, error = $13,
       attempts = 0, wake_at = null, resume_state = null, waits_on = null, signal_names = null, awaits_children = false,
       wait_began_at = null, wait_deadline = null, away_since = null, last_error = null, taken_over = false,
       alarm_at = now() + make_interval(secs => $14), alarmed_at = null, updated_at = now()
     where ${knownGuard} returning id)
     ${orRefused}`,
    [
      ...knownValues(known, cancellable),
      next.state,
      next.cursor,
      next.step,
      JSON.stringify(next.results),
      JSON.stringify(next.timings),
      next.error === undefined ? null : JSON.stringify(next.error),
      next.alarmAfterMs / 1000,
    ],
    (error) =>
      isElsewhere(error)
        ? new MoveRefused(`workflow ${known.id} is no longer at ${known.state}/${known.step ?? known.cursor}`)
        : error,
  );
};

/**
 * Asks a workflow to stop and undo. It is honoured between steps, up to its point of no return. One that waits is made due, so that
 * it need not wait for the end of its wait; one that is stuck gets another chance.
 */
export const requestCancel = async (tx: Sql, id: string): Promise<void> => {
  await tx.query(
    `update workflows set cancel = true, attempts = 0,
       wake_at = case when state in ('waiting', 'stuck') then now() else wake_at end,
       resume_state = case when state = 'stuck' then coalesce(resume_state, 'undoing') else resume_state end,
       state = case when state = 'stuck' then 'waiting' else state end
     where id = $1 and state in ('running', 'undoing', 'waiting', 'stuck')`,
    [id],
  );
};

/** `kind@version`, as statements compare what a processor can run. */
export const runnableKey = (of: { readonly kind: string; readonly version: number }): string =>
  `${of.kind}@${of.version}`;

/**
 * Takes over what dead processors left, and our own that nobody here runs (a commit whose answer was lost): the oldest first, only
 * kinds and versions that this processor has, by compare-and-set on (owner, epoch) in one statement. A lapsed lease counts only when our
 * own has been steady for `leaseTtlMs`: after an outage of the store every lease has lapsed, and the others are about to renew theirs. A
 * lease that is not there at all was given up.
 */
export const takeOver = async (
  sql: Sql,
  owner: string,
  options: {
    readonly runningHere: readonly string[];
    readonly runnable: readonly string[];
    readonly limit: number;
    readonly leaseTtlMs: number;
  },
): Promise<WokenRow[]> => {
  const rows = await sql.query<WokenRow>(
    `update workflows set owner = $1, epoch = epoch + 1, updated_at = now(), taken_over = true,
       state = case state when 'stuck' then 'undoing' else state end
     where id in (
       select id from workflows w
       where state in ('running', 'undoing', 'stuck') and kind || '@' || version = any($5) and id <> all($4) and (
             (state in ('running', 'undoing') and owner <> $1 and (
                not exists (select 1 from processors p where p.owner = w.owner)
                or (${isSteady} and not exists (
                  select 1 from processors p where p.owner = w.owner and not ${hasLapsed}))))
          -- Only a processor of the last release gives a stuck row a time of its own.
          or (state = 'stuck' and wake_at < now())
          or (state in ('running', 'undoing') and owner = $1 and updated_at < now() - interval '10 seconds'))
       order by created_at, id limit $3 for update skip locked)
     returning *, ${waitFacts}`,
    [owner, options.leaseTtlMs / 1000, options.limit, options.runningHere, options.runnable],
  );
  // An UPDATE answers in no order of its own.
  return rows.sort((a, b) => a.created_at.getTime() - b.created_at.getTime());
};

/** Of these workflows, each under an epoch: those that `owner` does not have under it any more. */
export const listLost = (
  sql: Sql,
  owner: string,
  workflows: readonly Pick<WorkflowRow, 'id' | 'epoch'>[],
): Promise<Pick<WorkflowRow, 'id' | 'epoch'>[]> =>
  sql.query(
    `select o.id, o.epoch from unnest($2::text[], $3::int[]) o (id, epoch)
     where not exists (select from workflows w where w.id = o.id and w.owner = $1 and w.epoch = o.epoch)`,
    [owner, workflows.map(({ id }) => id), workflows.map(({ epoch }) => epoch)],
  );

/** Ended workflows go, but for those whose parent still lives: it may look at how they ended. */
export const purgeEnded = async (sql: Sql, before: Date): Promise<void> => {
  await sql.query(
    `delete from workflows where id in (
       select id from workflows w where state in ('done', 'undone') and updated_at < $1
         and (parent_id is null or not exists (
           select 1 from workflows p where p.id = w.parent_id and p.state not in ('done', 'undone')))
       order by id limit $2 for update skip locked)`,
    [before, purgeBatchMax],
  );
};
