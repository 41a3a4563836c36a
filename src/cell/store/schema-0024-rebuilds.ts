import type { SchemaStep } from '#base/postgres/migrate.ts';

/**
 * Pools, and what is on record of hosts for their rebuilds. A host that is being rebuilt, or is out of service, is `draining` for
 * processors of the last release: they place nothing there.
 */
export const rebuildsStep: SchemaStep = {
  name: '0024-rebuilds',
  up: `
    alter table hosts
      add column pool text,
      -- Why it is drained: draining, rebuilding, out-of-service. Null: it serves, or an operator of the last release drains it.
      add column phase text,
      add column phase_reason text not null default '',
      -- Of rebuilds, as instances have one of their lives; grows with each pass.
      add column generation bigint not null default 0,
      -- The workflow that has the host.
      add column rebuild_id text,
      add column rests_until timestamptz,
      -- By step: what was found when it was carried out last, and when.
      add column evidence jsonb not null default '{}',
      -- Of its pool's layout; null: the cell's.
      add column vcpu_oversubscription float8,
      add column memory_oversubscription float8,
      add column slot_types text[];
    create table pools (
      name text primary key,
      slot_type text not null,
      host_class text,
      low int not null,
      target int not null,
      layout jsonb not null,
      check (0 <= low and low <= target)
    );
    create table skip_tallies (
      host_class text not null,
      step text not null,
      kind text not null,
      failures float8 not null,
      successes float8 not null,
      unseen int not null,
      primary key (host_class, step, kind)
    );
  `,
};
