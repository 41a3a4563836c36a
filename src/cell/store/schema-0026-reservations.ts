/**
 * EC2's reservations of capacity and its dedicated hosts, on the same claims as everything else. A slot of a reservation that is free is a
 * claim for the purpose `reservation`; one that is used is the instance's own claim, which names the reservation. Triggers turn the second
 * into the first when the instance gives its slot back, whoever writes that: there is no moment in which somebody else could have it.
 */
import type { SchemaStep } from '#base/postgres/migrate.ts';

const tables = `
  create table capacity_reservations (
    id text primary key,
    account_id text not null,
    token text,
    request_hash text not null,
    -- 'active' → 'expired', 'cancelled'
    state text not null default 'active',
    type text not null,
    zone text not null,
    zone_id text,
    tenancy text not null,
    match text not null,
    total int not null,
    -- Of one slot.
    amount jsonb not null,
    end_date timestamptz,
    ebs_optimized boolean not null,
    ephemeral boolean not null,
    tags jsonb not null default '[]',
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    unique (account_id, token)
  );
  create index capacity_reservations_open on capacity_reservations (account_id, type) where state = 'active';
  create index capacity_reservations_account on capacity_reservations (account_id, id);
  create index capacity_reservations_due on capacity_reservations (end_date) where state = 'active' and end_date is not null;
  create index capacity_reservations_ended on capacity_reservations (ended_at) where ended_at is not null;
  create sequence capacity_reservation_slots;

  alter table claims add column reservation_id text;
  create index claims_reservation on claims (reservation_id) where reservation_id is not null;
  create index claims_notice on claims (holder) where purpose = 'notice';
  alter table instances add column capacity_reservation_id text;

  create table dedicated_hosts (
    id text primary key,
    account_id text not null,
    token text,
    request_hash text not null,
    -- The machine. Nobody else's claim may be on it: its claims are those of the tenant with this row's id.
    host_id text not null,
    state text not null default 'available',
    type text,
    family text,
    zone text not null,
    zone_id text,
    auto_placement text not null,
    host_recovery text not null,
    host_maintenance text not null,
    tags jsonb not null default '[]',
    allocated_at timestamptz not null default now(),
    released_at timestamptz
  );
  create index dedicated_hosts_account on dedicated_hosts (account_id, id);
  create index dedicated_hosts_token on dedicated_hosts (account_id, token) where token is not null;
`;

/** The instance whose claim this is shows the reservation; while it keeps a disk alone, it is in none. */
const shown = `
  create function pando_leave_reservation() returns trigger language plpgsql as $body$
  begin
    new.reservation_id := null;
    return new;
  end $body$;
  create trigger claims_leave_reservation before update on claims for each row
    when (old.purpose = 'instance' and old.reservation_id is not null
      and old.memory_mib > 0 and new.memory_mib = 0 and new.vcpus_milli = 0)
    execute function pando_leave_reservation();

  create function pando_show_reservation() returns trigger language plpgsql as $body$
  begin
    update instances set capacity_reservation_id = case tg_op when 'DELETE' then null else new.reservation_id end
    where id = old.holder;
    return null;
  end $body$;
  create trigger claims_reservation_shown after update on claims for each row
    when (old.purpose = 'instance' and old.reservation_id is distinct from new.reservation_id)
    execute function pando_show_reservation();
  create trigger claims_reservation_gone after delete on claims for each row
    when (old.purpose = 'instance' and old.reservation_id is not null)
    execute function pando_show_reservation();
`;

/**
 * What an instance gives back of a slot is the reservation's again, in the same statement. A reservation that has ended meanwhile gets
 * nothing; a claim for it that was made at the same instant is released by its upkeep.
 */
const slotsComeBack = `
  create function pando_slot_comes_back() returns trigger language plpgsql as $body$
  declare
    reservation capacity_reservations;
    vcpus bigint := old.vcpus_milli;
    memory bigint := old.memory_mib;
    network bigint := old.network_mbps;
    disk bigint := 0;
  begin
    select * into reservation from capacity_reservations
      where id = old.reservation_id and state = 'active' and (end_date is null or end_date > now());
    if not found then
      return null;
    end if;
    if tg_op = 'DELETE' then
      disk := least(old.disk_mib, (reservation.amount ->> 'diskMib')::bigint);
    end if;
    insert into claims (id, host_id, purpose, holder, type, vcpus_milli, memory_mib, disk_mib, network_mbps, account_id, dedicated,
      reservation_id)
    values ('reservation/' || reservation.id || '/' || nextval('capacity_reservation_slots'), old.host_id, 'reservation',
      reservation.id, reservation.type, vcpus, memory, disk, network, reservation.account_id, reservation.tenancy = 'dedicated',
      reservation.id);
    update hosts set used_vcpus_milli = used_vcpus_milli + vcpus, used_memory_mib = used_memory_mib + memory,
      used_disk_mib = used_disk_mib + disk, used_network_mbps = used_network_mbps + network,
      dedicated_claims = dedicated_claims + (reservation.tenancy = 'dedicated')::int,
      dedicated_to = case when reservation.tenancy = 'dedicated' then coalesce(dedicated_to, reservation.account_id)
        else dedicated_to end
    where id = old.host_id;
    return null;
  end $body$;
  create trigger claims_slot_back after delete on claims for each row
    when (old.purpose = 'instance' and old.reservation_id is not null and old.memory_mib > 0)
    execute function pando_slot_comes_back();
  create trigger claims_slot_left after update on claims for each row
    when (old.purpose = 'instance' and old.reservation_id is not null and new.reservation_id is null
      and old.memory_mib > 0 and new.memory_mib = 0)
    execute function pando_slot_comes_back();
`;

export const reservationsStep: SchemaStep = {
  name: '0026-reservations',
  up: [tables, shown, slotsComeBack].join('\n'),
};
