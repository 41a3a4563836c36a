/** Security groups, without their rules' changes (security-group-rules.ts). */
import { PandoError } from '#contracts/errors.ts';
import { newId, parseId } from '#contracts/ids.ts';
import type { FilterSpec, FilterValue } from '#wire/filters.ts';
import type { Handlers, Out } from '#wire/types.ts';
import { changeVpc } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { describeInBatches } from '../describe.ts';
import { notFound } from '../not-found.ts';
import { permissionsOf, protocolName, type RuleRow } from '../permissions.ts';
import { quotaOf } from '../quotas.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOfType, tagsOnCreate } from '../resource-tags.ts';
import { deleteRules, rulesOfGroup, rulesOfGroups } from '../rule-store.ts';
import type { RegionTransaction, Row } from '../schema.ts';

type SecurityGroup = NonNullable<Out<'DescribeSecurityGroups'>['SecurityGroups']>[number];
type GroupRow = Row<'security_group'> &
  Tagged & {
    readonly rules: readonly RuleRow[];
    /** Names of the groups that rules refer to, by the rules' ids. */
    readonly peers: ReadonlyMap<string, string>;
  };

const nameCharsMax = 255;

const arnOf = (context: ActionContext, groupId: string): string =>
  `arn:aws:ec2:${context.region.config.regionName}:${context.accountId}:security-group/${groupId}`;

const show = (context: ActionContext, group: GroupRow): SecurityGroup => ({
  GroupId: group.group_id,
  GroupName: group.name,
  Description: group.description,
  VpcId: group.vpc_id,
  OwnerId: group.account_id,
  SecurityGroupArn: arnOf(context, group.group_id),
  IpPermissions: permissionsOf(
    group.rules.filter((rule) => !rule.egress),
    group.account_id,
  ),
  IpPermissionsEgress: permissionsOf(
    group.rules.filter((rule) => rule.egress),
    group.account_id,
  ),
  Tags: group.tags,
});

/** The filters that look into rules exist once for each direction. */
const ruleFilters = (prefix: string, egress: boolean): FilterSpec<GroupRow> => {
  const of = (value: (rule: RuleRow) => FilterValue) => (group: GroupRow) =>
    group.rules.filter((rule) => rule.egress === egress).map(value);
  return {
    [`${prefix}.cidr`]: of((rule) => rule.cidr),
    [`${prefix}.from-port`]: of((rule) => rule.from_port),
    [`${prefix}.group-id`]: of((rule) => rule.referenced_group_id),
    [`${prefix}.group-name`]: (group) =>
      group.rules.filter((rule) => rule.egress === egress).map((rule) => group.peers.get(rule.rule_id)),
    [`${prefix}.ipv6-cidr`]: of((rule) => rule.cidr_ipv6),
    [`${prefix}.prefix-list-id`]: of((rule) => rule.prefix_list_id),
    [`${prefix}.protocol`]: of((rule) => protocolName(rule.protocol)),
    [`${prefix}.to-port`]: of((rule) => rule.to_port),
    [`${prefix}.user-id`]: (group) =>
      group.rules
        .filter((rule) => rule.egress === egress && rule.referenced_group_id !== null)
        .map(() => group.account_id),
  };
};

const filters: FilterSpec<GroupRow> = {
  description: (group) => group.description,
  'group-id': (group) => group.group_id,
  'group-name': (group) => group.name,
  'owner-id': (group) => group.account_id,
  'vpc-id': (group) => group.vpc_id,
  ...ruleFilters('ip-permission', false),
  ...ruleFilters('egress.ip-permission', true),
};

const groupsOf = ({ region, accountId }: ActionContext): Promise<Row<'security_group'>[]> =>
  region.db.selectFrom('security_group').selectAll().where('account_id', '=', accountId).execute();

/** These groups with their tags and rules. `names`: of all groups of the account. */
const loadGroups = async (
  context: ActionContext,
  names: ReadonlyMap<string, string>,
  groups: readonly Row<'security_group'>[],
): Promise<readonly GroupRow[]> => {
  const ids = groups.map((group) => group.group_id);
  const [tags, rules] = await Promise.all([
    tagsOfType(context, 'security-group', ids),
    rulesOfGroups(context.region.db, ids),
  ]);
  const byGroup = Map.groupBy(rules, (rule) => rule.group_id);
  const peers = new Map(rules.map((rule) => [rule.rule_id, names.get(rule.referenced_group_id ?? '') ?? '']));
  return groups.map((row) => ({
    ...row,
    ...{ tags: tags.get(row.group_id) ?? [], rules: byGroup.get(row.group_id) ?? [], peers },
  }));
};

/** A group of the caller by id, or by name in the default VPC (EC2's old way). */
export const requireGroup = async (
  context: ActionContext,
  input: { readonly GroupId?: string | undefined; readonly GroupName?: string | undefined },
): Promise<Row<'security_group'>> => {
  const { GroupId: id, GroupName: name } = input;
  const query = context.region.db
    .selectFrom('security_group as g')
    .innerJoin('vpc', 'vpc.vpc_id', 'g.vpc_id')
    .selectAll('g')
    .where('g.account_id', '=', context.accountId);
  if (id !== undefined) {
    const group = await query.where('g.group_id', '=', parseId('securityGroup', id)).executeTakeFirst();
    if (group === undefined) throw notFound('securityGroup', id);
    return group;
  }
  if (name === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameter groupName or groupId');
  const group = await query.where('g.name', '=', name).where('vpc.is_default', '=', true).executeTakeFirst();
  if (group === undefined)
    throw new PandoError(
      'InvalidGroup.NotFound',
      `The security group '${name.slice(0, 255)}' does not exist in default VPC`,
    );
  return group;
};

const checkName = (name: string, description: string): void => {
  if (name.toLowerCase() === 'default')
    throw new PandoError('InvalidGroup.Reserved', `The security group '${name}' is reserved`);
  if (name.startsWith('sg-'))
    throw new PandoError(
      'InvalidParameterValue',
      `Value (${name}) for parameter GroupName is invalid. Group names may not be in the format sg-*.`,
    );
  const bad = [name, description].find(
    (text) => text.length > nameCharsMax || !/^[\w .:/()#,@[\]+=&;{}!$*-]+$/.test(text),
  );
  if (bad !== undefined)
    throw new PandoError(
      'InvalidParameterValue',
      `Value (${bad.slice(0, 64)}) is invalid. Valid are up to ${nameCharsMax} of a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=&;{}!$*`,
    );
};

const defaultVpcOf = async (context: ActionContext): Promise<string> => {
  const vpc = await context.region.db
    .selectFrom('vpc')
    .select('vpc_id')
    .where('account_id', '=', context.accountId)
    .where('is_default', '=', true)
    .executeTakeFirst();
  if (vpc === undefined) throw new PandoError('DefaultVpcDoesNotExist', 'There is no default VPC.');
  return vpc.vpc_id;
};

const checkUnused = async (tx: RegionTransaction, groupId: string): Promise<void> => {
  const eni = await tx
    .selectFrom('eni')
    .innerJoin('security_group as g', 'g.vpc_id', 'eni.vpc_id')
    .select('eni.eni_id')
    .where('g.group_id', '=', groupId)
    .where((row) => row(row.val(groupId), '=', row.fn.any('eni.group_ids')))
    .executeTakeFirst();
  const rule = await tx
    .selectFrom('any_security_group_rule')
    .select('rule_id')
    .where('referenced_group_id', '=', groupId)
    .where('group_id', '<>', groupId)
    .executeTakeFirst();
  if (eni !== undefined || rule !== undefined)
    throw new PandoError('DependencyViolation', `resource ${groupId} has a dependent object`);
};

export const securityGroupHandlers: Handlers<ActionContext> = {
  async CreateSecurityGroup(input, context) {
    checkName(input.GroupName, input.Description);
    const tags = tagsOnCreate(input.TagSpecifications, 'security-group');
    const vpcId = input.VpcId ?? (await defaultVpcOf(context));
    const groupId = newId('securityGroup');
    await changeVpc(
      context,
      input,
      vpcId,
      async (tx, vpc) => {
        const present = await tx
          .selectFrom('security_group')
          .select('name')
          .where('vpc_id', '=', vpc.vpc_id)
          .execute();
        if (present.some((group) => group.name === input.GroupName))
          throw new PandoError(
            'InvalidGroup.Duplicate',
            `The security group '${input.GroupName}' already exists for VPC '${vpc.vpc_id}'`,
          );
        const groupsMax = await quotaOf(
          tx,
          context.region.config.limits,
          context.accountId,
          'security-groups-per-vpc',
        );
        if (present.length >= groupsMax)
          throw new PandoError(
            'SecurityGroupLimitExceeded',
            'The maximum number of security groups has been reached.',
          );
        const { accountId } = context;
        const row = { group_id: groupId, account_id: accountId, vpc_id: vpc.vpc_id, name: input.GroupName };
        await tx
          .insertInto('security_group')
          .values({ ...row, description: input.Description })
          .execute();
        await tx
          .insertInto('security_group_rule')
          .values({
            rule_id: newId('securityGroupRule'),
            group_id: groupId,
            egress: true,
            protocol: '-1',
            cidr: '0.0.0.0/0',
          })
          .execute();
        await insertTags(tx, accountId, 'security-group', groupId, tags);
        // No interface carries it: devices are told nothing.
      },
      async () => false,
    );
    return { GroupId: groupId, SecurityGroupArn: arnOf(context, groupId), Tags: tags };
  },

  async DescribeSecurityGroups(input, context) {
    const all = await groupsOf(context);
    const { GroupNames: names } = input;
    const named = names?.length ? selectNames(all, names) : all;
    const nameOf = new Map(all.map((group) => [group.group_id, group.name]));
    const page = await describeInBatches<Row<'security_group'>, GroupRow>(named, input, context, {
      action: 'DescribeSecurityGroups',
      idOf: (group) => group.group_id,
      load: (groups) => loadGroups(context, nameOf, groups),
      filters,
      tagsOf: (group) => group.tags,
      ids: { kind: 'securityGroup', parameter: 'groupIds', values: input.GroupIds },
    });
    return { SecurityGroups: page.items.map((group) => show(context, group)), NextToken: page.nextToken };
  },

  async DeleteSecurityGroup(input, context) {
    const group = await requireGroup(context, input);
    if (group.name === 'default')
      throw new PandoError(
        'CannotDelete',
        `the specified group: "${group.group_id}" name: "default" cannot be deleted by a user`,
      );
    await changeVpc(
      context,
      input,
      group.vpc_id,
      async (tx) => {
        await checkUnused(tx, group.group_id);
        const rules = [
          ...(await rulesOfGroup(tx, group.group_id, false)),
          ...(await rulesOfGroup(tx, group.group_id, true)),
        ].map((rule) => rule.rule_id);
        await deleteRules(tx, rules);
        await tx.deleteFrom('security_group').where('group_id', '=', group.group_id).execute();
        await deleteTagsOf(tx, group.group_id, ...rules);
      },
      async () => false,
    );
    return { Return: true, GroupId: group.group_id };
  },
};

const selectNames = <T extends Row<'security_group'>>(
  groups: readonly T[],
  names: readonly string[],
): readonly T[] => {
  const missing = names.filter((name) => !groups.some((group) => group.name === name));
  if (missing.length > 0) throw notFound('securityGroup', missing);
  return groups.filter((group) => names.includes(group.name));
};
