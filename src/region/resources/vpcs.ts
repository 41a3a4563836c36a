/** VPCs. */
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers, Out } from '#wire/types.ts';
import { change, changeVpc, dependencyViolation, lockAccount } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { insertVpc } from '../default-vpc.ts';
import { describe, withTags } from '../describe.ts';
import { notFound } from '../not-found.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOnCreate } from '../resource-tags.ts';
import type { RegionTransaction, Row } from '../schema.ts';
import { requireVpcRange } from '../vpc-ranges.ts';
import { addedBlocks, blockView, type CidrBlock, firstBlock } from './vpc-cidr-blocks.ts';

type Vpc = NonNullable<Out<'DescribeVpcs'>['Vpcs']>[number];
type VpcRow = Row<'vpc'> & Tagged & { readonly blocks: readonly CidrBlock[] };

const show = (vpc: VpcRow): Vpc => ({
  VpcId: vpc.vpc_id,
  OwnerId: vpc.account_id,
  State: 'available',
  CidrBlock: vpc.cidr,
  CidrBlockAssociationSet: blocksOf(vpc).map((block) => blockView(block, 'associated')),
  Ipv6CidrBlockAssociationSet: [],
  DhcpOptionsId: vpc.dhcp_options_id ?? 'default',
  InstanceTenancy: 'default',
  IsDefault: vpc.is_default,
  Tags: vpc.tags,
});

const filters: FilterSpec<VpcRow> = {
  cidr: (vpc) => vpc.cidr,
  'cidr-block': (vpc) => vpc.cidr,
  cidrBlock: (vpc) => vpc.cidr,
  'cidr-block-association.cidr-block': (vpc) => blocksOf(vpc).map(({ cidr }) => cidr),
  'cidr-block-association.association-id': (vpc) => blocksOf(vpc).map(({ association_id: id }) => id),
  'cidr-block-association.state': () => 'associated',
  'dhcp-options-id': (vpc) => vpc.dhcp_options_id ?? 'default',
  dhcpOptionsId: (vpc) => vpc.dhcp_options_id ?? 'default',
  'ipv6-cidr-block-association.ipv6-cidr-block': () => undefined,
  'ipv6-cidr-block-association.association-id': () => undefined,
  'ipv6-cidr-block-association.ipv6-pool': () => undefined,
  'ipv6-cidr-block-association.state': () => undefined,
  'is-default': (vpc) => vpc.is_default,
  isDefault: (vpc) => vpc.is_default,
  'owner-id': (vpc) => vpc.account_id,
  state: () => 'available',
  'vpc-id': (vpc) => vpc.vpc_id,
};

/** The first range, then those that were added. */
const blocksOf = (vpc: VpcRow): readonly CidrBlock[] => [firstBlock(vpc), ...vpc.blocks];

const rowsOf = async (context: ActionContext): Promise<readonly VpcRow[]> => {
  const { db } = context.region;
  const all = db.selectFrom('vpc').selectAll().where('account_id', '=', context.accountId).execute();
  const [rows, added] = await Promise.all([
    withTags(context, 'vpc', all, (row) => row.vpc_id),
    addedBlocks(db, context.accountId),
  ]);
  return rows.map((row) => ({ ...row, blocks: added.get(row.vpc_id) ?? [] }));
};

/** The VPC of the caller under this id, or EC2's error. */
export const requireVpc = async (context: ActionContext, vpcId: string): Promise<Row<'vpc'>> => {
  const vpc = await context.region.db
    .selectFrom('vpc')
    .selectAll()
    .where('vpc_id', '=', parseId('vpc', vpcId))
    .where('account_id', '=', context.accountId)
    .executeTakeFirst();
  if (vpc === undefined) throw notFound('vpc', vpcId);
  return vpc;
};

const checkRoom = async (tx: RegionTransaction, context: ActionContext): Promise<void> => {
  await lockAccount(tx, context.accountId);
  const { count } = await tx
    .selectFrom('vpc')
    .select((row) => row.fn.countAll<number>().as('count'))
    .where('account_id', '=', context.accountId)
    .executeTakeFirstOrThrow();
  if (count >= context.region.config.limits.vpcsPerAccountMax)
    throw new PandoError('VpcLimitExceeded', 'The maximum number of VPCs has been reached.');
};

/** Deletes what came with the VPC; what its owner made in it is a dependency. */
const deleteContents = async (tx: RegionTransaction, vpcId: string): Promise<void> => {
  const main = await tx
    .selectFrom('route_table_association')
    .select('route_table_id')
    .where('vpc_id', '=', vpcId)
    .execute();
  await tx.deleteFrom('route_table_association').where('vpc_id', '=', vpcId).execute();
  const tables = main.map((row) => row.route_table_id);
  if (tables.length > 0) await tx.deleteFrom('route_table').where('route_table_id', 'in', tables).execute();
  const groups = await tx
    .deleteFrom('security_group')
    .where('vpc_id', '=', vpcId)
    .returning('group_id')
    .execute();
  const acls = await tx
    .deleteFrom('network_acl')
    .where('vpc_id', '=', vpcId)
    .returning('network_acl_id')
    .execute();
  await deleteTagsOf(
    tx,
    vpcId,
    ...tables,
    ...groups.map((row) => row.group_id),
    ...acls.map((row) => row.network_acl_id),
  );
};

const hasDependencies = async (tx: RegionTransaction, vpcId: string): Promise<boolean> => {
  const { found } = await tx
    .selectNoFrom((all) => [
      all
        .or([
          all.exists(all.selectFrom('subnet').select('subnet_id').where('vpc_id', '=', vpcId)),
          all.exists(all.selectFrom('internet_gateway').select('vpc_id').where('vpc_id', '=', vpcId)),
          all.exists(
            all
              .selectFrom('security_group')
              .select('group_id')
              .where('vpc_id', '=', vpcId)
              .where('name', '<>', 'default'),
          ),
          all.exists(
            all
              .selectFrom('route_table as t')
              .select('t.route_table_id')
              .where('t.vpc_id', '=', vpcId)
              .where((row) =>
                row.not(
                  row.exists(
                    row
                      .selectFrom('route_table_association as a')
                      .select('a.association_id')
                      .whereRef('a.route_table_id', '=', 't.route_table_id')
                      .where('a.subnet_id', 'is', null),
                  ),
                ),
              ),
          ),
        ])
        .as('found'),
    ])
    .executeTakeFirstOrThrow();
  return Boolean(found);
};

const attributes = ['enableDnsSupport', 'enableDnsHostnames', 'enableNetworkAddressUsageMetrics'] as const;

export const vpcHandlers: Handlers<ActionContext> = {
  async CreateVpc(input, context) {
    if (input.CidrBlock === undefined)
      throw new PandoError('MissingParameter', 'The request must contain the parameter cidrBlock');
    const network = requireVpcRange(input.CidrBlock);
    if (input.AmazonProvidedIpv6CidrBlock)
      throw new PandoError('UnsupportedOperation', 'IPv6 is not available in this region.');
    if (input.InstanceTenancy !== undefined && input.InstanceTenancy !== 'default')
      throw new PandoError('UnsupportedOperation', `Tenancy '${input.InstanceTenancy}' is not available.`);
    const tags = tagsOnCreate(input.TagSpecifications, 'vpc');
    const vpc = await change(context, input, async (tx) => {
      await checkRoom(tx, context);
      const { domainName } = context.region.network;
      const { vpcId } = await insertVpc(tx, context.accountId, network, { domainName, isDefault: false });
      await insertTags(tx, context.accountId, 'vpc', vpcId, tags);
      return tx.selectFrom('vpc').selectAll().where('vpc_id', '=', vpcId).executeTakeFirstOrThrow();
    });
    return { Vpc: show({ ...vpc, tags, blocks: [] }) };
  },

  async DescribeVpcs(input, context) {
    const page = describe(await rowsOf(context), input, context, {
      action: 'DescribeVpcs',
      idOf: (vpc) => vpc.vpc_id,
      filters,
      tagsOf: (vpc) => vpc.tags,
      ids: { kind: 'vpc', parameter: 'vpcIds', values: input.VpcIds },
    });
    return { Vpcs: page.items.map(show), NextToken: page.nextToken };
  },

  async DeleteVpc(input, context) {
    await changeVpc(context, input, input.VpcId, async (tx, vpc) => {
      if (await hasDependencies(tx, vpc.vpc_id)) throw dependencyViolation(`The vpc '${vpc.vpc_id}'`);
      await deleteContents(tx, vpc.vpc_id);
      await tx.deleteFrom('vpc').where('vpc_id', '=', vpc.vpc_id).execute();
    });
    return {};
  },

  async ModifyVpcAttribute(input, context) {
    const set = {
      dns_support: input.EnableDnsSupport?.Value,
      dns_hostnames: input.EnableDnsHostnames?.Value,
      address_usage_metrics: input.EnableNetworkAddressUsageMetrics?.Value,
    };
    if (Object.values(set).filter((value) => value !== undefined).length !== 1)
      throw new PandoError('InvalidParameterCombination', 'Exactly one attribute must be given.');
    await changeVpc(context, {}, input.VpcId, async (tx, vpc) => {
      if (set.dns_hostnames === true && !vpc.dns_support)
        throw new PandoError('InvalidParameterValue', 'DNS hostnames need DNS support to be enabled.');
      await tx.updateTable('vpc').set(set).where('vpc_id', '=', vpc.vpc_id).execute();
    });
    return {};
  },

  async DescribeVpcAttribute(input, context) {
    const attribute = attributes.find((name) => name === input.Attribute);
    if (attribute === undefined)
      throw new PandoError('InvalidParameterValue', `The attribute '${input.Attribute}' is invalid.`);
    const vpc = await requireVpc(context, input.VpcId);
    endDryRun(input);
    switch (attribute) {
      case 'enableDnsSupport':
        return { VpcId: vpc.vpc_id, EnableDnsSupport: { Value: vpc.dns_support } };
      case 'enableDnsHostnames':
        return { VpcId: vpc.vpc_id, EnableDnsHostnames: { Value: vpc.dns_hostnames } };
      case 'enableNetworkAddressUsageMetrics':
        return { VpcId: vpc.vpc_id, EnableNetworkAddressUsageMetrics: { Value: vpc.address_usage_metrics } };
    }
  },
};
