/** What comes with a VPC and with an account without being asked for. */
import { newId } from '#contracts/ids.ts';
import type { ZoneConfig } from './config.ts';
import { formatNetwork, type Network, parseNetwork } from './ipv4.ts';
import type { RegionTransaction, Row } from './schema.ts';

const defaultVpcCidr = '172.31.0.0/16';
const defaultSubnetPrefix = 20;
/** Hosts 0 to 3 (network, router, DNS, future use) and the last (broadcast) are EC2's. */
export const reservedFirstHosts = 4;
export const reservedHosts = reservedFirstHosts + 1;

/** The account's default DHCP options, made on first use. */
export const defaultDhcpOptions = async (
  tx: RegionTransaction,
  accountId: string,
  domainName: string,
): Promise<string> => {
  const known = await tx
    .selectFrom('dhcp_options')
    .select('dhcp_options_id')
    .where('account_id', '=', accountId)
    .where('is_default', '=', true)
    .executeTakeFirst();
  if (known !== undefined) return known.dhcp_options_id;
  const id = newId('dhcpOptions');
  const configuration = JSON.stringify([
    { key: 'domain-name', values: [domainName] },
    { key: 'domain-name-servers', values: ['AmazonProvidedDNS'] },
  ]);
  await tx
    .insertInto('dhcp_options')
    .values({ dhcp_options_id: id, account_id: accountId, configuration })
    .execute();
  return id;
};

export interface NewVpc {
  readonly vpcId: string;
  readonly routeTableId: string;
}

/** Makes a VPC with its main route table, default security group and default network ACL. */
export const insertVpc = async (
  tx: RegionTransaction,
  accountId: string,
  network: Network,
  options: { readonly domainName: string; readonly isDefault: boolean },
): Promise<NewVpc> => {
  const vpcId = newId('vpc');
  const routeTableId = newId('routeTable');
  const cidr = formatNetwork(network);
  const dhcpOptionsId = await defaultDhcpOptions(tx, accountId, options.domainName);
  await tx
    .insertInto('vpc')
    .values({
      vpc_id: vpcId,
      account_id: accountId,
      cidr,
      is_default: options.isDefault,
      dns_hostnames: options.isDefault,
      dhcp_options_id: dhcpOptionsId,
    })
    .execute();
  await insertRouteTable(tx, { routeTableId, accountId, vpcId, cidrs: [cidr] });
  await tx
    .insertInto('route_table_association')
    .values({
      association_id: newId('routeTableAssociation'),
      route_table_id: routeTableId,
      vpc_id: vpcId,
      subnet_id: null,
    })
    .execute();
  await insertDefaultGroup(tx, accountId, vpcId);
  await tx
    .insertInto('network_acl')
    .values({ network_acl_id: newId('networkAcl'), account_id: accountId, vpc_id: vpcId, is_default: true })
    .execute();
  return { vpcId, routeTableId };
};

/** A route table begins with the routes to the VPC itself. */
export const insertRouteTable = async (
  tx: RegionTransaction,
  table: {
    readonly routeTableId: string;
    readonly accountId: string;
    readonly vpcId: string;
    readonly cidrs: readonly string[];
  },
): Promise<void> => {
  const { routeTableId } = table;
  await tx
    .insertInto('route_table')
    .values({ route_table_id: routeTableId, account_id: table.accountId, vpc_id: table.vpcId })
    .execute();
  await tx
    .insertInto('route')
    .values(table.cidrs.map((cidr) => localRoute(routeTableId, cidr)))
    .execute();
};

/** The route to a range of the VPC, which its route tables have by themselves. */
export const localRoute = (routeTableId: string, cidr: string): Row<'route'> => ({
  route_table_id: routeTableId,
  destination: cidr,
  kind: 'local',
  target_id: null,
  origin: 'CreateRouteTable',
});

const insertDefaultGroup = async (tx: RegionTransaction, accountId: string, vpcId: string): Promise<void> => {
  const groupId = newId('securityGroup');
  await tx
    .insertInto('security_group')
    .values({
      group_id: groupId,
      account_id: accountId,
      vpc_id: vpcId,
      name: 'default',
      description: 'default VPC security group',
    })
    .execute();
  const rule = { rule_id: newId('securityGroupRule'), group_id: groupId, protocol: '-1' };
  await tx
    .insertInto('security_group_rule')
    .values([
      { ...rule, egress: false, referenced_group_id: groupId },
      { ...rule, rule_id: newId('securityGroupRule'), egress: true, cidr: '0.0.0.0/0' },
    ])
    .execute();
};

export interface NewSubnet {
  readonly accountId: string;
  readonly vpcId: string;
  readonly network: Network;
  readonly zone: string;
  readonly isDefault: boolean;
}

export const insertSubnet = async (tx: RegionTransaction, subnet: NewSubnet): Promise<string> => {
  const subnetId = newId('subnet');
  await tx
    .insertInto('subnet')
    .values({
      subnet_id: subnetId,
      account_id: subnet.accountId,
      vpc_id: subnet.vpcId,
      cidr: formatNetwork(subnet.network),
      zone: subnet.zone,
      map_public_ip: subnet.isDefault,
      default_for_az: subnet.isDefault,
      // Same suffix as an id of its own kind: `aclassoc-`.
      acl_association_id: newId('networkAcl').replace('acl-', 'aclassoc-'),
      base: subnet.network.base,
      last_host: subnet.network.size - 2,
      low_host: reservedFirstHosts,
    })
    .execute();
  return subnetId;
};

/** The default VPC of a new account: a subnet per availability zone and a way to the internet. */
export const insertDefaultVpc = async (
  tx: RegionTransaction,
  accountId: string,
  zones: readonly ZoneConfig[],
  domainName: string,
): Promise<void> => {
  const network = parseNetwork(defaultVpcCidr);
  if (network === undefined) throw new Error('the default VPC has no network');
  const { vpcId, routeTableId } = await insertVpc(tx, accountId, network, { domainName, isDefault: true });
  const size = 2 ** (32 - defaultSubnetPrefix);
  const here = zones.filter((zone) => zone.type === 'availability-zone').slice(0, network.size / size);
  for (const [at, zone] of here.entries()) {
    const part = { base: network.base + at * size, prefix: defaultSubnetPrefix, size };
    await insertSubnet(tx, { accountId, vpcId, network: part, zone: zone.name, isDefault: true });
  }
  const gatewayId = newId('internetGateway');
  await tx
    .insertInto('internet_gateway')
    .values({ internet_gateway_id: gatewayId, account_id: accountId, vpc_id: vpcId })
    .execute();
  await tx
    .insertInto('route')
    .values({
      route_table_id: routeTableId,
      destination: '0.0.0.0/0',
      kind: 'internet-gateway',
      target_id: gatewayId,
      origin: 'CreateRoute',
    })
    .execute();
};
