/** Internet gateways: attached to at most one VPC each, and a VPC has at most one. */
import { PandoError } from '#contracts/errors.ts';
import { newId, parseId } from '#contracts/ids.ts';
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers, Out } from '#wire/types.ts';
import { change, changeVpc, dependencyViolation, lockAccount } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { describe, withTags } from '../describe.ts';
import { notFound } from '../not-found.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOnCreate } from '../resource-tags.ts';
import type { RegionTransaction, Row } from '../schema.ts';

type InternetGateway = NonNullable<Out<'DescribeInternetGateways'>['InternetGateways']>[number];
type GatewayRow = Row<'internet_gateway'> & Tagged;

const show = (gateway: GatewayRow): InternetGateway => ({
  InternetGatewayId: gateway.internet_gateway_id,
  OwnerId: gateway.account_id,
  // EC2 says `available` here, where the type's enumeration says `attached`.
  Attachments: gateway.vpc_id === null ? [] : [{ VpcId: gateway.vpc_id, State: 'available' as 'attached' }],
  Tags: gateway.tags,
});

const filters: FilterSpec<GatewayRow> = {
  'attachment.state': (gateway) => (gateway.vpc_id === null ? undefined : 'available'),
  'attachment.vpc-id': (gateway) => gateway.vpc_id,
  'internet-gateway-id': (gateway) => gateway.internet_gateway_id,
  'owner-id': (gateway) => gateway.account_id,
};

const rowsOf = (context: ActionContext) =>
  withTags(
    context,
    'internet-gateway',
    context.region.db
      .selectFrom('internet_gateway')
      .selectAll()
      .where('account_id', '=', context.accountId)
      .execute(),
    (row) => row.internet_gateway_id,
  );

/** The gateway of the caller under this id, or EC2's error. */
export const requireGateway = async (
  context: ActionContext,
  id: string,
): Promise<Row<'internet_gateway'>> => {
  const gateway = await context.region.db
    .selectFrom('internet_gateway')
    .selectAll()
    .where('internet_gateway_id', '=', parseId('internetGateway', id))
    .where('account_id', '=', context.accountId)
    .executeTakeFirst();
  if (gateway === undefined) throw notFound('internetGateway', id);
  return gateway;
};

/** Locks a gateway of the caller, so that attach, detach and delete of one happen one after another. */
const lockGateway = async (
  tx: RegionTransaction,
  context: ActionContext,
  id: string,
): Promise<Row<'internet_gateway'>> => {
  const gateway = await tx
    .selectFrom('internet_gateway')
    .selectAll()
    .where('internet_gateway_id', '=', parseId('internetGateway', id))
    .where('account_id', '=', context.accountId)
    .forUpdate()
    .executeTakeFirst();
  if (gateway === undefined) throw notFound('internetGateway', id);
  return gateway;
};

const publicAddressesOf = (tx: RegionTransaction, vpcId: string) =>
  tx
    .selectFrom('public_address')
    .innerJoin('eni', 'eni.eni_id', 'public_address.eni_id')
    .select('public_address.ip')
    .where('eni.vpc_id', '=', vpcId)
    .executeTakeFirst();

export const internetGatewayHandlers: Handlers<ActionContext> = {
  async CreateInternetGateway(input, context) {
    const tags = tagsOnCreate(input.TagSpecifications, 'internet-gateway');
    const row = {
      internet_gateway_id: newId('internetGateway'),
      account_id: context.accountId,
      vpc_id: null,
    };
    await change(context, input, async (tx) => {
      await lockAccount(tx, context.accountId);
      const present = await tx
        .selectFrom('internet_gateway')
        .select('vpc_id')
        .where('account_id', '=', context.accountId)
        .execute();
      if (present.length >= context.region.config.limits.gatewaysPerAccountMax)
        throw new PandoError(
          'InternetGatewayLimitExceeded',
          'The maximum number of internet gateways has been reached.',
        );
      await tx.insertInto('internet_gateway').values(row).execute();
      await insertTags(tx, context.accountId, 'internet-gateway', row.internet_gateway_id, tags);
    });
    return { InternetGateway: show({ ...row, tags }) };
  },

  async DescribeInternetGateways(input, context) {
    const page = describe(await rowsOf(context), input, context, {
      action: 'DescribeInternetGateways',
      idOf: (gateway) => gateway.internet_gateway_id,
      filters,
      tagsOf: (gateway) => gateway.tags,
      ids: { kind: 'internetGateway', parameter: 'internetGatewayIds', values: input.InternetGatewayIds },
    });
    return { InternetGateways: page.items.map(show), NextToken: page.nextToken };
  },

  async AttachInternetGateway(input, context) {
    await changeVpc(context, input, input.VpcId, async (tx, vpc) => {
      const gateway = await lockGateway(tx, context, input.InternetGatewayId);
      if (gateway.vpc_id !== null)
        throw new PandoError(
          'Resource.AlreadyAssociated',
          `resource ${gateway.internet_gateway_id} is already attached to network ${gateway.vpc_id}`,
        );
      const other = await tx
        .selectFrom('internet_gateway')
        .select('vpc_id')
        .where('vpc_id', '=', vpc.vpc_id)
        .executeTakeFirst();
      if (other !== undefined)
        throw new PandoError(
          'InvalidParameterValue',
          `Network ${vpc.vpc_id} already has an internet gateway attached`,
        );
      await tx
        .updateTable('internet_gateway')
        .set({ vpc_id: vpc.vpc_id })
        .where('internet_gateway_id', '=', gateway.internet_gateway_id)
        .execute();
    });
    return {};
  },

  async DetachInternetGateway(input, context) {
    await changeVpc(context, input, input.VpcId, async (tx, vpc) => {
      const gateway = await lockGateway(tx, context, input.InternetGatewayId);
      if (gateway.vpc_id !== vpc.vpc_id)
        throw new PandoError(
          'Gateway.NotAttached',
          `resource ${gateway.internet_gateway_id} is not attached to network ${vpc.vpc_id}`,
        );
      if ((await publicAddressesOf(tx, vpc.vpc_id)) !== undefined)
        throw new PandoError(
          'DependencyViolation',
          `Network ${vpc.vpc_id} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.`,
        );
      await tx
        .updateTable('internet_gateway')
        .set({ vpc_id: null })
        .where('internet_gateway_id', '=', gateway.internet_gateway_id)
        .execute();
    });
    return {};
  },

  async DeleteInternetGateway(input, context) {
    await change(context, input, async (tx) => {
      const gateway = await lockGateway(tx, context, input.InternetGatewayId);
      if (gateway.vpc_id !== null)
        throw dependencyViolation(`The internetGateway '${gateway.internet_gateway_id}'`);
      await tx
        .deleteFrom('internet_gateway')
        .where('internet_gateway_id', '=', gateway.internet_gateway_id)
        .execute();
      await deleteTagsOf(tx, gateway.internet_gateway_id);
    });
    return {};
  },
};
