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

/** Whether the VM on this host is in quarantine since its host has heard of a later change than the store knew. */
export const isLeftAsNewer = async (sql: Sql, instanceId: string, hostId: string): Promise<boolean> => {
  const rows = await sql.query(
    `select 1 from quarantined_vms where instance_id = $1 and host_id = $2 and reason = 'newer'`,
    [instanceId, hostId],
  );
  return rows.length > 0;
};

export interface UnshownVm {
  readonly instance_id: string;
  readonly host_id: string;
  /** When it was seen last, to the microsecond, which a `Date` does not keep. */
  readonly seen_at: string;
}

/** What is in quarantine on a host besides these VMs. */
export const listUnshown = (sql: Sql, hostId: string, shown: readonly string[]): Promise<UnshownVm[]> =>
  sql.query(
    `select instance_id, host_id, last_seen::text as seen_at from quarantined_vms
     where host_id = $1 and instance_id <> all($2) order by first_seen limit $3`,
    [hostId, shown, quarantinedMax],
  );

/** Ends the quarantine of one VM, unless it was seen again since. Returns whether it ended. */
export const releaseQuarantine = async (sql: Sql, seen: UnshownVm): Promise<boolean> => {
  const ended = await sql.query(
    `delete from quarantined_vms where instance_id = $1 and host_id = $2 and last_seen = $3::timestamptz
     returning instance_id`,
    [seen.instance_id, seen.host_id, seen.seen_at],
  );
  return ended.length > 0;
};

export const quarantinedMax = 10_000;

export const listQuarantined = (sql: Sql, instanceId?: string): Promise<QuarantinedVm[]> =>
  sql.query(
    `select * from quarantined_vms where $1::text is null or instance_id = $1 order by first_seen, instance_id, host_id limit $2`,
    [instanceId ?? null, quarantinedMax],
  );
