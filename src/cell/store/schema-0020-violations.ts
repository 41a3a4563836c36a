/**
 * VMs that violate their group's constraint, and those that were moved for it (capacity/mending.ts): durable, so that neither how long a
 * violation has stood nor how long a VM has to rest depends on a processor's life.
 */
import type { SchemaStep } from '#base/postgres/migrate.ts';

export const violationsStep: SchemaStep = {
  name: '0020-violations',
  up: `
    create table violations (
      instance_id text primary key,
      -- What is violated and where; null: nothing now.
      cause text,
      host_id text,
      since timestamptz,
      seen_at timestamptz,
      -- When no place was found for it.
      tried_at timestamptz,
      -- The last move.
      moved_at timestamptz,
      moved_cause text,
      moved_from text,
      moved_to text,
      moves int not null default 0,
      check ((cause is null) = (since is null))
    );
    create index violations_moved on violations (moved_at) where moved_at is not null;
  `,
};
