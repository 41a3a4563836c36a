/** `pando cell`: the cells of the region, made, drained, marked and retired. */
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import type { OperatorCell } from '#contracts/operator.ts';
import { bringUp } from '#lab/bringUp.ts';
import { newExternal, objection } from '#lab/externalPostgres.ts';
import { withNewCell, withoutCell, zonesToGrow } from '#lab/layout.ts';
import { cellName, layoutOf } from '#lab/plan.ts';
import { zoneName } from '#lab/processes.ts';
import { type RunRecord, writeRun } from '#lab/runRecord.ts';
import { type RunDirectory, runDirectory } from '#node/directory.ts';
import { withLock } from '#node/lock.ts';
import { planOf } from '../operator.ts';
import { paint, print, progress, step, table, UserError } from '../output.ts';
import { openRun } from '../region.ts';
import { withRegion } from '../regionOperator.ts';
import { refuseSimulated } from '../simulated/directory.ts';

export interface CellOptions {
  readonly dir: string;
}

const answerTimeoutMs = 20_000;
const joinTimeoutMs = 30_000;
const pollMs = 200;

/** What the region knows of all cells. */
async function cellsOf(options: CellOptions): Promise<OperatorCell[]> {
  return withRegion(openRun(options), async (region) => {
    const { cells } = await region.call('operator.cells', {}, { timeoutMs: answerTimeoutMs });
    return cells;
  });
}

const of = (count: number, max: number): string => `${count} of ${max}`;

const stateOf = ({ state, canary }: OperatorCell): string => (canary ? `${state}, canary` : state);

/** `pando cell list`. */
export async function listCells(options: CellOptions & { readonly json: boolean }): Promise<void> {
  const cells = await cellsOf(options);
  if (options.json) return print(JSON.stringify({ cells }, null, 2));
  const rows = cells.map((cell) => [
    cell.cellId,
    cell.zone,
    stateOf(cell),
    cell.contents === undefined ? '-' : of(cell.contents.hosts, cell.contents.hostsMax),
    cell.contents === undefined ? '-' : of(cell.contents.vms, cell.contents.vmsMax),
    String(cell.accounts),
    cell.state !== 'retired' && cell.contents === undefined ? 'does not answer' : '',
  ]);
  print(table([['cell', 'zone', 'state', 'hosts', 'VMs', 'accounts', ''], ...rows]));
}

/** The record of a real region, for those who change what it is made of. */
function recordOf(options: CellOptions): RunRecord {
  const { run } = openRun(options);
  refuseSimulated(run, 'it is made of what it began with. pando down, then up --simulated --cells N.');
  if (process.getuid?.() !== 0) throw new UserError('Run as root: its processes and namespaces are root’s.');
  return run;
}

/** Runs `work` on the region's record, while nobody else changes it. */
export const changing = async <T>(
  options: CellOptions,
  work: (directory: RunDirectory, run: RunRecord) => Promise<T>,
): Promise<T> => {
  const directory = runDirectory(resolve(options.dir));
  recordOf(options);
  return withLock(directory.lockFile, () => work(directory, recordOf(options)));
};

/** Tells the user what of their numbers does not fit, without a stack. */
export const fitting = (change: () => RunRecord): RunRecord => {
  try {
    return change();
  } catch (error) {
    throw error instanceof RangeError ? new UserError(error.message) : error;
  }
};

/** Writes the record and brings the region to it. */
export async function become(directory: RunDirectory, run: RunRecord, what: string): Promise<void> {
  writeRun(directory, run);
  await step(what, (say) => bringUp(directory, run, say)).catch((error: unknown) => {
    progress('What was decided stays: pando up goes on with it.');
    throw error;
  });
}

export interface CreateOptions extends CellOptions {
  readonly zone?: string;
  readonly hosts: number;
  readonly postgres?: string;
  readonly canary?: boolean;
  /** Make what is due, or nothing. */
  readonly auto?: boolean;
}

/** `pando cell create`. */
export async function createCell(options: CreateOptions): Promise<void> {
  await changing(options, async (directory, run) => {
    if (options.postgres !== undefined) {
      const reason = await objection(options.postgres);
      if (reason !== undefined) throw new UserError(`--postgres: ${reason}`);
    }
    if (options.auto !== true) return createIn(directory, run, zoneNumber(run, options.zone), options);
    const due = zonesToGrow(await cellsOf(options));
    if (due.length === 0) print('No zone needs another cell.');
    for (const zone of due) {
      print(`${zone}: every active cell is nearly full, so the next one is made.`);
      await createIn(directory, recordOf(options), zoneNumber(run, zone), options);
    }
  });
}

/** The zone that is named, else the one with fewest cells. */
function zoneNumber(run: RunRecord, name: string | undefined): number {
  const { zones, cells } = planOf(run);
  const numbers = Array.from({ length: zones }, (_, at) => at + 1);
  const count = (zone: number): number => cells.filter((cell) => cell.zone === zone).length;
  if (name === undefined) return numbers.sort((a, b) => count(a) - count(b) || a - b)[0] ?? 1;
  const found = numbers.find((zone) => zoneName(run, zone) === name);
  if (found !== undefined) return found;
  throw new UserError(
    `There is no zone ${name}. There are: ${numbers.map((zone) => zoneName(run, zone)).join(' ')}`,
  );
}

async function createIn(
  directory: RunDirectory,
  run: RunRecord,
  zone: number,
  { hosts, postgres, canary }: CreateOptions,
): Promise<void> {
  const external = postgres === undefined ? undefined : newExternal(postgres);
  const grown = fitting(() => withNewCell(run, { zone, hosts, postgres: external }));
  const name = cellName(layoutOf(grown).cells.at(-1)?.number ?? 0);
  await become(directory, grown, `${name}: its store, processors and hosts`);
  await joined({ dir: directory.root }, name);
  if (canary === true) await set({ dir: directory.root }, name, { canary: true });
  print(
    `${paint('ok', '✔')} ${name} takes launches in ${zoneName(run, zone)}, with ${hosts === 1 ? 'one host' : `${hosts} hosts`}${canary === true ? '; it takes every change first' : ''}.`,
  );
  if (hosts === 0)
    print(`It has no hosts yet: pando host drain HOST, then pando host rehome HOST --to ${name}`);
}

/** Its processors are ready before the region has heard of it. */
async function joined(options: CellOptions, cellId: string): Promise<void> {
  const until = monotonicMs() + joinTimeoutMs;
  const isThere = async (): Promise<boolean> =>
    (await cellsOf(options)).some((cell) => cell.cellId === cellId && cell.processorsConnected > 0);
  while (!(await isThere())) {
    if (monotonicMs() > until)
      throw new UserError(`${cellId} runs and has not joined the region. pando logs ${cellId}-1 shows why.`);
    await delay(pollMs);
  }
}

const set = (
  options: CellOptions,
  cellId: string,
  change: { readonly drained?: boolean; readonly canary?: boolean },
): Promise<OperatorCell> =>
  withRegion(openRun(options), async (region) => {
    const { cell } = await region.call(
      'operator.setCell',
      { cellId, ...change },
      { timeoutMs: answerTimeoutMs },
    );
    return cell;
  });

/** `pando cell drain`: no new launches, at once and by every router; VMs stay. */
export async function drainCell(cellId: string, options: CellOptions & { undo: boolean }): Promise<void> {
  const { contents } = await set(options, cellId, { drained: !options.undo });
  if (options.undo) return print(`${cellId} takes launches again.`);
  const has =
    contents === undefined ? '' : ` It has ${contents.vms} VMs, which run on, and ${contents.hosts} hosts.`;
  print(`${cellId} takes no launches from now on.${has}`);
  print(`Its hosts go elsewhere by pando host rehome; when it is empty: pando cell retire ${cellId}`);
}

/** `pando cell set`. */
export async function setCell(
  cellId: string,
  options: CellOptions & { readonly canary?: boolean },
): Promise<void> {
  if (options.canary === undefined) throw new UserError('Say what: --canary or --no-canary.');
  await set(options, cellId, { canary: options.canary });
  print(`${cellId} ${options.canary ? 'takes every change first' : 'is no canary any more'}.`);
}

/** `pando cell retire`: only an empty cell, by its own word. */
export async function retireCell(cellId: string, options: CellOptions): Promise<void> {
  await changing(options, async (directory, run) => {
    const cell = planOf(run).cells.find(({ name }) => name === cellId);
    const known = layoutOf(run).cells.find(({ number }) => cellName(number) === cellId);
    if (known === undefined) throw new UserError(`There is no cell ${cellId}. pando cell list shows them.`);
    // First what the machine's own plan says, then the proof.
    const smaller = cell === undefined ? run : fitting(() => withoutCell(run, cell.number));
    await withRegion({ directory, run }, (region) =>
      region.call('operator.retireCell', { cellId }, { timeoutMs: answerTimeoutMs }),
    );
    await become(directory, smaller, `ending the processes of ${cellId}`);
    print(`${cellId} is retired. Its store, which has nothing of anybody’s, stays until pando down.`);
  });
}
