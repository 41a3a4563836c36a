/** What a processor tells of itself and its cell when its metrics are read. The cell's own figures come from its store, a second old at most. */
import { metrics, onCollect } from '#base/metrics.ts';
import { monotonicMs } from '#base/monotonic.ts';
import type { HostSessions } from './hosts/sessions.ts';
import type { Sql } from './store/sql.ts';
import { countByKind } from './store/workflow-listing.ts';

export interface CellFigures {
  readonly db: Sql;
  readonly hosts: HostSessions;
  /** Workflows here. */
  slots(): { readonly running: number; readonly queued: number };
  /** VMs in quarantine, as the last look found. */
  quarantined(): number;
}

const refreshMs = 1_000;
const hostsMax = 1_000;
const mib = 1024 ** 2;

/** Returns what ends it. */
export const tellFigures = ({ db, hosts, slots, quarantined }: CellFigures): (() => void) => {
  let readAtMs = Number.NEGATIVE_INFINITY;
  return onCollect(async () => {
    metrics.workflowSlots.set({ state: 'running' }, slots().running);
    metrics.workflowSlots.set({ state: 'queued' }, slots().queued);
    metrics.quarantinedVms.set(quarantined());
    if (monotonicMs() - readAtMs < refreshMs) return;
    readAtMs = monotonicMs();
    await readWorkflows(db);
    await readInstances(db);
    await readChecks(db);
    await readHosts(db, hosts);
  });
};

const readWorkflows = async (db: Sql): Promise<void> => {
  const rows = await countByKind(db);
  // A state that has no rows any more must not go on telling its last number.
  metrics.workflows.reset();
  for (const { kind, state, n } of rows) metrics.workflows.set({ kind, state }, n);
};

const readInstances = async (db: Sql): Promise<void> => {
  const rows = await db.query<{ state: string; n: number }>(
    'select state, count(*)::int as n from instances group by state',
  );
  metrics.instances.reset();
  for (const { state, n } of rows) metrics.instances.set({ state }, n);
};

const readChecks = async (db: Sql): Promise<void> => {
  const rows = await db.query<{ check: string; status: string; n: number }>(
    `select checks.key as check, coalesce(checks.value ->> 'status', 'initializing') as status, count(*)::int as n
     from instances left join instance_health on instance_id = instances.id and launched_at = launch_time,
       jsonb_each(coalesce(health, '{"instance": {}, "system": {}}')) as checks
     where state = 'running' group by 1, 2`,
  );
  metrics.instanceChecks.reset();
  for (const { check, status, n } of rows) metrics.instanceChecks.set({ check, status }, n);
};

interface HostFigures {
  readonly id: string;
  readonly used_vcpus: number;
  readonly limit_vcpus: number;
  readonly used_mib: number;
  readonly limit_mib: number;
}

const readHosts = async (db: Sql, hosts: HostSessions): Promise<void> => {
  const rows = await db.query<HostFigures>(
    `select id, used_vcpus_milli::float8 / 1000 as used_vcpus, limit_vcpus_milli::float8 / 1000 as limit_vcpus,
       used_memory_mib::float8 as used_mib, limit_memory_mib::float8 as limit_mib from hosts order by id limit $1`,
    [hostsMax],
  );
  metrics.hostAmount.reset();
  metrics.hostConnected.reset();
  for (const row of rows) {
    const amounts = [
      { resource: 'vcpus', used: row.used_vcpus, limit: row.limit_vcpus },
      { resource: 'memory', used: row.used_mib * mib, limit: row.limit_mib * mib },
    ];
    for (const { resource, used, limit } of amounts) {
      metrics.hostAmount.set({ host: row.id, resource, amount: 'used' }, used);
      metrics.hostAmount.set({ host: row.id, resource, amount: 'limit' }, limit);
    }
    metrics.hostConnected.set({ host: row.id }, hosts.has(row.id) ? 1 : 0);
  }
};
