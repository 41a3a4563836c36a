/** What an offer reserves: claims for the purpose `notice`, numbered. */

import { type ClaimRow, releaseClaim } from '../store/claims.ts';
import { amountOf } from '../store/hosts.ts';
import type { Sql } from '../store/sql.ts';
import type { Part } from './decide.ts';

export type PartClaim = Part;

/** An offer's parts, in the order in which hosts are locked. */
export const partsOf = async (sql: Sql, offerId: string): Promise<PartClaim[]> => {
  const rows = await sql.query<ClaimRow>(
    `select * from claims where purpose = 'notice' and holder = $1 order by host_id, id`,
    [offerId],
  );
  return rows.map((row) => ({
    part: Number(row.id.slice(row.id.lastIndexOf('/') + 1)),
    hostId: row.host_id,
    amount: amountOf(row),
  }));
};

export const releaseParts = async (tx: Sql, offerId: string): Promise<void> => {
  for (const { part } of await partsOf(tx, offerId)) await releaseClaim(tx, `notice/${offerId}/${part}`);
};

/** The hosts on which these offers reserve something. */
export const hostsOf = async (sql: Sql, offerIds: readonly string[]): Promise<string[]> => {
  if (offerIds.length === 0) return [];
  const rows = await sql.query<{ host_id: string }>(
    `select distinct host_id from claims where purpose = 'notice' and holder = any($1) order by host_id`,
    [offerIds],
  );
  return rows.map(({ host_id: id }) => id);
};
