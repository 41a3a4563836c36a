/** Workflows as an operator's list reads them. */
import type { Sql } from './sql.ts';
import type { WorkflowRow, WorkflowState } from './workflows.ts';

export interface WorkflowFilter {
  readonly states: readonly WorkflowState[];
  readonly kind?: string | undefined;
  readonly subject?: string | undefined;
  readonly limit: number;
}

/** Stuck and overdue ones first, then the oldest. */
export const listWorkflows = (sql: Sql, filter: WorkflowFilter): Promise<WorkflowRow[]> =>
  sql.query(
    `select * from workflows where state = any($1) and ($2::text is null or kind = $2) and ($3::text is null or subject = $3)
     order by state <> 'stuck', alarmed_at is null, created_at, id limit $4`,
    [filter.states, filter.kind ?? null, filter.subject ?? null, filter.limit],
  );

export const countByState = (sql: Sql): Promise<{ state: WorkflowState; n: number }[]> =>
  sql.query(
    `select state, count(*)::int as n from workflows where state in ('running', 'undoing', 'waiting', 'stuck')
     group by state order by state`,
  );
