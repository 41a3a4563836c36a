/** Ranges that are added to a VPC, and taken from it. */
import { PandoError } from '#contracts/errors.ts';
import { newId } from '#contracts/ids.ts';
import type { Handlers, In, Out } from '#wire/types.ts';
import { changeVpc } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { localRoute } from '../default-vpc.ts';
import { contains, formatNetwork, type Network, parseNetwork } from '../ipv4.ts';
import { notFound } from '../not-found.ts';
import type { Database, RegionTransaction, Row } from '../schema.ts';
import { checkVpcBudget } from '../vpc-budget.ts';
import { checkAdded, requireVpcRange, vpcNetworks } from '../vpc-ranges.ts';

export type CidrBlock = Pick<Row<'vpc_cidr_block'>, 'association_id' | 'cidr'>;
type BlockView = NonNullable<Out<'AssociateVpcCidrBlock'>['CidrBlockAssociation']>;

/** EC2's default quota, the first range counted. */
const blocksPerVpcMax = 5;
const associationPrefix = 'vpc-cidr-assoc-';

/** The range that a VPC was made with; its association has the VPC's own digits. */
export const firstBlock = (vpc: Pick<Row<'vpc'>, 'vpc_id' | 'cidr'>): CidrBlock => ({
  association_id: vpc.vpc_id.replace('vpc-', associationPrefix),
  cidr: vpc.cidr,
});

export const blockView = (
  block: CidrBlock,
  state: 'associating' | 'associated' | 'disassociating',
): BlockView => ({
  AssociationId: block.association_id,
  CidrBlock: block.cidr,
  CidrBlockState: { State: state },
});

/** What was added to the account's VPCs, by VPC. */
export const addedBlocks = async (
  db: Database,
  accountId: string,
): Promise<ReadonlyMap<string, readonly Row<'vpc_cidr_block'>[]>> =>
  Map.groupBy(
    await db
      .selectFrom('vpc_cidr_block')
      .selectAll()
      .where('account_id', '=', accountId)
      .orderBy('created_at')
      .orderBy('association_id')
      .execute(),
    ({ vpc_id }) => vpc_id,
  );

const ipv6Members = ['Ipv6CidrBlock', 'Ipv6Pool', 'Ipv6IpamPoolId', 'Ipv6NetmaskLength'] as const;
const ipamMembers = ['Ipv4IpamPoolId', 'Ipv4NetmaskLength'] as const;

const readRange = (input: In<'AssociateVpcCidrBlock'>): Network => {
  if (input.AmazonProvidedIpv6CidrBlock || ipv6Members.some((name) => input[name] !== undefined))
    throw new PandoError('UnsupportedOperation', 'IPv6 is not available in this region.');
  const ipam = ipamMembers.find((name) => input[name] !== undefined);
  if (ipam !== undefined)
    throw new PandoError(
      'UnsupportedOperation',
      `${ipam} is not supported: there are no address pools of IPAM.`,
    );
  if (input.Ipv6CidrBlockNetworkBorderGroup !== undefined)
    throw new PandoError('UnsupportedOperation', 'Ipv6CidrBlockNetworkBorderGroup is not supported.');
  if (input.CidrBlock === undefined)
    throw new PandoError(
      'MissingParameter',
      "Either 'cidrBlock' or 'amazonProvidedIpv6CidrBlock' should be provided.",
    );
  return requireVpcRange(input.CidrBlock);
};

const tablesOf = (tx: RegionTransaction, vpcId: string) =>
  tx.selectFrom('route_table').select('route_table_id').where('vpc_id', '=', vpcId);

/** A route to the same range or a part of it would lead packets of the VPC elsewhere. */
const checkRoutes = async (tx: RegionTransaction, vpcId: string, added: Network): Promise<void> => {
  const routes = await tx
    .selectFrom('route')
    .select(['destination', 'route_table_id'])
    .where('route_table_id', 'in', tablesOf(tx, vpcId))
    .where('kind', '<>', 'local')
    .execute();
  const inside = routes.find(({ destination }) => {
    const network = parseNetwork(destination);
    return network !== undefined && contains(added, network);
  });
  if (inside !== undefined)
    throw new PandoError(
      'InvalidVpc.Range',
      `The CIDR '${formatNetwork(added)}' conflicts with the route to ${inside.destination} in ${inside.route_table_id}.`,
    );
};

/** A further range, with its local routes. @throws InvalidVpc.Range, CidrLimitExceeded, RouteLimitExceeded */
export const addRange = async (
  tx: RegionTransaction,
  accountId: string,
  vpc: Row<'vpc'>,
  added: Network,
): Promise<CidrBlock> => {
  const present = await vpcNetworks(tx, vpc);
  checkAdded(added, present);
  if (present.length >= blocksPerVpcMax)
    throw new PandoError(
      'CidrLimitExceeded',
      `This network '${vpc.vpc_id}' has met its maximum number of allowed CIDRs: ${blocksPerVpcMax}`,
    );
  await checkRoutes(tx, vpc.vpc_id, added);
  const cidr = formatNetwork(added);
  const block = { association_id: newId('vpc').replace('vpc-', associationPrefix), cidr };
  await tx
    .insertInto('vpc_cidr_block')
    .values({ ...block, account_id: accountId, vpc_id: vpc.vpc_id })
    .execute();
  const tables = await tablesOf(tx, vpc.vpc_id).execute();
  await tx
    .insertInto('route')
    .values(tables.map(({ route_table_id }) => localRoute(route_table_id, cidr)))
    .execute();
  await checkVpcBudget(tx, vpc.vpc_id, 'RouteLimitExceeded');
  return block;
};

const noAssociation = (id: string): PandoError => notFound('vpcCidrBlockAssociation', id);

/** The caller's VPC of an association, and whether it is its first one. */
const findAssociation = async (context: ActionContext, id: string) => {
  const { db } = context.region;
  const own = await db
    .selectFrom('vpc')
    .select('vpc_id')
    .where('vpc_id', '=', id.replace(associationPrefix, 'vpc-'))
    .where('account_id', '=', context.accountId)
    .executeTakeFirst();
  if (own !== undefined)
    throw new PandoError(
      'OperationNotPermitted',
      `The vpc CIDR block with association ID ${id} may not be disassociated. It is the primary IPv4 CIDR block of the VPC`,
    );
  const block = await db
    .selectFrom('vpc_cidr_block')
    .selectAll()
    .where('association_id', '=', id)
    .where('account_id', '=', context.accountId)
    .executeTakeFirst();
  if (block === undefined) throw noAssociation(id);
  return block;
};

/** Takes it away with its local routes. @throws InvalidCidrBlock.InUse while a subnet lies in it */
export const removeRange = async (tx: RegionTransaction, block: Row<'vpc_cidr_block'>): Promise<void> => {
  const range = parseNetwork(block.cidr);
  const subnets = await tx.selectFrom('subnet').select('cidr').where('vpc_id', '=', block.vpc_id).execute();
  const used = subnets.some(({ cidr }) => {
    const network = parseNetwork(cidr);
    return range !== undefined && network !== undefined && contains(range, network);
  });
  if (used)
    throw new PandoError(
      'InvalidCidrBlock.InUse',
      `The vpc ${block.vpc_id} currently has a subnet within CIDR block ${block.cidr}`,
    );
  const gone = await tx
    .deleteFrom('vpc_cidr_block')
    .where('association_id', '=', block.association_id)
    .returning('association_id')
    .executeTakeFirst();
  if (gone === undefined) throw noAssociation(block.association_id);
  await tx
    .deleteFrom('route')
    .where('route_table_id', 'in', tablesOf(tx, block.vpc_id))
    .where('destination', '=', block.cidr)
    .execute();
};

export const vpcCidrBlockHandlers: Handlers<ActionContext> = {
  async AssociateVpcCidrBlock(input, context) {
    const range = readRange(input);
    const block = await changeVpc(context, {}, input.VpcId, (tx, vpc) =>
      addRange(tx, context.accountId, vpc, range),
    );
    return { VpcId: input.VpcId, CidrBlockAssociation: blockView(block, 'associating') };
  },

  async DisassociateVpcCidrBlock(input, context) {
    const block = await findAssociation(context, input.AssociationId);
    await changeVpc(context, {}, block.vpc_id, (tx) => removeRange(tx, block));
    return { VpcId: block.vpc_id, CidrBlockAssociation: blockView(block, 'disassociating') };
  },
};
