/** `0004-workflow-waits`: workflows that wait as rows. Only adds: processors of the last release work beside it. */
import type { SchemaStep } from '#base/postgres/migrate.ts';

/*
 * All new indexes are partial over states that a launch never enters, so that a launch pays for none of them.
 *
 * `step_cursor` is the value of `cursor` with which `step` was written. A processor of the last release moves `cursor` alone:
 * where the two differ, the name is stale and the cursor is read by the frozen order of steps.
 */
export const workflowWaits: SchemaStep = {
  name: '0004-workflow-waits',
  up: `
    alter table workflows
      add column subject_kind text not null default 'instance',
      add column version int not null default 1,
      add column step text,
      add column step_cursor int,
      add column resume_state text,
      add column waits_on text,
      add column signal_names text[],
      add column awaits_children boolean not null default false,
      add column wait_began_at timestamptz,
      add column wait_deadline timestamptz,
      add column away_since timestamptz,
      add column last_error jsonb,
      add column taken_over boolean not null default false,
      add column alarm_at timestamptz,
      add column alarmed_at timestamptz,
      add column parent_id text,
      add column parent_key text;
    create index workflows_due on workflows (wake_at) where state = 'waiting';
    create index workflows_waits_on on workflows (waits_on) where state = 'waiting' and waits_on is not null;
    create index workflows_alarm on workflows (alarm_at) where state = 'waiting' and alarmed_at is null;
    create index workflows_children on workflows (parent_id, parent_key) where parent_id is not null;
    create index workflows_parked on workflows (subject) where state in ('waiting', 'stuck');
    create table workflow_signals (
      workflow_id text not null references workflows (id) on delete cascade,
      id text not null,
      name text not null,
      payload jsonb,
      seq bigint generated always as identity,
      sent_at timestamptz not null default now(),
      delivered_at timestamptz,
      primary key (workflow_id, id)
    );
  `,
};
