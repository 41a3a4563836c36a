/** The rules of security groups in the store: those that devices are told, and those that wait for IPv6 and prefix lists. */
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

export const rulesOfAccount = (db: Database, accountId: string): Promise<RuleRow[]> =>
  db
    .selectFrom('any_security_group_rule as rule')
    .innerJoin('security_group', 'security_group.group_id', 'rule.group_id')
    .selectAll('rule')
    .where('security_group.account_id', '=', accountId)
    .orderBy('rule_id')
    .execute();

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
