/** The rules of security groups in the store: those that devices are told, and those that wait for IPv6 and prefix lists. */
import { sql } from 'kysely';
import { icmpv6, type Rule, type RuleRow } from './permissions.ts';
import type { Database, RegionTransaction } from './schema.ts';

/** A group's rules of one direction. */
export const rulesOfGroup = (tx: RegionTransaction, groupId: string, egress: boolean): Promise<RuleRow[]> =>
  tx
    .selectFrom('any_security_group_rule')
    .selectAll()
    .where('group_id', '=', groupId)
    .where('egress', '=', egress)
    .orderBy('rule_id')
    .execute();

/** The rules of these groups. */
export const rulesOfGroups = (db: Database, groupIds: readonly string[]): Promise<RuleRow[]> =>
  db
    .selectFrom('any_security_group_rule')
    .selectAll()
    .where('group_id', '=', (row) => row.fn.any(row.val([...groupIds])))
    .orderBy('rule_id')
    .execute();

export interface RulesAsked {
  readonly accountId: string;
  /** Only these rules, or rules of these groups. */
  readonly ruleIds?: readonly string[] | undefined;
  readonly groupIds?: readonly string[] | undefined;
  readonly after: string;
  readonly limit: number;
}

/** An account's rules in the order of their ids, so many at a time. */
export const rulesAfter = async (db: Database, asked: RulesAsked): Promise<RuleRow[]> => {
  const { accountId, ruleIds, groupIds, after, limit } = asked;
  const { rows } = await sql<RuleRow>`
    select rule.* from any_security_group_rule rule join security_group using (group_id)
    where account_id = ${accountId} and rule.rule_id > ${after}
      ${ruleIds === undefined ? sql`` : sql`and rule.rule_id = any (${ruleIds}::text[])`}
      ${groupIds === undefined ? sql`` : sql`and rule.group_id = any (${groupIds}::text[])`}
    order by rule.rule_id limit ${limit}`.execute(db);
  return rows;
};

/** Whether devices can do anything with a rule: a packet of IPv4 can match it. */
const isTold = (rule: Rule): boolean =>
  rule.cidr !== null || (rule.referenced_group_id !== null && rule.protocol !== icmpv6);

export const insertRules = async (tx: RegionTransaction, rows: readonly RuleRow[]): Promise<void> => {
  const told = rows.filter(isTold).map(({ cidr_ipv6: _range, prefix_list_id: _list, ...row }) => row);
  const untold = rows.filter((row) => !isTold(row)).map(({ cidr: _range, ...row }) => row);
  if (told.length > 0) await tx.insertInto('security_group_rule').values(told).execute();
  if (untold.length > 0) await tx.insertInto('untold_security_group_rule').values(untold).execute();
};

export const deleteRules = async (tx: RegionTransaction, ruleIds: readonly string[]): Promise<void> => {
  if (ruleIds.length === 0) return;
  await tx.deleteFrom('security_group_rule').where('rule_id', 'in', ruleIds).execute();
  await tx.deleteFrom('untold_security_group_rule').where('rule_id', 'in', ruleIds).execute();
};
