/**
 * Claims: one row for each thing that is taken of a host. They are the truth; the counters on a host's row are a cache of their sums.
 *
 * A processor of the last release knows no claims. It writes the counters, and `held` and `other_host_id` of instances. The triggers
 * keep both views equal while it lives beside this one: its writes become claims, and writes of claims fill its columns. Triggers, the
 * two columns and their index go with the next release.
 */
import type { SchemaStep } from '#base/postgres/migrate.ts';

const tables = `
  alter table hosts
    add column epoch bigint not null default 1,
    add column capacity_network_mbps bigint,
    add column limit_network_mbps bigint,
    add column used_network_mbps bigint not null default 0 check (used_network_mbps >= 0);
  alter table instances
    add column network_mbps int not null default 0,
    alter column held set default 'none';
  create table claims (
    id text primary key,
    host_id text not null,
    purpose text not null,
    holder text not null,
    -- The instance type, so that what runs on a host is known without its instances' rows.
    type text,
    vcpus_milli bigint not null check (vcpus_milli >= 0),
    memory_mib bigint not null check (memory_mib >= 0),
    disk_mib bigint not null check (disk_mib >= 0),
    network_mbps bigint not null check (network_mbps >= 0),
    epoch bigint not null default 1,
    expires_at timestamptz,
    created_at timestamptz not null default now()
  ) with (fillfactor = 80);
  create index claims_host on claims (host_id);
  create index claims_migrations on claims (holder, host_id) where purpose = 'migration';
  create index claims_expiring on claims (expires_at) where expires_at is not null;
`;

/** Whoever changed a host's counters or limits: what was decided on the row as it was before can tell. */
const hostEpoch = `
  create function pando_host_epoch() returns trigger language plpgsql as $body$
  begin
    new.epoch := old.epoch + 1;
    return new;
  end $body$;
  create trigger hosts_epoch before update on hosts for each row when (
    (old.state, old.used_vcpus_milli, old.used_memory_mib, old.used_disk_mib, old.used_network_mbps,
     old.limit_vcpus_milli, old.limit_memory_mib, old.capacity_disk_mib, old.limit_network_mbps)
    is distinct from
    (new.state, new.used_vcpus_milli, new.used_memory_mib, new.used_disk_mib, new.used_network_mbps,
     new.limit_vcpus_milli, new.limit_memory_mib, new.capacity_disk_mib, new.limit_network_mbps))
  execute function pando_host_epoch();
`;

/**
 * Makes one claim of an instance what its row says. The counters that the last release knows are its own work; network bandwidth is not
 * known to it, so that counter is kept here. Where the claim is so already, which is after every write of this release, nothing happens.
 */
const keepClaim = `
  create function pando_keep_claim(purpose_ text, holder_ text, type_ text, host text, vcpus bigint, memory bigint, disk bigint,
    network bigint) returns void language plpgsql as $body$
  declare
    former claims;
  begin
    select * into former from claims where id = purpose_ || '/' || holder_;
    if found and (former.host_id, former.vcpus_milli, former.memory_mib, former.disk_mib, former.network_mbps)
      is not distinct from (host, vcpus, memory, disk, network) then
      return;
    end if;
    if former.network_mbps > 0 then
      update hosts set used_network_mbps = greatest(0, used_network_mbps - former.network_mbps) where id = former.host_id;
    end if;
    if host is null then
      delete from claims where id = former.id;
      return;
    end if;
    if network > 0 then
      update hosts set used_network_mbps = used_network_mbps + network where id = host;
    end if;
    insert into claims (id, host_id, purpose, holder, type, vcpus_milli, memory_mib, disk_mib, network_mbps)
    values (purpose_ || '/' || holder_, host, purpose_, holder_, type_, vcpus, memory, disk, network)
    on conflict (id) do update set host_id = excluded.host_id, vcpus_milli = excluded.vcpus_milli,
      memory_mib = excluded.memory_mib, disk_mib = excluded.disk_mib, network_mbps = excluded.network_mbps,
      epoch = claims.epoch + 1;
  end $body$;

  create function pando_claims_of_instance() returns trigger language plpgsql as $body$
  declare
    runs int := (new.held = 'all')::int;
  begin
    perform pando_keep_claim('instance', new.id, new.spec ->> 'instanceType', case when new.held <> 'none' then new.host_id end,
      new.vcpus_milli * runs, new.memory_mib * runs, new.disk_mib, new.network_mbps * runs);
    perform pando_keep_claim('migration', new.id, new.spec ->> 'instanceType', new.other_host_id,
      new.vcpus_milli, new.memory_mib, new.disk_mib, new.network_mbps);
    return null;
  end $body$;
  create trigger instances_claims_inserted after insert on instances for each row
    execute function pando_claims_of_instance();
  create trigger instances_claims_updated after update of host_id, other_host_id, held on instances for each row
    when (pg_trigger_depth() = 0
      and (old.host_id, old.other_host_id, old.held) is distinct from (new.host_id, new.other_host_id, new.held))
    execute function pando_claims_of_instance();
`;

/** The other way: what the last release reads of an instance is filled from its claims. */
const fillColumns = `
  create function pando_held(own claims) returns text language sql immutable as $body$
    select case when own.id is null then 'none'
      when own.vcpus_milli = 0 and own.memory_mib = 0 then 'disk' else 'all' end
  $body$;

  create function pando_instance_of_claim() returns trigger language plpgsql as $body$
  declare
    who text := case tg_op when 'DELETE' then old.holder else new.holder end;
    own claims;
    other text;
  begin
    select * into own from claims where id = 'instance/' || who;
    select host_id into other from claims where id = 'migration/' || who;
    update instances set held = pando_held(own), other_host_id = other, host_id = coalesce(own.host_id, host_id)
    where id = who and (held, other_host_id, host_id)
      is distinct from (pando_held(own), other, coalesce(own.host_id, host_id));
    return null;
  end $body$;
  create trigger claims_instance after insert or update on claims for each row
    when (pg_trigger_depth() = 0 and new.purpose in ('instance', 'migration'))
    execute function pando_instance_of_claim();
  create trigger claims_instance_gone after delete on claims for each row
    when (pg_trigger_depth() = 0 and old.purpose in ('instance', 'migration'))
    execute function pando_instance_of_claim();

  create function pando_columns_of_new_instance() returns trigger language plpgsql as $body$
  declare
    own claims;
    other text;
  begin
    select * into own from claims where id = 'instance/' || new.id;
    if found then
      new.held := pando_held(own);
    end if;
    select host_id into other from claims where id = 'migration/' || new.id;
    if found then
      new.other_host_id := other;
    end if;
    return new;
  end $body$;
  create trigger instances_columns before insert on instances for each row
    execute function pando_columns_of_new_instance();
`;

/** The lock of the first triggers keeps writers out until the step has committed, so no row is missed. */
const existing = `
  insert into claims (id, host_id, purpose, holder, type, vcpus_milli, memory_mib, disk_mib, network_mbps)
  select 'instance/' || id, host_id, 'instance', id, spec ->> 'instanceType', case held when 'all' then vcpus_milli else 0 end,
    case held when 'all' then memory_mib else 0 end, disk_mib, 0
  from instances where host_id is not null and held <> 'none';
  insert into claims (id, host_id, purpose, holder, type, vcpus_milli, memory_mib, disk_mib, network_mbps)
  select 'migration/' || id, other_host_id, 'migration', id, spec ->> 'instanceType', vcpus_milli, memory_mib, disk_mib, 0
  from instances where other_host_id is not null;
`;

export const claimsStep: SchemaStep = {
  name: '0010-claims',
  up: [tables, hostEpoch, keepClaim, existing, fillColumns].join('\n'),
};
