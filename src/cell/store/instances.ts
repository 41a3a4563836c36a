/** Instance rows: the record that a request is durable by (S3.3), and what every call about an instance reads. */

import type { ImageRef } from '#contracts/host.ts';
import type { VpcPort } from '#contracts/network.ts';
import type { ValidTag } from '#wire/tags.ts';
import type { InstanceState, StateReason } from '../instance-states.ts';
import { purgeBatchMax } from '../limits.ts';
import { type Sql, send } from './sql.ts';

export type Tags = readonly ValidTag[];

/** The profile that an instance runs with, and since when. */
export interface ProfileAssociation {
  readonly associationId: string;
  readonly name: string;
  readonly arn: string;
  readonly profileId: string;
  /** ISO 8601. */
  readonly since: string;
}

/** The parts of an instance that no statement filters by. */
export interface InstanceSpec {
  readonly image: ImageRef & {
    readonly architecture: string;
    readonly rootDeviceName: string;
    readonly minMemoryMib?: number;
  };
  readonly instanceType: string;
  readonly keyName?: string;
  readonly publicKey?: string;
  readonly subnetId: string;
  readonly zone: string;
  readonly zoneId?: string;
  readonly domainName: string;
  readonly placementGroup?: {
    readonly groupId: string;
    readonly groupName: string;
    /** Its number, in a group of partitions. */
    readonly partition?: number;
  };
  /** Absent: `default`. */
  readonly tenancy?: 'dedicated' | 'host';
  /** Of the tenancy `host`: the dedicated host that it is on, and whether it stays with that one. */
  readonly dedicatedHost?: { readonly hostId: string; readonly affinity?: 'host' };
  readonly instanceProfile?: ProfileAssociation;
  readonly groups: readonly { readonly groupId: string; readonly groupName: string }[];
  readonly privateIp?: string;
  readonly publicIp: boolean;
  readonly userData?: string;
  readonly clientToken?: string;
  readonly volumeId: string;
  readonly volumeSizeGib: number;
  readonly volumeType: string;
  readonly volumeDeleteOnTermination: boolean;
  readonly disableApiTermination: boolean;
  readonly disableApiStop: boolean;
  readonly shutdownBehavior: 'stop' | 'terminate';
  /** Whether it is started again when its VM ends by itself; absent (rows of the last release): `default`, which is yes. */
  readonly autoRecovery?: 'default' | 'disabled';
  readonly sourceDestCheck: boolean;
  /** The VPC's version that `groups` and `sourceDestCheck` are of: the region's word, of which this is a copy. */
  readonly networkVersion?: number;
  readonly interfaceTags?: Tags;
  readonly interfaceDescription?: string;
  readonly ebsOptimized: boolean;
  readonly monitoring: boolean;
  readonly cpuCredits: 'standard' | 'unlimited';
  /** Absent: `open`. */
  readonly capacityReservation?: 'none' | 'capacity-reservations-only';
  /** The one reservation that it runs in. */
  readonly capacityReservationTarget?: string;
  readonly metadata: {
    readonly httpTokens: 'optional' | 'required';
    readonly httpEndpoint: 'enabled' | 'disabled';
    readonly hopLimit: number;
    readonly instanceTags: 'enabled' | 'disabled';
  };
}

/** A change that was asked for while another workflow owned the instance: it follows when that one ends. */
export interface Intent {
  readonly kind: 'stop' | 'terminate';
  readonly force: boolean;
}

/** Tries to start an instance again whose VM had ended by itself. */
export interface Recovery {
  readonly tries: number;
  /** When the last one began; ISO 8601. */
  readonly lastAt: string;
}

export interface InstanceRow {
  readonly id: string;
  readonly account_id: string;
  readonly reservation_id: string;
  readonly launch_index: number;
  readonly state: InstanceState;
  readonly version: number;
  readonly vpc_id: string;
  readonly host_id: string | null;
  readonly place_epoch: number;
  readonly workflow_id: string | null;
  readonly locked: boolean;
  readonly intent: Intent | null;
  readonly vcpus_milli: number;
  readonly memory_mib: number;
  readonly disk_mib: number;
  /** Mbit/s that its type is promised; 0 in rows of the last release. */
  readonly network_mbps: number;
  readonly created_at: Date;
  readonly launch_time: Date;
  readonly terminated_at: Date | null;
  readonly state_reason: StateReason | null;
  readonly transition_reason: string;
  readonly interface: VpcPort | null;
  readonly tags: Tags;
  readonly volume_tags: Tags;
  readonly spec: InstanceSpec;
  /** Absent or null: none lately. */
  readonly recovery?: Recovery | null;
  /** The version that first changed what its guest reads of the metadata service and was not told to its host yet; absent or null: none. */
  readonly metadata_due?: number | null;
  /** The Capacity Reservation whose slot it uses; kept by the store's triggers. */
  readonly capacity_reservation_id?: string | null;
  /** When its guest is to be given new credentials of its profile; absent or null: it has no profile. */
  readonly credentials_due?: Date | null;
}

export const instanceColumns = [
  'id',
  'account_id',
  'reservation_id',
  'launch_index',
  'state',
  'version',
  'vpc_id',
  'host_id',
  'place_epoch',
  'workflow_id',
  'locked',
  'intent',
  'vcpus_milli',
  'memory_mib',
  'disk_mib',
  'network_mbps',
  'created_at',
  'launch_time',
  'terminated_at',
  'state_reason',
  'transition_reason',
  'interface',
  'tags',
  'volume_tags',
  'spec',
  'recovery',
  'metadata_due',
  'credentials_due',
] as const satisfies readonly (keyof InstanceRow)[];

const jsonColumns: ReadonlySet<string> = new Set([
  'intent',
  'state_reason',
  'interface',
  'tags',
  'volume_tags',
  'spec',
  'recovery',
]);

const encode = (column: string, value: unknown): unknown =>
  jsonColumns.has(column) && value !== null && value !== undefined ? JSON.stringify(value) : value;

const insertText = `insert into instances (${instanceColumns.join(', ')}) values (${instanceColumns.map((_, at) => `$${at + 1}`).join(', ')})`;

export const insertInstance = (tx: Sql, row: InstanceRow): Promise<void> =>
  send(
    tx,
    insertText,
    instanceColumns.map((column) => encode(column, row[column])),
  );

export const findInstance = async (sql: Sql, id: string): Promise<InstanceRow | undefined> =>
  (await sql.query<InstanceRow>('select * from instances where id = $1', [id]))[0];

/**
 * Locks rows in the order of their ids, so that two calls about overlapping sets cannot deadlock. One row, as each workflow locks at its
 * end, has a statement of its own: the server plans that of a set anew each time, which takes longer than the lock.
 */
export const lockInstances = (
  tx: Sql,
  accountId: string | undefined,
  ids: readonly string[],
): Promise<InstanceRow[]> =>
  ids.length === 1 && accountId === undefined
    ? tx.query('select * from instances where id = $1 for update', [ids[0]])
    : lockSet(tx, accountId, ids);

const lockSet = (tx: Sql, accountId: string | undefined, ids: readonly string[]): Promise<InstanceRow[]> =>
  tx.query(
    `select * from instances where id = any($1) and ($2::text is null or account_id = $2) order by id for update`,
    [ids, accountId ?? null],
  );

/** The account's instances under these ids, in a stable order; those that ended over an hour ago are gone for clients. */
export const listNamedInstances = (
  sql: Sql,
  accountId: string,
  visibleSince: Date,
  ids: readonly string[],
): Promise<InstanceRow[]> =>
  sql.query(
    `select * from instances where account_id = $1 and (terminated_at is null or terminated_at > $2) and id = any($3)
     order by created_at, reservation_id, launch_index, id`,
    [accountId, visibleSince, ids],
  );

export const listReservation = (sql: Sql, accountId: string, reservationId: string): Promise<InstanceRow[]> =>
  sql.query('select * from instances where account_id = $1 and reservation_id = $2 order by launch_index', [
    accountId,
    reservationId,
  ]);

/** An instance, and the other host of its migration while it may have a copy there. */
export type PlacedInstance = InstanceRow & { readonly migration_host: string | null };

/** Every instance that this host has, may have, or is still claimed for. */
export const listHostInstances = (sql: Sql, hostId: string): Promise<PlacedInstance[]> =>
  sql.query(
    `select i.*, m.host_id as migration_host from instances i left join claims m on m.id = 'migration/' || i.id
     where i.id in (select id from instances where host_id = $1
       union all select holder from claims where purpose = 'migration' and host_id = $1)`,
    [hostId],
  );

/** What says whether a host's report agrees with an instance: a host has many, and nearly all of them do. */
export type BriefInstance = Pick<
  PlacedInstance,
  'id' | 'state' | 'host_id' | 'place_epoch' | 'workflow_id' | 'migration_host'
>;

/** The same instances as `listHostInstances`. */
export const listHostBriefly = (sql: Sql, hostId: string): Promise<BriefInstance[]> =>
  sql.query(
    `select i.id, i.state, i.host_id, i.place_epoch, i.workflow_id, m.host_id as migration_host
     from instances i left join claims m on m.id = 'migration/' || i.id
     where i.id in (select id from instances where host_id = $1
       union all select holder from claims where purpose = 'migration' and host_id = $1)`,
    [hostId],
  );

export const findPlaced = async (sql: Sql, id: string): Promise<PlacedInstance | undefined> =>
  (
    await sql.query<PlacedInstance>(
      `select i.*, m.host_id as migration_host from instances i left join claims m on m.id = 'migration/' || i.id
       where i.id = $1`,
      [id],
    )
  )[0];

export type InstanceChange = Partial<Omit<InstanceRow, 'id' | 'version'>>;

/**
 * Changes columns of one row and raises its version. With `expect`, only where the row still has these values
 * (compare-and-set on what the caller saw). Returns whether the row was changed.
 */
export const changeInstance = async (
  tx: Sql,
  id: string,
  change: InstanceChange,
  expect: Partial<Pick<InstanceRow, 'version' | 'state' | 'workflow_id' | 'host_id'>> & {
    readonly intent?: null;
  } = {},
): Promise<boolean> => {
  const { text, values } = changeStatement(id, change, expect);
  const rows = await tx.query<{ id: string }>(`${text} returning id`, values);
  return rows.length === 1;
};

/** The same of a row that the transaction has locked: nobody waits for it. */
export const changeLocked = (tx: Sql, id: string, change: InstanceChange): Promise<void> => {
  const { text, values } = changeStatement(id, change, {});
  return send(tx, text, values);
};

const changeStatement = (
  id: string,
  change: InstanceChange,
  expect: Partial<InstanceRow>,
): { text: string; values: unknown[] } => {
  const values: unknown[] = [id];
  const bind = (value: unknown): string => `$${values.push(value)}`;
  const sets = Object.entries(change)
    .filter(([, value]) => value !== undefined)
    .map(([column, value]) => `${column} = ${bind(encode(column, value))}`);
  const guards = Object.entries(expect).map(
    ([column, value]) => `${column} is not distinct from ${bind(value)}`,
  );
  const text = `update instances set ${[...sets, 'version = version + 1'].join(', ')} where ${['id = $1', ...guards].join(' and ')}`;
  return { text, values };
};

/** What marks that a change of the row, which is locked, is to be told to the instance's metadata service. A start tells it anyhow. */
export const metadataDue = ({ state, version }: InstanceRow): Pick<InstanceChange, 'metadata_due'> =>
  state === 'stopped' || state === 'terminated' ? {} : { metadata_due: version + 1 };

/**
 * Instances whose metadata service is behind, or whose credentials are to be renewed, but for those that a workflow owns: it may be
 * telling it, and has read what it tells.
 */
export const listMetadataDue = (
  sql: Sql,
  request: { readonly now: Date; readonly except: readonly string[]; readonly limit: number },
): Promise<InstanceRow[]> =>
  sql.query(
    `select * from instances where (metadata_due is not null or credentials_due <= $1) and workflow_id is null
       and id <> all($2::text[])
     order by metadata_due, credentials_due, id limit $3`,
    [request.now, request.except, request.limit],
  );

/** What was due has been told, on the host where the instance still is. */
export const clearMetadataDue = async (
  sql: Sql,
  told: InstanceRow,
  credentialsDue: Date | null,
): Promise<void> => {
  await sql.query(
    `update instances set metadata_due = null, credentials_due = $4
     where id = $1 and metadata_due is not distinct from $2 and workflow_id is null and host_id is not distinct from $3`,
    [told.id, told.metadata_due ?? null, told.host_id, credentialsDue],
  );
};

/** The hosts that have, or are getting, a port in this VPC. */
export const hostsOfVpc = async (sql: Sql, vpcId: string): Promise<string[]> =>
  (
    await sql.query<{ host_id: string }>(
      `select distinct host_id from instances where vpc_id = $1 and host_id is not null and state <> 'terminated'
       union select m.host_id from claims m join instances i on i.id = m.holder
         where m.purpose = 'migration' and i.vpc_id = $1`,
      [vpcId],
    )
  ).map((row) => row.host_id);

/** How many instances the cell has that are not terminated. */
export const countInstances = async (sql: Sql): Promise<number> =>
  (await sql.query<{ n: number }>('select count(*)::int as n from instances where terminated_at is null'))[0]
    ?.n ?? 0;

/** Its row proves that a VM may go: it stays while a host that is away may still have a copy, or room that is taken for one. */
export const purgeTerminated = async (sql: Sql, before: Date): Promise<void> => {
  await sql.query(
    `delete from instances where id in (
       select id from instances i where terminated_at < $1 and host_id is null
         and not exists (select 1 from claims c where c.id = 'migration/' || i.id)
       order by id limit $2 for update skip locked)`,
    [before, purgeBatchMax],
  );
};
