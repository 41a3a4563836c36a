/** Subnets: a part of a VPC's range in one zone. */
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import type { FilterSpec } from '#wire/filters.ts';
import type { Handlers, In, Out } from '#wire/types.ts';
import { changeVpc, dependencyViolation } from '../change.ts';
import type { ZoneConfig } from '../config.ts';
import type { ActionContext } from '../context.ts';
import { insertSubnet, reservedHosts } from '../default-vpc.ts';
import { describe, withTags } from '../describe.ts';
import { contains, type Network, overlaps, parseNetwork, requireNetwork } from '../ipv4.ts';
import { notFound } from '../not-found.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOnCreate } from '../resource-tags.ts';
import type { RegionTransaction, Row } from '../schema.ts';
import { checkVpcBudget } from '../vpc-budget.ts';
import { vpcNetworks } from '../vpc-ranges.ts';

type Subnet = NonNullable<Out<'DescribeSubnets'>['Subnets']>[number];
type SubnetRow = Row<'subnet'> & Tagged & { taken: number; zoneId: string };

const prefixMin = 16;
const prefixMax = 28;

const available = (subnet: SubnetRow): number =>
  (parseNetwork(subnet.cidr)?.size ?? reservedHosts) - reservedHosts - subnet.taken;

const arnOf = (context: ActionContext, subnet: SubnetRow): string =>
  `arn:aws:ec2:${context.region.config.regionName}:${subnet.account_id}:subnet/${subnet.subnet_id}`;

const show = (context: ActionContext, subnet: SubnetRow): Subnet => ({
  SubnetId: subnet.subnet_id,
  SubnetArn: arnOf(context, subnet),
  OwnerId: subnet.account_id,
  VpcId: subnet.vpc_id,
  State: 'available',
  CidrBlock: subnet.cidr,
  AvailableIpAddressCount: available(subnet),
  AvailabilityZone: subnet.zone,
  AvailabilityZoneId: subnet.zoneId,
  DefaultForAz: subnet.default_for_az,
  MapPublicIpOnLaunch: subnet.map_public_ip,
  MapCustomerOwnedIpOnLaunch: false,
  AssignIpv6AddressOnCreation: false,
  EnableDns64: false,
  Ipv6Native: false,
  Ipv6CidrBlockAssociationSet: [],
  PrivateDnsNameOptionsOnLaunch: {
    HostnameType: 'ip-name',
    EnableResourceNameDnsARecord: false,
    EnableResourceNameDnsAAAARecord: false,
  },
  Tags: subnet.tags,
});

const filters = (context: ActionContext): FilterSpec<SubnetRow> => ({
  'availability-zone': (subnet) => subnet.zone,
  availabilityZone: (subnet) => subnet.zone,
  'availability-zone-id': (subnet) => subnet.zoneId,
  'available-ip-address-count': available,
  cidr: (subnet) => subnet.cidr,
  cidrBlock: (subnet) => subnet.cidr,
  'cidr-block': (subnet) => subnet.cidr,
  'customer-owned-ipv4-pool': () => undefined,
  'default-for-az': (subnet) => subnet.default_for_az,
  defaultForAz: (subnet) => subnet.default_for_az,
  'enable-dns64': () => false,
  'enable-lni-at-device-index': () => undefined,
  'ipv6-cidr-block-association.association-id': () => undefined,
  'ipv6-cidr-block-association.ipv6-cidr-block': () => undefined,
  'ipv6-cidr-block-association.state': () => undefined,
  'ipv6-native': () => false,
  'map-customer-owned-ip-on-launch': () => false,
  'map-public-ip-on-launch': (subnet) => subnet.map_public_ip,
  'outpost-arn': () => undefined,
  'owner-id': (subnet) => subnet.account_id,
  'private-dns-name-options-on-launch.enable-resource-name-dns-a-record': () => false,
  'private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record': () => false,
  'private-dns-name-options-on-launch.hostname-type': () => 'ip-name',
  state: () => 'available',
  'subnet-arn': (subnet) => arnOf(context, subnet),
  'subnet-id': (subnet) => subnet.subnet_id,
  'vpc-id': (subnet) => subnet.vpc_id,
});

const zoneOf = (context: ActionContext, input: In<'CreateSubnet'>): ZoneConfig => {
  const { zones } = context.region.config;
  const { AvailabilityZone: name, AvailabilityZoneId: id } = input;
  const zone =
    name === undefined && id === undefined
      ? zones[0]
      : zones.find((one) => one.name === name || one.id === id);
  if (zone !== undefined) return zone;
  throw new PandoError(
    'InvalidParameterValue',
    `Value (${name ?? id ?? ''}) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: ${zones.map((one) => one.name).join(', ')}.`,
  );
};

const rowsOf = (context: ActionContext) => {
  const zones = new Map(context.region.config.zones.map((zone) => [zone.name, zone.id]));
  const rows = context.region.db
    .selectFrom('subnet')
    .selectAll()
    .select((row) => [
      row
        .selectFrom('eni')
        .select((eni) => eni.fn.countAll<number>().as('count'))
        .whereRef('eni.subnet_id', '=', 'subnet.subnet_id')
        .as('taken'),
    ])
    .where('account_id', '=', context.accountId)
    .execute()
    .then((list) =>
      list.map((row) => ({ ...row, taken: row.taken ?? 0, zoneId: zones.get(row.zone) ?? '' })),
    );
  return withTags(context, 'subnet', rows, (row) => row.subnet_id);
};

/** The subnet of the caller under this id, or EC2's error. */
export const requireSubnet = async (context: ActionContext, subnetId: string): Promise<Row<'subnet'>> => {
  const subnet = await context.region.db
    .selectFrom('subnet')
    .selectAll()
    .where('subnet_id', '=', parseId('subnet', subnetId))
    .where('account_id', '=', context.accountId)
    .executeTakeFirst();
  if (subnet === undefined) throw notFound('subnet', subnetId);
  return subnet;
};

const checkPlace = async (
  tx: RegionTransaction,
  context: ActionContext,
  vpc: Row<'vpc'>,
  network: Network,
  cidr: string,
): Promise<void> => {
  const ranges = await vpcNetworks(tx, vpc);
  if (
    !ranges.some((range) => contains(range, network)) ||
    network.prefix < prefixMin ||
    network.prefix > prefixMax
  )
    throw new PandoError('InvalidSubnet.Range', `The CIDR '${cidr}' is invalid.`);
  const others = await tx.selectFrom('subnet').select('cidr').where('vpc_id', '=', vpc.vpc_id).execute();
  if (others.length >= context.region.config.limits.subnetsPerVpcMax)
    throw new PandoError('SubnetLimitExceeded', 'The maximum number of subnets has been reached.');
  for (const other of others) {
    const taken = parseNetwork(other.cidr);
    if (taken !== undefined && overlaps(taken, network))
      throw new PandoError('InvalidSubnet.Conflict', `The CIDR '${cidr}' conflicts with another subnet`);
  }
};

export const subnetHandlers: Handlers<ActionContext> = {
  async CreateSubnet(input, context) {
    if (input.CidrBlock === undefined)
      throw new PandoError('MissingParameter', 'The request must contain the parameter cidrBlock');
    const cidr = input.CidrBlock;
    const network = requireNetwork(cidr, 'cidrBlock');
    const zone = zoneOf(context, input);
    const tags = tagsOnCreate(input.TagSpecifications, 'subnet');
    const row = await changeVpc(context, input, input.VpcId, async (tx, vpc) => {
      await checkPlace(tx, context, vpc, network, cidr);
      const { accountId } = context;
      const id = await insertSubnet(tx, {
        accountId,
        vpcId: vpc.vpc_id,
        network,
        zone: zone.name,
        isDefault: false,
      });
      await checkVpcBudget(tx, vpc.vpc_id, 'SubnetLimitExceeded');
      await insertTags(tx, accountId, 'subnet', id, tags);
      return tx.selectFrom('subnet').selectAll().where('subnet_id', '=', id).executeTakeFirstOrThrow();
    });
    return { Subnet: show(context, { ...row, tags, taken: 0, zoneId: zone.id }) };
  },

  async DescribeSubnets(input, context) {
    const page = describe(await rowsOf(context), input, context, {
      action: 'DescribeSubnets',
      idOf: (subnet) => subnet.subnet_id,
      filters: filters(context),
      tagsOf: (subnet) => subnet.tags,
      ids: { kind: 'subnet', parameter: 'subnetIds', values: input.SubnetIds },
    });
    return { Subnets: page.items.map((subnet) => show(context, subnet)), NextToken: page.nextToken };
  },

  async DeleteSubnet(input, context) {
    const subnet = await requireSubnet(context, input.SubnetId);
    await changeVpc(context, input, subnet.vpc_id, async (tx) => {
      const used = await tx
        .selectFrom('eni')
        .select('eni_id')
        .where('subnet_id', '=', subnet.subnet_id)
        .executeTakeFirst();
      if (used !== undefined) throw dependencyViolation(`The subnet '${subnet.subnet_id}'`);
      await tx.deleteFrom('route_table_association').where('subnet_id', '=', subnet.subnet_id).execute();
      await tx.deleteFrom('subnet').where('subnet_id', '=', subnet.subnet_id).execute();
      await deleteTagsOf(tx, subnet.subnet_id);
    });
    return {};
  },

  async ModifySubnetAttribute(input, context) {
    const { SubnetId: subnetId, MapPublicIpOnLaunch: mapPublicIp, ...others } = input;
    if (Object.values(others).some((value) => value !== undefined))
      throw new PandoError('UnsupportedOperation', 'Of a subnet only MapPublicIpOnLaunch can be changed.');
    if (mapPublicIp?.Value === undefined)
      throw new PandoError('MissingParameter', 'The request must contain an attribute to change.');
    const subnet = await requireSubnet(context, subnetId);
    await sql`update subnet set map_public_ip = ${mapPublicIp.Value} where subnet_id = ${subnet.subnet_id}`.execute(
      context.region.db,
    );
    return {};
  },
};
