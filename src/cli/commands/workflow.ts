/** `pando workflow …`: what the cells are doing, what waits, what is stuck, and an operator's hand in it. */
import type { Result } from '#base/rpc/contract.ts';
import type { cellOperatorContract } from '#contracts/cell-operator.ts';
import { PandoError } from '#contracts/errors.ts';
import { cellNumberOf, isId } from '#contracts/ids.ts';
import { type CellCaller, hostNameOf, planOf, withCell } from '../operator.ts';
import { paint, print, table, UserError } from '../output.ts';
import { openRun, type Region } from '../region.ts';
import { since } from './status.ts';

type Contract = typeof cellOperatorContract;
export type Summary = Result<Contract, 'operator.workflows'>['workflows'][number];
type Shown = Result<Contract, 'operator.workflow'>;
type State = Summary['state'];
type Run = Pick<Region, 'directory' | 'run'>;

export interface ListOptions {
  readonly dir: string;
  readonly cell?: number;
  readonly state?: readonly State[];
  readonly kind?: string;
  readonly subject?: string;
  readonly all: boolean;
  readonly limit: number;
  readonly json: boolean;
}

/** `pando workflow list`. Cells that do not answer are told on stderr's side of the result, and do not hide the others. */
export async function listWorkflows(options: ListOptions): Promise<void> {
  const region = openRun(options);
  const numbers = planOf(region.run).cells.map((cell) => cell.number);
  const chosen = options.cell === undefined ? numbers : [options.cell];
  const filter = {
    ...{ ended: options.all, limit: options.limit, kind: options.kind, subject: options.subject },
    ...(options.state === undefined ? {} : { states: [...options.state] }),
  };
  const cells = await Promise.all(
    chosen.map(async (cell) => ({
      cell,
      ...(await withCell(region, cell, (caller) => caller.call('operator.workflows', filter)).catch(
        (error: unknown) => ({ workflows: [], counts: [], error: messageOf(error) }),
      )),
    })),
  );
  if (options.json) print(JSON.stringify({ cells }, null, 2));
  else for (const each of cells) printCell(each, nameIn(region));
  if (cells.some((each) => 'error' in each)) process.exitCode = 1;
}

/** `pando workflow show ID`. */
export async function showWorkflow(id: string, options: { dir: string; json: boolean }): Promise<void> {
  const region = openRun(options);
  const workflow = await ask(region, id, (cell) => cell.call('operator.workflow', { workflowId: id }));
  if (options.json) print(JSON.stringify(workflow, null, 2));
  else print(describe(workflow, nameIn(region)));
}

/** `pando workflow retry ID`. */
export async function retryWorkflow(id: string, options: { dir: string }): Promise<void> {
  await ask(openRun(options), id, (cell) => cell.call('operator.retryWorkflow', { workflowId: id }));
  print(`${id} is tried again now. pando workflow show ${id} tells what it comes to.`);
}

/** `pando workflow cancel ID`. */
export async function cancelWorkflow(id: string, options: { dir: string }): Promise<void> {
  await ask(openRun(options), id, (cell) => cell.call('operator.cancelWorkflow', { workflowId: id }));
  print(
    `${id} stops before its next step and undoes what it did. pando workflow show ${id} tells how far it is.`,
  );
}

async function ask<T>(region: Run, id: string, work: (cell: CellCaller) => Promise<T>): Promise<T> {
  const known =
    isId('workflow', id) && planOf(region.run).cells.some((cell) => cell.number === cellNumberOf(id));
  if (!known)
    throw new UserError(
      `There is no workflow ${id} in this region. pando workflow list shows those there are.`,
    );
  return withCell(region, cellNumberOf(id), (cell) =>
    work(cell).catch((error: unknown) => {
      if (error instanceof PandoError && error.code === 'NotFound')
        throw new UserError(
          `There is no workflow ${id}: those that ended are kept for an hour. pando workflow list`,
        );
      if (error instanceof PandoError && error.code === 'IncorrectState') throw new UserError(error.message);
      throw error;
    }),
  );
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Host ids in a text become the short names that people know. */
const nameIn =
  ({ run }: Run) =>
  (text: string): string =>
    text.replace(/h-[0-9a-f]{17}/g, (hostId) => hostNameOf(run, hostId));

type Name = (text: string) => string;

const printCell = (
  {
    cell,
    workflows,
    counts,
    error,
  }: {
    cell: number;
    workflows: readonly Summary[];
    counts: readonly { state: State; n: number }[];
    error?: string;
  },
  name: Name,
): void => {
  const totals = counts.map(({ state, n }) => `${n} ${state}`).join(', ');
  print(
    `${paint('bold', `cell ${cell}`)}  ${error ?? (totals === '' ? 'no workflow is under way' : totals)}`,
  );
  if (workflows.length > 0) print(table([header, ...workflows.map((each) => rowOf(each, name))]));
};

const header = ['  WORKFLOW', 'KIND', 'SUBJECT', 'STATE', 'STEP', 'AGE', 'WAITS FOR', 'WHY'];

/** A workflow as a line of the list. */
export const rowOf = (workflow: Summary, name: Name = (text) => text, nowMs = Date.now()): string[] => [
  `${workflow.state === 'stuck' || workflow.overdue ? '!' : ' '} ${workflow.workflowId}`,
  workflow.kind,
  workflow.subject,
  stateOf(workflow),
  workflow.step ?? '',
  since(Date.parse(workflow.createdAt), nowMs),
  waitOf(workflow, name, nowMs),
  workflow.error === undefined
    ? ''
    : name(`${workflow.error.code}: ${workflow.error.message}`).slice(0, reasonCharsMax),
];

const reasonCharsMax = 80;

const stateOf = ({ state, resume, cancel, overdue }: Summary): string =>
  [
    state === 'waiting' && resume === 'undoing' ? 'waiting to undo' : state,
    ...(overdue && state !== 'stuck' ? ['overdue'] : []),
    ...(cancel && state !== 'undone' && state !== 'done' ? ['cancelled'] : []),
  ].join(', ');

const waitOf = ({ state, waitsFor = [], wakeAt }: Summary, name: Name, nowMs: number): string => {
  if (state === 'stuck') return 'an operator';
  if (state !== 'waiting') return '';
  const what = name(waitsFor.join(', '));
  if (wakeAt === undefined) return what;
  return `${what} (${Math.max(0, Math.ceil((Date.parse(wakeAt) - nowMs) / 1000))} s at most)`;
};

/** A workflow with its steps, for people. */
export const describe = (workflow: Shown, name: Name = (text) => text, nowMs = Date.now()): string => {
  const { workflowId, kind, version, subjectKind, subject, error, parentId, children = [] } = workflow;
  const wait = waitOf(workflow, name, nowMs);
  const next = workflow.steps.find((step) => !step.done)?.name;
  const facts = [
    ['state', stateOf(workflow) + (workflow.state === 'stuck' ? ` (would go on ${workflow.resume})` : '')],
    ['subject', `${subjectKind} ${subject}`],
    ['begun', `${workflow.createdAt} (${since(Date.parse(workflow.createdAt), nowMs)} ago)`],
    [
      'changed',
      `${since(Date.parse(workflow.updatedAt), nowMs)} ago, by ${workflow.owner} (epoch ${workflow.epoch})`,
    ],
    ...(wait === '' ? [] : [['waits for', wait]]),
    ...(workflow.attempts === 0
      ? []
      : [['put off', `${workflow.attempts} times in a row at ${workflow.step}`]]),
    ...(error === undefined ? [] : [['error', name(`${error.code} at ${error.step}: ${error.message}`)]]),
    ...(parentId === undefined ? [] : [['parent', parentId]]),
  ];
  const steps = workflow.steps.map((step) => [
    `  ${step.done ? '✔' : step.name === (workflow.step ?? next) ? '…' : ' '} ${step.name}`,
    step.ms === undefined ? '' : `${step.ms} ms`,
    step.attempts === undefined || step.attempts < 2 ? '' : `${step.attempts} attempts`,
    step.why,
  ]);
  return [
    `${paint('bold', workflowId)}  ${kind}${version === 1 ? '' : ` (version ${version})`}`,
    table(facts.map(([what = '', fact = '']) => [`  ${what}`, fact])),
    ...(steps.length === 0 ? ['  The processor that answered does not have its steps.'] : [table(steps)]),
    ...(children.length === 0 ? [] : ['  children', table(children.map((each) => rowOf(each, name, nowMs)))]),
  ].join('\n');
};
