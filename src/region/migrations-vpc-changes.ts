/**
 * The record of tenants' changes (S8.6): each call that changed a VPC, which objects went from which content to which with it, and when
 * every device had them. Nobody changes a row, and none goes before it is a day old, whatever the region's process is told to keep.
 */
export const vpcChangesStep = `
create table vpc_change (
  change_id bigint generated always as identity primary key,
  vpc_id text not null,
  -- Of the VPC, with this change.
  version int not null,
  account_id text not null,
  principal text,
  access_key_id text,
  request_id text,
  action text,
  -- Ids in the request.
  named text[] not null,
  -- Whether devices are told anything at all.
  told boolean not null,
  made_at timestamptz not null default now()
);
create index vpc_change_of on vpc_change (vpc_id, version);
create index vpc_change_age on vpc_change (made_at);
create table object_change (
  kind text not null,
  id text not null,
  -- Of the VPC: the content was there first in this one, and was another in the one before it that was written down.
  version int not null,
  since_version int not null,
  vpc_id text not null,
  from_digest text,
  to_digest text not null,
  made_at timestamptz not null default now(),
  primary key (kind, id, version)
);
create index object_change_of on object_change (vpc_id, version);
create index object_change_age on object_change (made_at);
create table vpc_change_enforced (
  change_id bigint primary key,
  made_at timestamptz not null default now()
);
create index vpc_change_enforced_age on vpc_change_enforced (made_at);
create function vpc_changes_stay() returns trigger language plpgsql as $$
begin
  raise exception 'records of changes are not changed';
end $$;
create function vpc_changes_stay_a_day() returns trigger language plpgsql as $$
begin
  if old.made_at > now() - interval '1 day' then
    raise exception 'records of changes stay for a day at least';
  end if;
  return old;
end $$;
create trigger vpc_change_stays before update or truncate on vpc_change
  for each statement execute function vpc_changes_stay();
create trigger object_change_stays before update or truncate on object_change
  for each statement execute function vpc_changes_stay();
create trigger vpc_change_enforced_stays before update or truncate on vpc_change_enforced
  for each statement execute function vpc_changes_stay();
create trigger vpc_change_stays_a_day before delete on vpc_change
  for each row execute function vpc_changes_stay_a_day();
create trigger object_change_stays_a_day before delete on object_change
  for each row execute function vpc_changes_stay_a_day();
`;
