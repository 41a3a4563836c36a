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
    const subnet = await requireSubnet(context, input.SubnetId);
    const mapPublicIp = wantedMapping(input);
    if (mapPublicIp !== undefined)
      await sql`update subnet set map_public_ip = ${mapPublicIp} where subnet_id = ${subnet.subnet_id}`.execute(
        context.region.db,
      );
    return {};
  },
};

type Modify = In<'ModifySubnetAttribute'>;

/**
 * What the members say that a subnet always is here: who sets them to that is answered, who wants them otherwise is refused by name.
 * `undefined`: there is no such value.
 */
const fixed: Readonly<
  Record<string, (input: Modify) => { readonly given: unknown; readonly usual: unknown }>
> = {
  AssignIpv6AddressOnCreation: (input) => ({ given: input.AssignIpv6AddressOnCreation?.Value, usual: false }),
  CustomerOwnedIpv4Pool: (input) => ({ given: input.CustomerOwnedIpv4Pool, usual: undefined }),
  DisableLniAtDeviceIndex: (input) => ({ given: input.DisableLniAtDeviceIndex?.Value, usual: true }),
  EnableDns64: (input) => ({ given: input.EnableDns64?.Value, usual: false }),
  EnableLniAtDeviceIndex: (input) => ({ given: input.EnableLniAtDeviceIndex, usual: undefined }),
  EnableResourceNameDnsAAAARecordOnLaunch: (input) => ({
    given: input.EnableResourceNameDnsAAAARecordOnLaunch?.Value,
    usual: false,
  }),
  EnableResourceNameDnsARecordOnLaunch: (input) => ({
    given: input.EnableResourceNameDnsARecordOnLaunch?.Value,
    usual: false,
  }),
  MapCustomerOwnedIpOnLaunch: (input) => ({ given: input.MapCustomerOwnedIpOnLaunch?.Value, usual: false }),
  PrivateDnsHostnameTypeOnLaunch: (input) => ({
    given: input.PrivateDnsHostnameTypeOnLaunch,
    usual: 'ip-name',
  }),
};

/** The one attribute that a request changes; a new MapPublicIpOnLaunch, or undefined where it names what is so already. */
const wantedMapping = (input: Modify): boolean | undefined => {
  const { SubnetId: _id, ...rest } = input;
  const [name, ...more] = Object.entries(rest).flatMap(([key, value]) => (value === undefined ? [] : [key]));
  if (name === undefined)
    throw new PandoError('MissingParameter', 'The request must contain an attribute to change.');
  // The pool of customer-owned addresses belongs to their flag.
  if (more.length > 0 && rest.CustomerOwnedIpv4Pool === undefined)
    throw new PandoError('InvalidParameterCombination', 'Only one attribute can be modified at a time.');
  if (name === 'MapPublicIpOnLaunch') {
    if (input.MapPublicIpOnLaunch?.Value === undefined)
      throw new PandoError(
        'MissingParameter',
        'The request must contain the parameter MapPublicIpOnLaunch.Value',
      );
    return input.MapPublicIpOnLaunch.Value;
  }
  for (const [member, read] of Object.entries(fixed)) {
    const { given, usual } = read(input);
    if (given !== undefined && given !== usual)
      throw new PandoError(
        'UnsupportedOperation',
        `The attribute ${member} cannot be ${String(given).slice(0, 64)}: it is not supported in this region.`,
      );
  }
  return undefined;
};
