/** Workflows for operators: what runs, waits or is stuck, and why; another try, and cancellation. */
import type { ParsedParams, Result } from '#base/rpc/contract.ts';
import type { cellOperatorContract } from '#contracts/cell-operator.ts';
import { PandoError } from '#contracts/errors.ts';
import { workflowsShownMax } from './limits.ts';
import type { CellServices } from './services.ts';
import { countByState, listWorkflows } from './store/workflow-listing.ts';
import { listChildren, retryNow } from './store/workflow-waits.ts';
import { findWorkflow, requestCancel, type WorkflowRow, type WorkflowState } from './store/workflows.ts';
import type { WorkflowEngine } from './workflow/engine.ts';
import { StepTable, UnknownStep } from './workflow/step-table.ts';

type Contract = typeof cellOperatorContract;
type Names =
  | 'operator.workflow'
  | 'operator.workflows'
  | 'operator.retryWorkflow'
  | 'operator.cancelWorkflow';
export type WorkflowOperations = {
  readonly [M in Names]: (params: ParsedParams<Contract, M>) => Promise<Result<Contract, M>>;
};

export interface WorkflowOperationsOptions {
  readonly services: CellServices;
  readonly engine: WorkflowEngine<CellServices>;
}

const live: readonly WorkflowState[] = ['running', 'undoing', 'waiting', 'stuck'];
const ended: readonly WorkflowState[] = ['done', 'undone'];

export const workflowOperations = ({ services, engine }: WorkflowOperationsOptions): WorkflowOperations => {
  const { db } = services;
  const summary = (row: WorkflowRow): Summary => summaryOf(row, engine);
  const find = async (workflowId: string): Promise<WorkflowRow> => {
    const row = await findWorkflow(db, workflowId);
    if (row === undefined) throw new PandoError('NotFound', `${workflowId} is not known in this cell.`);
    return row;
  };
  return {
    'operator.workflow': async ({ workflowId }) => {
      const row = await find(workflowId);
      const children = await listChildren(db, workflowId);
      return {
        ...summary(row),
        owner: row.owner,
        epoch: row.epoch,
        steps: stepsOf(row, engine),
        ...(children.length === 0 ? {} : { children: children.slice(0, workflowsShownMax).map(summary) }),
      };
    },

    'operator.workflows': async ({ states, kind, subject, ended: withEnded, limit = workflowsShownMax }) => {
      const wanted = states ?? (withEnded ? [...live, ...ended] : live);
      return {
        workflows: (await listWorkflows(db, { states: wanted, kind, subject, limit })).map(summary),
        counts: await countByState(db),
      };
    },

    'operator.retryWorkflow': async ({ workflowId }) => {
      const { state } = await find(workflowId);
      if (!(await retryNow(db, workflowId)))
        throw new PandoError(
          'IncorrectState',
          `${workflowId} is ${state}: only one that waits or is stuck can be tried again.`,
        );
      engine.hint();
      return { workflowId };
    },

    'operator.cancelWorkflow': async ({ workflowId }) => {
      const row = await find(workflowId);
      assertCancellable(row, engine);
      await requestCancel(db, workflowId);
      engine.cancel(workflowId);
      return { workflowId };
    },
  };
};

const assertCancellable = (row: WorkflowRow, engine: WorkflowEngine<CellServices>): void => {
  const { id, state, kind } = row;
  if (ended.includes(state)) throw new PandoError('IncorrectState', `${id} has ended: it is ${state}.`);
  if (directionOf(row) === 'undoing')
    throw new PandoError('IncorrectState', `${id} is being undone already.`);
  const definition = engine.definitionOf(row);
  if (definition === undefined)
    throw new PandoError('IncorrectState', `This processor does not have ${kind} version ${row.version}.`);
  const table = new StepTable(definition);
  const position = positionIn(table, row);
  if (position >= table.noReturnAt || table.steps[position]?.onFailure === 'retry')
    throw new PandoError('IncorrectState', `${id}: a ${kind} at this step can only be finished, not undone.`);
};

const positionIn = (table: StepTable<CellServices>, row: WorkflowRow): number => {
  try {
    return table.positionOf(row, 'running');
  } catch (error) {
    if (error instanceof UnknownStep) throw new PandoError('IncorrectState', `${row.id}: ${error.message}`);
    throw error;
  }
};

const directionOf = ({ state, resume_state }: WorkflowRow): 'running' | 'undoing' =>
  state === 'undoing' || state === 'undone'
    ? 'undoing'
    : (resume_state ?? (state === 'stuck' ? 'undoing' : 'running'));

type Definitions = Pick<WorkflowEngine<CellServices>, 'definitionOf'>;
type Summary = Result<Contract, 'operator.workflows'>['workflows'][number];

const waitsForOf = (row: WorkflowRow, has: Definitions): string[] => {
  if (has.definitionOf(row) === undefined) return [`a processor that has ${row.kind} version ${row.version}`];
  const found = [
    ...(row.waits_on === null ? [] : [row.waits_on]),
    ...(row.signal_names ?? []).map((name) => `signal ${name}`),
    ...(row.awaits_children ? ['children'] : []),
  ];
  return found.length > 0 ? found : [row.last_error === null ? 'time' : 'another try'];
};

const summaryOf = (row: WorkflowRow, has: Definitions): Summary => {
  const error = row.last_error ?? row.error;
  const parked = row.state === 'waiting' || row.state === 'stuck';
  return {
    workflowId: row.id,
    kind: row.kind,
    version: row.version,
    subjectKind: row.subject_kind,
    subject: row.subject,
    state: row.state,
    attempts: row.attempts,
    overdue: row.alarmed_at !== null && live.includes(row.state),
    cancel: row.cancel,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    ...(parked ? { resume: directionOf(row) } : {}),
    ...(row.step === null ? {} : { step: row.step }),
    ...(row.state === 'waiting' ? { waitsFor: waitsForOf(row, has) } : {}),
    ...(row.wake_at === null || has.definitionOf(row) === undefined
      ? {}
      : { wakeAt: row.wake_at.toISOString() }),
    ...(error === null ? {} : { error }),
    ...(row.parent_id === null ? {} : { parentId: row.parent_id }),
  };
};

const stepsOf = (
  row: WorkflowRow,
  engine: WorkflowEngine<CellServices>,
): Result<Contract, 'operator.workflow'>['steps'] =>
  (engine.definitionOf(row)?.steps ?? []).map((step) => {
    const timing = row.timings.findLast((each) => each.step === step.name);
    const done = Object.hasOwn(row.results, step.name);
    return {
      name: step.name,
      why: step.why,
      done,
      ...(timing === undefined ? {} : { ms: timing.ms, attempts: timing.attempts }),
      ...(done ? { result: row.results[step.name] } : {}),
    };
  });
