/** Takes a change in (S8.2): validated against policy, fleet and versions; shown as a diff; then a row that the engine finds. */
import { createHash, randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { transact, violatedConstraint } from '#base/postgres/transaction.ts';
import { canonicalJson } from '#contracts/canonicalJson.ts';
import { PandoError } from '#contracts/errors.ts';
import { digestOf } from '#contracts/network-digest.ts';
import { type NetworkObject, objectBodies } from '#contracts/network-objects.ts';
import type { ChangedObject } from '#contracts/rollout.ts';
import type { ChangeClass, HealthCheck, PolicyVersion } from '#contracts/rollout-policy.ts';
import type { DeviceRecord, RolloutRecord, Transition } from '#rollout/record.ts';
import { refusal } from '#rollout/refuse.ts';
import { objectKey } from '#rollout/schedule.ts';
import { planWaves } from '#rollout/waves.ts';
import type { Database, RegionTransaction } from '../schema.ts';
import type { Fleet } from './fleet.ts';
import { findPolicy, tokenMismatch } from './policies.ts';
import { insertRollout, objectByDigest } from './store.ts';

export interface StartRequest {
  readonly policy?: { readonly name: string; readonly version?: number | undefined } | undefined;
  readonly class: ChangeClass;
  readonly objects: readonly ChangedObject[];
  readonly clientToken?: string | undefined;
  readonly dryRun: boolean;
  readonly createdBy: string;
}

export interface Started {
  readonly rolloutId: string | undefined;
  readonly policy: PolicyVersion;
  readonly waves: readonly (readonly string[])[];
  readonly transitions: readonly Transition[];
}

export interface StartContext {
  readonly db: Database;
  readonly fleet: Fleet;
  /** What health can be measured. */
  readonly measures: ReadonlySet<HealthCheck>;
  now(): number;
}

/** @throws what is wrong, by `details.refusal`; nothing is kept of it. */
export const startRollout = async (
  { db, fleet, measures, now }: StartContext,
  request: StartRequest,
): Promise<Started> => {
  const policy = await findPolicy(db, request.policy, request.class);
  const known = await byToken(db, request);
  if (known !== undefined) return { ...known, policy };
  if (request.objects.length === 0) throw refusal('EmptyChange', 'the change names no object.');
  const unmeasured = policy.spec.health.checks.find((check) => !measures.has(check));
  if (unmeasured !== undefined)
    throw refusal('NotMeasured', `the policy asks for the check ${unmeasured}, which nothing measures here.`);
  await fleet.refresh?.();
  const waves = planWaves(policy.spec, fleet.devices());
  const keys = request.objects.map(objectKey);
  if (new Set(keys).size !== keys.length) throw refusal('EmptyChange', 'the change names an object twice.');
  const deviceIds = waves.flat();
  const work = async (tx: RegionTransaction): Promise<Started> => {
    const transitions: Transition[] = [];
    for (const object of request.objects)
      transitions.push(await transitionOf(tx, object, deviceIds, request.createdBy));
    if (request.dryRun) throw new DryRun({ rolloutId: undefined, policy, waves, transitions });
    const record = newRecord(policy, transitions, waves, request.createdBy, now());
    await insertRollout(tx, record, devicesOf(waves, record.createdMs), {
      clientToken: request.clientToken,
      clientRequest: wordsOf(request),
    });
    return { rolloutId: record.rolloutId, policy, waves, transitions };
  };
  return transact(db, work).catch(async (error: unknown) => {
    if (error instanceof DryRun) return error.would;
    // Of two at once with one token, the second answers what the first has made.
    const made = violatedConstraint(error) === 'rollout_client_token_key' && (await byToken(db, request));
    if (made) return { ...made, policy };
    throw error;
  });
};

/** Takes back what a dry run has written: versions that nobody wants yet. */
class DryRun extends Error {
  readonly would: Started;
  constructor(would: Started) {
    super('dry run');
    this.would = would;
  }
}

/** What a client token stands for. */
const wordsOf = ({ policy, class: changeClass, objects }: StartRequest): string =>
  createHash('sha256')
    .update(canonicalJson({ policy, class: changeClass, objects }))
    .digest('hex');

/** @throws IdempotentParameterMismatch when the token was used for something else */
const byToken = async (db: Database, request: StartRequest): Promise<Omit<Started, 'policy'> | undefined> => {
  const { clientToken: token } = request;
  if (token === undefined) return undefined;
  const { rows } = await sql<{
    rollout_id: string;
    transitions: Transition[];
    client_request: string | null;
  }>`
    select rollout_id, transitions, client_request from rollout where client_token = ${token}`.execute(db);
  const [row] = rows;
  if (row === undefined) return undefined;
  // The last release wrote no words.
  if (row.client_request !== null && row.client_request !== wordsOf(request)) throw tokenMismatch(token);
  const devices = await sql<{ device_id: string; wave: number }>`select device_id, wave from rollout_device
    where rollout_id = ${row.rollout_id} order by position`.execute(db);
  const waves = Object.values(Object.groupBy(devices.rows, ({ wave }) => wave));
  return {
    ...{ rolloutId: row.rollout_id, transitions: row.transitions },
    waves: waves.map((each = []) => each.map(({ device_id }) => device_id)),
  };
};

const transitionOf = async (
  tx: RegionTransaction,
  object: ChangedObject,
  deviceIds: readonly string[],
  createdBy: string,
): Promise<Transition> => {
  const { kind, id, vpcId } = object;
  const from = await firstOf(tx, object, deviceIds);
  const to = object.body === null ? undefined : await versionOf(tx, object, createdBy);
  if (from?.digest === to?.digest)
    throw refusal('EmptyChange', `${objectKey(object)} is the same before and after.`);
  return { kind, id, vpcId, from, to };
};

/** The version of a body: the one that has this content already, else a new one. */
const versionOf = async (
  tx: RegionTransaction,
  { kind, id, vpcId, body }: ChangedObject,
  createdBy: string,
): Promise<NetworkObject> => {
  const schema = Object.entries(objectBodies).find(([name]) => name === kind)?.[1];
  const parsed = schema?.safeParse(body);
  if (parsed?.success !== true)
    throw new PandoError(
      'InvalidParameterValue',
      `The body of ${kind}/${id} is none: ${parsed?.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ') ?? 'nothing takes this kind yet'}.`,
    );
  const digest = digestOf({ kind, id, body: parsed.data });
  // Of two that bring the same content at once, the second waits here and finds what the first has made.
  await sql`select pg_advisory_xact_lock(hashtext(${`rollout_object ${kind}/${id}`}))`.execute(tx);
  const known = await objectByDigest(tx, { kind, id, digest });
  if (known !== undefined) return known;
  const { rows } = await sql<{ version: number }>`
    insert into rollout_object (kind, id, version, digest, vpc_id, body, created_by)
    select ${kind}, ${id}, coalesce(max(version), 0) + 1, ${digest}, ${vpcId ?? null}, ${JSON.stringify(parsed.data)},
      ${createdBy}
    from rollout_object where kind = ${kind} and id = ${id} returning version`.execute(tx);
  return { kind, id, vpcId, digest, version: rows[0]?.version ?? 1, body: parsed.data };
};

interface Wanted {
  digest: string | null;
  devices: number;
  example: string;
}

/**
 * The first state: what the caller says, else what all the devices should have now. Either way every device must come to it: it should
 * have it by now, or a rollout that was submitted earlier brings it there.
 */
const firstOf = async (
  tx: RegionTransaction,
  { kind, id, from }: ChangedObject,
  deviceIds: readonly string[],
): Promise<NetworkObject | undefined> => {
  const { rows: wanted } = await sql<Wanted>`
    select d.digest, count(*)::int as devices, min(device.id) as example
    from unnest(${[...deviceIds]}::text[]) as device (id)
    left join rollout_desired d on d.device_id = device.id and d.kind = ${kind} and d.id = ${id}
    group by d.digest order by count(*) desc`.execute(tx);
  if (from === undefined) return commonOf(tx, { kind, id }, wanted);
  const first = await versionBy(tx, { kind, id }, from);
  if (first === undefined)
    throw refusal('VersionGone', `there is no version ${from} of ${kind}/${id}.`, 'NotFound');
  const others = wanted.filter(({ digest }) => digest !== first.digest);
  if (others.length > 0 && !(await isComing(tx, first)))
    throw refusal(
      'VersionGone',
      `${kind}/${id} version ${first.version} is not what ${others.map(({ devices, example }) => `${devices} devices (${example})`).join(', ')} should have by now, and no rollout brings it there.`,
      'IncorrectState',
    );
  return first;
};

const commonOf = async (
  tx: RegionTransaction,
  { kind, id }: Pick<ChangedObject, 'kind' | 'id'>,
  wanted: readonly Wanted[],
): Promise<NetworkObject | undefined> => {
  const [most, other] = wanted;
  if (most !== undefined && other !== undefined)
    throw refusal(
      'VersionGone',
      `the devices should not all have the same of ${kind}/${id} now (${most.example}: ${most.digest ?? 'none'}, ${other.example}: ${other.digest ?? 'none'}): say which version the change is from.`,
      'IncorrectState',
    );
  return most?.digest == null ? undefined : objectByDigest(tx, { kind, id, digest: most.digest });
};

const versionBy = async (
  tx: RegionTransaction,
  { kind, id }: Pick<ChangedObject, 'kind' | 'id'>,
  from: number | string,
): Promise<NetworkObject | undefined> => {
  if (typeof from === 'string') return objectByDigest(tx, { kind, id, digest: from });
  const { rows } = await sql<{ digest: string }>`select digest from rollout_object
    where kind = ${kind} and id = ${id} and version = ${from}`.execute(tx);
  return rows[0] && objectByDigest(tx, { kind, id, digest: rows[0].digest });
};

const isComing = async (tx: RegionTransaction, { digest }: NetworkObject): Promise<boolean> => {
  const { rows } = await sql`select 1 from rollout, jsonb_array_elements(transitions) as t
    where ended_at is null and t -> 'to' ->> 'digest' = ${digest} limit 1`.execute(tx);
  return rows.length > 0;
};

const newRecord = (
  { name, version, spec }: PolicyVersion,
  transitions: readonly Transition[],
  waves: readonly (readonly string[])[],
  createdBy: string,
  createdMs: number,
): RolloutRecord => ({
  ...{ rolloutId: `ro-${randomBytes(9).toString('hex').slice(0, 17)}`, seq: 0 },
  ...{ policyName: name, policyVersion: version, policy: spec, transitions, createdBy, createdMs },
  ...{ phase: 'pending', wave: 0, waveSizes: waves.map(({ length }) => length), paused: false, approved: [] },
  ...{ settledMs: undefined, failure: undefined, forgiven: 0, baseline: undefined, endedMs: undefined },
});

const devicesOf = (waves: readonly (readonly string[])[], changedMs: number): DeviceRecord[] =>
  waves
    .flatMap((ids, wave) => ids.map((deviceId) => ({ deviceId, wave })))
    .map(({ deviceId, wave }, position) => ({
      ...{
        deviceId,
        wave,
        position,
        state: 'planned',
        touched: undefined,
        tries: 0,
        detail: undefined,
        changedMs,
      },
    }));
