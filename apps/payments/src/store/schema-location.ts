/**
 * Places. Exact ones live in a ring of partitions, of which the oldest is truncated as time goes on: PostgreSQL then drops the file, so
 * that no byte of a position outlives its time (a DELETE leaves them in free space). What lives longer is coarse.
 */
import type { SchemaStep } from './migrate.ts';

export const ringSlots = 4;

const slots = Array.from(
  { length: ringSlots },
  (_, slot) => `create table position_fix_${slot} partition of position_fix for values in (${slot});`,
).join('\n');

export const locationSchema: SchemaStep = {
  name: '0004-location',
  up: `
create table position_fix (
  slot smallint not null,
  person_id text not null,
  device_id text not null,
  source text not null,
  latitude double precision not null,
  longitude double precision not null,
  accuracy_m double precision not null,
  at_ms bigint not null
) partition by list (slot);
${slots}
create index on position_fix (person_id, at_ms desc);

-- Which ten minutes each slot of the ring holds.
create table position_ring (slot smallint primary key, period bigint not null);

-- What the carrier said about a device, and of which place it was asked. The place goes with the ring's time.
create table carrier_word (
  device_id text primary key,
  person_id text not null,
  result text not null check (result in ('TRUE', 'FALSE', 'PARTIAL')),
  match_rate smallint,
  latitude double precision not null,
  longitude double precision not null,
  at_ms bigint not null
);

create table coarse_visit (
  person_id text not null,
  cell text not null,
  hour_ms bigint not null,
  primary key (person_id, hour_ms, cell)
);
create index on coarse_visit (hour_ms);

-- How often two contacts were found together: a count a day, no place. a_id < b_id.
create table co_location (
  a_id text not null,
  b_id text not null,
  day_ms bigint not null,
  occasions int not null,
  last_bucket_ms bigint not null,
  primary key (a_id, b_id, day_ms),
  check (a_id < b_id)
);
create index on co_location (b_id);
create index on co_location (day_ms);

create table retention_run (
  run_id bigint generated always as identity primary key,
  at_ms bigint not null,
  deleted jsonb not null,
  -- What was still there beyond its time after the run, by table. All zero, or the run failed.
  remaining jsonb not null
);
`,
};
