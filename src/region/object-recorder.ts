/**
 * Writes down what each device is to have of each VPC, and every version of every object, before anybody is told: a region's process may
 * die at any moment, and another goes on from the tables. What was written is remembered, so that most pushes (a changed place) write
 * nothing; the version of the VPC that the tables take into account says whether another process has written since.
 */
import { sql } from 'kysely';
import type { Logger } from '#base/log.ts';
import { groupsByCard, objectsFor } from '#base/network/needs.ts';
import { keyOf } from '#base/network/objects.ts';
import type { VpcParts } from '#base/network/parts.ts';
import { retried, transact } from '#base/postgres/transaction.ts';
import type { NetworkObject, ObjectRef } from '#contracts/network-objects.ts';
import type { Database, RegionTransaction } from './schema.ts';
import { statement } from './statement.ts';

/** Versions of one object that are kept beside those that some device is to have. */
export const versionsKeptMax = 8;
/** VPCs whose rows are remembered. */
const vpcsKeptMax = 1_024;
const triesMax = 3;

interface Recorded {
  /** Of the VPC; 0: nothing has been written. */
  readonly version: number;
  /** The newest of each object, by `keyOf`. */
  readonly objects: ReadonlyMap<string, ObjectRef>;
  /** Digests by `keyOf`, by device. */
  readonly devices: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

interface DeviceRow {
  readonly device: string;
  readonly kind: string;
  readonly id: string;
}

export class ObjectRecorder {
  readonly #db: Database;
  readonly #log: Logger;
  /** The one used last comes last. */
  readonly #kept = new Map<string, Recorded>();

  constructor(db: Database, log: Logger) {
    this.#db = db;
    this.#log = log;
  }

  /**
   * `written`: the version that the tables take into account, as it was read with these parts. What another process has written since
   * refuses this one's write. Resolves also when it could not be written: the next push tries again, and devices are told all the same.
   */
  async record(parts: VpcParts, written: number): Promise<void> {
    try {
      if (await this.#record(parts, written)) return;
      for (let tries = 1; tries < triesMax; tries++)
        if (await this.#record(parts, await this.#writtenVersion(parts.vpcId))) return;
    } catch (err) {
      this.#kept.delete(parts.vpcId);
      this.#log.warn(
        { err, vpcId: parts.vpcId },
        'what devices are to have was not written down: the next push does',
      );
    }
  }

  /** Answers false when another process has written meanwhile. */
  async #record(parts: VpcParts, written: number): Promise<boolean> {
    const { vpcId, places } = parts;
    let known = this.#kept.get(vpcId);
    if (known === undefined || known.version !== written) known = await readRecorded(this.#db, vpcId);
    // A later state has been written down: it is the one that devices are to have.
    if (known.version > places.version) return true;
    const next = recordedOf(parts, known);
    const change = changeOf(parts, known, next);
    this.#keep(vpcId, change === undefined ? known : next);
    if (change === undefined) return true;
    const versions = { vpcId, from: known.version, to: places.version };
    const isWritten =
      change.objects.length === 0
        ? await retried(() => writeNeeds(this.#db, versions, change))
        : await transact(this.#db, async (tx) => {
            if (!(await advance(tx, versions))) return false;
            await write(tx, vpcId, change, known);
            return true;
          });
    if (!isWritten) this.#kept.delete(vpcId);
    return isWritten;
  }

  async #writtenVersion(vpcId: string): Promise<number> {
    const row = await this.#db
      .selectFrom('recorded_vpc')
      .select('version')
      .where('vpc_id', '=', vpcId)
      .executeTakeFirst();
    return row?.version ?? 0;
  }

  #keep(vpcId: string, recorded: Recorded): void {
    this.#kept.delete(vpcId);
    this.#kept.set(vpcId, recorded);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= vpcsKeptMax) return;
      this.#kept.delete(oldest);
    }
  }
}

const readRecorded = async (db: Database, vpcId: string): Promise<Recorded> => {
  const { rows } = await sql<{
    version: number | null;
    objects: ObjectRef[];
    devices: (DeviceRow & { digest: string })[];
  }>`
    select (select version from recorded_vpc where vpc_id = ${vpcId}) as version,
      (select coalesce(json_agg(json_build_object('kind', kind, 'id', id, 'version', version, 'digest', digest)), '[]')
        from (select distinct on (kind, id) * from network_object where vpc_id = ${vpcId}
          order by kind, id, version desc) newest) as objects,
      (select coalesce(json_agg(json_build_object('device', device, 'kind', kind, 'id', id, 'digest', digest)), '[]')
        from device_object where vpc_id = ${vpcId}) as devices`.execute(db);
  const { version = null, objects = [], devices = [] } = rows[0] ?? {};
  const byDevice = new Map<string, Map<string, string>>();
  for (const { device, kind, id, digest } of devices) {
    const own = byDevice.get(device) ?? new Map<string, string>();
    byDevice.set(device, own.set(`${kind}/${id}`, digest));
  }
  return {
    version: version ?? 0,
    objects: new Map(objects.map((object) => [keyOf(object), object])),
    devices: byDevice,
  };
};

/** What is to be written down of this state. An object that says what it said keeps the version that it was written under. */
const recordedOf = (parts: VpcParts, { objects: before }: Recorded): Recorded => {
  const objects = new Map(before);
  for (const { current } of parts.objects.values())
    if (current !== undefined && before.get(keyOf(current))?.digest !== current.digest)
      objects.set(keyOf(current), current);
  const devices = new Map<string, ReadonlyMap<string, string>>();
  const need = (device: string, wanted: readonly NetworkObject[]): void =>
    void devices.set(device, new Map(wanted.map((object) => [keyOf(object), object.digest])));
  const byCard = groupsByCard(parts);
  for (const [vtep, groupIds] of byCard) need(`card/${vtep}`, objectsFor(parts, groupIds));
  const { gateway } = parts.places;
  if (gateway !== undefined && byCard.size > 0) need(`gateway/${gateway.vtep}`, objectsFor(parts, new Set()));
  return { version: parts.places.version, objects, devices };
};

interface RecordChange {
  readonly objects: readonly NetworkObject[];
  readonly set: readonly (DeviceRow & { version: number; digest: string })[];
  readonly gone: readonly DeviceRow[];
}

/** undefined: nothing is to be written. */
const changeOf = (parts: VpcParts, before: Recorded, after: Recorded): RecordChange | undefined => {
  const objects = [...parts.objects.values()].flatMap(({ current }) =>
    current !== undefined && before.objects.get(keyOf(current)) !== after.objects.get(keyOf(current))
      ? [current]
      : [],
  );
  const set: RecordChange['set'][number][] = [];
  const gone: DeviceRow[] = [];
  const rowOf = (device: string, key: string): DeviceRow => {
    const at = key.indexOf('/');
    return { device, kind: key.slice(0, at), id: key.slice(at + 1) };
  };
  for (const [device, wanted] of after.devices)
    for (const [key, digest] of wanted)
      if (before.devices.get(device)?.get(key) !== digest)
        set.push({
          ...rowOf(device, key),
          digest,
          version: after.objects.get(key)?.version ?? after.version,
        });
  for (const [device, had] of before.devices)
    for (const key of had.keys()) if (!after.devices.get(device)?.has(key)) gone.push(rowOf(device, key));
  return objects.length + set.length + gone.length === 0 ? undefined : { objects, set, gone };
};

interface Versions {
  readonly vpcId: string;
  readonly from: number;
  readonly to: number;
}

/** Compare-and-set on the version that was read: of two processes that write at once, one reads again. */
const advancing = `
  insert into recorded_vpc (vpc_id, version) select vpc_id, $1::int from vpc where vpc_id = $2
  on conflict (vpc_id) do update set version = excluded.version where recorded_vpc.version = $3::int
  returning 1`;
const advanceStatement = statement(advancing);

const advance = async (tx: RegionTransaction, { vpcId, from, to }: Versions): Promise<boolean> =>
  (await advanceStatement(tx, to, vpcId, from)).length > 0;

/** Parts of a statement: `$2` is the VPC, the other the rows as JSON. */
const needing = (rows: '$1' | '$4'): string => `
  insert into device_object (device, kind, id, vpc_id, version, digest)
  select device, kind, id, $2::text, version, digest
  from jsonb_to_recordset(${rows}::jsonb) as wanted (device text, kind text, id text, version int, digest text)`;
const needed = `
  on conflict (device, kind, id) do update
    set version = excluded.version, digest = excluded.digest, set_at = now()`;
const notNeeding = (rows: '$1' | '$5'): string => `
  delete from device_object d
  using jsonb_to_recordset(${rows}::jsonb) as gone (device text, kind text, id text)
  where d.device = gone.device and d.kind = gone.kind and d.id = gone.id`;

const needStatement = statement(`${needing('$1')} ${needed}`);
const needNoMoreStatement = statement(notNeeding('$1'));
const advanceNeedsStatement = statement<{ done: boolean }>(`
  with advanced as (${advancing}),
  made as (${needing('$4')} where exists (select from advanced) ${needed}),
  removed as (${notNeeding('$5')} and exists (select from advanced))
  select exists (select from advanced) as done`);

/** Most often a card comes to need what others have already, and no object has changed: that is one statement, a transaction of its own. */
const writeNeeds = async (
  db: Database,
  { vpcId, from, to }: Versions,
  { set, gone }: Pick<RecordChange, 'set' | 'gone'>,
): Promise<boolean> => {
  const [told] = await advanceNeedsStatement(db, to, vpcId, from, JSON.stringify(set), JSON.stringify(gone));
  return told?.done === true;
};

const write = async (
  tx: RegionTransaction,
  vpcId: string,
  { objects, set, gone }: RecordChange,
  before: Recorded,
): Promise<void> => {
  const bodies = JSON.stringify(
    objects.map(({ kind, id, version, digest, body }) => ({
      ...{ kind, id, version, digest, body },
      from: before.objects.get(keyOf({ kind, id }))?.digest,
    })),
  );
  if (objects.length > 0)
    await sql`
      with made as (
        insert into network_object (kind, id, version, digest, vpc_id, body)
        select kind, id, version, digest, ${vpcId}, body
        from jsonb_to_recordset(${bodies}::jsonb) as made (kind text, id text, version int, digest text, body jsonb)
        on conflict (kind, id, version) do update set digest = excluded.digest, body = excluded.body
        returning kind, id, version),
      noted as (
        insert into object_change (kind, id, version, since_version, vpc_id, from_digest, to_digest)
        select kind, id, version, least(${before.version}::int, version - 1), ${vpcId}, "from", digest
        from jsonb_to_recordset(${bodies}::jsonb) as made (kind text, id text, version int, digest text, "from" text)
        on conflict do nothing)
      delete from network_object o using made
      where o.kind = made.kind and o.id = made.id
        and o.version < (select min(version) from (
          select version from network_object newest where newest.kind = made.kind and newest.id = made.id
          order by version desc limit ${versionsKeptMax}) kept)
        and not exists (select from device_object d
          where d.kind = o.kind and d.id = o.id and d.version = o.version)`.execute(tx);
  if (set.length > 0) await needStatement(tx, JSON.stringify(set), vpcId);
  if (gone.length > 0) await needNoMoreStatement(tx, JSON.stringify(gone));
};
