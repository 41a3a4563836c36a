/** A row that no table of this release can go on with. It ends stuck: an operator sees it, and no processor tries for ever. */
import type { Logger } from '#base/log.ts';
import type { Database } from '../store/sql.ts';
import { markStuck } from '../store/workflow-waits.ts';
import type { WorkflowRow } from '../store/workflows.ts';
import { workflowErrorOf } from './retry.ts';

export const refuseRow = async (
  { db, log }: { readonly db: Database; readonly log: Logger },
  row: WorkflowRow,
  error: unknown,
): Promise<void> => {
  log.error(
    { err: error, alarm: 'workflow-stuck', workflow: row.id, kind: row.kind },
    'workflow cannot be gone on with',
  );
  const resume = row.state === 'undoing' ? 'undoing' : 'running';
  await markStuck(db, row, resume, workflowErrorOf(error, row.step ?? '')).catch((failure: unknown) =>
    log.warn({ err: failure, workflow: row.id }, 'it could not be marked as stuck: a later take-over will'),
  );
};
