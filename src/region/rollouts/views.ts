/** Rollouts as operators see them. */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { monotonicMs } from '#base/monotonic.ts';
import { canonicalJson } from '#contracts/canonicalJson.ts';
import { PandoError } from '#contracts/errors.ts';
import {
  type auditEntry,
  devicesShownMax,
  type RolloutSummary,
  type RolloutView,
} from '#contracts/rollout.ts';
import { DeviceBook } from '#rollout/devices.ts';
import type { RolloutRecord, Transition } from '#rollout/record.ts';
import { waitsFor } from '#rollout/rules.ts';
import { objectKey, turnOf } from '#rollout/schedule.ts';
import type { Database } from '../schema.ts';
import { DesiredBook } from './desired.ts';
import { loadDesired, loadDevices, loadOpen, recordOf, rolloutColumns } from './store.ts';

interface Entry {
  readonly auditId: number;
  readonly at: string;
}
export type AuditEntry = Entry & ReturnType<typeof auditEntry.parse>;

const dateOf = (ms: number): string => new Date(ms).toISOString();

/** `- mtu 1450`, `+ mtu 1400`: members of the two bodies that differ. */
const diffOf = ({ from, to }: Transition): string[] => {
  const [before, after] = [membersOf(from?.body), membersOf(to?.body)];
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names
    .filter((name) => before.get(name) !== after.get(name))
    .flatMap((name) => [
      ...(before.has(name) ? [`- ${name} ${before.get(name)}`] : []),
      ...(after.has(name) ? [`+ ${name} ${after.get(name)}`] : []),
    ]);
};

/** Entries of lists one by one, so that a rule that is added shows as a rule. */
const membersOf = (body: unknown): Map<string, string> => {
  if (body === null || typeof body !== 'object') return new Map();
  return new Map(
    Object.entries(body).flatMap(([name, value]): [string, string][] =>
      Array.isArray(value)
        ? value.map((each) => [`${name} ${canonicalJson(each)}`, ''])
        : [[name, canonicalJson(value)]],
    ),
  );
};

export const transitionView = (transition: Transition): RolloutView['transitions'][number] => {
  const { kind, id, from, to } = transition;
  const short = (object: Transition['from']) => object && { version: object.version, digest: object.digest };
  return { kind, id, from: short(from) ?? null, to: short(to) ?? null, diff: diffOf(transition) };
};

interface StateCount {
  rollout_id: string;
  wave: number;
  state: string;
  devices: number;
}

const summaryOf = (record: RolloutRecord, counts: readonly StateCount[]): RolloutSummary => ({
  ...{ rolloutId: record.rolloutId, phase: record.phase, createdBy: record.createdBy, wave: record.wave },
  policy: { name: record.policyName, version: record.policyVersion },
  createdAt: dateOf(record.createdMs),
  ...(record.endedMs !== undefined && { endedAt: dateOf(record.endedMs) }),
  waves: record.waveSizes.map((size, wave) => ({
    size,
    states: Object.fromEntries(
      counts.filter((each) => each.wave === wave).map(({ state, devices }) => [state, devices]),
    ),
  })),
  objects: record.transitions.map(objectKey),
  paused: record.paused,
  ...(record.failure !== undefined && {
    failure: { kind: record.failure.kind, detail: record.failure.detail, at: dateOf(record.failure.atMs) },
  }),
});

export const listRollouts = async (
  db: Database,
  {
    ended,
    limit,
    after,
  }: { readonly ended: boolean; readonly limit: number; readonly after?: string | undefined },
): Promise<{ rollouts: RolloutSummary[]; next?: string }> => {
  if (after !== undefined && !/^\d{1,15}$/.test(after))
    throw new PandoError('InvalidPaginationToken', `${after} is the next of no page.`);
  const { rows } = await sql<Parameters<typeof recordOf>[0]>`select ${rolloutColumns} from rollout
    where (${ended} or ended_at is null) and (${after ?? null}::bigint is null or seq < ${after ?? null}::bigint)
    order by seq desc limit ${limit}`.execute(db);
  const last = rows.length < limit ? undefined : rows.at(-1);
  const counts = await countsOf(
    db,
    rows.map(({ rollout_id }) => rollout_id),
  );
  const rollouts = rows.map((row) =>
    summaryOf(
      recordOf(row),
      counts.filter(({ rollout_id }) => rollout_id === row.rollout_id),
    ),
  );
  return { rollouts, ...(last !== undefined && { next: String(last.seq) }) };
};

const countsOf = async (db: Database, ids: readonly string[]): Promise<readonly StateCount[]> =>
  (
    await sql<StateCount>`select rollout_id, wave, state, count(*)::int as devices from rollout_device
      where rollout_id = any(${[...ids]}) group by rollout_id, wave, state`.execute(db)
  ).rows;

/** @throws NotFound */
export const showRollout = async (db: Database, rolloutId: string, wallMs: number): Promise<RolloutView> => {
  const { rows } = await sql<Parameters<typeof recordOf>[0]>`select ${rolloutColumns} from rollout
    where rollout_id = ${rolloutId}`.execute(db);
  if (rows[0] === undefined) throw unknownRollout(rolloutId);
  const record = recordOf(rows[0]);
  const waits = await waitOf(db, record, wallMs);
  const { rows: devices } = await sql<{
    device_id: string;
    wave: number;
    state: string;
    detail: string | null;
    changed_ms: number;
  }>`select device_id, wave, state, detail, changed_ms from rollout_device where rollout_id = ${rolloutId}
    order by state in ('planned', 'confirmed', 'reverted'), state = 'planned', position
    limit ${devicesShownMax}`.execute(db);
  const view = {
    ...summaryOf(record, await countsOf(db, [rolloutId])),
    ...(waits !== undefined && { waitsFor: waits }),
    transitions: record.transitions.map(transitionView),
    devices: devices.map(({ device_id, wave, state, detail, changed_ms }) => ({
      ...{ deviceId: device_id, wave, state, changedAt: dateOf(changed_ms) },
      ...(detail !== null && { detail }),
    })),
  };
  return { ...view, revision: createHash('sha256').update(JSON.stringify(view)).digest('hex').slice(0, 16) };
};

const lookEveryMs = 250;

/** Waits until it is another than the one that is known, or the time is over. @throws NotFound */
export const watchRollout = async (
  db: Database,
  { rolloutId, revision, waitMs }: { rolloutId: string; revision?: string | undefined; waitMs: number },
  now: () => number,
): Promise<RolloutView> => {
  const until = monotonicMs() + waitMs;
  for (;;) {
    const view = await showRollout(db, rolloutId, now());
    const waits = revision !== undefined && view.revision === revision && view.endedAt === undefined;
    if (!waits || monotonicMs() >= until) return view;
    await delay(lookEveryMs);
  }
};

/** Worked out as the engine does, from the rows. */
const waitOf = async (db: Database, record: RolloutRecord, wallMs: number): Promise<string | undefined> => {
  const books = new Map<string, DeviceBook>();
  const open = record.phase === 'pending' || record.phase === 'applying' ? await loadOpen(db, []) : [];
  // One that is alone waits for no other: its devices are not read.
  for (const { rolloutId } of open.length > 1 ? open : [])
    books.set(rolloutId, new DeviceBook(await loadDevices(db, rolloutId), ''));
  const none = new DeviceBook([], '');
  const others = open.map((each) => ({
    record: each,
    devices: books.get(each.rolloutId) ?? none,
    ended: false,
  }));
  const desired = new DesiredBook(open.length > 1 ? await loadDesired(db) : []);
  const turn = (id: string) => turnOf({ record }, id, others, desired);
  return waitsFor(record, books.get(record.rolloutId) ?? none, { wallMs, turn });
};

interface AuditRow {
  audit_id: number;
  at_ms: number;
  who: string;
  device_id: string | null;
  what: string;
  from_state: string;
  to_state: string;
  objects: string | null;
  detail: string | null;
}

export const listAudit = async (
  db: Database,
  { rolloutId, after, limit }: { readonly rolloutId: string; readonly after: number; readonly limit: number },
): Promise<{ records: AuditEntry[]; next?: string }> => {
  const { rows } =
    await sql<AuditRow>`select audit_id, at_ms, who, device_id, what, from_state, to_state, objects, detail
    from rollout_audit where rollout_id = ${rolloutId} and audit_id > ${after}
    order by audit_id limit ${limit}`.execute(db);
  const records = rows.map((row) => ({
    ...{ auditId: Number(row.audit_id), at: dateOf(row.at_ms), who: row.who, what: row.what },
    ...{ from: row.from_state, to: row.to_state },
    ...(row.device_id !== null && { deviceId: row.device_id }),
    ...(row.objects !== null && { objects: row.objects }),
    ...(row.detail !== null && { detail: row.detail }),
  }));
  const last = rows.length < limit ? undefined : rows.at(-1);
  return { records, ...(last !== undefined && { next: String(last.audit_id) }) };
};

interface VersionRow {
  version: number;
  digest: string;
  created_by: string;
  created_at: Date;
  devices: number;
  body: unknown;
}

const versionsShownMax = 100;

export const listVersions = async (
  db: Database,
  { kind, id }: { readonly kind: string; readonly id: string },
) => {
  const { rows } = await sql<VersionRow>`
    select version, digest, created_by, created_at, body, (select count(*)::int from rollout_desired d
      where d.kind = o.kind and d.id = o.id and d.digest = o.digest) as devices
    from rollout_object o where kind = ${kind} and id = ${id} order by version desc limit ${versionsShownMax}`.execute(
    db,
  );
  return rows.map(({ created_by: createdBy, created_at, ...row }) => ({
    ...{ ...row, createdBy, createdAt: created_at.toISOString() },
  }));
};

export const unknownRollout = (rolloutId: string): PandoError =>
  new PandoError(
    'NotFound',
    `There is no rollout ${rolloutId}. pando rollout list --all shows those there are.`,
  );
