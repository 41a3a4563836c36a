/** VMs that hosts have and that no row accounts for: they run on, and only an operator decides what becomes of them. */
import type { VmReport } from '#contracts/host.ts';
import type { Sql } from './sql.ts';

/**
 * `no-row`: the cell's store knows no such instance. `other-cell`: its id names another cell. `elsewhere`: the row places it on another
 * host, and that it runs there could not be shown. `newer`: the row says that it has ended, without its owner's word, and the host has
 * heard of a later change: the store has lost commits.
 */
export type QuarantineReason = 'no-row' | 'other-cell' | 'elsewhere' | 'newer';

export interface QuarantinedVm {
  readonly instance_id: string;
  readonly host_id: string;
  readonly reason: QuarantineReason;
  /** As the host told of it last. */
  readonly report: VmReport;
  readonly first_seen: Date;
  readonly last_seen: Date;
}

/** Puts a VM into quarantine, or notes that it is still there. Returns whether it is new. */
export const quarantineVm = async (
  sql: Sql,
  hostId: string,
  report: VmReport,
  reason: QuarantineReason,
): Promise<boolean> => {
  const [row] = await sql.query<{ fresh: boolean }>(
    `insert into quarantined_vms (instance_id, host_id, reason, report) values ($1, $2, $3, $4)
     on conflict (instance_id, host_id) do update set reason = excluded.reason, report = excluded.report, last_seen = now()
     returning first_seen = last_seen as fresh`,
    [report.instanceId, hostId, reason, JSON.stringify(report)],
  );
  return row?.fresh === true;
};

/** Ends the quarantine of a host's VMs besides these: they are gone, or accounted for. Returns which. */
export const releaseQuarantine = async (
  sql: Sql,
  hostId: string,
  kept: readonly string[],
): Promise<string[]> =>
  (
    await sql.query<{ instance_id: string }>(
      'delete from quarantined_vms where host_id = $1 and instance_id <> all($2) returning instance_id',
      [hostId, kept],
    )
  ).map((row) => row.instance_id);

export const quarantinedMax = 10_000;

export const listQuarantined = (sql: Sql, instanceId?: string): Promise<QuarantinedVm[]> =>
  sql.query(
    `select * from quarantined_vms where $1::text is null or instance_id = $1 order by first_seen, instance_id, host_id limit $2`,
    [instanceId ?? null, quarantinedMax],
  );
