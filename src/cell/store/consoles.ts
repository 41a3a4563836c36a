/** The consoles of instances on hosts that they have left. */
import { consoleBytesMax, purgeBatchMax } from '../limits.ts';
import type { Sql } from './sql.ts';

export interface KeptConsole {
  readonly output: Buffer;
  /** When the last part was read from its host. */
  readonly at: Date;
}

export interface KeptRow extends KeptConsole {
  /** Whose work brought the last part. */
  readonly workflow_id: string;
}

export const keptConsole = async (sql: Sql, instanceId: string): Promise<KeptRow | undefined> =>
  (
    await sql.query<KeptRow>('select output, at, workflow_id from kept_consoles where instance_id = $1', [
      instanceId,
    ])
  )[0];

/** The host that a migration moves its instance away from. */
export const sourceOfMigration = async (sql: Sql, workflowId: string): Promise<string | undefined> =>
  (
    await sql.query<{ source: string }>(
      `select input ->> 'sourceHostId' as source from workflows where id = $1 and kind = 'migrate'`,
      [workflowId],
    )
  )[0]?.source;

/** Adds a part, once for each workflow; the last bytes are kept. */
export const keepConsole = async (
  sql: Sql,
  instanceId: string,
  workflowId: string,
  { output, at }: KeptConsole,
): Promise<void> => {
  await sql.query(
    `insert into kept_consoles (instance_id, workflow_id, output, at) values ($1, $2, $3, $4)
     on conflict (instance_id) do update set workflow_id = excluded.workflow_id, at = excluded.at,
       output = substring(kept_consoles.output || excluded.output
         from greatest(1, length(kept_consoles.output) + length(excluded.output) - $5::int + 1))
     where kept_consoles.workflow_id <> excluded.workflow_id`,
    [instanceId, workflowId, output.subarray(-consoleBytesMax), at, consoleBytesMax],
  );
};

/** Of instances that ended before this, or that are not known any more. */
export const purgeConsoles = async (sql: Sql, before: Date): Promise<void> => {
  await sql.query(
    `delete from kept_consoles where instance_id in (
       select instance_id from kept_consoles left join instances on instances.id = instance_id
       where at < $1 and (instances.id is null or terminated_at < $1) order by instance_id limit $2)`,
    [before, purgeBatchMax],
  );
};
