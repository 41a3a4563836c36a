import type { SchemaStep } from '#base/postgres/migrate.ts';

/** Events whose start their customer chose (ModifyInstanceEventStartTime). Rows of the last release have no deadline: they stay as planned. */
export const eventStartsStep: SchemaStep = {
  name: '0052-event-starts',
  up: `
    alter table instance_events
      -- Until when its start can be put off.
      add column not_before_deadline timestamptz,
      -- Its customer chose the start: event windows neither hold it nor let it begin earlier.
      add column chosen boolean not null default false;
  `,
};
