/** Route tables and their associations with subnets. */
import { PandoError } from '#contracts/errors.ts';
import { newId, parseId } from '#contracts/ids.ts';
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers, Out } from '#wire/types.ts';
import { changeVpc, dependencyViolation } from '../change.ts';
import { claimToken } from '../client-tokens.ts';
import type { ActionContext } from '../context.ts';
import { insertRouteTable } from '../default-vpc.ts';
import { describe, withTags } from '../describe.ts';
import { notFound } from '../not-found.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOnCreate } from '../resource-tags.ts';
import type { RegionTransaction, Row } from '../schema.ts';
import { checkVpcBudget } from '../vpc-budget.ts';
import { vpcCidrs } from '../vpc-ranges.ts';
import { requireSubnet } from './subnets.ts';

type RouteTable = NonNullable<Out<'DescribeRouteTables'>['RouteTables']>[number];
type RouteRow = Row<'route'> & { instance_id: string | null; alive: boolean };
type TableRow = Row<'route_table'> &
  Tagged & { routes: RouteRow[]; associations: Row<'route_table_association'>[] };

const associated = { AssociationState: { State: 'associated' as const } };

const stateOf = (route: RouteRow) => (route.kind === 'local' || route.alive ? 'active' : 'blackhole');

const show = (table: TableRow): RouteTable => ({
  RouteTableId: table.route_table_id,
  VpcId: table.vpc_id,
  OwnerId: table.account_id,
  PropagatingVgws: [],
  Associations: table.associations.map((association) => ({
    RouteTableAssociationId: association.association_id,
    RouteTableId: association.route_table_id,
    Main: association.subnet_id === null,
    ...(association.subnet_id === null ? {} : { SubnetId: association.subnet_id }),
    ...associated,
  })),
  Routes: table.routes.map((route) => ({
    DestinationCidrBlock: route.destination,
    Origin: route.origin,
    State: stateOf(route),
    ...targetOf(route, table.account_id),
  })),
  Tags: table.tags,
});

const targetOf = (route: RouteRow, accountId: string) => {
  switch (route.kind) {
    case 'local':
      return { GatewayId: 'local' };
    case 'internet-gateway':
      return { GatewayId: route.target_id ?? undefined };
    case 'interface':
      return {
        NetworkInterfaceId: route.target_id ?? undefined,
        ...(route.instance_id === null ? {} : { InstanceId: route.instance_id, InstanceOwnerId: accountId }),
      };
  }
};

const filters: FilterSpec<TableRow> = {
  'association.gateway-id': () => undefined,
  'association.main': (table) => table.associations.map((one) => one.subnet_id === null),
  'association.route-table-association-id': (table) => table.associations.map((one) => one.association_id),
  'association.route-table-id': (table) => table.associations.map((one) => one.route_table_id),
  'association.subnet-id': (table) => table.associations.map((one) => one.subnet_id),
  'owner-id': (table) => table.account_id,
  'route-table-id': (table) => table.route_table_id,
  'route.destination-cidr-block': (table) => table.routes.map((route) => route.destination),
  'route.destination-ipv6-cidr-block': () => undefined,
  'route.destination-prefix-list-id': () => undefined,
  'route.egress-only-internet-gateway-id': () => undefined,
  'route.gateway-id': (table) =>
    table.routes.map((route) => (route.kind === 'interface' ? undefined : (route.target_id ?? 'local'))),
  'route.instance-id': (table) => table.routes.map((route) => route.instance_id),
  'route.nat-gateway-id': () => undefined,
  'route.origin': (table) => table.routes.map((route) => route.origin),
  'route.transit-gateway-id': () => undefined,
  'route.vpc-peering-connection-id': () => undefined,
  'route.state': (table) => table.routes.map(stateOf),
  'vpc-id': (table) => table.vpc_id,
};

const rowsOf = async (context: ActionContext): Promise<readonly TableRow[]> => {
  const { db } = context.region;
  const tables = db
    .selectFrom('route_table')
    .selectAll()
    .where('account_id', '=', context.accountId)
    .execute();
  const [rows, routes, associations] = await Promise.all([
    withTags(context, 'route-table', tables, (row) => row.route_table_id),
    db
      .selectFrom('route')
      .innerJoin('route_table as t', 't.route_table_id', 'route.route_table_id')
      .leftJoin('eni', 'eni.eni_id', 'route.target_id')
      .leftJoin('internet_gateway as g', (join) =>
        join.onRef('g.internet_gateway_id', '=', 'route.target_id').onRef('g.vpc_id', '=', 't.vpc_id'),
      )
      .selectAll('route')
      .select(['eni.instance_id', 'eni.eni_id as live_eni', 'g.internet_gateway_id as live_gateway'])
      .where('t.account_id', '=', context.accountId)
      .orderBy('route.destination')
      .execute(),
    db
      .selectFrom('route_table_association as a')
      .innerJoin('route_table as t', 't.route_table_id', 'a.route_table_id')
      .selectAll('a')
      .where('t.account_id', '=', context.accountId)
      .orderBy('a.association_id')
      .execute(),
  ]);
  const routesOf = Map.groupBy(routes, (route) => route.route_table_id);
  const associationsOf = Map.groupBy(associations, (one) => one.route_table_id);
  return rows.map((row) => ({
    ...row,
    routes: (routesOf.get(row.route_table_id) ?? []).map(({ live_eni, live_gateway, ...route }) => ({
      ...route,
      alive: live_eni !== null || live_gateway !== null,
    })),
    associations: associationsOf.get(row.route_table_id) ?? [],
  }));
};

/** The route table of the caller under this id, or EC2's error. */
export const requireRouteTable = async (context: ActionContext, id: string): Promise<Row<'route_table'>> => {
  const table = await context.region.db
    .selectFrom('route_table')
    .selectAll()
    .where('route_table_id', '=', parseId('routeTable', id))
    .where('account_id', '=', context.accountId)
    .executeTakeFirst();
  if (table === undefined) throw notFound('routeTable', id);
  return table;
};

const requireAssociation = async (
  context: ActionContext,
  id: string,
): Promise<Row<'route_table_association'>> => {
  const association = await context.region.db
    .selectFrom('route_table_association as a')
    .innerJoin('vpc', 'vpc.vpc_id', 'a.vpc_id')
    .selectAll('a')
    .where('a.association_id', '=', parseId('routeTableAssociation', id))
    .where('vpc.account_id', '=', context.accountId)
    .executeTakeFirst();
  if (association === undefined)
    throw new PandoError('InvalidAssociationID.NotFound', `The association ID '${id}' does not exist`);
  return association;
};

const otherVpc = (what: string): PandoError =>
  new PandoError('InvalidParameterValue', `${what} belong to different networks`);

const checkRoom = async (tx: RegionTransaction, context: ActionContext, vpcId: string): Promise<void> => {
  const tables = await tx
    .selectFrom('route_table')
    .select('route_table_id')
    .where('vpc_id', '=', vpcId)
    .execute();
  if (tables.length >= context.region.config.limits.routeTablesPerVpcMax)
    throw new PandoError('RouteTableLimitExceeded', 'The maximum number of route tables has been reached.');
};

export const routeTableHandlers: Handlers<ActionContext> = {
  async CreateRouteTable(input, context) {
    const tags = tagsOnCreate(input.TagSpecifications, 'route-table');
    const id = await changeVpc(context, input, input.VpcId, async (tx, vpc) => {
      const routeTableId = newId('routeTable');
      const earlier = await claimToken(tx, context, 'CreateRouteTable', input, routeTableId);
      if (earlier !== undefined) return earlier;
      await checkRoom(tx, context, vpc.vpc_id);
      const { accountId } = context;
      const cidrs = await vpcCidrs(tx, vpc);
      await insertRouteTable(tx, { routeTableId, accountId, vpcId: vpc.vpc_id, cidrs });
      await insertTags(tx, accountId, 'route-table', routeTableId, tags);
      return routeTableId;
    });
    const row = (await rowsOf(context)).find((table) => table.route_table_id === id);
    if (row === undefined) throw notFound('routeTable', id);
    return { RouteTable: show(row), ClientToken: input.ClientToken };
  },

  async DescribeRouteTables(input, context) {
    const page = describe(await rowsOf(context), input, context, {
      action: 'DescribeRouteTables',
      idOf: (table) => table.route_table_id,
      filters,
      tagsOf: (table) => table.tags,
      ids: { kind: 'routeTable', parameter: 'routeTableIds', values: input.RouteTableIds },
    });
    return { RouteTables: page.items.map(show), NextToken: page.nextToken };
  },

  async DeleteRouteTable(input, context) {
    const table = await requireRouteTable(context, input.RouteTableId);
    await changeVpc(context, input, table.vpc_id, async (tx) => {
      const used = await tx
        .selectFrom('route_table_association')
        .select('association_id')
        .where('route_table_id', '=', table.route_table_id)
        .executeTakeFirst();
      if (used !== undefined) throw dependencyViolation(`The routeTable '${table.route_table_id}'`);
      await tx.deleteFrom('route_table').where('route_table_id', '=', table.route_table_id).execute();
      await deleteTagsOf(tx, table.route_table_id);
    });
    return {};
  },

  async AssociateRouteTable(input, context) {
    if (input.SubnetId === undefined)
      throw new PandoError('MissingParameter', 'The request must contain the parameter subnetId');
    const [table, subnet] = await Promise.all([
      requireRouteTable(context, input.RouteTableId),
      requireSubnet(context, input.SubnetId),
    ]);
    if (table.vpc_id !== subnet.vpc_id)
      throw otherVpc(`route table ${table.route_table_id} and subnet ${subnet.subnet_id}`);
    const associationId = await changeVpc(context, input, table.vpc_id, async (tx) => {
      const present = await tx
        .selectFrom('route_table_association')
        .selectAll()
        .where('subnet_id', '=', subnet.subnet_id)
        .executeTakeFirst();
      if (present?.route_table_id === table.route_table_id) return present.association_id;
      if (present !== undefined)
        throw new PandoError(
          'Resource.AlreadyAssociated',
          `the specified association for route table ${table.route_table_id} conflicts with an existing association`,
        );
      const row = { ...association(table), subnet_id: subnet.subnet_id };
      await tx.insertInto('route_table_association').values(row).execute();
      await checkVpcBudget(tx, table.vpc_id, 'RouteLimitExceeded');
      return row.association_id;
    });
    return { AssociationId: associationId, ...associated };
  },

  async DisassociateRouteTable(input, context) {
    const present = await requireAssociation(context, input.AssociationId);
    if (present.subnet_id === null)
      throw new PandoError(
        'InvalidParameterValue',
        `cannot disassociate the main route table association ${present.association_id}`,
      );
    await changeVpc(context, input, present.vpc_id, async (tx) => {
      await tx
        .deleteFrom('route_table_association')
        .where('association_id', '=', present.association_id)
        .execute();
      // The subnet has the routes of the main table from now on.
      await checkVpcBudget(tx, present.vpc_id, 'RouteLimitExceeded');
    });
    return {};
  },

  async ReplaceRouteTableAssociation(input, context) {
    const [table, present] = await Promise.all([
      requireRouteTable(context, input.RouteTableId),
      requireAssociation(context, input.AssociationId),
    ]);
    if (table.vpc_id !== present.vpc_id)
      throw otherVpc(`route table ${table.route_table_id} and association ${present.association_id}`);
    const row = { ...association(table), subnet_id: present.subnet_id };
    await changeVpc(context, input, table.vpc_id, async (tx) => {
      const gone = await tx
        .deleteFrom('route_table_association')
        .where('association_id', '=', present.association_id)
        .returning('association_id')
        .executeTakeFirst();
      // Somebody replaced it between our look and our lock.
      if (gone === undefined)
        throw new PandoError(
          'InvalidAssociationID.NotFound',
          `The association ID '${present.association_id}' does not exist`,
        );
      await tx.insertInto('route_table_association').values(row).execute();
      await checkVpcBudget(tx, table.vpc_id, 'RouteLimitExceeded');
    });
    return { NewAssociationId: row.association_id, ...associated };
  },
};

const association = (table: Row<'route_table'>) => ({
  association_id: newId('routeTableAssociation'),
  route_table_id: table.route_table_id,
  vpc_id: table.vpc_id,
});
