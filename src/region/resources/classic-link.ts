/** EC2-Classic has never been here: every VPC is described, each without a link to it. */
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { describe, withTags } from '../describe.ts';
import type { Tagged } from '../resource-tags.ts';
import type { Row } from '../schema.ts';

type VpcRow = Row<'vpc'> & Tagged;

const filters: FilterSpec<VpcRow> = { 'is-classic-link-enabled': () => false };

const pageOf = async (
  action: string,
  input: Parameters<typeof describe>[1] & { readonly VpcIds?: readonly string[] | undefined },
  context: ActionContext,
) => {
  const all = context.region.db
    .selectFrom('vpc')
    .selectAll()
    .where('account_id', '=', context.accountId)
    .execute();
  return describe<VpcRow>(await withTags(context, 'vpc', all, (vpc) => vpc.vpc_id), input, context, {
    action,
    idOf: (vpc) => vpc.vpc_id,
    filters,
    tagsOf: (vpc) => vpc.tags,
    ids: { kind: 'vpc', parameter: 'vpcIds', values: input.VpcIds },
  });
};

export const classicLinkHandlers: Handlers<ActionContext> = {
  async DescribeVpcClassicLink(input, context) {
    const { items } = await pageOf('DescribeVpcClassicLink', input, context);
    return {
      Vpcs: items.map((vpc) => ({ VpcId: vpc.vpc_id, ClassicLinkEnabled: false, Tags: vpc.tags })),
    };
  },

  async DescribeVpcClassicLinkDnsSupport(input, context) {
    const { items, nextToken } = await pageOf('DescribeVpcClassicLinkDnsSupport', input, context);
    return {
      Vpcs: items.map((vpc) => ({ VpcId: vpc.vpc_id, ClassicLinkDnsSupported: false })),
      NextToken: nextToken,
    };
  },
};
