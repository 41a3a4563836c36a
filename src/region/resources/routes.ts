/** Routes: where a table sends a range. */
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import type { Handlers } from '#wire/types.ts';
import { changeVpc } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { contains, formatNetwork, parseNetwork, requireNetwork } from '../ipv4.ts';
import { notFound } from '../not-found.ts';
import { quotaOf } from '../quotas.ts';
import type { RegionTransaction, Row } from '../schema.ts';
import { checkVpcBudget } from '../vpc-budget.ts';
import { vpcCidrs } from '../vpc-ranges.ts';
import { requireRouteTable } from './route-tables.ts';

interface TargetInput {
  readonly GatewayId?: string | undefined;
  readonly InstanceId?: string | undefined;
  readonly NetworkInterfaceId?: string | undefined;
}

type Target = Pick<Row<'route'>, 'kind' | 'target_id'>;

const builtTargets = ['GatewayId', 'InstanceId', 'NetworkInterfaceId'] as const;
const otherTargets = [
  'DestinationIpv6CidrBlock',
  'DestinationPrefixListId',
  'EgressOnlyInternetGatewayId',
  'VpcPeeringConnectionId',
  'NatGatewayId',
  'TransitGatewayId',
  'LocalGatewayId',
  'CarrierGatewayId',
  'VpcEndpointId',
  'CoreNetworkArn',
  'OdbNetworkArn',
] as const;

const checkShape = (input: TargetInput & object): void => {
  const other = otherTargets.find((name) => Reflect.get(input, name) !== undefined);
  if (other !== undefined)
    throw new PandoError('UnsupportedOperation', `Routes by ${other} are not supported.`);
  if (builtTargets.filter((name) => input[name] !== undefined).length !== 1)
    throw new PandoError('InvalidParameterCombination', 'Exactly one target of the route must be given.');
};

const destinationOf = (text: string | undefined): string => {
  if (text === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameter destinationCidrBlock');
  return formatNetwork(requireNetwork(text, 'destinationCidrBlock'));
};

/** The target, checked to be the caller's and in the table's VPC. */
const resolveTarget = async (
  tx: RegionTransaction,
  context: ActionContext,
  vpcId: string,
  input: TargetInput,
): Promise<Target> => {
  if (input.GatewayId !== undefined) return gatewayTarget(tx, context, vpcId, input.GatewayId);
  const { InstanceId: instanceId, NetworkInterfaceId: eniId } = input;
  const eni = await tx
    .selectFrom('eni')
    .select(['eni_id', 'vpc_id'])
    .where('account_id', '=', context.accountId)
    .where((row) =>
      instanceId === undefined
        ? row('eni_id', '=', parseId('networkInterface', eniId ?? ''))
        : row('instance_id', '=', parseId('instance', instanceId)),
    )
    .executeTakeFirst();
  if (eni === undefined)
    throw instanceId === undefined
      ? notFound('networkInterface', eniId ?? '')
      : notFound('instance', instanceId);
  if (eni.vpc_id !== vpcId) throw otherNetwork(eni.eni_id, vpcId);
  return { kind: 'interface', target_id: eni.eni_id };
};

const gatewayTarget = async (
  tx: RegionTransaction,
  context: ActionContext,
  vpcId: string,
  id: string,
): Promise<Target> => {
  if (id === 'local') return { kind: 'local', target_id: null };
  if (id.startsWith('vgw-'))
    throw new PandoError('InvalidGatewayID.NotFound', `The gateway ID '${id}' does not exist`);
  const gateway = await tx
    .selectFrom('internet_gateway')
    .selectAll()
    .where('internet_gateway_id', '=', parseId('internetGateway', id))
    .where('account_id', '=', context.accountId)
    .executeTakeFirst();
  if (gateway === undefined)
    throw new PandoError(
      'InvalidInternetGatewayID.NotFound',
      `The internetGateway ID '${id}' does not exist`,
    );
  if (gateway.vpc_id !== vpcId) throw otherNetwork(id, vpcId);
  return { kind: 'internet-gateway', target_id: gateway.internet_gateway_id };
};

const otherNetwork = (id: string, vpcId: string): PandoError =>
  new PandoError(
    'InvalidParameterValue',
    `${id} and the route table belong to different networks (${vpcId})`,
  );

/** Only the VPC's own ranges go to `local`, and nothing inside of them may be pulled out by another route. */
const checkDestination = async (
  tx: RegionTransaction,
  destination: string,
  vpc: Row<'vpc'>,
  target: Target,
): Promise<void> => {
  const network = parseNetwork(destination);
  const cidrs = await vpcCidrs(tx, vpc);
  if (target.kind === 'local' && !cidrs.includes(destination))
    throw new PandoError('InvalidParameterValue', 'Only the ranges of the VPC can be routed to local.');
  const inside = cidrs.some((cidr) => {
    const own = parseNetwork(cidr);
    return network !== undefined && own !== undefined && contains(own, network);
  });
  if (target.kind === 'internet-gateway' && inside)
    throw new PandoError('InvalidParameterValue', `The route ${destination} is inside the range of the VPC.`);
};

const find = (tx: RegionTransaction, routeTableId: string, destination: string) =>
  tx
    .selectFrom('route')
    .selectAll()
    .where('route_table_id', '=', routeTableId)
    .where('destination', '=', destination)
    .executeTakeFirst();

const noRoute = (routeTableId: string, destination: string): PandoError =>
  new PandoError(
    'InvalidRoute.NotFound',
    `no route with destination-cidr-block ${destination} in route table ${routeTableId}`,
  );

export const routeHandlers: Handlers<ActionContext> = {
  async CreateRoute(input, context) {
    checkShape(input);
    const destination = destinationOf(input.DestinationCidrBlock);
    const table = await requireRouteTable(context, input.RouteTableId);
    await changeVpc(context, input, table.vpc_id, async (tx, vpc) => {
      const target = await resolveTarget(tx, context, vpc.vpc_id, input);
      await checkDestination(tx, destination, vpc, target);
      const present = await tx
        .selectFrom('route')
        .selectAll()
        .where('route_table_id', '=', table.route_table_id)
        .execute();
      const same = present.find((route) => route.destination === destination);
      // The same route again is the same result: clients retry.
      if (same?.kind === target.kind && same.target_id === target.target_id) return;
      if (same !== undefined)
        throw new PandoError('RouteAlreadyExists', `The route identified by ${destination} already exists.`);
      const { limits } = context.region.config;
      const routesMax = await quotaOf(tx, limits, context.accountId, 'routes-per-route-table');
      if (present.length >= routesMax)
        throw new PandoError(
          'RouteLimitExceeded',
          `The maximum number of routes has been reached: ${routesMax}.`,
        );
      const row = {
        route_table_id: table.route_table_id,
        destination,
        ...target,
        origin: 'CreateRoute' as const,
      };
      await tx.insertInto('route').values(row).execute();
      await checkVpcBudget(tx, vpc.vpc_id, 'RouteLimitExceeded');
    });
    return { Return: true };
  },

  async ReplaceRoute(input, context) {
    if (!input.LocalTarget) checkShape(input);
    const destination = destinationOf(input.DestinationCidrBlock);
    const table = await requireRouteTable(context, input.RouteTableId);
    await changeVpc(context, input, table.vpc_id, async (tx, vpc) => {
      const wanted = input.LocalTarget ? { GatewayId: 'local' } : input;
      const target = await resolveTarget(tx, context, vpc.vpc_id, wanted);
      await checkDestination(tx, destination, vpc, target);
      const present = await find(tx, table.route_table_id, destination);
      if (present === undefined) throw noRoute(table.route_table_id, destination);
      await tx
        .updateTable('route')
        .set(target)
        .where('route_table_id', '=', table.route_table_id)
        .where('destination', '=', destination)
        .execute();
    });
    return {};
  },

  async DeleteRoute(input, context) {
    const destination = destinationOf(input.DestinationCidrBlock);
    const table = await requireRouteTable(context, input.RouteTableId);
    await changeVpc(context, input, table.vpc_id, async (tx) => {
      const present = await find(tx, table.route_table_id, destination);
      if (present === undefined) throw noRoute(table.route_table_id, destination);
      if (present.origin === 'CreateRouteTable')
        throw new PandoError(
          'InvalidParameterValue',
          `cannot remove local route ${destination} in route table ${table.route_table_id}`,
        );
      await tx
        .deleteFrom('route')
        .where('route_table_id', '=', table.route_table_id)
        .where('destination', '=', destination)
        .execute();
    });
    return {};
  },
};
