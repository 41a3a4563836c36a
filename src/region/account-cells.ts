/**
 * Which cells an account has instances in (S3.10). A row is written before the cell makes a launch durable, and goes with its cell alone:
 * a row too many costs a question, a missing one would hide instances. Cells tell their accounts again and again, so that a store which
 * lost its last seconds is whole within minutes.
 */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import type { Database } from './schema.ts';

/**
 * Parts of a statement, in which the account and the cell are the parameters of these names (`$1`): `cell_now` with whether the cell is `open`, and, where it is, the account's row. For a launch of the account in
 * that cell that is about to be made durable.
 */
export const notedLaunch = (accountId: `$${number}`, cellId: `$${number}`): string => `
  cell_now as (select state = 'active' and retired_at is null as open from cell where cell_id = ${cellId}::text),
  noted as (
    insert into account_cell (account_id, cell_id) select ${accountId}::text, ${cellId}::text from cell_now where open
    on conflict do nothing)`;

/**
 * `open`: as `notedLaunch` found it; null: the cell has not joined, and cannot be asked either. It is on its way.
 *
 * @throws InsufficientInstanceCapacity for a cell that takes no launches (draining, retired): the router offers the launch to another one
 */
export const assertTakesLaunches = (open: boolean | null): void => {
  if (open !== false) return;
  throw new PandoError(
    'InsufficientInstanceCapacity',
    'We currently do not have sufficient capacity in the Availability Zone you requested.',
  );
};

/** A cell's own word of which accounts it has instances of. */
export const noteAccounts = async (
  db: Database,
  cellId: string,
  accountIds: readonly string[],
): Promise<void> => {
  await sql`
    insert into account_cell (account_id, cell_id)
    select distinct account_id, cell.cell_id from unnest(${[...accountIds]}::text[]) as account_id, cell
    where cell.cell_id = ${cellId} and retired_at is null
    on conflict do nothing`.execute(db);
};

export const accountCells = async (db: Database, accountId: string): Promise<string[]> => {
  const rows = await db
    .selectFrom('account_cell')
    .innerJoin('cell', 'cell.cell_id', 'account_cell.cell_id')
    .select('account_cell.cell_id')
    .where('account_id', '=', accountId)
    .where('retired_at', 'is', null)
    .orderBy('number')
    .execute();
  return rows.map(({ cell_id }) => cell_id);
};
