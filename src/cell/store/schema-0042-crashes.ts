import type { SchemaStep } from '#base/postgres/migrate.ts';

/** VMs that ended on a host, or whose guest gave up, for no reason that anybody knows: the last of them, oldest first. */
export const crashesStep: SchemaStep = {
  name: '0042-crashes',
  up: `alter table hosts add column crashes jsonb not null default '[]'`,
};
