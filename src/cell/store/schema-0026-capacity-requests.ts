/**
 * Requests for capacity that wait, what is offered to them, and what their owners are told. Everything here changes under the lock of
 * `capacity_queue`'s one row, so there is one order of events, and an offer that runs out and one that is claimed exclude each other.
 */
import type { SchemaStep } from '#base/postgres/migrate.ts';

const tables = `
  create table capacity_queue (
    id int primary key check (id = 1),
    -- Milliseconds for which the cell has been at work: offers and requests run out by it, so no step of a clock ends one.
    elapsed_ms bigint not null default 0,
    -- The processor that counts them, and how often it has: another goes on when it has stopped.
    ticker text not null default '',
    ticks bigint not null default 0,
    event_seq bigint not null default 0,
    position_seq bigint not null default 0
  );
  insert into capacity_queue (id) values (1);

  create table capacity_requests (
    id text primary key,
    account_id text not null,
    token text not null,
    request_hash text not null,
    state text not null,
    mode text not null,
    -- Its place: lower is earlier. A request that lost a race keeps it; one that let an offer lapse gets a new one.
    position bigint not null,
    zone text not null,
    -- What it asks for: every one like it has the same.
    class text not null,
    -- The original first, then what would do instead.
    options jsonb not null,
    offer_ms bigint not null,
    expires_ms bigint not null,
    valid_until timestamptz not null,
    passed_over int not null default 0,
    lapses int not null default 0,
    callback_url text,
    trace jsonb,
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    unique (account_id, token)
  ) with (fillfactor = 80);
  create index capacity_requests_waiting on capacity_requests (class, position) where state = 'waiting';
  create index capacity_requests_order on capacity_requests (position) where state = 'waiting';
  create index capacity_requests_open on capacity_requests (expires_ms) where state in ('waiting', 'offered');
  create index capacity_requests_account on capacity_requests (account_id, created_at, id);
  create index capacity_requests_ended on capacity_requests (ended_at) where ended_at is not null;

  create table capacity_offers (
    id text primary key,
    request_id text not null,
    account_id text not null,
    mode text not null,
    -- Index into the request's options.
    option int not null,
    type text not null,
    count int not null,
    -- 'accumulating' → 'open' → 'claimed', 'lapsed', 'lost', 'given-back'
    state text not null,
    expires_ms bigint not null,
    valid_until timestamptz,
    reservation_id text,
    created_at timestamptz not null default now()
  );
  create index capacity_offers_request on capacity_offers (request_id);
  create index capacity_offers_live on capacity_offers (expires_ms) where state in ('open', 'accumulating');

  create table capacity_events (
    seq bigint primary key,
    id text not null unique,
    account_id text not null,
    request_id text not null,
    kind text not null,
    body jsonb not null,
    created_at timestamptz not null default now()
  );
  create index capacity_events_account on capacity_events (account_id, seq);
  create index capacity_events_created on capacity_events (created_at);

  create table capacity_deliveries (
    event_id text primary key,
    account_id text not null,
    url text not null,
    state text not null default 'due',
    attempts int not null default 0,
    -- In the cell's own time, as everything that runs out.
    due_ms bigint not null,
    last_error text,
    updated_at timestamptz not null default now()
  ) with (fillfactor = 70);
  create index capacity_deliveries_due on capacity_deliveries (due_ms) where state = 'due';
  create index capacity_deliveries_dead on capacity_deliveries (updated_at) where state = 'dead';
`;

/** Whoever gives capacity back, of this release or the last, wakes those who decide; only while somebody waits, since it costs each commit. */
const wakes = `
  create function pando_capacity_freed() returns trigger language plpgsql as $body$
  begin
    if exists (select 1 from capacity_requests where state = 'waiting') then
      perform pg_notify('pando_capacity_freed', '');
    end if;
    return null;
  end $body$;
  create trigger claims_freed after delete on claims for each row execute function pando_capacity_freed();
  create trigger claims_lessened after update on claims for each row
    when (new.vcpus_milli < old.vcpus_milli or new.memory_mib < old.memory_mib or new.disk_mib < old.disk_mib)
    execute function pando_capacity_freed();
  create trigger hosts_opened after update on hosts for each row
    when (new.state = 'active' and (old.state <> 'active' or new.limit_vcpus_milli > old.limit_vcpus_milli
      or new.limit_memory_mib > old.limit_memory_mib or new.capacity_disk_mib > old.capacity_disk_mib))
    execute function pando_capacity_freed();
  create trigger hosts_joined after insert on hosts for each row execute function pando_capacity_freed();
`;

export const capacityRequestsStep: SchemaStep = {
  name: '0026-capacity-requests',
  up: [tables, wakes].join('\n'),
};
