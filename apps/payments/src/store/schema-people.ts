/** People, how they sign in, their devices, contacts, partners and establishments. */
import type { SchemaStep } from './migrate.ts';

/** Merchants are public, others are not: looking for a merchant by an id must not touch the row of somebody who is none. */
export const merchantsSchema: SchemaStep = {
  name: '0007-merchants',
  up: `create unique index person_merchant on person (person_id) where role = 'merchant';`,
};

export const peopleSchema: SchemaStep = {
  name: '0003-people',
  up: `
create table person (
  person_id text primary key,
  handle text not null unique,
  name text not null,
  role text not null check (role in ('person', 'merchant')),
  currency text not null,
  location_opt_in boolean not null default false,
  visible_to_contacts boolean not null default false,
  rules jsonb not null,
  is_demo boolean not null default false,
  created_ms bigint not null
);

create table passkey (
  credential_id text primary key,
  person_id text not null references person,
  public_key bytea not null,
  counter bigint not null,
  added_ms bigint not null
);

-- A challenge is taken once: whoever deletes the row has it.
create table passkey_challenge (
  challenge_id text primary key,
  challenge text not null,
  draft jsonb,
  expires_ms bigint not null
);

-- The cookie's value is known to the client alone; here is its SHA-256.
create table session (
  token_hash bytea primary key,
  person_id text references person,
  is_operator boolean not null default false,
  expires_ms bigint not null
);

create table device (
  device_id text primary key,
  person_id text not null references person,
  name text not null,
  public_key jsonb not null,
  phone_number text,
  added_ms bigint not null,
  removed_ms bigint,
  last_report_ms bigint not null default 0,
  suspect_until_ms bigint not null default 0
);
create index on device (person_id);
-- One key belongs to one device: a copied key cannot be registered by somebody else.
create unique index on device ((public_key ->> 'x'), (public_key ->> 'y'));

create table nonce (
  device_id text not null,
  nonce text not null,
  at_ms bigint not null,
  primary key (device_id, nonce)
);
create index on nonce (at_ms);

-- 'mutual' has a row in each direction.
create table contact (
  person_id text not null references person,
  other_id text not null references person,
  state text not null check (state in ('asked', 'mutual')),
  asked_ms bigint not null,
  primary key (person_id, other_id),
  check (person_id <> other_id)
);
create index on contact (other_id);

-- What was typed, whether or not anybody has that handle.
create table contact_pending (
  person_id text not null references person,
  handle text not null,
  asked_ms bigint not null,
  primary key (person_id, handle)
);

create table partner (
  person_id text not null references person,
  partner_id text not null references person,
  named_ms bigint not null,
  primary key (person_id, partner_id)
);

create table establishment (
  establishment_id text primary key,
  owner_id text not null references person,
  name text not null,
  latitude double precision not null,
  longitude double precision not null,
  radius_m double precision not null
);
create index on establishment (owner_id);
`,
};
