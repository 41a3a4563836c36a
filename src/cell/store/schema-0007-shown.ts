import type { SchemaStep } from '#base/postgres/migrate.ts';

/**
 * Lists cost what they show, however many instances an account has had. `faded_at` is set once a terminated instance is shown no more; its
 * row is kept for a while, for those who ask what became of it. Each list has an index in the order of its pages.
 */
export const shownInstances: SchemaStep = {
  name: '0007-shown-instances',
  up: `
    alter table instances add column faded_at timestamptz;
    create index instances_shown on instances (account_id, created_at, reservation_id, launch_index, id)
      where faded_at is null;
    create index instances_live on instances (account_id, created_at, reservation_id, launch_index, id)
      where terminated_at is null;
    create index instances_tagged on instances (account_id, id)
      where faded_at is null and tags <> '[]'::jsonb;
    create index instances_volume on instances (account_id, (spec->>'volumeId'))
      where terminated_at is null;
  `,
};
