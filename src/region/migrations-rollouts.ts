/**
 * Rollouts (S8): policies, the versions of what is rolled out, each rollout with its devices, what each device should have by now, and
 * the record of everything that was done, which nobody changes. One engine acts at a time: the holder of `rollout_engine`, by epoch.
 */
export const rolloutsStep = `
create table rollout_policy (
  name text not null,
  version int not null,
  spec jsonb not null,
  created_by text not null,
  created_at timestamptz not null default now(),
  primary key (name, version)
);
create table rollout_object (
  kind text not null,
  id text not null,
  version int not null,
  digest text not null,
  vpc_id text,
  body jsonb not null,
  created_by text not null,
  created_at timestamptz not null default now(),
  primary key (kind, id, version),
  unique (kind, id, digest)
);
create table rollout (
  rollout_id text primary key,
  seq bigint generated always as identity unique,
  client_token text unique,
  policy_name text not null,
  policy_version int not null,
  policy jsonb not null,
  transitions jsonb not null,
  wave_sizes jsonb not null,
  created_by text not null,
  created_ms double precision not null,
  phase text not null,
  progress jsonb not null,
  ended_at timestamptz
);
create index rollout_under_way on rollout (seq) where ended_at is null;
create table rollout_device (
  rollout_id text not null references rollout,
  device_id text not null,
  wave int not null,
  position int not null,
  state text not null,
  touched bigint,
  tries int not null default 0,
  detail text,
  changed_ms double precision not null,
  primary key (rollout_id, device_id)
);
create table rollout_desired (
  device_id text not null,
  kind text not null,
  id text not null,
  digest text,
  owed boolean not null,
  primary key (device_id, kind, id)
);
create table rollout_audit (
  audit_id bigint generated always as identity primary key,
  rollout_id text not null,
  at_ms double precision not null,
  who text not null,
  device_id text,
  what text not null,
  from_state text not null,
  to_state text not null,
  objects text,
  detail text
);
create index rollout_audit_of on rollout_audit (rollout_id, audit_id);
create function rollout_audit_stays() returns trigger language plpgsql as $$
begin
  raise exception 'records of rollouts are not changed';
end $$;
create trigger rollout_audit_stays before update or delete or truncate on rollout_audit
  for each statement execute function rollout_audit_stays();
create table rollout_request (
  request_id bigint generated always as identity primary key,
  rollout_id text not null,
  action text not null,
  who text not null,
  names jsonb not null,
  asked_at timestamptz not null default now(),
  answer jsonb
);
create index rollout_request_open on rollout_request (request_id) where answer is null;
create table fleet_device (
  device_id text primary key,
  cell_id text,
  zone text,
  seen_at timestamptz not null default now()
);
create table rollout_engine (
  engine text primary key,
  holder text,
  epoch bigint not null default 0,
  renewed_at timestamptz not null default now()
);
insert into rollout_engine (engine) values ('rollouts');
`;
