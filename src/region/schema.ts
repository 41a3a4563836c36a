/** The region's tables as Kysely sees them. One interface per table, in the order of the migrations. */
import type { ColumnType, Generated, JSONColumnType, Kysely, Selectable, Transaction } from 'kysely';
import type { HourRange } from '#contracts/event-windows.ts';
import type { ObjectKind } from '#contracts/network-objects.ts';
import type { CellRecord } from '#contracts/region.ts';
import type { TimeRange } from './event-windows/hours.ts';

/** Set by the database on insert, never changed. */
type CreatedAt = ColumnType<Date, Date | undefined, never>;

interface AccountTable {
  account_id: string;
  name: string;
  created_at: CreatedAt;
}

interface AccountQuotaTable {
  account_id: string;
  name: string;
  value: number;
  set_at: CreatedAt;
}

interface AccessKeyTable {
  access_key_id: string;
  account_id: string;
  user_id: string;
  arn: string;
  sealed_secret: Buffer;
  created_at: CreatedAt;
}

interface CellTable {
  cell_id: string;
  number: number;
  zone: string;
  state: 'active' | 'draining';
  processors: string[];
  joined_at: CreatedAt;
  drained_at: Date | null;
  canary: Generated<boolean>;
  retired_at: Date | null;
  takes: ColumnType<CellRecord['takes'] | null, string | null, string | null>;
}

interface AccountCellTable {
  account_id: string;
  cell_id: string;
  noted_at: CreatedAt;
}

interface GatewayDeviceTable {
  singleton: Generated<boolean>;
  vtep: string;
  mac: string;
}

interface DhcpOptionsTable {
  dhcp_options_id: string;
  account_id: string;
  configuration: ColumnType<{ key: string; values: string[] }[], string, never>;
  /** The set of its account's new VPCs. */
  is_default: Generated<boolean>;
}

interface VpcTable {
  vpc_id: string;
  account_id: string;
  cidr: string;
  is_default: Generated<boolean>;
  vni: Generated<number>;
  version: Generated<number>;
  ports: Generated<number>;
  dns_support: Generated<boolean>;
  dns_hostnames: Generated<boolean>;
  address_usage_metrics: Generated<boolean>;
  /** Absent: the VPC has no set (`default`). */
  dhcp_options_id: string | null;
  created_at: CreatedAt;
}

/** A range that was added to a VPC. */
interface VpcCidrBlockTable {
  association_id: string;
  account_id: string;
  vpc_id: string;
  cidr: string;
  created_at: CreatedAt;
}

interface SubnetTable {
  subnet_id: string;
  account_id: string;
  vpc_id: string;
  cidr: string;
  zone: string;
  map_public_ip: Generated<boolean>;
  default_for_az: Generated<boolean>;
  acl_association_id: string;
  base: number;
  last_host: number;
  low_host: Generated<number>;
  created_at: CreatedAt;
}

interface InternetGatewayTable {
  internet_gateway_id: string;
  account_id: string;
  vpc_id: string | null;
}

interface RouteTableTable {
  route_table_id: string;
  account_id: string;
  vpc_id: string;
  created_at: CreatedAt;
}

interface RouteRowTable {
  route_table_id: string;
  destination: string;
  kind: 'local' | 'internet-gateway' | 'interface';
  target_id: string | null;
  origin: 'CreateRouteTable' | 'CreateRoute';
}

interface RouteTableAssociationTable {
  association_id: string;
  route_table_id: string;
  vpc_id: string;
  subnet_id: string | null;
}

interface SecurityGroupTable {
  group_id: string;
  account_id: string;
  vpc_id: string;
  name: string;
  description: string;
  created_at: CreatedAt;
  /** Drawn anew with each change of its rules. */
  revision: Generated<string>;
}

interface SecurityGroupRuleTable {
  rule_id: string;
  group_id: string;
  egress: boolean;
  protocol: string;
  from_port: number | null;
  to_port: number | null;
  cidr: string | null;
  referenced_group_id: string | null;
  description: string | null;
}

/** Rules that no packet can match yet; devices are not told of them. */
interface UntoldSecurityGroupRuleTable extends Omit<SecurityGroupRuleTable, 'cidr'> {
  cidr_ipv6: string | null;
  prefix_list_id: string | null;
}

/** A view of all rules, told or not. */
type AnySecurityGroupRuleView = SecurityGroupRuleTable & UntoldSecurityGroupRuleTable;

interface NetworkAclTable {
  network_acl_id: string;
  account_id: string;
  vpc_id: string;
  is_default: boolean;
}

interface EniTable {
  eni_id: string;
  account_id: string;
  vpc_id: string;
  subnet_id: string;
  instance_id: string;
  attachment_id: string;
  mac: string;
  host: number;
  ip: string;
  group_ids: string[];
  description: Generated<string>;
  source_dest_check: Generated<boolean>;
  /** Of the instance that has it. */
  placement_group_id: ColumnType<string | null, never, string | null>;
  /** Whether an automatic public address was asked for: by the launch, or by its subnet. */
  auto_public: Generated<boolean>;
  vtep: string | null;
  epoch: Generated<number>;
  created_at: CreatedAt;
}

interface ReleasedInstanceTable {
  instance_id: string;
  released_at: Generated<Date>;
}

interface RestingAddressTable {
  subnet_id: string;
  host: number;
  until: Date;
}

interface PublicAddressTable {
  ip: string;
  number: number;
  account_id: string | null;
  allocation_id: string | null;
  eni_id: string | null;
  association_id: string | null;
  rests_until: Generated<Date>;
  in_pool: Generated<boolean>;
}

interface KeyPairTable {
  key_pair_id: string;
  account_id: string;
  name: string;
  type: 'rsa' | 'ed25519';
  fingerprint: string;
  public_key: string;
  created_at: CreatedAt;
}

interface ImageTable {
  image_id: string;
  account_id: string;
  name: string;
  description: string | null;
  digest: string;
  location: string;
  is_public: boolean;
  architecture: string;
  boot_mode: string;
  min_memory_mib: number;
  disk_virtual_mib: number;
  root_device_name: string;
  imds_support: 'v2.0' | null;
  deregistered: Generated<boolean>;
  created_at: CreatedAt;
}

interface LaunchTemplateTable {
  launch_template_id: string;
  account_id: string;
  name: string;
  created_by: string;
  created_at: CreatedAt;
  default_version: Generated<number>;
  last_version: Generated<number>;
}

interface LaunchTemplateVersionTable {
  launch_template_id: string;
  version: number;
  description: string | null;
  created_by: string;
  created_at: CreatedAt;
  data: ColumnType<Readonly<Record<string, unknown>>, string, never>;
}

interface PlacementGroupTable {
  group_id: string;
  account_id: string;
  name: string;
  strategy: 'cluster' | 'spread' | 'partition';
  partition_count: number | null;
  created_at: CreatedAt;
}

interface EventWindowTable {
  window_id: string;
  account_id: string;
  name: string | null;
  time_ranges: ColumnType<readonly TimeRange[] | null, string | null, string | null>;
  cron_expression: string | null;
  hours: ColumnType<readonly HourRange[], string, string>;
  created_at: CreatedAt;
}

interface EventWindowTargetTable {
  account_id: string;
  kind: 'instance' | 'tag' | 'host';
  target: string;
  value: Generated<string>;
  window_id: string;
}

interface TagTable {
  resource_id: string;
  account_id: string;
  resource_type: string;
  key: string;
  value: string;
}

interface ClientTokenTable {
  account_id: string;
  action: string;
  token: string;
  parameters: string;
  resource_id: string;
  created_at: CreatedAt;
}

interface LaunchTokenTable {
  account_id: string;
  token: string;
  cell_id: string;
  claims: Generated<number>;
  claimed_at: Generated<Date>;
}

interface NetworkObjectTable {
  kind: ObjectKind;
  id: string;
  version: number;
  digest: string;
  vpc_id: string | null;
  body: JSONColumnType<object>;
  made_at: CreatedAt;
}

interface DeviceObjectTable {
  device: string;
  kind: ObjectKind;
  id: string;
  vpc_id: string | null;
  version: number;
  digest: string;
  set_at: CreatedAt;
}

interface RecordedVpcTable {
  vpc_id: string;
  version: number;
}

export interface RegionSchema {
  account: AccountTable;
  account_quota: AccountQuotaTable;
  access_key: AccessKeyTable;
  account_cell: AccountCellTable;
  cell: CellTable;
  gateway_device: GatewayDeviceTable;
  dhcp_options: DhcpOptionsTable;
  vpc: VpcTable;
  vpc_cidr_block: VpcCidrBlockTable;
  subnet: SubnetTable;
  internet_gateway: InternetGatewayTable;
  route_table: RouteTableTable;
  route: RouteRowTable;
  route_table_association: RouteTableAssociationTable;
  security_group: SecurityGroupTable;
  security_group_rule: SecurityGroupRuleTable;
  untold_security_group_rule: UntoldSecurityGroupRuleTable;
  any_security_group_rule: AnySecurityGroupRuleView;
  network_acl: NetworkAclTable;
  eni: EniTable;
  resting_address: RestingAddressTable;
  released_instance: ReleasedInstanceTable;
  public_address: PublicAddressTable;
  key_pair: KeyPairTable;
  image: ImageTable;
  launch_template: LaunchTemplateTable;
  launch_template_version: LaunchTemplateVersionTable;
  placement_group: PlacementGroupTable;
  event_window: EventWindowTable;
  event_window_target: EventWindowTargetTable;
  tag: TagTable;
  client_token: ClientTokenTable;
  launch_token: LaunchTokenTable;
  network_object: NetworkObjectTable;
  device_object: DeviceObjectTable;
  recorded_vpc: RecordedVpcTable;
}

export type Database = Kysely<RegionSchema>;
export type RegionTransaction = Transaction<RegionSchema>;
/** A row of table `T` as it is read. */
export type Row<T extends keyof RegionSchema> = Selectable<RegionSchema[T]>;
