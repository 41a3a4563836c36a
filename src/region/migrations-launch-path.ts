/**
 * What each launch asks of the region once, as one statement each: a function is a transaction of its own in one round trip, and every
 * statement of a `volatile` one has a snapshot of its own, so what is read after a lock was waited for is what is there now.
 */
export const launchPathStep = `
-- As allocate_interface; with the interface as it is then, where the instance has one.
create function allocate_interface_port(
  p_account_id text, p_instance_id text, p_subnet_id text, p_group_ids text[], p_host int, p_public boolean,
  p_eni_id text, p_attachment_id text, p_mac text, p_association_id text, p_ports_max int, p_take_resting boolean,
  out status text, out port json
) language plpgsql volatile as $$
begin
  status := allocate_interface(p_account_id, p_instance_id, p_subnet_id, p_group_ids, p_host, p_public, p_eni_id,
    p_attachment_id, p_mac, p_association_id, p_ports_max, p_take_resting);
  if status not in ('ok', 'existing') then return; end if;
  select row_to_json(made) into port from (
    select e.*, p.ip as public_ip, s.zone from eni e join subnet s on s.subnet_id = e.subnet_id
      left join public_address p on p.eni_id = e.eni_id
    where e.instance_id = p_instance_id) made;
end $$;

-- Says where an interface is, by compare-and-set on its epoch. Outcome: changed, unchanged, stale (with what is there), absent.
-- assigned: whether it got the automatic public address that was due; null: none was.
create function place_interface(
  p_eni_id text, p_vtep text, p_epoch bigint, p_association_id text,
  out outcome text, out vpc_id text, out holder text, out epoch bigint, out assigned boolean
) language plpgsql volatile as $$
declare
  e eni%rowtype;
begin
  outcome := 'absent';
  select i.vpc_id into vpc_id from eni i where i.eni_id = p_eni_id;
  if not found then return; end if;
  -- A VPC's row is locked before its interfaces': every change of a VPC does so.
  perform 1 from vpc v where v.vpc_id = place_interface.vpc_id for no key update;
  select * into e from eni i where i.eni_id = p_eni_id for no key update;
  if not found then return; end if;
  holder := e.vtep;
  epoch := e.epoch;
  if e.epoch = p_epoch and e.vtep is not distinct from p_vtep then outcome := 'unchanged'; return; end if;
  if e.epoch >= p_epoch then outcome := 'stale'; return; end if;
  outcome := 'changed';
  update eni i set vtep = p_vtep, epoch = p_epoch where i.eni_id = p_eni_id;
  update vpc v set version = v.version + 1 where v.vpc_id = place_interface.vpc_id;
  if e.auto_public and p_vtep is not null and not exists (select from public_address p where p.eni_id = p_eni_id) then
    assigned := assign_public_address(e.account_id, p_eni_id, p_association_id);
  end if;
end $$;
`;
