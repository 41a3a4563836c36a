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
  /** Null: of the last release. */
  readonly not_before_deadline: Date | null;
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

export interface PlannedMoves {
  readonly workflowId: string;
  readonly planned: readonly PlannedMove[];
  /** Instances on the host. */
  readonly there: readonly string[];
  readonly nowMs: number;
  /** Until when their start can be put off. */
  readonly deadlineMs: number;
}

/** A workflow's moves that are planned; those of instances that are no longer `there` have been done. */
export const planMoves = async (
  sql: Sql,
  { workflowId, planned, there, nowMs, deadlineMs }: PlannedMoves,
): Promise<void> => {
  await sql.query(
    `update instance_events set outcome = 'completed', ended_at = now()
     where workflow_id = $1 and ended_at is null and not instance_id = any($2)`,
    [workflowId, there],
  );
  for (const { instanceId, notBeforeMs, notAfterMs } of planned)
    await sql.query(
      `insert into instance_events (id, instance_id, workflow_id, code, description, not_before, not_after, not_before_deadline)
       values ($1, $2, $3, $4, $5, $6, $7, greatest($6::timestamptz, $8::timestamptz))
       on conflict (instance_id, workflow_id) do update set not_before = excluded.not_before, not_after = excluded.not_after,
         not_before_deadline = greatest(excluded.not_before, instance_events.not_before_deadline), chosen = false
       where instance_events.ended_at is null
         -- A start that was chosen since the windows were looked at stands, until its time is over.
         and not (instance_events.chosen and instance_events.not_after > $9::timestamptz)
         and (instance_events.not_before, instance_events.not_after) is distinct from (excluded.not_before, excluded.not_after)`,
      [
        ...[newEventId(), instanceId, workflowId, moveCode, moveDescription],
        ...[new Date(notBeforeMs), new Date(notAfterMs), new Date(deadlineMs), new Date(nowMs)],
      ],
    );
};

/** Those of a workflow's whose start was chosen. */
export const chosenEvents = (
  sql: Sql,
  workflowId: string,
  instanceIds: readonly string[],
): Promise<InstanceEventRow[]> =>
  sql.query(
    `select * from instance_events where workflow_id = $1 and ended_at is null and chosen and instance_id = any($2)`,
    [workflowId, instanceIds],
  );

export const lockEvent = async (
  tx: Sql,
  instanceId: string,
  id: string,
): Promise<InstanceEventRow | undefined> =>
  (
    await tx.query<InstanceEventRow>(
      `select * from instance_events where id = $1 and instance_id = $2
         and (ended_at is null or ended_at > now() - interval '7 days') for update`,
      [id, instanceId],
    )
  )[0];

/** It begins then, and may take as long as it might before. */
export const chooseEventStart = async (
  tx: Sql,
  { id, not_before: planned, not_after: until }: InstanceEventRow,
  notBefore: Date,
): Promise<InstanceEventRow> => {
  const notAfter = new Date(notBefore.getTime() + until.getTime() - planned.getTime());
  const [row] = await tx.query<InstanceEventRow>(
    'update instance_events set not_before = $2, not_after = $3, chosen = true where id = $1 returning *',
    [id, notBefore, notAfter],
  );
  if (row === undefined) throw new Error(`the event ${id} was not written`);
  return row;
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
