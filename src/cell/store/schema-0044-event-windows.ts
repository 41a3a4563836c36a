import type { SchemaStep } from '#base/postgres/migrate.ts';

/** Moves that wait for their instance's event window: DescribeInstanceStatus shows them. Of a pool: since when it waits for windows. */
export const eventWindowsStep: SchemaStep = {
  name: '0044-event-windows',
  up: `
    create table instance_events (
      id text primary key,
      instance_id text not null,
      -- The drain or rebuild that moves it.
      workflow_id text not null,
      code text not null,
      description text not null,
      not_before timestamptz not null,
      not_after timestamptz not null,
      -- 'completed', 'canceled'; null: it is still to come.
      outcome text,
      ended_at timestamptz,
      unique (instance_id, workflow_id)
    );
    create index instance_events_planned on instance_events (workflow_id) where ended_at is null;
    create index instance_events_ended on instance_events (ended_at) where ended_at is not null;
    alter table pools add column windows_since timestamptz;
  `,
};
