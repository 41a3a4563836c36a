/** Rows of scheduled events of instances, as EC2 has them: moves that wait for an event window. */
import { randomBytes } from 'node:crypto';
import { purgeBatchMax } from '../limits.ts';
import type { Sql } from './sql.ts';

export interface InstanceEventRow {
  readonly id: string;
  readonly instance_id: string;
  readonly code: string;
  readonly description: string;
  readonly not_before: Date;
  readonly not_after: Date;
  readonly outcome: 'completed' | 'canceled' | null;
}

export interface PlannedMove {
  readonly instanceId: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** EC2's code of an event in which an instance goes on running. */
const moveCode = 'system-maintenance';
const moveDescription = 'The instance is moved to another host while it runs.';
const newEventId = (): string => `instance-event-${randomBytes(9).toString('hex').slice(0, 17)}`;

/** A workflow's moves that are planned; those of instances that are no longer `there` have been done. */
export const planMoves = async (
  sql: Sql,
  workflowId: string,
  planned: readonly PlannedMove[],
  there: readonly string[],
): Promise<void> => {
  await sql.query(
    `update instance_events set outcome = 'completed', ended_at = now()
     where workflow_id = $1 and ended_at is null and not instance_id = any($2)`,
    [workflowId, there],
  );
  for (const { instanceId, notBeforeMs, notAfterMs } of planned)
    await sql.query(
      `insert into instance_events (id, instance_id, workflow_id, code, description, not_before, not_after)
       values ($1, $2, $3, $4, $5, $6, $7)
       on conflict (instance_id, workflow_id) do update set not_before = excluded.not_before, not_after = excluded.not_after
       where instance_events.ended_at is null and (instance_events.not_before, instance_events.not_after)
         is distinct from (excluded.not_before, excluded.not_after)`,
      [
        ...[newEventId(), instanceId, workflowId, moveCode, moveDescription],
        ...[new Date(notBeforeMs), new Date(notAfterMs)],
      ],
    );
};

/** The workflow is over: what it has not moved by now it does not move. */
export const endPlannedMoves = async (tx: Sql, workflowId: string): Promise<void> => {
  await tx.query(
    `update instance_events e set ended_at = now(), outcome = case when exists (
         select 1 from instances i where i.id = e.instance_id and i.terminated_at is null and i.host_id = (
           select subject from workflows w where w.id = e.workflow_id)) then 'canceled' else 'completed' end
     where workflow_id = $1 and ended_at is null`,
    [workflowId],
  );
};

/** EC2 shows an event for a week after its end. */
export const eventsOfInstances = async (
  sql: Sql,
  instanceIds: readonly string[],
): Promise<ReadonlyMap<string, readonly InstanceEventRow[]>> => {
  if (instanceIds.length === 0) return new Map();
  const rows = await sql.query<InstanceEventRow>(
    `select * from instance_events where instance_id = any($1) and (ended_at is null or ended_at > now() - interval '7 days')
     order by not_before, id`,
    [instanceIds],
  );
  return Map.groupBy(rows, ({ instance_id: id }) => id);
};

export const purgeInstanceEvents = async (sql: Sql): Promise<void> => {
  await sql.query(
    `delete from instance_events where id in (
       select id from instance_events where ended_at < now() - interval '7 days' limit $1)`,
    [purgeBatchMax],
  );
};
