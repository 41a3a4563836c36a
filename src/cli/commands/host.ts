/** `pando host …`: hosts emptied, rebuilt, taken back. */
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import type { Result } from '#base/rpc/contract.ts';
import type { cellOperatorContract } from '#contracts/cell-operator.ts';
import type { RunRecord } from '#lab/runRecord.ts';
import { type CellCaller, hostIdOf, hostNameOf, planOf, withCell } from '../operator.ts';
import { print, progress, seconds, table, ticking, UserError } from '../output.ts';
import { openRun, type Region } from '../region.ts';

type Contract = typeof cellOperatorContract;
type Shown = Result<Contract, 'operator.host'>;
type Strategy = NonNullable<Shown['strategy']>;

export interface RebuildOptions {
  readonly dir: string;
  readonly pool?: string;
  readonly full: boolean;
  readonly diagnose: boolean;
  readonly ignoreWindows: boolean;
  readonly dryRun: boolean;
  readonly wait: boolean;
}

const pollMs = 300;
/** The host's reason is read with every so many looks at its workflow. */
const looksPerReason = 10;
const followMsMax = 2 * 60 * 60_000;
const ended = ['done', 'undone', 'stuck'];

/** Calls the cell of a host that a user named. */
const atHost = async <T>(
  options: { dir: string },
  name: string,
  work: (cell: CellCaller, hostId: string, run: RunRecord) => Promise<T>,
): Promise<T> => {
  const region: Pick<Region, 'directory' | 'run'> = openRun(options);
  const { run } = region;
  const hostId = hostIdOf(run, name);
  const number = planOf(run).hosts.find((host) => host.hostId === hostId)?.cell ?? 0;
  return withCell(region, number, (cell) => work(cell, hostId, run));
};

const words = ({
  state,
  phase,
  phaseReason = '',
}: Pick<Shown, 'state' | 'phase'> & { phaseReason?: string | undefined }): string =>
  [phase ?? (state === 'active' ? 'serves' : state), phaseReason].filter((part) => part !== '').join(': ');

/** `pando host list`. */
export async function listHosts(options: { dir: string; json: boolean }): Promise<void> {
  const region = openRun(options);
  const { run } = region;
  const cells = await Promise.all(
    planOf(run).cells.map(({ number }) =>
      withCell(region, number, (cell) => cell.call('operator.hosts', {})),
    ),
  );
  if (options.json) return print(JSON.stringify({ cells }, null, 2));
  const rows = cells.flatMap(({ cellId, hosts }) =>
    hosts.map((host) => [
      ...[hostNameOf(run, host.hostId), host.hostId, cellId, host.pool ?? '-'],
      host.connected ? '' : 'not connected',
      ...[
        `${host.used.vcpus}/${host.capacity.vcpus} vCPU`,
        `${host.used.memoryMib}/${host.capacity.memoryMib} MiB`,
      ],
      words(host),
    ]),
  );
  print(table([['HOST', 'ID', 'CELL', 'POOL', '', '', '', ''], ...rows]));
}

const minute = 60_000;
const spell = (ms: number): string =>
  ms < minute
    ? seconds(ms)
    : ms < 120 * minute
      ? `${(ms / minute).toFixed(0)} min`
      : `${(ms / (60 * minute)).toFixed(0)} h`;

const strategyTable = ({ steps, expectedMs, fullMs }: Strategy): string => {
  const rows = steps.map(({ step, decision, why, evidence, riskMax, expectedMs: ms }) => [
    ...[decision === 'skip' ? '  ⏭' : '  •', step, decision === 'skip' ? 'left out' : spell(ms)],
    [
      why,
      evidence === undefined ? '' : `${evidence.kind}, ${spell(evidence.ageMs)} old`,
      riskMax === undefined ? '' : `wrong at most once in ${Math.floor(1 / riskMax)}`,
    ]
      .filter((part) => part !== '')
      .join('; '),
  ]);
  return `${table(rows)}\n  about ${spell(expectedMs)}; all steps: ${spell(fullMs)}`;
};

/** `pando host show HOST`. */
export async function showHost(
  name: string,
  options: { dir: string; pool?: string; json: boolean },
): Promise<void> {
  await atHost(options, name, async (cell, hostId, run) => {
    const shown = await cell.call('operator.host', { hostId, pool: options.pool });
    if (options.json) return print(JSON.stringify(shown, null, 2));
    print(`${hostNameOf(run, hostId)} (${hostId}): ${words(shown)}`);
    print(
      `class ${shown.hostClass} · pool ${shown.pool ?? '-'}${shown.restsUntil === undefined ? '' : ` · rests until ${shown.restsUntil}`}`,
    );
    if (shown.workflowId !== undefined)
      print(`in the hands of ${shown.workflowId}: pando workflow show ${shown.workflowId}`);
    if (shown.there.length > 0) print(`There: ${shown.there.join(', ')}`);
    if (shown.steps.length > 0)
      print(
        `On record:\n${table(shown.steps.map((each) => [`  ${each.ok ? '✔' : '✘'} ${each.step}`, `${spell(each.ageMs)} ago`, each.changed ? 'had to change something' : '', spell(each.ms)]))}`,
      );
    if (shown.strategy === undefined) print('It does not answer: what a rebuild would do is not known.');
    else print(`A rebuild now (${shown.strategy.level}):\n${strategyTable(shown.strategy)}`);
  });
}

/** `pando host drain HOST`. */
export async function drainHost(
  name: string,
  options: { dir: string; undo: boolean; ignoreWindows: boolean },
): Promise<void> {
  await atHost(options, name, async (cell, hostId, run) => {
    const { workflowId, there } = await cell.call('operator.drainHost', {
      hostId,
      undo: options.undo,
      ignoreWindows: options.ignoreWindows,
    });
    const host = hostNameOf(run, hostId);
    if (workflowId === undefined) return print(`${host} takes VMs again.`);
    if (there.length > 0) progress(`${host}: ${there.join(', ')}`);
    await followHost(cell, hostId, workflowId);
    const { phaseReason } = await cell.call('operator.host', { hostId });
    print(`${host} is ${phaseReason}. pando host drain ${host} --undo takes VMs again.`);
  });
}

/** `pando host rebuild HOST`. */
export async function rebuildHost(name: string, options: RebuildOptions): Promise<void> {
  await atHost(options, name, async (cell, hostId, run) => {
    const { pool, full, diagnose, ignoreWindows } = options;
    const host = hostNameOf(run, hostId);
    if (options.dryRun) {
      const { strategy, there } = await cell.call('operator.host', { hostId, pool, full: full || diagnose });
      if (strategy === undefined)
        throw new UserError(`${host} does not answer: nothing can be said of a rebuild.`);
      print(`${host} would get (${strategy.level}):\n${strategyTable(strategy)}`);
      return print(
        there.length === 0 ? '  Nothing lies there.' : `  First it would be emptied of ${there.join(', ')}`,
      );
    }
    const begun = monotonicMs();
    const { workflowId, strategy } = await cell.call('operator.rebuildHost', {
      hostId,
      pool,
      full,
      diagnose,
      ignoreWindows,
    });
    progress(`${host}: ${workflowId} (${strategy.level})\n${strategyTable(strategy)}`);
    if (!options.wait) return print(`It is begun: pando host show ${host} tells how far it is.`);
    await followHost(cell, hostId, workflowId);
    const shown = await cell.call('operator.host', { hostId });
    if (shown.state !== 'active' || shown.phaseReason !== '')
      throw new UserError(
        `${host} ${shown.state === 'active' ? 'was given back as it was' : 'is not in service'}: ${words(shown)}`,
      );
    print(
      `${host} serves again after ${seconds(monotonicMs() - begun)}${shown.pool === undefined ? '' : `, in pool ${shown.pool}`}.`,
    );
  });
}

/** Shows each step as it is done, of one pass after the other, until the host is in no workflow's hands. */
const followHost = async (cell: CellCaller, hostId: string, first: string): Promise<void> => {
  const until = monotonicMs() + followMsMax;
  let workflowId = first;
  let shown = new Set<string>();
  let underWay = '';
  let waits = '';
  let looks = 0;
  /** What it waits for, where its VMs may be moved in event windows alone. */
  const tellWaits = async (): Promise<void> => {
    if (underWay !== 'moveVms' || looks++ % looksPerReason !== 0) return;
    const { phaseReason } = await cell.call('operator.host', { hostId });
    if (phaseReason === waits || !phaseReason.includes('event window')) return;
    waits = phaseReason;
    progress(`  … ${waits} (--ignore-windows would not wait)`);
  };
  const turn = async (): Promise<boolean> => {
    const workflow = await cell.call('operator.workflow', { workflowId });
    for (const { name, ms, why } of workflow.steps.filter(({ name, done }) => done && !shown.has(name))) {
      shown.add(name);
      progress(`  ✔ ${name}${ms === undefined ? '' : ` (${seconds(ms)})`}: ${why}`);
    }
    underWay = workflow.steps.find(({ done }) => !done)?.name ?? '';
    if (!ended.includes(workflow.state)) {
      await tellWaits();
      return false;
    }
    if (workflow.state === 'stuck')
      throw new UserError(`It is stuck at ${underWay}: pando workflow show ${workflowId} tells why.`);
    const { workflowId: next } = await cell.call('operator.host', { hostId });
    if (workflow.error !== undefined) progress(`  ✘ ${workflow.error.message}`);
    if (next === undefined) return true;
    progress(`Another pass: ${next}`);
    workflowId = next;
    shown = new Set();
    return false;
  };
  await ticking(
    async () => {
      while (!(await turn())) {
        if (monotonicMs() > until)
          throw new UserError(`It still goes on, at ${underWay}: pando workflow show ${workflowId}`);
        await delay(pollMs);
      }
    },
    () => underWay,
  );
};
