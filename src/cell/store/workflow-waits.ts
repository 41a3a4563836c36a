/**
 * Waits as rows: parking, waking, signals, the end of children, alarms. Due times are the database's own: processors whose clocks
 * differ agree on them.
 *
 * Whoever makes a waiting row due locks that row first. So a signal, or the end of a child, that comes while its workflow is being
 * parked is either seen by the parking transaction or finds the row parked: no wake-up is lost.
 */
import { workflowAlarmAfterMs } from '../limits.ts';
import type { Sql } from './sql.ts';
import {
  type Direction,
  type Known,
  knownGuard,
  knownValues,
  MoveRefused,
  type StepTiming,
  type WokenRow,
  type WorkflowError,
  type WorkflowRow,
  waitFacts,
} from './workflows.ts';

/** How a row waits. All durations are from now by the database's clock, unless they say otherwise. */
export interface Park {
  readonly resume: Direction;
  readonly cursor: number;
  readonly step: string;
  readonly results: Readonly<Record<string, unknown>>;
  readonly timings: readonly StepTiming[];
  readonly attempts: number;
  readonly error?: WorkflowError;
  /** What failed, where something did. */
  readonly lastError?: WorkflowError;
  readonly wakeInMs?: number;
  /** An absolute time by the wall clock. */
  readonly wakeAt?: Date;
  /** From the step's first wait. */
  readonly deadlineInMs?: number;
  readonly signals?: readonly string[];
  readonly children?: boolean;
  readonly waitsOn?: string;
  /** The step failed for what is away, as opposed to having answered that it waits. */
  readonly away: boolean;
  /** After the end of the wait (own waits) or from the step's beginning (absent: as it was). */
  readonly alarmAfterMs?: number;
}

const seconds = (ms: number | undefined): number | null => (ms === undefined ? null : ms / 1000);

/** What was noted of the step's wait before, where the row was at this step ($23) before. */
const sameBegan = 'case when $23 then wait_began_at end';
const deadline = `coalesce(${sameBegan}, now()) + make_interval(secs => $19)`;
const wakeAt = `least(now() + make_interval(secs => $20), $21::timestamptz, ${deadline})`;

/** Parks a row; returns in how many milliseconds it is due: at once, where what it waits for has come already. @throws MoveRefused */
export const parkWorkflow = async (
  tx: Sql,
  known: Known,
  park: Park,
  cancellable: boolean,
): Promise<number> => {
  const rows = await tx.query<{ id: string }>(
    `update workflows set state = 'waiting', resume_state = $8, cursor = $9, step = $10, step_cursor = $9, results = $11,
       timings = $12, attempts = $13, error = $14, signal_names = $15, awaits_children = $16, waits_on = $17,
       wait_began_at = case when $18 then ${sameBegan} else coalesce(${sameBegan}, now()) end,
       away_since = case when $18 then coalesce(case when $23 then away_since end, now()) end,
       last_error = $24, wait_deadline = ${deadline}, wake_at = ${wakeAt},
       alarm_at = case when $22::float8 is null then coalesce(alarm_at, created_at + make_interval(secs => $25))
         else greatest(${wakeAt}, now()) + make_interval(secs => $22) end,
       updated_at = now()
     where ${knownGuard} returning id`,
    [
      ...knownValues(known, cancellable),
      park.resume,
      park.cursor,
      park.step,
      JSON.stringify(park.results),
      JSON.stringify(park.timings),
      park.attempts,
      park.error === undefined ? null : JSON.stringify(park.error),
      park.signals ?? null,
      park.children ?? false,
      park.waitsOn ?? null,
      park.away,
      seconds(park.deadlineInMs),
      seconds(park.wakeInMs),
      park.wakeAt ?? null,
      seconds(park.alarmAfterMs),
      known.step === park.step,
      park.lastError === undefined ? null : JSON.stringify(park.lastError),
      workflowAlarmAfterMs / 1000,
    ],
  );
  if (rows.length === 0)
    throw new MoveRefused(`workflow ${known.id} is no longer at ${known.step ?? known.cursor}`);
  if ((park.signals?.length ?? 0) > 0)
    await tx.query(
      `update workflows w set wake_at = now() where id = $1 and exists (
         select 1 from workflow_signals s where s.workflow_id = w.id and s.delivered_at is null and s.name = any(w.signal_names))`,
      [known.id],
    );
  if (park.children) await wakeIfChildrenEnded(tx, known.id);
  const [due] = await tx.query<{ ms: number }>(
    'select (extract(epoch from wake_at - now()) * 1000)::float8 as ms from workflows where id = $1',
    [known.id],
  );
  return due?.ms ?? 0;
};

/**
 * A row whose way has ended for now: an operator's retry or a user's cancellation goes on with it. It keeps what the row has, and so may
 * say less than was done.
 */
export const markStuck = async (
  sql: Sql,
  known: Known,
  resume: Direction,
  error: WorkflowError,
): Promise<boolean> => {
  const rows = await sql.query<{ id: string }>(
    `update workflows set state = 'stuck', resume_state = $4, wake_at = null, last_error = $5, alarmed_at = now(), updated_at = now(),
       taken_over = true
     where id = $1 and owner = $2 and epoch = $3 and state in ('running', 'undoing') returning id`,
    [known.id, known.owner, known.epoch, resume, JSON.stringify(error)],
  );
  return rows.length > 0;
};

export interface DeliveredSignal {
  readonly id: string;
  readonly name: string;
  readonly payload: unknown;
}

export interface Claim {
  readonly owner: string;
  readonly runnable: readonly string[];
  /** What this processor reaches now. */
  readonly reached: readonly string[];
  readonly limit: number;
}

/** Whether `wakeDue` would take any. Most looks find none, and need no transaction for it. */
export const isAnyDue = async (sql: Sql, { runnable, reached }: Claim): Promise<boolean> => {
  const [found] = await sql.query<{ due: boolean }>(
    `select exists (select from workflows where state = 'waiting' and wake_at <= now() and kind || '@' || version = any($1))
       or exists (select from workflows where state = 'waiting' and waits_on = any($2) and kind || '@' || version = any($1)) as due`,
    [runnable, reached],
  );
  return found?.due !== false;
};

/**
 * Takes waiting rows that are due, or whose hindrance this processor reaches, and delivers their signals into their results: one
 * transaction, so that a signal is in the results exactly once.
 */
export const wakeDue = async (tx: Sql, claim: Claim): Promise<WokenRow[]> => {
  const rows = await tx.query<WokenRow>(
    `with due as (
       select id from workflows where state = 'waiting' and wake_at <= now() and kind || '@' || version = any($2)
       order by wake_at limit $4 for update skip locked
     ), reached as (
       select id from workflows where state = 'waiting' and waits_on = any($3) and kind || '@' || version = any($2)
       limit $4 for update skip locked
     )
     update workflows w set owner = $1, epoch = epoch + 1, state = coalesce(resume_state, 'running'), wake_at = null,
       waits_on = null, updated_at = now()
     from (select id from due union select id from reached) taken where w.id = taken.id
     returning w.*, ${waitFacts}`,
    [claim.owner, claim.runnable, claim.reached, claim.limit],
  );
  const listening = rows.filter((row) => (row.signal_names?.length ?? 0) > 0);
  if (listening.length === 0) return rows;
  const signals = await deliver(
    tx,
    listening.map((row) => row.id),
  );
  const woken: WokenRow[] = [];
  for (const row of rows) woken.push(await withSignals(tx, row, signals.get(row.id)));
  return woken;
};

const deliver = async (tx: Sql, ids: readonly string[]): Promise<Map<string, DeliveredSignal[]>> => {
  const rows = await tx.query<DeliveredSignal & { workflow_id: string; seq: number }>(
    `update workflow_signals s set delivered_at = now() from workflows w
     where w.id = s.workflow_id and s.workflow_id = any($1) and s.delivered_at is null and s.name = any(w.signal_names)
     returning s.workflow_id, s.id, s.name, s.payload, s.seq`,
    [ids],
  );
  const found = new Map<string, DeliveredSignal[]>();
  for (const { workflow_id, id, name, payload } of rows.sort((one, two) => one.seq - two.seq))
    found.set(workflow_id, [...(found.get(workflow_id) ?? []), { id, name, payload }]);
  return found;
};

export const signalsKey = (step: string): string => `${step}.signals`;

const withSignals = async (
  tx: Sql,
  row: WokenRow,
  signals: readonly DeliveredSignal[] = [],
): Promise<WokenRow> => {
  if (signals.length === 0 || row.step === null) return row;
  const key = signalsKey(row.step);
  const before = Array.isArray(row.results[key]) ? row.results[key] : [];
  const results = { ...row.results, [key]: [...before, ...signals] };
  await tx.query('update workflows set results = $2 where id = $1', [row.id, JSON.stringify(results)]);
  return { ...row, results };
};

export type SignalOutcome = 'sent' | 'repeated' | 'ended' | 'absent' | 'full';

export interface Signal {
  readonly workflowId: string;
  /** The sender's: the same id is one signal, however often it is sent. */
  readonly id: string;
  readonly name: string;
  readonly payload?: unknown;
}

/** Leaves a signal for a workflow and wakes it if it waits for that name. In a transaction of the caller's. */
export const insertSignal = async (tx: Sql, signal: Signal, pendingMax: number): Promise<SignalOutcome> => {
  const [row] = await tx.query<{ state: string }>('select state from workflows where id = $1 for update', [
    signal.workflowId,
  ]);
  if (row === undefined) return 'absent';
  if (row.state === 'done' || row.state === 'undone') return 'ended';
  const [kept] = await tx.query<{ known: boolean; pending: number }>(
    `select coalesce(bool_or(id = $2), false) as known, count(*) filter (where delivered_at is null)::int as pending
     from workflow_signals where workflow_id = $1`,
    [signal.workflowId, signal.id],
  );
  if (kept?.known) return 'repeated';
  if ((kept?.pending ?? 0) >= pendingMax) return 'full';
  await tx.query('insert into workflow_signals (workflow_id, id, name, payload) values ($1, $2, $3, $4)', [
    signal.workflowId,
    signal.id,
    signal.name,
    signal.payload === undefined ? null : JSON.stringify(signal.payload),
  ]);
  await tx.query(
    `update workflows set wake_at = now() where id = $1 and state = 'waiting' and $2 = any(signal_names)`,
    [signal.workflowId, signal.name],
  );
  return 'sent';
};

/** Called in the transaction that ends a child, after its row says so. */
export const childEnded = async (tx: Sql, parentId: string): Promise<void> => {
  // Locked first: of two children that end at once, the second then sees the end of the first.
  await tx.query('select 1 from workflows where id = $1 for update', [parentId]);
  await wakeIfChildrenEnded(tx, parentId);
};

const wakeIfChildrenEnded = async (tx: Sql, parentId: string): Promise<void> => {
  await tx.query(
    `update workflows set wake_at = now() where id = $1 and state = 'waiting' and awaits_children and not exists (
       select 1 from workflows c where c.parent_id = $1 and c.state not in ('done', 'undone'))`,
    [parentId],
  );
};

export const listChildren = (sql: Sql, parentId: string): Promise<WorkflowRow[]> =>
  sql.query('select * from workflows where parent_id = $1 order by parent_key', [parentId]);

/** Makes a waiting or stuck row due, with all its tries before it again. Returns whether there was one. */
export const retryNow = async (sql: Sql, id: string): Promise<boolean> => {
  const rows = await sql.query<{ id: string }>(
    `update workflows set wake_at = now(), attempts = 0, away_since = null, alarmed_at = null,
       resume_state = coalesce(resume_state, 'undoing'), state = 'waiting'
     where id = $1 and state in ('waiting', 'stuck') returning id`,
    [id],
  );
  return rows.length > 0;
};

export type Overdue = Pick<
  WorkflowRow,
  'id' | 'kind' | 'subject' | 'state' | 'step' | 'waits_on' | 'created_at'
> & { readonly requestId: string | null };

/** Workflows past the time at which an operator is told, each once: whichever processor changes the row tells. */
export const takeOverdue = (sql: Sql, defaultAfterMs: number, limit: number): Promise<Overdue[]> =>
  sql.query(
    `update workflows set alarmed_at = now() where id in (
       (select id from workflows where state = 'waiting' and alarmed_at is null and alarm_at < now()
        order by alarm_at limit $2)
       union all
       (select id from workflows where state in ('running', 'undoing', 'stuck') and alarmed_at is null
          and coalesce(alarm_at, created_at + make_interval(secs => $1)) < now() limit $2))
       and alarmed_at is null
     returning id, kind, subject, state, step, waits_on, created_at, trace->>'requestId' as "requestId"`,
    [defaultAfterMs / 1000, limit],
  );
