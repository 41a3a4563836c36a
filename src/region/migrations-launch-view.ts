/** The interface of a launch with all that EC2 shows of it, so that nobody asks a second time for the answer to RunInstances. */
export const launchViewStep = `
-- As allocate_interface_port; the interface as interface-view.ts reads it.
create function allocate_interface_shown(
  p_account_id text, p_instance_id text, p_subnet_id text, p_group_ids text[], p_host int, p_public boolean,
  p_eni_id text, p_attachment_id text, p_mac text, p_association_id text, p_ports_max int, p_take_resting boolean,
  out status text, out port json
) language plpgsql volatile as $$
begin
  status := allocate_interface(p_account_id, p_instance_id, p_subnet_id, p_group_ids, p_host, p_public, p_eni_id,
    p_attachment_id, p_mac, p_association_id, p_ports_max, p_take_resting);
  if status not in ('ok', 'existing') then return; end if;
  select row_to_json(made) into port from (
    select e.*, s.zone, p.ip as public_ip, p.allocation_id, p.association_id,
      v.dns_support and v.dns_hostnames as named,
      (select coalesce(json_agg(json_build_object('GroupId', g.group_id, 'GroupName', g.name) order by g.group_id), '[]')
        from security_group g where g.group_id = any (e.group_ids)) as groups,
      (select coalesce(json_agg(json_build_object('Key', t.key, 'Value', t.value) order by t.key), '[]')
        from tag t where t.resource_id = e.eni_id and t.account_id = e.account_id) as tags
    from eni e join subnet s on s.subnet_id = e.subnet_id join vpc v on v.vpc_id = e.vpc_id
      left join public_address p on p.eni_id = e.eni_id
    where e.instance_id = p_instance_id) made;
end $$;
`;
