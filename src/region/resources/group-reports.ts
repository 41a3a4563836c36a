/** Reports on security groups: stale rules, references from other VPCs, the groups that a VPC may use. */
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { describe, withTags } from '../describe.ts';
import { notFound } from '../not-found.ts';
import type { Tagged } from '../resource-tags.ts';
import type { Row } from '../schema.ts';
import { requireVpc } from './vpcs.ts';

type GroupRow = Row<'security_group'> & Tagged;

const groupFilters: FilterSpec<GroupRow> = {
  description: (group) => group.description,
  'group-id': (group) => group.group_id,
  'group-name': (group) => group.name,
  'owner-id': (group) => group.account_id,
  'primary-vpc-id': (group) => group.vpc_id,
};

const groupsOf = (context: ActionContext, vpcId: string) =>
  withTags(
    context,
    'security-group',
    context.region.db
      .selectFrom('security_group')
      .selectAll()
      .where('account_id', '=', context.accountId)
      .where('vpc_id', '=', vpcId)
      .execute(),
    (group) => group.group_id,
  );

export const groupReportHandlers: Handlers<ActionContext> = {
  /**
   * A rule is stale when the group that it refers to is gone, which happens at EC2 across a peering connection. Here a group that is
   * referred to cannot be deleted (DependencyViolation, and a foreign key), and no rule refers beyond its VPC: there are none.
   */
  async DescribeStaleSecurityGroups(input, context) {
    await requireVpc(context, input.VpcId);
    const none: readonly string[] = [];
    const page = describe(none, input, context, {
      action: 'DescribeStaleSecurityGroups',
      idOf: (id) => id,
      filters: {},
    });
    return { StaleSecurityGroupSet: [], NextToken: page.nextToken };
  },

  /** VPCs whose groups refer to these across a peering connection. */
  async DescribeSecurityGroupReferences(input, context) {
    if (input.GroupId.length === 0)
      throw new PandoError('MissingParameter', 'The request must contain the parameter groupId');
    const ids = [...new Set(input.GroupId)].map((id) => parseId('securityGroup', id));
    const rows = await context.region.db
      .selectFrom('security_group')
      .select('group_id')
      .where('account_id', '=', context.accountId)
      .where('group_id', 'in', ids)
      .execute();
    const missing = ids.find((id) => !rows.some((row) => row.group_id === id));
    if (missing !== undefined) throw notFound('securityGroup', missing);
    endDryRun(input);
    return { SecurityGroupReferenceSet: [] };
  },

  async GetSecurityGroupsForVpc(input, context) {
    const vpc = await requireVpc(context, input.VpcId);
    const page = describe(await groupsOf(context, vpc.vpc_id), input, context, {
      action: 'GetSecurityGroupsForVpc',
      idOf: (group) => group.group_id,
      filters: groupFilters,
      tagsOf: (group) => group.tags,
    });
    return {
      SecurityGroupForVpcs: page.items.map((group) => ({
        GroupId: group.group_id,
        GroupName: group.name,
        Description: group.description,
        OwnerId: group.account_id,
        PrimaryVpcId: group.vpc_id,
        Tags: group.tags,
      })),
      NextToken: page.nextToken,
    };
  },

  /** No part of a subnet is set aside. */
  async GetSubnetCidrReservations(input, context) {
    const subnet = await context.region.db
      .selectFrom('subnet')
      .select('subnet_id')
      .where('subnet_id', '=', parseId('subnet', input.SubnetId))
      .where('account_id', '=', context.accountId)
      .executeTakeFirst();
    if (subnet === undefined) throw notFound('subnet', input.SubnetId);
    const none: readonly string[] = [];
    const page = describe(none, input, context, {
      action: 'GetSubnetCidrReservations',
      idOf: (id) => id,
      filters: { 'reservation-type': () => undefined, 'subnet-id': () => undefined },
      tagsOf: () => [],
    });
    return {
      SubnetIpv4CidrReservations: [],
      SubnetIpv6CidrReservations: [],
      NextToken: page.nextToken,
    };
  },
};
