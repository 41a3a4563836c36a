/** Sets of DHCP options: made once, never changed, used by any number of VPCs. */
import { violatedConstraint } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import { newId, parseId } from '#contracts/ids.ts';
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers, Out } from '#wire/types.ts';
import { change, changeVpc, dependencyViolation, lockAccount } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { describe, withTags } from '../describe.ts';
import { readDhcpConfiguration } from '../dhcp-configuration.ts';
import { notFound } from '../not-found.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOnCreate } from '../resource-tags.ts';
import type { RegionTransaction, Row } from '../schema.ts';

type OptionsRow = Row<'dhcp_options'> & Tagged;
type DhcpOptions = NonNullable<Out<'DescribeDhcpOptions'>['DhcpOptions']>[number];

const setsPerAccountMax = 1_000;
/** What a VPC is associated with that has no set. */
const noOptions = 'default';

const show = (options: OptionsRow): DhcpOptions => ({
  DhcpOptionsId: options.dhcp_options_id,
  OwnerId: options.account_id,
  DhcpConfigurations: options.configuration.map((entry) => ({
    Key: entry.key,
    Values: entry.values.map((value) => ({ Value: value })),
  })),
  Tags: options.tags,
});

const filters: FilterSpec<OptionsRow> = {
  'dhcp-options-id': (options) => options.dhcp_options_id,
  key: (options) => options.configuration.map((entry) => entry.key),
  'owner-id': (options) => options.account_id,
  value: (options) => options.configuration.flatMap((entry) => entry.values),
};

const checkRoom = async (tx: RegionTransaction, accountId: string): Promise<void> => {
  await lockAccount(tx, accountId);
  const { count } = await tx
    .selectFrom('dhcp_options')
    .select((row) => row.fn.countAll<number>().as('count'))
    .where('account_id', '=', accountId)
    .executeTakeFirstOrThrow();
  if (count >= setsPerAccountMax)
    throw new PandoError(
      'ResourceLimitExceeded',
      `An account has ${setsPerAccountMax} DHCP options sets at most.`,
    );
};

/** The set under this id; it stays until the transaction ends. */
const requireSet = async (tx: RegionTransaction, accountId: string, id: string): Promise<string> => {
  const set = await tx
    .selectFrom('dhcp_options')
    .select('dhcp_options_id')
    .where('dhcp_options_id', '=', parseId('dhcpOptions', id))
    .where('account_id', '=', accountId)
    .forKeyShare()
    .executeTakeFirst();
  if (set === undefined) throw notFound('dhcpOptions', id);
  return set.dhcp_options_id;
};

export const dhcpOptionsHandlers: Handlers<ActionContext> = {
  async CreateDhcpOptions(input, context) {
    const configuration = readDhcpConfiguration(input.DhcpConfigurations);
    const tags = tagsOnCreate(input.TagSpecifications, 'dhcp-options');
    const row = await change(context, input, async (tx) => {
      await checkRoom(tx, context.accountId);
      const id = newId('dhcpOptions');
      const made = await tx
        .insertInto('dhcp_options')
        .values({
          dhcp_options_id: id,
          account_id: context.accountId,
          configuration: JSON.stringify(configuration),
          is_default: false,
        })
        .returningAll()
        .executeTakeFirstOrThrow();
      await insertTags(tx, context.accountId, 'dhcp-options', id, tags);
      return made;
    });
    return { DhcpOptions: show({ ...row, tags }) };
  },

  /** Guests learn of it when they renew their lease. */
  async AssociateDhcpOptions(input, context) {
    await changeVpc(context, input, input.VpcId, async (tx, vpc) => {
      const { DhcpOptionsId: id } = input;
      const set = id === noOptions ? null : await requireSet(tx, context.accountId, id);
      await tx.updateTable('vpc').set({ dhcp_options_id: set }).where('vpc_id', '=', vpc.vpc_id).execute();
    });
    return {};
  },

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
    return { DhcpOptions: page.items.map(show), NextToken: page.nextToken };
  },

  async DeleteDhcpOptions(input, context) {
    const id = parseId('dhcpOptions', input.DhcpOptionsId);
    await change(context, input, async (tx) => {
      const gone = await tx
        .deleteFrom('dhcp_options')
        .where('dhcp_options_id', '=', id)
        .where('account_id', '=', context.accountId)
        .returning('dhcp_options_id')
        .executeTakeFirst();
      if (gone === undefined) throw notFound('dhcpOptions', id);
      await deleteTagsOf(tx, id);
    }).catch((error: unknown) => {
      // The database itself keeps a set that a VPC uses, also one that has only just been associated.
      if (violatedConstraint(error) === 'vpc_dhcp_options_id_fkey')
        throw dependencyViolation(`The dhcpOptions '${id}'`);
      throw error;
    });
    return {};
  },
};
