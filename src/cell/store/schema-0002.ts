/** What the reconciler remembers: tries to recover an instance, VMs in quarantine, what it has removed lately. */
import type { SchemaStep } from '#base/postgres/migrate.ts';

export const quarantineAndRecovery: SchemaStep = {
  name: '0002-quarantine-and-recovery',
  up: `
    alter table instances add column recovery jsonb;
    create table quarantined_vms (
      instance_id text not null,
      host_id text not null,
      reason text not null,
      report jsonb not null,
      first_seen timestamptz not null default now(),
      last_seen timestamptz not null default now(),
      primary key (instance_id, host_id)
    );
    create index quarantined_vms_host on quarantined_vms (host_id);
    create table removals (
      host_id text not null,
      instance_id text not null,
      at timestamptz not null default now(),
      primary key (host_id, instance_id)
    );
  `,
};
