import type { SchemaStep } from '#base/postgres/migrate.ts';

/** Instances with a profile: `InstanceRow.credentials_due`, and their list in the order of its pages. Processors of the last release leave it alone. */
export const instanceProfilesStep: SchemaStep = {
  name: '0011-instance-profiles',
  up: `
    alter table instances add column credentials_due timestamptz;
    create index instances_credentials_due on instances (credentials_due) where credentials_due is not null;
    create index instances_profile on instances (account_id, (spec->'instanceProfile'->>'associationId'))
      where terminated_at is null and spec->'instanceProfile' is not null;
  `,
};
