import type { SchemaStep } from '#base/postgres/migrate.ts';

/**
 * What instances wrote to their consoles on hosts that they have left: one row an instance, 64 KiB at most. `workflow_id`: whose work
 * brought the last part, so that a repeated step does not add it twice. Processors of the last release leave it alone.
 */
export const keptConsoles: SchemaStep = {
  name: '0008-kept-consoles',
  up: `
    create table kept_consoles (
      instance_id text primary key,
      workflow_id text not null,
      output bytea not null,
      at timestamptz not null
    );
    create index kept_consoles_at on kept_consoles (at);
  `,
};
