/**
 * Instances whose interface was released, or will never be made: an allocation that arrives after its release makes no orphan. The two
 * functions of the launch path keep their names and go on inside: the lock comes first, so that of an allocation and a release of one
 * instance the second sees what the first did.
 */
export const releasedInstances = `
create table released_instance (
  instance_id text primary key,
  released_at timestamptz not null default now()
);
create index released_instance_age on released_instance (released_at);

alter function allocate_interface(text, text, text, text[], int, boolean, text, text, text, text, int)
  rename to make_interface;
-- As make_interface; status also: released.
create function allocate_interface(
  p_account_id text, p_instance_id text, p_subnet_id text, p_group_ids text[], p_host int, p_public boolean,
  p_eni_id text, p_attachment_id text, p_mac text, p_association_id text, p_ports_max int
) returns text language plpgsql volatile as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(p_instance_id, 4));
  if exists (select from released_instance where instance_id = p_instance_id) then return 'released'; end if;
  return make_interface(p_account_id, p_instance_id, p_subnet_id, p_group_ids, p_host, p_public, p_eni_id,
    p_attachment_id, p_mac, p_association_id, p_ports_max);
end $$;

alter function release_interface(text, interval, interval) rename to drop_interface;
-- As drop_interface, and remembers the instance whether or not it had one.
create function release_interface(p_instance_id text, p_private_rest interval, p_public_rest interval)
returns text language plpgsql volatile as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(p_instance_id, 4));
  insert into released_instance (instance_id) values (p_instance_id)
    on conflict (instance_id) do update set released_at = excluded.released_at;
  return drop_interface(p_instance_id, p_private_rest, p_public_rest);
end $$;
`;
