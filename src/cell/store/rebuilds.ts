/** Rows of rebuilds: who has a host, what was found of it, what lies there, and how evidence has done. */
import { PandoError } from '#contracts/errors.ts';
import type { HostCondition } from '#contracts/rebuild.ts';
import { Feedback, type FeedbackKey, type KeptTally } from '#reconfiguration/feedback.ts';
import type { Found } from '#reconfiguration/passes.ts';
import type { SlotLayout } from '#reconfiguration/pools.ts';
import type { RebuildStep } from '#reconfiguration/steps.ts';
import type { HostRow } from './hosts.ts';
import { endPlannedMoves } from './instance-events.ts';
import type { Sql } from './sql.ts';

/** What is kept of a step: of the last time when it was carried out. */
export interface StepRecord extends Found {
  /** Milliseconds that it took. */
  readonly ms: number;
  readonly condition?: HostCondition;
  /** Of what it was asked to bring about, where that has a name. */
  readonly wanted?: string;
}

export interface KeptStep extends StepRecord {
  readonly ageMs: number;
  /** When it was carried out: milliseconds since the epoch, by the store's clock. */
  readonly atMs: number;
}

export type KeptSteps = Readonly<Partial<Record<RebuildStep, KeptStep>>>;

/** The host's row, locked. @throws NotFound */
export const lockHost = async (tx: Sql, id: string): Promise<HostRow> => {
  const [row] = await tx.query<HostRow>('select * from hosts where id = $1 for update', [id]);
  if (row === undefined) throw new PandoError('NotFound', `${id} is not known in this cell.`);
  return row;
};

export type HostPhase = NonNullable<HostRow['phase']>;

/** Takes a host out of placement, in the hands of a workflow. The caller has its lock. Returns its new generation. */
export const takeHost = async (
  tx: Sql,
  id: string,
  {
    phase,
    reason,
    workflowId,
  }: { readonly phase: HostPhase; readonly reason: string; readonly workflowId: string | null },
): Promise<number> => {
  const [row] = await tx.query<{ generation: number }>(
    `update hosts set state = 'draining', phase = $2, phase_reason = $3, rebuild_id = $4, generation = generation + 1, epoch = epoch + 1
     where id = $1 returning generation`,
    [id, phase, reason, workflowId],
  );
  return Number(row?.generation ?? 0);
};

/**
 * The workflow lets go of the host. `serves`: VMs are placed there again. `restMs`: pools leave it alone for so long at least. Null where
 * another workflow has it.
 */
export const letGoOfHost = async (
  tx: Sql,
  id: string,
  workflowId: string,
  to: {
    readonly serves: boolean;
    readonly phase: HostPhase | null;
    readonly reason: string;
    readonly restMs?: number;
  },
): Promise<boolean> => {
  await endPlannedMoves(tx, workflowId);
  const rows = await tx.query(
    `update hosts set state = $3, phase = $4, phase_reason = $5, rebuild_id = null, epoch = epoch + 1,
       rests_until = case when $6::float8 > 0 then greatest(rests_until, now() + make_interval(secs => $6)) else rests_until end
     where id = $1 and rebuild_id = $2 returning id`,
    [...[id, workflowId, to.serves ? 'active' : 'draining', to.phase, to.reason], (to.restMs ?? 0) / 1000],
  );
  return rows.length > 0;
};

/** The host is of this pool from now on, cut as its layout says, and is left alone until it has rested. */
export const joinPool = async (
  tx: Sql,
  id: string,
  pool: { readonly name: string; readonly layout: SlotLayout } | undefined,
  restMs: number,
): Promise<void> => {
  const { vcpuOversubscription, memoryOversubscription, types } = pool?.layout ?? {};
  await tx.query(
    `update hosts set rests_until = now() + make_interval(secs => $6), pool = coalesce($2, pool),
       vcpu_oversubscription = case when $2::text is null then vcpu_oversubscription else $3 end,
       memory_oversubscription = case when $2::text is null then memory_oversubscription else $4 end,
       slot_types = case when $2::text is null then slot_types else $5 end,
       limit_vcpus_milli = coalesce(floor(capacity_vcpus_milli * $3::float8), limit_vcpus_milli),
       limit_memory_mib = coalesce(floor(capacity_memory_mib * $4::float8), limit_memory_mib)
     where id = $1`,
    [
      id,
      pool?.name ?? null,
      vcpuOversubscription ?? null,
      memoryOversubscription ?? null,
      types ?? null,
      restMs / 1000,
    ],
  );
};

export const keepStep = async (
  tx: Sql,
  hostId: string,
  step: RebuildStep,
  record: StepRecord,
): Promise<void> => {
  await tx.query(
    `update hosts set evidence = evidence || jsonb_build_object($2::text,
       $3::jsonb || jsonb_build_object('at', extract(epoch from now()) * 1000)) where id = $1`,
    [hostId, step, JSON.stringify(record)],
  );
};

export const keptSteps = async (sql: Sql, hostId: string): Promise<KeptSteps> => {
  const [row] = await sql.query<{ evidence: Record<string, StepRecord & { at: number }>; now_ms: number }>(
    'select evidence, (extract(epoch from now()) * 1000)::float8 as now_ms from hosts where id = $1',
    [hostId],
  );
  if (row === undefined) return {};
  const { evidence, now_ms: nowMs } = row;
  return Object.fromEntries(
    Object.entries(evidence).map(([step, { at, ...record }]) => [
      step,
      { ...record, atMs: at, ageMs: nowMs - at },
    ]),
  );
};

/** What lies on a host by the store's books, for people. An empty host has nothing of this. */
export const whatLiesThere = async (sql: Sql, hostId: string): Promise<string[]> => {
  const rows = await sql.query<{ what: string }>(
    `select what from (
       select 1 as kind, id || ' (' || state || ')' as what from instances where terminated_at is null and host_id = $1
       union all
       select 2, 'a claim of ' || purpose || ' for ' || holder from claims
         where host_id = $1 and purpose <> 'reserve' and not (purpose = 'instance' and exists (
           select 1 from instances i where i.id = holder and i.host_id = $1 and i.terminated_at is null))
       union all
       select 3, instance_id || ' (in quarantine)' from quarantined_vms where host_id = $1
     ) there order by kind, what limit 20`,
    [hostId],
  );
  return rows.map(({ what }) => what);
};

export const readFeedback = async (sql: Sql): Promise<Feedback> => {
  const rows = await sql.query<{
    host_class: string;
    step: FeedbackKey['step'];
    kind: FeedbackKey['kind'];
    failures: number;
    successes: number;
    unseen: number;
  }>('select * from skip_tallies order by host_class, step, kind');
  return new Feedback(rows.map(({ host_class: hostClass, ...rest }): KeptTally => ({ hostClass, ...rest })));
};

export const keepTally = async (
  tx: Sql,
  { hostClass, step, kind }: FeedbackKey,
  feedback: Feedback,
): Promise<void> => {
  const { failures, successes, unseen } = feedback.tally({ hostClass, step, kind });
  await tx.query(
    `insert into skip_tallies (host_class, step, kind, failures, successes, unseen) values ($1, $2, $3, $4, $5, $6)
     on conflict (host_class, step, kind) do update set failures = excluded.failures, successes = excluded.successes,
       unseen = excluded.unseen`,
    [hostClass, step, kind, failures, successes, unseen],
  );
};
