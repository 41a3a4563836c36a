/**
 * A cell's life as its operator has it: shown, drained, marked as a canary, retired (S3.7, S3.12). A cell is retired on positive proof
 * alone: it was drained long enough that no launch which began before can still become durable, it says itself, now, that it has nothing,
 * and the region has no interface of it.
 */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import type { OperatorCell } from '#contracts/operator.ts';
import type { CellContents } from '#contracts/region.ts';
import type { Region } from './region.ts';
import type { Row } from './schema.ts';

/** Longer than a launch may take from the region's answer to its commit. */
export const drainedMsMin = 30_000;

type Cells = Pick<Region, 'db' | 'cells' | 'log'>;

const contentsOf = async ({ cells, log }: Cells, cellId: string): Promise<CellContents | undefined> => {
  const device = cells.get(cellId);
  if (device === undefined || device.connected === 0) return undefined;
  const contents = await device.contents().catch((err: unknown) => {
    log.warn({ err, cell: cellId }, 'a cell did not say what it has');
    return undefined;
  });
  return contents?.cellId === cellId ? contents : undefined;
};

const stateOf = ({ state, retired_at }: Row<'cell'>): OperatorCell['state'] =>
  retired_at === null ? state : 'retired';

const show = async (region: Cells, row: Row<'cell'>): Promise<OperatorCell> => {
  const { rows } = await sql<{ n: number }>`
    select count(*)::int as n from account_cell where cell_id = ${row.cell_id}`.execute(region.db);
  const contents = row.retired_at === null ? await contentsOf(region, row.cell_id) : undefined;
  return {
    ...{ cellId: row.cell_id, number: row.number, zone: row.zone, state: stateOf(row), canary: row.canary },
    processors: row.processors,
    processorsConnected: region.cells.get(row.cell_id)?.connected ?? 0,
    accounts: rows[0]?.n ?? 0,
    ...(contents === undefined ? {} : { contents }),
  };
};

export const describeCells = async (region: Cells): Promise<OperatorCell[]> => {
  const rows = await region.db.selectFrom('cell').selectAll().orderBy('number').execute();
  return Promise.all(rows.map((row) => show(region, row)));
};

const find = async ({ db }: Cells, cellId: string): Promise<Row<'cell'>> => {
  const row = await db.selectFrom('cell').selectAll().where('cell_id', '=', cellId).executeTakeFirst();
  if (row === undefined)
    throw new PandoError('NotFound', `There is no cell ${cellId.slice(0, 64)}. pando cell list shows them.`);
  return row;
};

export const setCell = async (
  region: Cells,
  {
    cellId,
    drained,
    canary,
  }: {
    readonly cellId: string;
    readonly drained?: boolean | undefined;
    readonly canary?: boolean | undefined;
  },
): Promise<OperatorCell> => {
  const { retired_at } = await find(region, cellId);
  if (retired_at !== null) throw new PandoError('IncorrectState', `${cellId} was retired.`);
  await region.db
    .updateTable('cell')
    .set({
      ...(canary === undefined ? {} : { canary }),
      ...(drained === undefined ? {} : { state: drained ? ('draining' as const) : ('active' as const) }),
      // Draining again does not begin anew.
      ...(drained === undefined
        ? {}
        : { drained_at: drained ? sql<Date>`coalesce(drained_at, now())` : null }),
    })
    .where('cell_id', '=', cellId)
    .where('retired_at', 'is', null)
    .execute();
  return show(region, await find(region, cellId));
};

/** @throws NotFound, HostUnreachable, IncorrectState */
export const retireCell = async (region: Cells, cellId: string): Promise<void> => {
  const row = await find(region, cellId);
  if (row.retired_at !== null) return forgetCell(region, cellId);
  const { rows } = await sql<{ settled: boolean; interfaces: number }>`
    select coalesce(drained_at < now() - ${drainedMsMin} * interval '1 millisecond', false) as settled,
      (select count(*)::int from eni where instance_id like ${`i-${row.number.toString(16).padStart(3, '0')}%`}) as interfaces
    from cell where cell_id = ${cellId}`.execute(region.db);
  const { settled = false, interfaces = 0 } = rows[0] ?? {};
  if (row.drained_at === null)
    throw new PandoError('IncorrectState', `${cellId} takes launches: drain it first (pando cell drain).`);
  if (!settled)
    throw new PandoError(
      'IncorrectState',
      `${cellId} was drained less than ${drainedMsMin / 1000} s ago: a launch may still be on its way. Try again then.`,
    );
  const contents = await contentsOf(region, cellId);
  if (contents === undefined)
    throw new PandoError(
      'HostUnreachable',
      `${cellId} does not answer, so it is not known to be empty: bring it back first (pando up).`,
    );
  const has = whatIsLeft(contents, interfaces);
  if (has.length > 0) throw new PandoError('IncorrectState', `${cellId} still has ${has.join(', ')}.`);
  await region.db
    .updateTable('cell')
    .set({ retired_at: sql<Date>`now()`, state: 'draining' })
    .where('cell_id', '=', cellId)
    .where('drained_at', 'is not', null)
    .execute();
  forgetCell(region, cellId);
  region.log.warn({ cell: cellId }, 'a cell was retired: it is empty by its own word');
};

/** Its certificates last some weeks longer. A cell that is not known here has no number, so no instance is its own (`#base/rpc/access.ts`). */
const forgetCell = ({ cells }: Cells, cellId: string): void => void cells.delete(cellId);

/** In words; empty: nothing. Hosts count: theirs is a pin to this cell, and perhaps a disk that nobody looked at. */
const whatIsLeft = ({ vms, hosts, quarantined, workflows }: CellContents, interfaces: number): string[] => [
  ...(vms > 0 ? [`${vms} instances (move or terminate them)`] : []),
  ...(quarantined > 0 ? [`${quarantined} VMs in quarantine (pando vm list --quarantined)`] : []),
  ...(workflows > 0 ? [`${workflows} workflows that have not ended (pando workflow list)`] : []),
  ...(hosts > 0 ? [`${hosts} hosts (pando host rehome)`] : []),
  ...(interfaces > 0 ? [`${interfaces} network interfaces`] : []),
];
