/** The record of tenants' changes, as operators read it; and its end. */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import type { VpcChange } from '#contracts/vpc-changes.ts';
import type { Database } from '../schema.ts';
import { sweepVpcSettings } from './settings.ts';

/** How long it is kept. */
export const changesKeptDays = 90;
const removedPerSweepMax = 10_000;

interface Row {
  change_id: number | string;
  vpc_id: string;
  version: number;
  account_id: string;
  principal: string | null;
  access_key_id: string | null;
  request_id: string | null;
  action: string | null;
  named: string[];
  told: boolean;
  made_at: Date;
  enforced_at: Date | null;
  objects: { kind: string; id: string; version: number; from: string | null; to: string }[];
}

export interface ChangesAsked {
  readonly vpcId: string;
  /** Only those that this object had a part in. */
  readonly objectId?: string | undefined;
  readonly after?: string | undefined;
  readonly limit: number;
}

/**
 * The newest first. Calls that came close together reached devices as one: an object that changed then is shown with those of them that named
 * it, or with all of them when none did (a route table's routes are its subnets').
 */
export const listVpcChanges = async (
  db: Database,
  { vpcId, objectId, after, limit }: ChangesAsked,
): Promise<{ changes: VpcChange[]; next?: string }> => {
  if (after !== undefined && !/^\d{1,15}$/.test(after))
    throw new PandoError('InvalidPaginationToken', `${after} is the next of no page.`);
  const { rows } = await sql<Row>`
    with own as (
      select c.*, e.made_at as enforced_at,
        (select coalesce(json_agg(json_build_object('kind', o.kind, 'id', o.id, 'version', o.version,
            'from', o.from_digest, 'to', o.to_digest) order by o.kind, o.id), '[]')
          from object_change o
          where c.told and o.vpc_id = c.vpc_id and c.version > o.since_version and c.version <= o.version
            and (o.id = any(c.named) or not exists (
              select from vpc_change other where other.told and other.vpc_id = c.vpc_id
                and other.version > o.since_version and other.version <= o.version and o.id = any(other.named)))) as objects
      from vpc_change c left join vpc_change_enforced e using (change_id)
      where c.vpc_id = ${vpcId} and (${after ?? null}::bigint is null or c.change_id < ${after ?? null}::bigint)
    )
    select * from own
    where ${objectId ?? null}::text is null or ${objectId ?? null} = any(named)
      or objects::jsonb @> jsonb_build_array(jsonb_build_object('id', ${objectId ?? null}::text))
    order by change_id desc limit ${limit}`.execute(db);
  const last = rows.length < limit ? undefined : rows.at(-1);
  return { changes: rows.map(changeOf), ...(last !== undefined && { next: String(last.change_id) }) };
};

const changeOf = (row: Row): VpcChange => ({
  changeId: Number(row.change_id),
  at: row.made_at.toISOString(),
  ...{ vpcId: row.vpc_id, version: row.version, accountId: row.account_id, named: row.named },
  ...(row.principal !== null && { principal: row.principal }),
  ...(row.access_key_id !== null && { accessKeyId: row.access_key_id }),
  ...(row.request_id !== null && { requestId: row.request_id }),
  ...(row.action !== null && { action: row.action }),
  objects: row.objects.map(({ from, ...object }) => ({ ...object, ...(from !== null && { from }) })),
  outcome: row.enforced_at !== null ? 'enforced' : row.told ? 'pending' : 'untold',
  ...(row.enforced_at !== null && { enforcedAt: row.enforced_at.toISOString() }),
});

/** Removes what has been kept for long enough, a bounded number at a time. */
export const sweepVpcChanges = async (db: Database, keptDays: number = changesKeptDays): Promise<void> => {
  for (const [table, key] of [
    ['vpc_change', 'change_id'],
    ['vpc_change_enforced', 'change_id'],
    ['object_change', '(kind, id, version)'],
  ] as const)
    await sql`delete from ${sql.raw(table)} where ${sql.raw(key)} in (select ${sql.raw(key.replace(/[()]/g, ''))}
      from ${sql.raw(table)} where made_at < now() - ${keptDays} * interval '1 day' limit ${removedPerSweepMax})`.execute(
      db,
    );
  await sweepVpcSettings(db, keptDays);
};
