/** Lists of an account's instances, page by page: a page costs what it shows, whatever the account has had before. */
import { fadeBatchMax } from '../limits.ts';
import { type InstanceRow, instanceColumns, type Tags } from './instances.ts';
import type { Sql } from './sql.ts';

/** A place in the order of an account's instances. */
export type InstanceCursor = Pick<InstanceRow, 'created_at' | 'reservation_id' | 'launch_index' | 'id'>;

/** Of the instances in question, those with one of the values of each member. What is left out narrows nothing. */
export interface Narrowing {
  readonly ids?: readonly string[];
  readonly states?: readonly string[];
  readonly vpcIds?: readonly string[];
  readonly reservationIds?: readonly string[];
  /** Each: a key with the values of which it has one. */
  readonly tags?: readonly { readonly key: string; readonly values: readonly string[] }[];
}

export interface ListRequest {
  readonly accountId: string;
  /** Instances that ended before are shown no more. Undefined: only those that have not ended at all. */
  readonly endedSince: Date | undefined;
  readonly only?: Narrowing;
  readonly after?: InstanceCursor | undefined;
  readonly limit: number;
}

/** Collects the conditions of a statement and their parameters. */
class Conditions {
  readonly values: unknown[] = [];
  readonly #texts: string[] = [];

  bind(value: unknown): string {
    return `$${this.values.push(value)}`;
  }

  add(text: string): void {
    this.#texts.push(text);
  }

  among(column: string, values: readonly string[] | undefined): void {
    if (values !== undefined) this.add(`${column} = any(${this.bind(values)}::text[])`);
  }

  get text(): string {
    return this.#texts.join(' and ');
  }
}

/** The words of the partial indexes, without which they are not used. */
const addShown = (where: Conditions, endedSince: Date | undefined): void => {
  if (endedSince === undefined) where.add('terminated_at is null');
  else where.add(`faded_at is null and (terminated_at is null or terminated_at > ${where.bind(endedSince)})`);
};

const addNarrowing = (where: Conditions, only: Narrowing): void => {
  where.among('id', only.ids);
  where.among('state', only.states);
  where.among('vpc_id', only.vpcIds);
  where.among('reservation_id', only.reservationIds);
  for (const { key, values } of only.tags ?? []) {
    const wanted = values.map((value) => JSON.stringify([{ Key: key, Value: value }]));
    where.add(`tags @> any(${where.bind(wanted)}::jsonb[])`);
  }
};

/** User data is most of a row that has some, and no list shows it. */
const listedColumns = [...instanceColumns, 'capacity_reservation_id']
  .map((column) => (column === 'spec' ? `spec - 'userData' as spec` : column))
  .join(', ');

/** The next instances of an account in the order of their creation, without their user data. */
export const listInstancesAfter = (sql: Sql, request: ListRequest): Promise<InstanceRow[]> => {
  const { accountId, endedSince, only = {}, after, limit } = request;
  const where = new Conditions();
  where.add(`account_id = ${where.bind(accountId)}`);
  addShown(where, endedSince);
  addNarrowing(where, only);
  if (after !== undefined) {
    const place = [after.created_at, after.reservation_id, after.launch_index, after.id];
    const [at, reservation, index, id] = place.map((value) => where.bind(value));
    where.add(
      `(created_at, reservation_id, launch_index, id) > (${at}::timestamptz, ${reservation}, ${index}::int, ${id})`,
    );
  }
  return sql.query(
    `select ${listedColumns} from instances where ${where.text}
     order by created_at, reservation_id, launch_index, id limit ${where.bind(limit)}`,
    where.values,
  );
};

/** The instances whose root volumes come next in the order of the volumes' ids; only those `volumeIds`, where they are given. */
export const listVolumesAfter = (
  sql: Sql,
  request: {
    readonly accountId: string;
    readonly after?: string | undefined;
    readonly volumeIds?: readonly string[] | undefined;
    readonly limit: number;
  },
): Promise<InstanceRow[]> => {
  const where = new Conditions();
  where.add(`account_id = ${where.bind(request.accountId)}`);
  where.add('terminated_at is null');
  where.among(`spec->>'volumeId'`, request.volumeIds);
  if (request.after !== undefined) where.add(`spec->>'volumeId' > ${where.bind(request.after)}`);
  return sql.query(
    `select ${listedColumns} from instances where ${where.text} order by spec->>'volumeId' limit ${where.bind(request.limit)}`,
    where.values,
  );
};

/** A resource and its tags. */
export interface TaggedRow {
  readonly id: string;
  readonly tags: Tags;
}

export interface TagListRequest {
  readonly accountId: string;
  readonly endedSince: Date;
  /** The first id that may be in the list. */
  readonly from: string;
  readonly ids?: readonly string[] | undefined;
  readonly limit: number;
}

/** Tagged instances in the order of their ids. */
export const listTaggedInstances = (sql: Sql, request: TagListRequest): Promise<TaggedRow[]> => {
  const where = new Conditions();
  where.add(`account_id = ${where.bind(request.accountId)}`);
  addShown(where, request.endedSince);
  where.add(`tags <> '[]'::jsonb and id >= ${where.bind(request.from)}`);
  where.among('id', request.ids);
  return sql.query(
    `select id, tags from instances where ${where.text} order by id limit ${where.bind(request.limit)}`,
    where.values,
  );
};

/** Tagged root volumes in the order of their ids; those of ended instances are gone. */
export const listTaggedVolumes = (sql: Sql, request: TagListRequest): Promise<TaggedRow[]> => {
  const where = new Conditions();
  where.add(`account_id = ${where.bind(request.accountId)}`);
  where.add(`terminated_at is null and volume_tags <> '[]'::jsonb`);
  where.add(`spec->>'volumeId' >= ${where.bind(request.from)}`);
  where.among(`spec->>'volumeId'`, request.ids);
  return sql.query(
    `select spec->>'volumeId' as id, volume_tags as tags from instances where ${where.text}
     order by spec->>'volumeId' limit ${where.bind(request.limit)}`,
    where.values,
  );
};

/** Tagged rows of a table that has an account, an id and tags, in the order of their ids. */
export const listTaggedRows =
  (table: 'capacity_reservations' | 'dedicated_hosts') =>
  (sql: Sql, request: TagListRequest): Promise<TaggedRow[]> => {
    const where = new Conditions();
    where.add(`account_id = ${where.bind(request.accountId)}`);
    where.add(`tags <> '[]'::jsonb and id >= ${where.bind(request.from)}`);
    where.among('id', request.ids);
    return sql.query(
      `select id, tags from ${table} where ${where.text} order by id limit ${where.bind(request.limit)}`,
      where.values,
    );
  };

/** Takes instances that ended before out of the lists, a bounded number at a time. */
export const fadeAll = async (sql: Sql, before: Date): Promise<void> => {
  for (;;) {
    const faded = await sql.query(
      `update instances set faded_at = now() where id in (
         select id from instances where terminated_at < $1 and faded_at is null
         order by id limit $2 for update skip locked) returning id`,
      [before, fadeBatchMax],
    );
    if (faded.length < fadeBatchMax) return;
  }
};
