/** How a run's cells and hosts change after its first start: pure functions from record to record. Numbers are never used twice. */
import { type CellContents, isNearlyFull } from '#contracts/region.ts';
import { cellName, cellsMax, type ExternalStore, hostsMax, type Layout, layoutOf } from './plan.ts';
import { zoneName } from './processes.ts';
import type { RunRecord } from './runRecord.ts';

export interface NewCell {
  /** Counts from 1. */
  readonly zone: number;
  /** How many hosts of its own. */
  readonly hosts: number;
  readonly postgres?: ExternalStore | undefined;
}

const next = (numbers: readonly number[]): number => Math.max(0, ...numbers) + 1;

/** The record with one cell more. @throws RangeError where this machine's plan has no more numbers, or there is no such zone */
export function withNewCell(run: RunRecord, { zone, hosts, postgres }: NewCell): RunRecord {
  const layout = layoutOf(run);
  const zones = run.zones ?? run.cells;
  if (zone < 1 || zone > zones)
    throw new RangeError(`This region has zones ${zoneName(run, 1)} to ${zoneName(run, zones)}.`);
  const number = next(layout.cells.map((each) => each.number));
  const firstHost = next(layout.hosts.map((each) => each.number));
  if (number > cellsMax)
    throw new RangeError(
      `A region on one machine has ${cellsMax} cells at most, retired ones included: their numbers are in ids for ever.`,
    );
  if (firstHost + hosts - 1 > hostsMax)
    throw new RangeError(`A region on one machine has ${hostsMax} hosts at most.`);
  const sharers = layout.hosts.length + hosts;
  const made = Array.from({ length: hosts }, (_, at) => ({ number: firstHost + at, cell: number, sharers }));
  const cell = { number, zone, ...(postgres === undefined ? {} : { postgres }) };
  return { ...run, layout: { cells: [...layout.cells, cell], hosts: [...layout.hosts, ...made] } };
}

/** The record without a cell, whose number stays taken. @throws RangeError where it has hosts, or is the last one */
export function withoutCell(run: RunRecord, number: number): RunRecord {
  const layout = layoutOf(run);
  const left = layout.cells.filter((cell) => cell.retired !== true && cell.number !== number);
  if (left.length === 0)
    throw new RangeError('The last cell of a region is not retired: pando down ends all.');
  const hosts = layout.hosts.filter((host) => host.cell === number);
  if (hosts.length > 0)
    throw new RangeError(`${cellName(number)} has ${hosts.map((host) => `host-${host.number}`).join(', ')}.`);
  const cells = layout.cells.map((cell) =>
    cell.number === number ? { ...cell, retired: true as const } : cell,
  );
  return { ...run, layout: { cells, hosts: [...layout.hosts] } };
}

/** The record with a host in another cell. */
export function withMovedHost(run: RunRecord, host: number, cell: number): RunRecord {
  const layout: Layout = layoutOf(run);
  const hosts = layout.hosts.map((each) => (each.number === host ? { ...each, cell } : each));
  return { ...run, layout: { cells: [...layout.cells], hosts } };
}

/** A cell as far as growth goes. */
export interface CellFill {
  readonly zone: string;
  readonly state: 'active' | 'draining' | 'retired';
  /** Absent: it does not answer, and may have room. */
  readonly contents?: CellContents | undefined;
}

/** The zones that need another cell (S3.7): they have active cells, and each of those says that it is nearly full. */
export const zonesToGrow = (cells: readonly CellFill[]): string[] => {
  const active = cells.filter(({ state }) => state === 'active');
  return [...Map.groupBy(active, ({ zone }) => zone)]
    .filter(([, own]) => own.every(({ contents }) => contents !== undefined && isNearlyFull(contents)))
    .map(([zone]) => zone);
};
