/** Network ACLs: every VPC has its default one, which lets everything through. */
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers, Out } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { describe, withTags } from '../describe.ts';
import type { Tagged } from '../resource-tags.ts';
import type { Row } from '../schema.ts';

type NetworkAcl = NonNullable<Out<'DescribeNetworkAcls'>['NetworkAcls']>[number];
type AclRow = Row<'network_acl'> &
  Tagged & { subnets: Pick<Row<'subnet'>, 'subnet_id' | 'acl_association_id'>[] };

const anyTraffic = { CidrBlock: '0.0.0.0/0', Protocol: '-1' };
const lastRuleNumber = 32_767;

const entries = [true, false].flatMap((Egress) => [
  { ...anyTraffic, Egress, RuleAction: 'allow' as const, RuleNumber: 100 },
  { ...anyTraffic, Egress, RuleAction: 'deny' as const, RuleNumber: lastRuleNumber },
]);

const show = (acl: AclRow): NetworkAcl => ({
  NetworkAclId: acl.network_acl_id,
  OwnerId: acl.account_id,
  VpcId: acl.vpc_id,
  IsDefault: acl.is_default,
  Entries: entries,
  Associations: acl.subnets.map((subnet) => ({
    NetworkAclAssociationId: subnet.acl_association_id,
    NetworkAclId: acl.network_acl_id,
    SubnetId: subnet.subnet_id,
  })),
  Tags: acl.tags,
});

const filters: FilterSpec<AclRow> = {
  'association.association-id': (acl) => acl.subnets.map((subnet) => subnet.acl_association_id),
  'association.network-acl-id': (acl) => (acl.subnets.length > 0 ? acl.network_acl_id : undefined),
  'association.subnet-id': (acl) => acl.subnets.map((subnet) => subnet.subnet_id),
  default: (acl) => acl.is_default,
  'entry.cidr': () => entries.map((entry) => entry.CidrBlock),
  'entry.icmp.code': () => undefined,
  'entry.icmp.type': () => undefined,
  'entry.ipv6-cidr': () => undefined,
  'entry.port-range.from': () => undefined,
  'entry.port-range.to': () => undefined,
  'entry.egress': () => entries.map((entry) => entry.Egress),
  'entry.protocol': () => entries.map((entry) => entry.Protocol),
  'entry.rule-action': () => entries.map((entry) => entry.RuleAction),
  'entry.rule-number': () => entries.map((entry) => entry.RuleNumber),
  'network-acl-id': (acl) => acl.network_acl_id,
  'owner-id': (acl) => acl.account_id,
  'vpc-id': (acl) => acl.vpc_id,
};

export const networkAclHandlers: Handlers<ActionContext> = {
  async DescribeNetworkAcls(input, context) {
    const { db } = context.region;
    const all = db
      .selectFrom('network_acl')
      .selectAll()
      .where('account_id', '=', context.accountId)
      .execute();
    const [rows, subnets] = await Promise.all([
      withTags(context, 'network-acl', all, (row) => row.network_acl_id),
      db
        .selectFrom('subnet')
        .select(['subnet_id', 'acl_association_id', 'vpc_id'])
        .where('account_id', '=', context.accountId)
        .orderBy('subnet_id')
        .execute(),
    ]);
    const byVpc = Map.groupBy(subnets, (subnet) => subnet.vpc_id);
    const acls = rows.map((row) => ({ ...row, subnets: byVpc.get(row.vpc_id) ?? [] }));
    const page = describe(acls, input, context, {
      action: 'DescribeNetworkAcls',
      idOf: (acl) => acl.network_acl_id,
      filters,
      tagsOf: (acl) => acl.tags,
      ids: { kind: 'networkAcl', parameter: 'networkAclIds', values: input.NetworkAclIds },
    });
    return { NetworkAcls: page.items.map(show), NextToken: page.nextToken };
  },
};
