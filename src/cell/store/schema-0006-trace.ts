import type { SchemaStep } from '#base/postgres/migrate.ts';

/** What a workflow is done for (`#base/trace.ts`): `{ requestId, traceparent }`. Processors of the last release leave it null. */
export const workflowTrace: SchemaStep = {
  name: '0006-trace',
  up: 'alter table workflows add column trace jsonb;',
};
