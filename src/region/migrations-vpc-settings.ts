/**
 * What a VPC's owner has set, by the VPC's versions (S8.6): devices are told what follows from it, from which nobody can tell it back. Written
 * by triggers, so that a process of the last release, which runs beside this one, leaves it out for nothing.
 */
export const vpcSettingsStep = `
create table vpc_setting (
  vpc_id text not null,
  -- 'vpc': its attributes. 'main', or a subnet's id: the route table it goes by; null: none of its own.
  subject text not null,
  -- Of the VPC, with which it became so. 0: it was so before the first change that was noted.
  version bigint not null,
  value jsonb not null,
  made_at timestamptz not null default now(),
  primary key (vpc_id, subject, version)
);
create index vpc_setting_age on vpc_setting (made_at);
create function note_vpc_setting(at_vpc text, about text, at_version bigint, former jsonb, present jsonb)
returns void language plpgsql as $$
begin
  if not exists (select from vpc_setting where vpc_id = at_vpc and subject = about) then
    insert into vpc_setting (vpc_id, subject, version, value) values (at_vpc, about, 0, former) on conflict do nothing;
  end if;
  insert into vpc_setting (vpc_id, subject, version, value) values (at_vpc, about, at_version, present)
  on conflict (vpc_id, subject, version) do update set value = excluded.value;
end $$;
create function vpc_attributes(of vpc) returns jsonb language sql immutable as $$
  select jsonb_build_object('dnsSupport', of.dns_support, 'dnsHostnames', of.dns_hostnames,
    'addressUsageMetrics', of.address_usage_metrics, 'dhcpOptionsId', of.dhcp_options_id)
$$;
create function note_vpc_attributes() returns trigger language plpgsql as $$
begin
  perform note_vpc_setting(new.vpc_id, 'vpc', new.version, vpc_attributes(old), vpc_attributes(new));
  return null;
end $$;
create trigger vpc_attributes_noted
  after update of dns_support, dns_hostnames, address_usage_metrics, dhcp_options_id on vpc
  for each row execute function note_vpc_attributes();
create function note_route_table_association() returns trigger language plpgsql as $$
declare
  former jsonb := 'null';
  present jsonb := 'null';
  at_vpc text;
  about text;
begin
  if tg_op <> 'INSERT' then
    former := to_jsonb(old.route_table_id);
    at_vpc := old.vpc_id;
    about := coalesce(old.subnet_id, 'main');
  end if;
  if tg_op <> 'DELETE' then
    present := to_jsonb(new.route_table_id);
    at_vpc := new.vpc_id;
    about := coalesce(new.subnet_id, 'main');
  end if;
  perform note_vpc_setting(at_vpc, about, (select version from vpc where vpc_id = at_vpc), former, present);
  return null;
end $$;
create trigger route_table_association_noted after insert or update or delete on route_table_association
  for each row execute function note_route_table_association();
insert into vpc_setting (vpc_id, subject, version, value)
  select vpc_id, 'vpc', version, vpc_attributes(vpc) from vpc
  union all
  select a.vpc_id, 'main', v.version, to_jsonb(a.route_table_id)
  from route_table_association a join vpc v using (vpc_id) where a.subnet_id is null
  union all
  select s.vpc_id, s.subnet_id, v.version, coalesce(to_jsonb(a.route_table_id), 'null')
  from subnet s join vpc v using (vpc_id) left join route_table_association a on a.subnet_id = s.subnet_id;
`;
