/** DHCP options: each account has one set, which its VPCs use. */
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { describe, withTags } from '../describe.ts';
import type { Tagged } from '../resource-tags.ts';
import type { Row } from '../schema.ts';

type OptionsRow = Row<'dhcp_options'> & Tagged;

const filters: FilterSpec<OptionsRow> = {
  'dhcp-options-id': (options) => options.dhcp_options_id,
  key: (options) => options.configuration.map((entry) => entry.key),
  'owner-id': (options) => options.account_id,
  value: (options) => options.configuration.flatMap((entry) => entry.values),
};

export const dhcpOptionsHandlers: Handlers<ActionContext> = {
  async DescribeDhcpOptions(input, context) {
    const all = context.region.db
      .selectFrom('dhcp_options')
      .selectAll()
      .where('account_id', '=', context.accountId)
      .execute();
    const rows = await withTags(context, 'dhcp-options', all, (row) => row.dhcp_options_id);
    const page = describe(rows, input, context, {
      action: 'DescribeDhcpOptions',
      idOf: (options) => options.dhcp_options_id,
      filters,
      tagsOf: (options) => options.tags,
      ids: { kind: 'dhcpOptions', parameter: 'dhcpOptionsIds', values: input.DhcpOptionsIds },
    });
    return {
      DhcpOptions: page.items.map((options) => ({
        DhcpOptionsId: options.dhcp_options_id,
        OwnerId: options.account_id,
        DhcpConfigurations: options.configuration.map((entry) => ({
          Key: entry.key,
          Values: entry.values.map((value) => ({ Value: value })),
        })),
        Tags: options.tags,
      })),
      NextToken: page.nextToken,
    };
  },
};
