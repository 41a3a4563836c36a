/** Workflows as an operator's list and the metrics read them: at the cost of those that are under way, however many have ended. */
import type { Sql } from './sql.ts';
import type { WorkflowRow, WorkflowState } from './workflows.ts';

export interface WorkflowFilter {
  readonly states: readonly WorkflowState[];
  readonly kind?: string | undefined;
  readonly subject?: string | undefined;
  readonly limit: number;
}

/** Each part has a partial index; no index has two of them. */
const parts: readonly { readonly states: readonly WorkflowState[]; readonly where: string }[] = [
  { states: ['running', 'undoing', 'stuck'], where: "state in ('running', 'undoing', 'stuck')" },
  { states: ['waiting'], where: "state = 'waiting'" },
  { states: ['done', 'undone'], where: "state in ('done', 'undone')" },
];

/** Rows in any of these states, and perhaps others of the same parts. */
const rowsOf = (columns: string, states: readonly WorkflowState[]): string =>
  parts
    .filter((part) => part.states.some((state) => states.includes(state)))
    .map(({ where }) => `select ${columns} from workflows where ${where}`)
    .join(' union all ');

const underWay: readonly WorkflowState[] = ['running', 'undoing', 'waiting', 'stuck'];

/** What has not ended, as a table of a FROM. */
export const liveWorkflows = (columns: string): string => `(${rowsOf(columns, underWay)}) as live`;

/** Stuck and overdue ones first, then the oldest. */
export const listWorkflows = async (sql: Sql, filter: WorkflowFilter): Promise<WorkflowRow[]> => {
  if (filter.states.length === 0) return [];
  return sql.query(
    `select * from (${rowsOf('*', filter.states)}) as found
     where state = any($1) and ($2::text is null or kind = $2) and ($3::text is null or subject = $3)
     order by state <> 'stuck', alarmed_at is null, created_at, id limit $4`,
    [filter.states, filter.kind ?? null, filter.subject ?? null, filter.limit],
  );
};

export const countByState = (sql: Sql): Promise<{ state: WorkflowState; n: number }[]> =>
  sql.query(`select state, count(*)::int as n from ${liveWorkflows('state')} group by state order by state`);

export const countByKind = (sql: Sql): Promise<{ kind: string; state: WorkflowState; n: number }[]> =>
  sql.query(
    `select kind, state, count(*)::int as n from ${liveWorkflows('kind, state')} group by kind, state`,
  );
