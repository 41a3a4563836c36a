/** Rollouts as rows: read when an engine takes them up, and written by nobody but the engine that answer the lease. */
import { type QueryExecutorProvider, sql } from 'kysely';
import type { NetworkObject } from '#contracts/network-objects.ts';
import type { AuditRecord, DeviceRecord, DeviceState, RolloutRecord } from '#rollout/record.ts';
import type { Drained } from '#rollout/run.ts';
import { objectKey } from '#rollout/schedule.ts';

/** What of a record moves; the rest is written once. */
type Progress = Pick<
  RolloutRecord,
  'wave' | 'paused' | 'approved' | 'settledMs' | 'failure' | 'forgiven' | 'baseline' | 'endedMs'
>;

interface RolloutRow {
  rollout_id: string;
  seq: number;
  policy_name: string;
  policy_version: number;
  policy: RolloutRecord['policy'];
  transitions: RolloutRecord['transitions'];
  wave_sizes: readonly number[];
  created_by: string;
  created_ms: number;
  phase: RolloutRecord['phase'];
  progress: Progress;
}

interface DeviceRow {
  device_id: string;
  wave: number;
  position: number;
  state: DeviceState;
  touched: number | null;
  tries: number;
  detail: string | null;
  changed_ms: number;
}

export const rolloutColumns = sql`rollout_id, seq, policy_name, policy_version, policy, transitions, wave_sizes,
  created_by, created_ms, phase, progress`;

export const recordOf = ({ progress, ...row }: RolloutRow): RolloutRecord => ({
  rolloutId: row.rollout_id,
  seq: Number(row.seq),
  policyName: row.policy_name,
  policyVersion: row.policy_version,
  ...{ policy: row.policy, transitions: row.transitions, waveSizes: row.wave_sizes },
  ...{ createdBy: row.created_by, createdMs: row.created_ms, phase: row.phase },
  ...{
    wave: progress.wave,
    paused: progress.paused,
    approved: progress.approved,
    forgiven: progress.forgiven,
  },
  ...{ settledMs: progress.settledMs, failure: progress.failure, endedMs: progress.endedMs },
  baseline: progress.baseline,
});

const progressOf = (record: RolloutRecord): Progress => {
  const { wave, paused, approved, settledMs, failure, forgiven, baseline, endedMs } = record;
  return { wave, paused, approved, settledMs, failure, forgiven, baseline, endedMs };
};

/** Rollouts that have not ended, the earliest first; `known` ones are left out. */
export const loadOpen = async (
  db: QueryExecutorProvider,
  known: readonly string[],
): Promise<RolloutRecord[]> => {
  const { rows } = await sql<RolloutRow>`select ${rolloutColumns} from rollout
    where ended_at is null and not rollout_id = any(${[...known]}) order by seq`.execute(db);
  return rows.map(recordOf);
};

export const loadRollout = async (
  db: QueryExecutorProvider,
  rolloutId: string,
): Promise<RolloutRecord | undefined> => {
  const { rows } = await sql<RolloutRow>`select ${rolloutColumns} from rollout
    where rollout_id = ${rolloutId}`.execute(db);
  return rows[0] && recordOf(rows[0]);
};

export const loadDevices = async (db: QueryExecutorProvider, rolloutId: string): Promise<DeviceRecord[]> => {
  const { rows } = await sql<DeviceRow>`
    select device_id, wave, position, state, touched, tries, detail, changed_ms from rollout_device
    where rollout_id = ${rolloutId} order by position`.execute(db);
  return rows.map((row) => ({
    ...{ deviceId: row.device_id, wave: row.wave, position: row.position, state: row.state },
    ...{ touched: row.touched === null ? undefined : Number(row.touched), tries: row.tries },
    ...{ detail: row.detail ?? undefined, changedMs: row.changed_ms },
  }));
};

/** A new rollout with its devices; the engine finds it. */
export const insertRollout = async (
  tx: QueryExecutorProvider,
  record: Omit<RolloutRecord, 'seq'>,
  devices: readonly DeviceRecord[],
  client: { readonly clientToken: string | undefined; readonly clientRequest: string },
): Promise<void> => {
  await sql`insert into rollout (rollout_id, client_token, client_request, policy_name, policy_version, policy, transitions, wave_sizes,
      created_by, created_ms, phase, progress)
    values (${record.rolloutId}, ${client.clientToken ?? null},
      ${client.clientToken === undefined ? null : client.clientRequest}, ${record.policyName}, ${record.policyVersion},
      ${JSON.stringify(record.policy)}, ${JSON.stringify(record.transitions)}, ${JSON.stringify(record.waveSizes)},
      ${record.createdBy}, ${record.createdMs}, ${record.phase},
      ${JSON.stringify(progressOf({ ...record, seq: 0 }))})`.execute(tx);
  for (const some of inParts(devices))
    await sql`insert into rollout_device (rollout_id, device_id, wave, position, state, changed_ms)
      select ${record.rolloutId}, d.id, d.wave, d.position, 'planned', ${record.createdMs}
      from unnest(${some.map(({ deviceId }) => deviceId)}::text[], ${some.map(({ wave }) => wave)}::int[],
        ${some.map(({ position }) => position)}::int[]) as d (id, wave, position)`.execute(tx);
  // Of a table that has just grown the planner knows nothing: each look would go through the whole rollout.
  if (devices.length >= analyzedMin) await sql`analyze rollout_device`.execute(tx);
};

/** Rows of one statement: a fleet's would take longer than a statement may. */
const rowsPerStatement = 5_000;

function* inParts<T>(rows: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < rows.length; at += rowsPerStatement) yield rows.slice(at, at + rowsPerStatement);
}

/** Devices of a rollout of which the store is told at once how many there are. */
const analyzedMin = 1_000;

/** What a run has changed since it was last written. */
export const writeDrained = async (
  tx: QueryExecutorProvider,
  { rolloutId, transitions }: RolloutRecord,
  { record, devices, audits }: Drained,
): Promise<void> => {
  if (record !== undefined)
    await sql`update rollout set phase = ${record.phase}, progress = ${JSON.stringify(progressOf(record))},
        ended_at = ${record.endedMs === undefined ? null : sql`now()`}
      where rollout_id = ${rolloutId}`.execute(tx);
  for (const some of inParts(devices)) await writeDevices(tx, rolloutId, some);
  await writeAudits(tx, rolloutId, audits, transitions);
};

const writeDevices = async (
  tx: QueryExecutorProvider,
  rolloutId: string,
  devices: readonly DeviceRecord[],
): Promise<unknown> =>
  sql`update rollout_device as device set state = d.state, touched = d.touched, tries = d.tries,
        detail = d.detail, changed_ms = d.changed_ms
      from unnest(${devices.map(({ deviceId }) => deviceId)}::text[], ${devices.map(({ state }) => state)}::text[],
        ${devices.map(({ touched }) => touched ?? null)}::bigint[], ${devices.map(({ tries }) => tries)}::int[],
        ${devices.map(({ detail }) => detail ?? null)}::text[],
        ${devices.map(({ changedMs }) => changedMs)}::double precision[])
        as d (id, state, touched, tries, detail, changed_ms)
      where device.rollout_id = ${rolloutId} and device.device_id = d.id`.execute(tx);

const backward: ReadonlySet<string> = new Set(['reverting', 'reverted']);

/** `fleet/fleet 1a2b3c4d → 5e6f7a8b`: which way a transition of a device's state took its objects. */
const movedObjects = (transitions: RolloutRecord['transitions'], to: string): string =>
  transitions
    .map((transition) => {
      const [from, into] = [transition.from?.digest.slice(0, 8), transition.to?.digest.slice(0, 8)];
      const way = backward.has(to) ? [into, from] : [from, into];
      return `${objectKey(transition)} ${way.map((digest) => digest ?? 'none').join(' → ')}`;
    })
    .join(', ');

export const writeAudits = async (
  tx: QueryExecutorProvider,
  rolloutId: string,
  audits: readonly AuditRecord[],
  transitions: RolloutRecord['transitions'] = [],
): Promise<void> => {
  for (const some of inParts(audits)) await insertAudits(tx, rolloutId, some, transitions);
};

const insertAudits = async (
  tx: QueryExecutorProvider,
  rolloutId: string,
  audits: readonly AuditRecord[],
  transitions: RolloutRecord['transitions'],
): Promise<void> => {
  const objects = audits.map(({ deviceId, to }) =>
    deviceId === undefined ? null : movedObjects(transitions, to),
  );
  await sql`insert into rollout_audit (rollout_id, at_ms, who, device_id, what, from_state, to_state, objects, detail)
    select ${rolloutId}, a.at_ms, a.who, a.device, a.what, a.from_state, a.to_state, a.objects, a.detail
    from unnest(${audits.map(({ atMs }) => atMs)}::double precision[], ${audits.map(({ who }) => who)}::text[],
      ${audits.map(({ deviceId }) => deviceId ?? null)}::text[], ${audits.map(({ what }) => what)}::text[],
      ${audits.map(({ from }) => from)}::text[], ${audits.map(({ to }) => to)}::text[], ${objects}::text[],
      ${audits.map(({ detail }) => detail ?? null)}::text[])
      as a (at_ms, who, device, what, from_state, to_state, objects, detail)`.execute(tx);
};

export interface DesiredRow {
  readonly device_id: string;
  readonly kind: NetworkObject['kind'];
  readonly id: string;
  readonly digest: string | null;
  readonly owed: boolean;
}

export const loadDesired = async (db: QueryExecutorProvider): Promise<readonly DesiredRow[]> =>
  (await sql<DesiredRow>`select device_id, kind, id, digest, owed from rollout_desired`.execute(db)).rows;

export const writeDesired = async (tx: QueryExecutorProvider, all: readonly DesiredRow[]): Promise<void> => {
  for (const rows of inParts(all)) await upsertDesired(tx, rows);
};

const upsertDesired = async (tx: QueryExecutorProvider, rows: readonly DesiredRow[]): Promise<void> => {
  await sql`insert into rollout_desired (device_id, kind, id, digest, owed)
    select * from unnest(${rows.map((row) => row.device_id)}::text[], ${rows.map(({ kind }) => kind)}::text[],
      ${rows.map(({ id }) => id)}::text[], ${rows.map(({ digest }) => digest)}::text[],
      ${rows.map(({ owed }) => owed)}::boolean[])
    on conflict (device_id, kind, id) do update set digest = excluded.digest, owed = excluded.owed`.execute(
    tx,
  );
};

/** A version by its digest; undefined: it was never submitted. */
export const objectByDigest = async (
  db: QueryExecutorProvider,
  { kind, id, digest }: Pick<NetworkObject, 'kind' | 'id' | 'digest'>,
): Promise<NetworkObject | undefined> => {
  const { rows } = await sql<{ version: number; vpc_id: string | null; body: unknown }>`
    select version, vpc_id, body from rollout_object
    where kind = ${kind} and id = ${id} and digest = ${digest}`.execute(db);
  const [row] = rows;
  return row && { kind, id, digest, version: row.version, vpcId: row.vpc_id ?? undefined, body: row.body };
};
