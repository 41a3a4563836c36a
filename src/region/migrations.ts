/** The region's schema, as ordered steps. */
import type { SchemaStep } from '#base/postgres/migrate.ts';
import { cellsStep } from './migrations-cells.ts';
import { vpcCidrBlocks } from './migrations-cidr-blocks.ts';
import { deviceCallsStep } from './migrations-device-calls.ts';
import { dhcpOptionsStep } from './migrations-dhcp.ts';
import { endedRequestsStep } from './migrations-ended-requests.ts';
import { eventWindowsStep } from './migrations-event-windows.ts';
import { instanceProfilesStep } from './migrations-instance-profiles.ts';
import { interfaceFunctions } from './migrations-interfaces.ts';
import { launchPathStep } from './migrations-launch-path.ts';
import { launchTemplatesStep } from './migrations-launch-templates.ts';
import { launchTokens } from './migrations-launch-tokens.ts';
import { launchViewStep } from './migrations-launch-view.ts';
import { networkObjectsStep } from './migrations-network-objects.ts';
import { operatorsStep } from './migrations-operators.ts';
import { placementGroupsStep } from './migrations-placement-groups.ts';
import { releasedInstances } from './migrations-released.ts';
import { restingPreference } from './migrations-resting.ts';
import { rolloutsStep } from './migrations-rollouts.ts';
import { untoldRules } from './migrations-untold-rules.ts';
import { vpcChangesStep } from './migrations-vpc-changes.ts';
import { vpcSettingsStep } from './migrations-vpc-settings.ts';
import { wishOffersStep } from './migrations-wish-offers.ts';

const begin = `
create table account (
  account_id text primary key check (account_id ~ '^[0-9]{12}$'),
  name text not null unique,
  created_at timestamptz not null default now()
);
create table access_key (
  access_key_id text primary key,
  account_id text not null references account,
  user_id text not null,
  arn text not null,
  sealed_secret bytea not null,
  created_at timestamptz not null default now()
);
create table cell (
  cell_id text primary key,
  number int not null unique,
  zone text not null,
  state text not null,
  processors text[] not null,
  joined_at timestamptz not null default now()
);
create table gateway_device (
  singleton boolean primary key default true check (singleton),
  vtep text not null,
  mac text not null
);

create table dhcp_options (
  dhcp_options_id text primary key,
  account_id text not null references account,
  configuration jsonb not null
);
create sequence vni_seq minvalue 4096 maxvalue 16777215;
create table vpc (
  vpc_id text primary key,
  account_id text not null references account,
  cidr text not null,
  is_default boolean not null default false,
  vni int not null unique default nextval('vni_seq'),
  -- Grows in every transaction that changes what a device should do; its row lock orders those transactions.
  version bigint not null default 1,
  ports int not null default 0 check (ports >= 0),
  dns_support boolean not null default true,
  dns_hostnames boolean not null default false,
  address_usage_metrics boolean not null default false,
  dhcp_options_id text not null references dhcp_options,
  created_at timestamptz not null default now()
);
create index vpc_account on vpc (account_id);
create unique index vpc_one_default on vpc (account_id) where is_default;

create table subnet (
  subnet_id text primary key,
  account_id text not null references account,
  vpc_id text not null references vpc,
  cidr text not null,
  zone text not null,
  map_public_ip boolean not null default false,
  default_for_az boolean not null default false,
  acl_association_id text not null,
  base bigint not null,
  last_host int not null,
  -- Every host number below it is taken: where the search for the lowest free one begins.
  low_host int not null default 4,
  created_at timestamptz not null default now()
);
create index subnet_vpc on subnet (vpc_id);
create index subnet_account on subnet (account_id);

create table internet_gateway (
  internet_gateway_id text primary key,
  account_id text not null references account,
  vpc_id text unique references vpc
);
create index internet_gateway_account on internet_gateway (account_id);

create table route_table (
  route_table_id text primary key,
  account_id text not null references account,
  vpc_id text not null references vpc,
  created_at timestamptz not null default now()
);
create index route_table_vpc on route_table (vpc_id);
create index route_table_account on route_table (account_id);
create table route (
  route_table_id text not null references route_table on delete cascade,
  destination text not null,
  kind text not null check (kind in ('local', 'internet-gateway', 'interface')),
  target_id text,
  origin text not null,
  primary key (route_table_id, destination)
);
create table route_table_association (
  association_id text primary key,
  route_table_id text not null references route_table,
  vpc_id text not null references vpc,
  -- Absent: the main association of the VPC.
  subnet_id text unique references subnet
);
create unique index route_table_one_main on route_table_association (vpc_id) where subnet_id is null;
create index route_table_association_table on route_table_association (route_table_id);

create table security_group (
  group_id text primary key,
  account_id text not null references account,
  vpc_id text not null references vpc,
  name text not null,
  description text not null,
  created_at timestamptz not null default now(),
  unique (vpc_id, name)
);
create index security_group_account on security_group (account_id);
create table security_group_rule (
  rule_id text primary key,
  group_id text not null references security_group on delete cascade,
  egress boolean not null,
  protocol text not null,
  from_port int,
  to_port int,
  cidr text,
  referenced_group_id text references security_group,
  description text,
  check ((cidr is null) <> (referenced_group_id is null)),
  unique nulls not distinct (group_id, egress, protocol, from_port, to_port, cidr, referenced_group_id)
);
create index security_group_rule_reference on security_group_rule (referenced_group_id);

create table network_acl (
  network_acl_id text primary key,
  account_id text not null references account,
  vpc_id text not null references vpc,
  is_default boolean not null
);
create index network_acl_account on network_acl (account_id);

create table eni (
  eni_id text primary key,
  account_id text not null references account,
  vpc_id text not null references vpc,
  subnet_id text not null references subnet,
  instance_id text not null unique,
  attachment_id text not null,
  mac text not null unique,
  host int not null,
  ip text not null,
  group_ids text[] not null,
  source_dest_check boolean not null default true,
  -- Where it is: (holder, epoch) of its place. Absent: nowhere.
  vtep text,
  epoch bigint not null default 0,
  created_at timestamptz not null default now(),
  unique (subnet_id, host)
);
create index eni_vpc on eni (vpc_id);
create index eni_account on eni (account_id);
create table resting_address (
  subnet_id text not null references subnet on delete cascade,
  host int not null,
  until timestamptz not null,
  primary key (subnet_id, host)
);

-- The public pool: a row per address, so that two can never be given the same one.
create table public_address (
  ip text primary key,
  number bigint not null unique,
  account_id text references account,
  -- Set: an elastic address. Absent with an interface: assigned automatically at the launch.
  allocation_id text unique,
  eni_id text unique references eni,
  association_id text unique,
  -- A freed address is not given out again before this instant.
  rests_until timestamptz not null default '-infinity',
  in_pool boolean not null default true,
  check (account_id is not null or (allocation_id is null and eni_id is null)),
  check ((eni_id is null) = (association_id is null))
);
create index public_address_free on public_address (number) where account_id is null and in_pool;
create index public_address_account on public_address (account_id);

create table key_pair (
  key_pair_id text primary key,
  account_id text not null references account,
  name text not null,
  type text not null,
  fingerprint text not null,
  public_key text not null,
  created_at timestamptz not null default now(),
  unique (account_id, name)
);

create table image (
  image_id text primary key,
  account_id text not null references account,
  name text not null,
  description text,
  digest text not null,
  location text not null,
  is_public boolean not null,
  architecture text not null,
  boot_mode text not null,
  min_memory_mib int not null,
  disk_virtual_mib int not null,
  root_device_name text not null,
  deregistered boolean not null default false,
  created_at timestamptz not null default now()
);
create unique index image_name on image (account_id, name) where not deregistered;

create table tag (
  resource_id text not null,
  account_id text not null references account,
  resource_type text not null,
  key text not null,
  value text not null,
  primary key (resource_id, account_id, key)
);
create index tag_account on tag (account_id, resource_type);

create table client_token (
  account_id text not null references account,
  action text not null,
  token text not null,
  parameters text not null,
  resource_id text not null,
  created_at timestamptz not null default now(),
  primary key (account_id, action, token)
);
`;

/**
 * Of a group: drawn anew with each change of its rules. Of an account: the quotas that are not the default. Of an image: `v2.0` where its
 * guests speak version 2 of the metadata service.
 */
const quotas = `
alter table security_group add column revision uuid not null default gen_random_uuid();
create table account_quota (
  account_id text not null references account,
  name text not null,
  value int not null check (value >= 0),
  set_at timestamptz not null default now(),
  primary key (account_id, name)
);
create table account_metadata_defaults (
  account_id text primary key references account,
  http_tokens text,
  http_endpoint text,
  hop_limit int
);
alter table image add column imds_support text check (imds_support = 'v2.0');
`;

/** One key signs the identity documents of a region's instances (identity-key.ts). Of an account: whether guests see their tags. */
const identityKey = `
create table identity_key (
  one boolean primary key default true check (one),
  certificate text not null,
  sealed_key bytea not null,
  created_at timestamptz not null default now()
);
alter table account_metadata_defaults add column instance_tags text;
`;

export const regionMigrations: readonly SchemaStep[] = [
  { name: '0001-begin', up: begin, kysely: true },
  { name: '0002-interface-functions', up: interfaceFunctions, kysely: true },
  {
    name: '0003-interface-description',
    kysely: true,
    up: `alter table eni add column description text not null default ''`,
  },
  { name: '0004-released-instances', up: releasedInstances },
  { name: '0005-quotas', up: quotas },
  { name: '0006-resting-preference', up: restingPreference },
  { name: '0007-vpc-cidr-blocks', up: vpcCidrBlocks },
  { name: '0008-dhcp-options', up: dhcpOptionsStep },
  { name: '0009-launch-templates', up: launchTemplatesStep },
  { name: '0010-placement-groups', up: placementGroupsStep },
  { name: '0011-identity-key', up: identityKey },
  { name: '0012-launch-tokens', up: launchTokens },
  { name: '0013-untold-rules', up: untoldRules },
  { name: '0014-instance-profiles', up: instanceProfilesStep },
  { name: '0022-cells', up: cellsStep },
  { name: '0028-network-objects', up: networkObjectsStep },
  { name: '0030-rollouts', up: rolloutsStep },
  { name: '0042-ended-requests', up: endedRequestsStep },
  { name: '0044-event-windows', up: eventWindowsStep },
  { name: '0046-operators', up: operatorsStep },
  { name: '0046-vpc-changes', up: vpcChangesStep },
  { name: '0048-device-calls', up: deviceCallsStep },
  { name: '0050-launch-path', up: launchPathStep },
  { name: '0052-vpc-settings', up: vpcSettingsStep },
  { name: '0052-wish-offers', up: wishOffersStep },
  { name: '0060-launch-view', up: launchViewStep },
];
