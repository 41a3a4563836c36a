import type { SchemaStep } from '#base/postgres/migrate.ts';

/**
 * How an instance's VM was judged last (`health/judge.ts`), so that neither a new processor nor a host that knows less judges it worse. A
 * table of its own: it changes without the instance's life changing, and waits for none of the locks on that. `launched_at`: of the start
 * that it is about, an earlier one's says nothing. And since when a host's card is as it is.
 */
export const vmHealthStep: SchemaStep = {
  name: '0007-vm-health',
  up: `
    create table instance_health (
      instance_id text primary key,
      launched_at timestamptz not null,
      health jsonb not null
    ) with (fillfactor = 80);
    alter table hosts add column card_changed_at timestamptz;
  `,
};
