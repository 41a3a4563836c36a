/** The cell's schema. Nothing in it points out of the cell (S3.2). */
import type { SchemaStep } from '#base/postgres/migrate.ts';
import { quarantineAndRecovery } from './schema-0002.ts';
import { workflowTrace } from './schema-0006-trace.ts';
import { shownInstances } from './schema-0007-shown.ts';
import { vmHealthStep } from './schema-0007-vm-health.ts';
import { keptConsoles } from './schema-0008-consoles.ts';
import { claimsStep } from './schema-0010-claims.ts';
import { instanceProfilesStep } from './schema-0011-profiles.ts';
import { placementStep } from './schema-0020-placement.ts';
import { violationsStep } from './schema-0020-violations.ts';
import { homesStep } from './schema-0022-homes.ts';
import { rebuildsStep } from './schema-0024-rebuilds.ts';
import { capacityRequestsStep } from './schema-0026-capacity-requests.ts';
import { reservationsStep } from './schema-0026-reservations.ts';
import { companionsStep } from './schema-0042-companions.ts';
import { crashesStep } from './schema-0042-crashes.ts';
import { eventWindowsStep } from './schema-0044-event-windows.ts';
import { eventStartsStep } from './schema-0052-event-starts.ts';
import { wishOffersStep } from './schema-0052-wish-offers.ts';
import { workflowWaits } from './schema-workflow-waits.ts';

export const cellSchema: readonly SchemaStep[] = [
  {
    name: '0001-begin',
    kysely: true,
    up: `
      create table processors (
        owner text primary key,
        processor_id text not null,
        lease_until timestamptz not null
      );
      create table hosts (
        id text primary key,
        zone text not null,
        vtep text not null,
        accelerator text not null,
        state text not null default 'active',
        card text not null,
        capacity_vcpus_milli bigint not null,
        capacity_memory_mib bigint not null,
        capacity_disk_mib bigint not null,
        limit_vcpus_milli bigint not null,
        limit_memory_mib bigint not null,
        used_vcpus_milli bigint not null default 0 check (used_vcpus_milli >= 0),
        used_memory_mib bigint not null default 0 check (used_memory_mib >= 0),
        used_disk_mib bigint not null default 0 check (used_disk_mib >= 0),
        heard_at timestamptz not null
      ) with (fillfactor = 50);
      create table instances (
        id text primary key,
        account_id text not null,
        reservation_id text not null,
        launch_index int not null,
        state text not null,
        version int not null default 1,
        vpc_id text not null,
        host_id text,
        -- Target of a running migration before the flip, source after it: capacity is held there too.
        other_host_id text,
        -- What is held on host_id: all while it runs, the disk while it is stopped.
        held text not null,
        place_epoch int not null,
        workflow_id text,
        locked boolean not null default false,
        intent jsonb,
        vcpus_milli int not null,
        memory_mib int not null,
        disk_mib int not null,
        created_at timestamptz not null,
        launch_time timestamptz not null,
        terminated_at timestamptz,
        state_reason jsonb,
        transition_reason text not null default '',
        interface jsonb,
        tags jsonb not null,
        volume_tags jsonb not null,
        spec jsonb not null
      ) with (fillfactor = 80);
      create index instances_account on instances (account_id, created_at, id);
      create index instances_host on instances (host_id) where host_id is not null;
      create index instances_other_host on instances (other_host_id) where other_host_id is not null;
      create index instances_vpc on instances (vpc_id, host_id) where host_id is not null;
      create index instances_terminated on instances (terminated_at) where terminated_at is not null;
      create table client_tokens (
        account_id text not null,
        token text not null,
        request_hash text not null,
        reservation_id text not null,
        created_at timestamptz not null,
        primary key (account_id, token)
      );
      create table workflows (
        id text primary key,
        kind text not null,
        subject text not null,
        input jsonb not null,
        state text not null,
        cursor int not null default 0,
        results jsonb not null default '{}',
        timings jsonb not null default '[]',
        owner text not null,
        epoch int not null default 1,
        attempts int not null default 0,
        wake_at timestamptz,
        cancel boolean not null default false,
        error jsonb,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
      ) with (fillfactor = 70);
      create index workflows_live on workflows (owner) where state in ('running', 'undoing', 'stuck');
      create index workflows_ended on workflows (updated_at) where state in ('done', 'undone');
      create table settings (name text primary key, value text not null);
      create table vpc_states (
        vpc_id text primary key,
        version bigint not null,
        state jsonb not null
      );
    `,
  },
  quarantineAndRecovery,
  workflowWaits,
  {
    // Since when a processor has renewed its lease without a gap: see processors.ts.
    name: '0005-steady-leases',
    up: `
      alter table processors
        add column renewed_at timestamptz not null default now(),
        add column steady_since timestamptz not null default now();
    `,
  },
  workflowTrace,
  shownInstances,
  vmHealthStep,
  keptConsoles,
  claimsStep,
  {
    // See `InstanceRow.metadata_due`.
    name: '0010-metadata-due',
    up: `
      alter table instances add column metadata_due int;
      create index instances_metadata_due on instances (metadata_due, id) where metadata_due is not null;
    `,
  },
  instanceProfilesStep,
  placementStep,
  violationsStep,
  homesStep,
  rebuildsStep,
  capacityRequestsStep,
  reservationsStep,
  companionsStep,
  crashesStep,
  eventWindowsStep,
  eventStartsStep,
  wishOffersStep,
];
