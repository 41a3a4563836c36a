/** Quotas of accounts: EC2's limits by default, another number where the operator has set one for an account. */
import type { QueryExecutorProvider } from 'kysely';
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import type { QuotaName } from '#contracts/operator.ts';
import type { RegionConfig } from './config.ts';
import type { Region } from './region.ts';

type Limits = RegionConfig['limits'];

/** The configured default of each, and the most that an operator may set. */
const quotas: Readonly<Record<QuotaName, { readonly limit: keyof Limits; readonly max: number }>> = {
  'rules-per-security-group': { limit: 'rulesPerGroupMax', max: 1_000 },
  'security-groups-per-interface': { limit: 'groupsPerInterfaceMax', max: 16 },
  'security-groups-per-vpc': { limit: 'groupsPerVpcMax', max: 2_500 },
  'routes-per-route-table': { limit: 'routesPerTableMax', max: 1_000 },
};

/** EC2's rule on the two together: what one interface's packets may have to be compared with. */
const rulesPerInterfaceMax = 1_000;

/** The quota of an account. */
export const quotaOf = async (
  db: QueryExecutorProvider,
  limits: Limits,
  accountId: string,
  name: QuotaName,
): Promise<number> => {
  const { rows } = await sql<{ value: number }>`
    select value from account_quota where account_id = ${accountId} and name = ${name}`.execute(db);
  return rows[0]?.value ?? limits[quotas[name].limit];
};

/** All quotas of an account, in the order of their names. @throws InvalidParameterValue for an account that is not there */
export const quotasOf = async (
  region: Region,
  accountId: string,
): Promise<{ name: QuotaName; value: number; default: number; max: number }[]> => {
  await requireAccount(region, accountId);
  const { rows } = await sql<{ name: string; value: number }>`
    select name, value from account_quota where account_id = ${accountId}`.execute(region.db);
  const set = new Map(rows.map((row) => [row.name, row.value]));
  return names.map((name) => {
    const standard = region.config.limits[quotas[name].limit];
    return { name, value: set.get(name) ?? standard, default: standard, max: quotas[name].max };
  });
};

const names: readonly QuotaName[] = [
  'routes-per-route-table',
  'rules-per-security-group',
  'security-groups-per-interface',
  'security-groups-per-vpc',
];

/**
 * Sets a quota of an account; `undefined`: the default again. What the account has above a lower quota stays.
 *
 * @throws InvalidParameterValue: no such account, above the maximum, or rules × groups of an interface above EC2's 1,000
 */
export const setQuota = async (
  region: Region,
  accountId: string,
  name: QuotaName,
  value: number | undefined,
): Promise<void> => {
  await requireAccount(region, accountId);
  const { max, limit } = quotas[name];
  const wanted = value ?? region.config.limits[limit];
  if (wanted > max)
    throw new PandoError('InvalidParameterValue', `${name} is ${max} at most, not ${wanted}.`);
  const { limits } = region.config;
  const of = (other: QuotaName) => (other === name ? wanted : quotaOf(region.db, limits, accountId, other));
  const perInterface = (await of('rules-per-security-group')) * (await of('security-groups-per-interface'));
  if (perInterface > rulesPerInterfaceMax)
    throw new PandoError(
      'InvalidParameterValue',
      `Rules per security group times security groups per interface is ${rulesPerInterfaceMax} at most, not ${perInterface}: lower the other one first.`,
    );
  if (value === undefined)
    await sql`delete from account_quota where account_id = ${accountId} and name = ${name}`.execute(
      region.db,
    );
  else
    await sql`
      insert into account_quota (account_id, name, value) values (${accountId}, ${name}, ${value})
      on conflict (account_id, name) do update set value = excluded.value, set_at = now()`.execute(region.db);
};

const requireAccount = async (region: Region, accountId: string): Promise<void> => {
  const account = await region.db
    .selectFrom('account')
    .select('account_id')
    .where('account_id', '=', accountId)
    .executeTakeFirst();
  if (account === undefined)
    throw new PandoError('InvalidParameterValue', `There is no account ${accountId.slice(0, 64)}.`);
};
