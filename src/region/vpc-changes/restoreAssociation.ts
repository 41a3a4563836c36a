/** A subnet goes by the route table again by which it went, so that its former routes are not written into another's. */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import { newId } from '#contracts/ids.ts';
import type { RegionTransaction } from '../schema.ts';
import { routeTableAt } from './settings.ts';

interface FormerAssociation {
  readonly subnetId: string;
  readonly vpcId: string;
  /** Of the VPC. */
  readonly version: number;
}

/** Answers what goes and comes. @throws IncorrectState: the table is gone, or the VPC's main one is another now */
export const restoreAssociation = async (
  tx: RegionTransaction,
  { subnetId, vpcId, version }: FormerAssociation,
): Promise<string[]> => {
  const former = await routeTableAt(tx, { vpcId, subject: subnetId, version });
  // From before it was written down: the table that it has is the best that is known.
  if (former === undefined) return [];
  if (former === null) await checkMain(tx, vpcId, version);
  const now = await ownTable(tx, subnetId);
  if (former === now) return [];
  if (former !== null) await checkTable(tx, vpcId, subnetId, former);
  await sql`delete from route_table_association where subnet_id = ${subnetId}`.execute(tx);
  if (former !== null)
    await sql`insert into route_table_association (association_id, route_table_id, vpc_id, subnet_id)
      values (${newId('routeTableAssociation')}, ${former}, ${vpcId}, ${subnetId})`.execute(tx);
  const text = (table: string | null): string => table ?? 'the main route table';
  return [`- association ${text(now)}`, `+ association ${text(former)}`];
};

const ownTable = async (tx: RegionTransaction, subnetId: string): Promise<string | null> =>
  (
    await sql<{ id: string }>`
      select route_table_id as id from route_table_association where subnet_id = ${subnetId}`.execute(tx)
  ).rows[0]?.id ?? null;

const checkTable = async (
  tx: RegionTransaction,
  vpcId: string,
  subnetId: string,
  tableId: string,
): Promise<void> => {
  const { rows } = await sql`
    select 1 from route_table where route_table_id = ${tableId} and vpc_id = ${vpcId}`.execute(tx);
  if (rows.length === 0)
    throw new PandoError('IncorrectState', `${subnetId} went by ${tableId}, which is there no more.`);
};

/** Whose main table is another now has more subnets that go by it: its owner decides about them. */
const checkMain = async (tx: RegionTransaction, vpcId: string, version: number): Promise<void> => {
  const former = await routeTableAt(tx, { vpcId, subject: 'main', version });
  const { rows } = await sql<{ id: string }>`
    select route_table_id as id from route_table_association where vpc_id = ${vpcId} and subnet_id is null`.execute(
    tx,
  );
  const now = rows[0]?.id;
  if (typeof former === 'string' && former !== now)
    throw new PandoError(
      'IncorrectState',
      `The subnet went by the VPC's main route table, which was ${former} then and is ${now} now. Replace that association first.`,
    );
};
