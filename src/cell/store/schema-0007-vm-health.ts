import type { SchemaStep } from '#base/postgres/migrate.ts';

/**
 * How an instance's VM was judged last (`health/judge.ts`), so that neither a new processor nor a host that knows less judges it worse;
 * and since when a host's card is as it is. Processors of the last release leave both alone.
 */
export const vmHealthStep: SchemaStep = {
  name: '0007-vm-health',
  up: `
    alter table instances add column health jsonb;
    alter table hosts add column card_changed_at timestamptz;
  `,
};
