/** Granting and revoking rules of security groups. */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import { newId } from '#contracts/ids.ts';
import { compileFilters, type Filter, type FilterSpec } from '#wire/filters.ts';
import { readPage } from '#wire/pagination.ts';
import type { Handlers, In, Out } from '#wire/types.ts';
import { changeVpc, type Matters } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { describe, findAll } from '../describe.ts';
import { notFound } from '../not-found.ts';
import {
  descriptionMember,
  type IpPermission,
  noSource,
  permissionsOf,
  portMembers,
  protocolName,
  type Rule,
  type RuleRow,
  rulesOf,
  sameRule,
} from '../permissions.ts';
import { quotaOf } from '../quotas.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOfType, tagsOnCreate } from '../resource-tags.ts';
import { deleteRules, insertRules, rulesAfter, rulesOfGroup } from '../rule-store.ts';
import type { RegionTransaction, Row } from '../schema.ts';
import { checkVpcBudget } from '../vpc-budget.ts';
import { requireGroup } from './security-groups.ts';

type SecurityGroupRule = NonNullable<Out<'DescribeSecurityGroupRules'>['SecurityGroupRules']>[number];
type AuthorizeInput = In<'AuthorizeSecurityGroupIngress'> | In<'AuthorizeSecurityGroupEgress'>;
type RevokeInput = In<'RevokeSecurityGroupIngress'> | In<'RevokeSecurityGroupEgress'>;

/** The one filter whose values EC2 looks at before it compares them. */
const checkGroupFilter = (given: readonly Filter[] | undefined): void => {
  const ids = (given ?? []).flatMap(({ Name, Values }) => (Name === 'group-id' ? (Values ?? []) : []));
  const malformed = ids.find((id) => !id.startsWith('sg-') && !/[*?]/.test(id));
  if (malformed !== undefined)
    throw new PandoError(
      'InvalidGroupId.Malformed',
      `The security group ID "${malformed.slice(0, 64)}" is malformed`,
    );
};

const arnOf = (context: ActionContext, ruleId: string): string =>
  `arn:aws:ec2:${context.region.config.regionName}:${context.accountId}:security-group-rule/${ruleId}`;

const show = (context: ActionContext, rule: RuleRow & Tagged): SecurityGroupRule => ({
  SecurityGroupRuleId: rule.rule_id,
  SecurityGroupRuleArn: arnOf(context, rule.rule_id),
  GroupId: rule.group_id,
  GroupOwnerId: context.accountId,
  IsEgress: rule.egress,
  IpProtocol: protocolName(rule.protocol),
  FromPort: -1,
  ToPort: -1,
  ...portMembers(rule),
  ...sourceMember(rule),
  ...(rule.referenced_group_id === null
    ? {}
    : { ReferencedGroupInfo: { GroupId: rule.referenced_group_id, UserId: context.accountId } }),
  ...descriptionMember(rule),
  Tags: rule.tags,
});

/** Where a rule is from or to, but for a group, which has two names. */
const sourceMember = (rule: RuleRow) => ({
  ...(rule.cidr === null ? {} : { CidrIpv4: rule.cidr }),
  ...(rule.cidr_ipv6 === null ? {} : { CidrIpv6: rule.cidr_ipv6 }),
  ...(rule.prefix_list_id === null ? {} : { PrefixListId: rule.prefix_list_id }),
});

const filters: FilterSpec<RuleRow> = {
  'group-id': (rule) => rule.group_id,
  'security-group-rule-id': (rule) => rule.rule_id,
};

/** Permissions as they were given: a list, or one in the old flat members. */
const permissionsIn = (input: AuthorizeInput | RevokeInput): readonly IpPermission[] => {
  const { IpPermissions: list, IpProtocol, FromPort, ToPort, CidrIp } = input;
  const { SourceSecurityGroupName: group, SourceSecurityGroupOwnerId: owner } = input;
  const flat: readonly unknown[] = [IpProtocol, FromPort, ToPort, CidrIp, group, owner];
  if (flat.every((member) => member === undefined)) return list ?? [];
  if (list !== undefined && list.length > 0)
    throw new PandoError(
      'InvalidParameterCombination',
      'The parameter ipPermissions may not be used with ipProtocol',
    );
  return [
    {
      IpProtocol: IpProtocol ?? '-1',
      FromPort,
      ToPort,
      ...(CidrIp === undefined ? {} : { IpRanges: [{ CidrIp }] }),
      ...(group === undefined && owner === undefined
        ? {}
        : { UserIdGroupPairs: [{ GroupName: group, UserId: owner }] }),
    },
  ];
};

const resolveRules = async (
  tx: RegionTransaction,
  accountId: string,
  vpcId: string,
  permissions: readonly IpPermission[],
): Promise<readonly Rule[]> => {
  const groups = await tx
    .selectFrom('security_group')
    .select(['group_id', 'name', 'vpc_id'])
    .where('account_id', '=', accountId)
    .execute();
  const byName = (name: string) =>
    groups.find((group) => group.vpc_id === vpcId && group.name === name)?.group_id;
  const rules = permissions.flatMap((permission) => rulesOf(permission, { accountId, vpcId, byName }));
  for (const { referenced_group_id: id } of rules) {
    if (id === null) continue;
    const group = groups.find(({ group_id }) => group_id === id);
    if (group === undefined) throw notFound('securityGroup', id);
    if (group.vpc_id !== vpcId)
      throw new PandoError(
        'InvalidGroup.NotFound',
        'You have specified two resources that belong to different networks.',
      );
  }
  return rules;
};

const text = (rule: Rule): string =>
  `peer: ${rule.cidr ?? rule.cidr_ipv6 ?? rule.prefix_list_id ?? rule.referenced_group_id}, ${protocolName(rule.protocol).toUpperCase()}, from port: ${rule.from_port}, to port: ${rule.to_port}, ALLOW`;

const authorize = async (input: AuthorizeInput, context: ActionContext, egress: boolean) => {
  const group = await requireGroup(context, 'GroupName' in input ? input : { GroupId: input.GroupId });
  const permissions = permissionsIn(input);
  const tags = tagsOnCreate(input.TagSpecifications, 'security-group-rule');
  const added = await changeVpc(
    context,
    input,
    group.vpc_id,
    async (tx) => {
      const rules = await resolveRules(tx, context.accountId, group.vpc_id, permissions);
      if (rules.length === 0) throw noSource();
      await checkNew(tx, context, group, egress, rules);
      const rows = rules.map((rule) => ({
        ...rule,
        rule_id: newId('securityGroupRule'),
        group_id: group.group_id,
        egress,
      }));
      await insertRules(tx, rows);
      await checkVpcBudget(tx, group.vpc_id, 'RulesPerSecurityGroupLimitExceeded');
      await rulesChanged(tx, group.group_id);
      for (const row of rows)
        await insertTags(tx, context.accountId, 'security-group-rule', row.rule_id, tags);
      return rows;
    },
    isCarried(group),
  );
  return { Return: true, SecurityGroupRules: added.map((rule) => show(context, { ...rule, tags })) };
};

const checkNew = async (
  tx: RegionTransaction,
  context: ActionContext,
  group: Row<'security_group'>,
  egress: boolean,
  rules: readonly Rule[],
): Promise<void> => {
  const present = await rulesOfGroup(tx, group.group_id, egress);
  for (const [at, rule] of rules.entries()) {
    if (rules.slice(0, at).some((other) => sameRule(other, rule)))
      throw new PandoError('InvalidParameterValue', 'The same permission must not appear multiple times');
    if (present.some((other) => sameRule(other, rule)))
      throw new PandoError(
        'InvalidPermission.Duplicate',
        `the specified rule "${text(rule)}" already exists`,
      );
  }
  const { limits } = context.region.config;
  const rulesMax = await quotaOf(tx, limits, context.accountId, 'rules-per-security-group');
  if (present.length + rules.length > rulesMax)
    throw new PandoError(
      'RulesPerSecurityGroupLimitExceeded',
      `The maximum number of rules per security group has been reached: ${rulesMax} ${egress ? 'outbound' : 'inbound'} rules.`,
    );
};

/** A group that no interface carries is not part of what devices are told. */
const isCarried =
  (group: Row<'security_group'>): Matters =>
  async (tx) => {
    const { rows } = await sql`
      select 1 from eni where vpc_id = ${group.vpc_id} and ${group.group_id} = any(group_ids) limit 1`.execute(
      tx,
    );
    return rows.length > 0;
  };

const rulesChanged = async (tx: RegionTransaction, groupId: string): Promise<void> => {
  await sql`update security_group set revision = gen_random_uuid() where group_id = ${groupId}`.execute(tx);
};

const revoke = async (input: RevokeInput, context: ActionContext, egress: boolean) => {
  const group = await requireGroup(context, 'GroupName' in input ? input : { GroupId: input.GroupId });
  const permissions = permissionsIn(input);
  const gone = await changeVpc(
    context,
    input,
    group.vpc_id,
    async (tx) => {
      const present = await rulesOfGroup(tx, group.group_id, egress);
      const byId = findAll('securityGroupRule', input.SecurityGroupRuleIds ?? [], (id) =>
        present.find((rule) => rule.rule_id === id),
      );
      const rules = await resolveRules(tx, context.accountId, group.vpc_id, permissions);
      const byValue = rules.map((rule) => {
        const found = present.find((other) => sameRule(other, rule));
        if (found !== undefined) return found;
        throw new PandoError(
          'InvalidPermission.NotFound',
          'The specified rule does not exist in this security group.',
        );
      });
      const revoked = [...new Set([...byId, ...byValue])];
      if (revoked.length === 0) throw noSource();
      const revokedIds = revoked.map((rule) => rule.rule_id);
      await deleteRules(tx, revokedIds);
      await deleteTagsOf(tx, ...revokedIds);
      await rulesChanged(tx, group.group_id);
      return revoked;
    },
    isCarried(group),
  );
  return {
    Return: true,
    RevokedSecurityGroupRules: gone.map((rule) => ({
      SecurityGroupRuleId: rule.rule_id,
      GroupId: rule.group_id,
      IsEgress: rule.egress,
      IpProtocol: protocolName(rule.protocol),
      ...portMembers(rule),
      ...sourceMember(rule),
      ...(rule.referenced_group_id === null ? {} : { ReferencedGroupId: rule.referenced_group_id }),
      ...descriptionMember(rule),
    })),
    UnknownIpPermissions: permissionsOf([], context.accountId),
  };
};

const rulesAtOnceMax = 5_000;
const isExact = (value: string): boolean => !/[*?\\]/.test(value);
const tagsOf = (rule: Tagged): Tagged['tags'] => rule.tags;

/** The rules that match, from the page's place on, until the page is full and one more is found; of those that are named, all. */
const rulesFor = async (
  input: In<'DescribeSecurityGroupRules'>,
  context: ActionContext,
): Promise<(RuleRow & Tagged)[]> => {
  const { region, accountId } = context;
  const ids = input.SecurityGroupRuleIds?.length ? input.SecurityGroupRuleIds : undefined;
  const inGroups = input.Filters?.find(
    ({ Name, Values }) => Name === 'group-id' && Values?.every(isExact) === true,
  )?.Values;
  const scope = `${accountId}/DescribeSecurityGroupRules`;
  const named = { ids: { parameter: 'securityGroupRuleIds', values: ids } };
  const page = readPage(input, { secret: region.pageSecret, scope, ...named });
  const matches = compileFilters<RuleRow & Tagged>(input.Filters, filters, tagsOf);
  const limit = ids === undefined ? Math.min(page.items + 1, rulesAtOnceMax) : ids.length;
  const found: (RuleRow & Tagged)[] = [];
  let after = ids === undefined ? (page.after ?? '') : '';
  for (;;) {
    const asked = {
      accountId,
      ruleIds: ids,
      groupIds: ids === undefined ? inGroups : undefined,
      after,
      limit,
    };
    const rows = await rulesAfter(region.db, asked);
    const tags = await tagsOfType(
      context,
      'security-group-rule',
      rows.map((rule) => rule.rule_id),
    );
    const tagged = rows.map((rule) => ({ ...rule, tags: tags.get(rule.rule_id) ?? [] }));
    found.push(...(ids === undefined ? tagged.filter(matches) : tagged));
    const last = rows.at(-1);
    if (last === undefined || rows.length < limit || found.length > page.items) return found;
    after = last.rule_id;
  }
};

export const securityGroupRuleHandlers: Handlers<ActionContext> = {
  AuthorizeSecurityGroupIngress: (input, context) => authorize(input, context, false),
  AuthorizeSecurityGroupEgress: (input, context) => authorize(input, context, true),
  RevokeSecurityGroupIngress: (input, context) => revoke(input, context, false),
  RevokeSecurityGroupEgress: (input, context) => revoke(input, context, true),

  async DescribeSecurityGroupRules(input, context) {
    checkGroupFilter(input.Filters);
    const page = describe(await rulesFor(input, context), input, context, {
      action: 'DescribeSecurityGroupRules',
      idOf: (rule) => rule.rule_id,
      filters,
      tagsOf: (rule) => rule.tags,
      ids: {
        kind: 'securityGroupRule',
        parameter: 'securityGroupRuleIds',
        values: input.SecurityGroupRuleIds,
      },
    });
    return { SecurityGroupRules: page.items.map((rule) => show(context, rule)), NextToken: page.nextToken };
  },
};
