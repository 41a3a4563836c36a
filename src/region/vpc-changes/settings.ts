/** What the owner of a VPC had set at one of its versions. */
import { sql } from 'kysely';
import { z } from 'zod';
import type { Database, RegionTransaction } from '../schema.ts';

const attributes = z.object({
  dnsSupport: z.boolean(),
  dnsHostnames: z.boolean(),
  addressUsageMetrics: z.boolean(),
  dhcpOptionsId: z.string().nullable(),
});
export type VpcAttributes = z.infer<typeof attributes>;

const valueAt = async (
  tx: RegionTransaction,
  vpcId: string,
  subject: string,
  version: number,
): Promise<unknown> =>
  (
    await sql<{ value: unknown }>`
      select value from vpc_setting where vpc_id = ${vpcId} and subject = ${subject} and version <= ${version}
      order by version desc limit 1`.execute(tx)
  ).rows[0]?.value;

/** Undefined: it was not written down yet. */
export const attributesAt = async (
  tx: RegionTransaction,
  vpcId: string,
  version: number,
): Promise<VpcAttributes | undefined> => attributes.safeParse(await valueAt(tx, vpcId, 'vpc', version)).data;

/** The route table of a subnet, or of the VPC (`main`); null: none of its own. Undefined: it was not written down yet. */
export const routeTableAt = async (
  tx: RegionTransaction,
  { vpcId, subject, version }: { vpcId: string; subject: string; version: number },
): Promise<string | null | undefined> =>
  z
    .string()
    .nullable()
    .safeParse(await valueAt(tx, vpcId, subject, version)).data;

const removedPerSweepMax = 10_000;

/** Removes what no version that is kept long enough had: what followed it is as old itself, or the VPC is gone. */
export const sweepVpcSettings = async (db: Database, keptDays: number): Promise<void> => {
  await sql`
    delete from vpc_setting where (vpc_id, subject, version) in (
      select s.vpc_id, s.subject, s.version from vpc_setting s
      where s.made_at < now() - ${keptDays} * interval '1 day' and (
        not exists (select from vpc v where v.vpc_id = s.vpc_id) or exists (
          select from vpc_setting next where next.vpc_id = s.vpc_id and next.subject = s.subject
            and next.version > s.version and next.made_at < now() - ${keptDays} * interval '1 day'))
      limit ${removedPerSweepMax})`.execute(db);
};
