/**
 * That an address rests is a preference: who asks is given one that has rested, else the one that has rested longest, and is never
 * refused for it. A process of this release first has the devices told of the former holder's end (status `resting`); those of the
 * last release call the functions by the arguments that they know, and get the address at once.
 *
 * `eni.auto_public`: whether the launch, or its subnet, asked for an automatic public address: it comes back when an elastic one goes.
 * The indexes are in the order of the lists' pages.
 */
export const restingPreference = `
alter table eni add column auto_public boolean not null default false;
-- What was asked at launches before this column: seen where the automatic address is there, else what the subnet says.
update eni set auto_public = true where exists (
  select from public_address p where p.eni_id = eni.eni_id and p.allocation_id is null);
update eni set auto_public = true from subnet s, public_address p
  where s.subnet_id = eni.subnet_id and s.map_public_ip and p.eni_id = eni.eni_id and p.allocation_id is not null;

create index eni_account_page on eni (account_id, eni_id);
create index tag_account_page on tag (account_id, resource_id, key);

-- A public address that is free: the lowest that has rested, else the one that has rested longest. Null: there is none.
-- Locked: two takers at once are given different ones.
create function free_public_address() returns text language sql volatile as $$
  select coalesce(
    (select ip from public_address where account_id is null and in_pool and rests_until <= now()
      order by number limit 1 for update skip locked),
    (select ip from public_address where account_id is null and in_pool
      order by rests_until, number limit 1 for update skip locked));
$$;

-- Gives an interface that asked for one an automatic public address. False: the pool is empty.
create function assign_public_address(p_account_id text, p_eni_id text, p_association_id text)
returns boolean language plpgsql volatile as $$
declare
  v_ip text := free_public_address();
begin
  update public_address set account_id = p_account_id, eni_id = p_eni_id, association_id = p_association_id
    where ip = v_ip;
  return found;
end $$;

-- Gives the interface of p_instance_id, making it if it is not there. Status: ok, existing, no-subnet, no-group, full,
-- in-use, out-of-range, too-many-ports, no-public-address; unless p_take_resting also: resting.
create function make_interface(
  p_account_id text, p_instance_id text, p_subnet_id text, p_group_ids text[], p_host int, p_public boolean,
  p_eni_id text, p_attachment_id text, p_mac text, p_association_id text, p_ports_max int, p_take_resting boolean
) returns text language plpgsql volatile as $$
declare
  s subnet%rowtype;
  v_groups text[] := p_group_ids;
  v_host int := p_host;
begin
  select * into s from subnet where subnet_id = p_subnet_id and account_id = p_account_id;
  if not found then return 'no-subnet'; end if;
  -- The lock: allocations of a VPC happen one after another from here on.
  update vpc set version = version + 1, ports = ports + 1 where vpc_id = s.vpc_id and ports < p_ports_max;
  if not found then return 'too-many-ports'; end if;
  if exists (select from eni where instance_id = p_instance_id and account_id = p_account_id) then
    update vpc set version = version - 1, ports = ports - 1 where vpc_id = s.vpc_id;
    return 'existing';
  end if;
  if cardinality(v_groups) = 0 then
    select array_agg(group_id) into v_groups from security_group where vpc_id = s.vpc_id and name = 'default';
  elsif (select count(*) from security_group where group_id = any (v_groups) and vpc_id = s.vpc_id) <> cardinality(v_groups) then
    raise exception 'no-group' using errcode = 'PA001';
  end if;
  if v_host is null then
    select low_host, last_host into s.low_host, s.last_host from subnet where subnet_id = p_subnet_id;
    -- The lowest free number is the first candidate, or follows a taken one, or has just finished its rest.
    select min(c) into v_host from (
      select s.low_host as c
      union all select host + 1 from eni where subnet_id = p_subnet_id and host >= s.low_host
      union all select host + 1 from resting_address where subnet_id = p_subnet_id and host >= s.low_host
      union all select host from resting_address where subnet_id = p_subnet_id and until <= now()
    ) candidates
    where c between 4 and s.last_host
      and not exists (select from eni where subnet_id = p_subnet_id and host = c)
      and not exists (select from resting_address where subnet_id = p_subnet_id and host = c and until > now());
    if v_host is null then
      select host into v_host from resting_address where subnet_id = p_subnet_id order by until, host limit 1;
    end if;
    if v_host is null then raise exception 'full' using errcode = 'PA001'; end if;
    update subnet set low_host = coalesce(
      (select min(host) from resting_address where subnet_id = p_subnet_id and host < v_host), v_host + 1)
    where subnet_id = p_subnet_id;
  else
    if v_host not between 4 and s.last_host then raise exception 'out-of-range' using errcode = 'PA001'; end if;
    if exists (select from eni where subnet_id = p_subnet_id and host = v_host) then
      raise exception 'in-use' using errcode = 'PA001';
    end if;
  end if;
  if not p_take_resting
    and exists (select from resting_address where subnet_id = p_subnet_id and host = v_host and until > now()) then
    raise exception 'resting' using errcode = 'PA001';
  end if;
  delete from resting_address where subnet_id = p_subnet_id and host = v_host;
  insert into eni (eni_id, account_id, vpc_id, subnet_id, instance_id, attachment_id, mac, host, ip, group_ids, auto_public)
  values (p_eni_id, p_account_id, s.vpc_id, p_subnet_id, p_instance_id, p_attachment_id, p_mac, v_host,
    host('0.0.0.0'::inet + (s.base + v_host)), v_groups, p_public);
  if p_public and not assign_public_address(p_account_id, p_eni_id, p_association_id) then
    raise exception 'no-public-address' using errcode = 'PA001';
  end if;
  return 'ok';
end $$;

create or replace function make_interface(
  p_account_id text, p_instance_id text, p_subnet_id text, p_group_ids text[], p_host int, p_public boolean,
  p_eni_id text, p_attachment_id text, p_mac text, p_association_id text, p_ports_max int
) returns text language sql volatile as $$
  select make_interface(p_account_id, p_instance_id, p_subnet_id, p_group_ids, p_host, p_public, p_eni_id,
    p_attachment_id, p_mac, p_association_id, p_ports_max, true);
$$;

-- As the make_interface of twelve arguments; status also: released.
create function allocate_interface(
  p_account_id text, p_instance_id text, p_subnet_id text, p_group_ids text[], p_host int, p_public boolean,
  p_eni_id text, p_attachment_id text, p_mac text, p_association_id text, p_ports_max int, p_take_resting boolean
) returns text language plpgsql volatile as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(p_instance_id, 4));
  if exists (select from released_instance where instance_id = p_instance_id) then return 'released'; end if;
  return make_interface(p_account_id, p_instance_id, p_subnet_id, p_group_ids, p_host, p_public, p_eni_id,
    p_attachment_id, p_mac, p_association_id, p_ports_max, p_take_resting);
end $$;
`;
