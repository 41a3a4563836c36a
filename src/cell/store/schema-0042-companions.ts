import type { SchemaStep } from '#base/postgres/migrate.ts';

/** Requests that wait for one wish in cells of several zones. */
export const companionsStep: SchemaStep = {
  name: '0042-companions',
  up: `
    alter table capacity_requests
      -- Of the first of them: those in other zones. Null: it is the only one.
      add column companions jsonb,
      -- Of the others: the first.
      add column companion_of text,
      -- It has ended and the region was not told yet.
      add column ended_due boolean not null default false;
    create index capacity_requests_ended_due on capacity_requests (id) where ended_due;
    create index capacity_requests_companions on capacity_requests (id)
      where state in ('waiting', 'offered') and (companions is not null or companion_of is not null);
  `,
};
