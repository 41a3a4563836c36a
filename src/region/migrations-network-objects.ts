/** Versions of network objects, and which device is to have which of them by now. `vpc_id` is null for the installation's own. */
export const networkObjectsStep = `
create table network_object (
  kind text not null,
  id text not null,
  version int not null,
  digest text not null,
  vpc_id text references vpc on delete cascade,
  body jsonb not null,
  made_at timestamptz not null default now(),
  primary key (kind, id, version)
);
create index network_object_vpc on network_object (vpc_id);
create table device_object (
  -- As 'card/10.0.0.5': by its end of the tunnels.
  device text not null,
  kind text not null,
  id text not null,
  vpc_id text references vpc on delete cascade,
  version int not null,
  digest text not null,
  set_at timestamptz not null default now(),
  primary key (device, kind, id)
);
create index device_object_vpc on device_object (vpc_id);
-- The version of a VPC that both tables take into account.
create table recorded_vpc (
  vpc_id text primary key references vpc on delete cascade,
  version int not null
);
`;
