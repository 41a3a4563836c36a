/**
 * The two statements of the launch path that would otherwise be several round trips: each function is one transaction in
 * one round trip. Every statement of a `volatile` function has a snapshot of its own, so what is read after the VPC's row
 * lock was waited for is what is there now.
 */
export const interfaceFunctions = `
-- Gives the interface of p_instance_id, making it if it is not there. Status: ok, existing, no-subnet, no-group, full,
-- in-use, out-of-range, too-many-ports, no-public-address.
create function allocate_interface(
  p_account_id text, p_instance_id text, p_subnet_id text, p_group_ids text[], p_host int, p_public boolean,
  p_eni_id text, p_attachment_id text, p_mac text, p_association_id text, p_ports_max int
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
  delete from resting_address where subnet_id = p_subnet_id and host = v_host;
  insert into eni (eni_id, account_id, vpc_id, subnet_id, instance_id, attachment_id, mac, host, ip, group_ids)
  values (p_eni_id, p_account_id, s.vpc_id, p_subnet_id, p_instance_id, p_attachment_id, p_mac, v_host,
    host('0.0.0.0'::inet + (s.base + v_host)), v_groups);
  if p_public then
    update public_address set account_id = p_account_id, eni_id = p_eni_id, association_id = p_association_id
    where ip = (
      select ip from public_address where account_id is null and in_pool and rests_until <= now()
      order by number limit 1 for update skip locked);
    if not found then raise exception 'no-public-address' using errcode = 'PA001'; end if;
  end if;
  return 'ok';
end $$;

-- Deletes the interface of an instance and sets its addresses to rest; elastic ones stay with their account.
-- Returns the VPC that changed, or null.
create function release_interface(p_instance_id text, p_private_rest interval, p_public_rest interval)
returns text language plpgsql volatile as $$
declare
  e eni%rowtype;
begin
  select * into e from eni where instance_id = p_instance_id for update;
  if not found then return null; end if;
  update public_address set eni_id = null, association_id = null,
    account_id = case when allocation_id is null then null else account_id end,
    rests_until = case when allocation_id is null then now() + p_public_rest else rests_until end
  where eni_id = e.eni_id;
  delete from eni where eni_id = e.eni_id;
  delete from tag where resource_id = e.eni_id;
  insert into resting_address values (e.subnet_id, e.host, now() + p_private_rest);
  update vpc set version = version + 1, ports = ports - 1 where vpc_id = e.vpc_id;
  update subnet set low_host = least(low_host, e.host) where subnet_id = e.subnet_id;
  return e.vpc_id;
end $$;
`;
