/** Lists of instances cost what they show: each page is one read of an index, however many instances have ended before. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Kysely, sql } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import { migrate } from '#base/postgres/migrate.ts';
import {
  fadeAll,
  type ListRequest,
  listInstancesAfter,
  listTaggedInstances,
  listTaggedVolumes,
  listVolumesAfter,
} from '#cell/store/instance-lists.ts';
import type { InstanceRow } from '#cell/store/instances.ts';
import { cellSchema } from '#cell/store/schema.ts';
import { type CellSchema, type Database, databaseOver, type Sql } from '#cell/store/sql.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';

const account = '111122223333';
const hour = 3_600_000;
const endedLately = 10_000;
const endedLongAgo = 10_000;
const live = 300;
const pageRows = 101;

let database: TestDatabase;
let handle: Kysely<CellSchema>;
let db: Database;

/** Instances of one account: made one a millisecond, in the order of their numbers. */
const insert = (first: number, count: number, ended: string | null) =>
  sql`insert into instances (id, account_id, reservation_id, launch_index, state, vpc_id, held, place_epoch, vcpus_milli, memory_mib,
      disk_mib, created_at, launch_time, terminated_at, tags, volume_tags, spec)
    select 'i-001' || lpad(to_hex(n), 14, '0'), ${account}, 'r-001' || lpad(to_hex(n), 14, '0'), 0,
      ${ended === null ? 'running' : 'terminated'}, 'vpc-1', 'none', 2, 100, 64, 256,
      date_trunc('milliseconds', now()) - interval '3 hours' + n * interval '1 ms', now(), now() - ${ended}::interval,
      '[{"Key": "Name", "Value": "x"}]', '[{"Key": "Name", "Value": "x"}]',
      jsonb_build_object('volumeId', 'vol-001' || lpad(to_hex(n), 14, '0'), 'userData', repeat('x', 1000))
    from generate_series(${first}::int, ${first + count - 1}::int) n`.execute(handle);

before(async () => {
  database = await startTestDatabase();
  handle = openDatabase<CellSchema>({ url: database.url, poolMax: 2 });
  await migrate(handle, cellSchema);
  db = databaseOver(handle);
  // The live ones are the youngest: whatever reads in order passes all that came before them.
  await insert(1, endedLongAgo, '90 minutes');
  await insert(1 + endedLongAgo, endedLately, '10 minutes');
  await insert(1 + endedLongAgo + endedLately, live, null);
  await fadeAll(db, new Date(Date.now() - hour));
  await sql`analyze instances`.execute(handle);
});
after(async () => {
  await handle.destroy();
  await database.stop();
});

interface Plan {
  readonly 'Node Type': string;
  readonly 'Index Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly Plans?: readonly Plan[];
}

const nodes = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodes)];

/** Runs a list's own statement, and tells how the server came by its rows. */
const plansOf = async (
  list: (sql: Sql) => Promise<readonly unknown[]>,
): Promise<{ plan: Plan; rows: number }> => {
  const plans: Plan[] = [];
  const rows = await list({
    query: async <Row>(text: string, values: readonly unknown[] = []) => {
      type Explained = { 'QUERY PLAN': { Plan: Plan }[] };
      const [explained] = await db.query<Explained>(`explain (analyze, format json) ${text}`, values);
      plans.push(...(explained?.['QUERY PLAN'] ?? []).map(({ Plan }) => Plan));
      return db.query<Row>(text, values);
    },
  });
  const [plan] = plans;
  assert.ok(plan !== undefined && plans.length === 1, 'one statement a page');
  return { plan, rows: rows.length };
};

/** One index, in its own order, and no row but those of the page. */
const assertIndexedRead = async (
  index: string,
  list: (sql: Sql) => Promise<readonly unknown[]>,
): Promise<void> => {
  const { plan, rows } = await plansOf(list);
  const all = nodes(plan);
  assert.deepEqual(
    all.map((node) => node['Node Type']).filter((type) => type !== 'Limit'),
    ['Index Scan'],
    JSON.stringify(plan),
  );
  const scan = all.find((node) => node['Node Type'] === 'Index Scan');
  assert.equal(scan?.['Index Name'], index);
  assert.equal(scan?.['Rows Removed by Filter'] ?? 0, 0, 'no row is read in vain');
  assert.equal(rows, pageRows);
};

const request = (more: Partial<ListRequest> = {}): ListRequest => ({
  ...{ accountId: account, endedSince: new Date(Date.now() - hour), limit: pageRows },
  ...more,
});
const from = { accountId: account, endedSince: new Date(Date.now() - hour), from: '', limit: pageRows };

const pages = async (
  list: (after: InstanceRow | undefined) => Promise<InstanceRow[]>,
): Promise<InstanceRow[]> => {
  const all: InstanceRow[] = [];
  for (;;) {
    const page = await list(all.at(-1));
    all.push(...page);
    if (page.length < pageRows) return all;
  }
};

test('a page of instances is one indexed read, the first and those after it', async () => {
  await assertIndexedRead('instances_shown', (on) => listInstancesAfter(on, request()));
  const [middle] = await db.query<InstanceRow>(
    `select * from instances where terminated_at is not null and faded_at is null order by created_at offset 5000 limit 1`,
  );
  await assertIndexedRead('instances_shown', (on) => listInstancesAfter(on, request({ after: middle })));
});

test('a page of those that run is one indexed read that passes none of those that ended', async () => {
  const running = { endedSince: undefined, only: { states: ['running'] } };
  await assertIndexedRead('instances_live', (on) => listInstancesAfter(on, request(running)));
  const [first] = await listInstancesAfter(db, request({ ...running, limit: 1 }));
  await assertIndexedRead('instances_live', (on) =>
    listInstancesAfter(on, request({ ...running, after: first })),
  );
});

test('a page of volumes or of tags is one indexed read', async () => {
  await assertIndexedRead('instances_volume', (on) =>
    listVolumesAfter(on, { accountId: account, limit: pageRows }),
  );
  await assertIndexedRead('instances_tagged', (on) => listTaggedInstances(on, from));
  await assertIndexedRead('instances_tagged', (on) =>
    listTaggedInstances(on, { ...from, from: 'i-00100000000003a98' }),
  );
  await assertIndexedRead('instances_volume', (on) => listTaggedVolumes(on, from));
});

test('no list reads user data, which none shows', async () => {
  const lists = [
    await listInstancesAfter(db, { accountId: account, endedSince: undefined, after: undefined, limit: 5 }),
    await listVolumesAfter(db, { accountId: account, limit: 5 }),
  ];
  for (const rows of lists) {
    assert.equal(rows.length, 5);
    assert.deepEqual(
      rows.filter(({ spec }) => spec.userData !== undefined),
      [],
    );
  }
});

test('pages together show each instance once, and none that ended over an hour ago', async () => {
  const shown = await pages((after) => listInstancesAfter(db, request({ after })));
  assert.equal(shown.length, endedLately + live);
  assert.equal(new Set(shown.map(({ id }) => id)).size, shown.length);
  const running = await pages((after) => listInstancesAfter(db, request({ after, endedSince: undefined })));
  assert.equal(running.length, live);
  assert.ok(running.every(({ state }) => state === 'running'));
});

test('what is narrowed by state, id, network, reservation and tag is what has these values', async () => {
  const [one] = await listInstancesAfter(db, request({ only: { states: ['running'] }, limit: 1 }));
  assert.ok(one !== undefined);
  const found = async (only: ListRequest['only']) =>
    (await listInstancesAfter(db, request({ ...(only === undefined ? {} : { only }), limit: 30_000 })))
      .length;
  assert.equal(await found({ ids: [one.id] }), 1);
  assert.equal(await found({ ids: [one.id], states: ['stopped'] }), 0);
  assert.equal(await found({ reservationIds: [one.reservation_id, 'r-none'] }), 1);
  assert.equal(await found({ vpcIds: ['vpc-none'] }), 0);
  assert.equal(await found({ states: [] }), 0, 'a filter that nothing can match');
  assert.equal(await found({ tags: [{ key: 'Name', values: ['y', 'x'] }], states: ['running'] }), live);
  assert.equal(await found({ tags: [{ key: 'Name', values: ['y'] }] }), 0);
});

test('those that fade keep their rows, and those that ended lately stay', async () => {
  const [counts] = await db.query<{ faded: number; all: number }>(
    'select count(faded_at)::int as faded, count(*)::int as all from instances',
  );
  assert.deepEqual(counts, { faded: endedLongAgo, all: endedLongAgo + endedLately + live });
  await fadeAll(db, new Date(Date.now() - hour));
  const [again] = await db.query<{ n: number }>('select count(faded_at)::int as n from instances');
  assert.equal(again?.n, endedLongAgo);
});
