/** The end of a workflow for its instance: the state that it leaves, and what was asked for meanwhile. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Kysely, sql } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import { migrate } from '#base/postgres/migrate.ts';
import type { CellServices } from '#cell/services.ts';
import type { InstanceRow } from '#cell/store/instances.ts';
import { cellSchema } from '#cell/store/schema.ts';
import { type CellSchema, type Database, databaseOver } from '#cell/store/sql.ts';
import { settle } from '#cell/workflows/steps/settle.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';

let database: TestDatabase;
let handle: Kysely<CellSchema>;
let db: Database;
let made = 0;

before(async () => {
  database = await startTestDatabase();
  handle = openDatabase<CellSchema>({ url: database.url, poolMax: 3 });
  await migrate(handle, cellSchema);
  db = databaseOver(handle);
});
after(async () => {
  await handle.destroy();
  await database.stop();
});

/** An instance that a workflow owns; answers its id. */
const owned = async (intent: object | null, workflowId = 'wf-own'): Promise<string> => {
  const id = `i-001${String(++made).padStart(14, '0')}`;
  await sql`insert into instances (id, account_id, reservation_id, launch_index, state, vpc_id, held, place_epoch, vcpus_milli,
      memory_mib, disk_mib, created_at, launch_time, tags, volume_tags, spec,
      workflow_id, locked, intent)
    values (${id}, '111122223333', 'r-1', 0, 'pending', 'vpc-1', 'none', 2, 100, 64, 256, now(), now(), '[]', '[]', '{}', ${workflowId}, true,
      ${intent === null ? null : JSON.stringify(intent)}::jsonb)`.execute(handle);
  return id;
};

const services = { identity: { cellNumber: 1 } } as CellServices;
const end = async (subject: string, state: 'running' | 'stopped' | 'terminated', workflowId = 'wf-own') => {
  const followers = await db.transaction((tx) => settle(tx, { services, subject, workflowId }, state));
  const [row] = await db.query<InstanceRow>('select * from instances where id = $1', [subject]);
  assert.ok(row);
  return { followers, row };
};

test('where nobody has asked for more, its row is free in the state that was left', async () => {
  for (const state of ['running', 'stopped', 'terminated'] as const) {
    const { followers, row } = await end(await owned(null), state);
    assert.deepEqual(followers, []);
    assert.deepEqual(
      [row.state, row.workflow_id, row.locked, row.intent, row.version],
      [state, null, false, null, 2],
    );
  }
});

test('what was asked for meanwhile follows in the same transaction, under the next epoch', async () => {
  for (const [kind, shown] of [
    ['terminate', 'shutting-down'],
    ['stop', 'stopping'],
  ] as const) {
    // prettier-ignore
    const { followers, row } = await end(await owned({ kind, force: false }), 'running');
    assert.deepEqual(
      followers.map((each) => [each.kind, each.subject]),
      [[kind, row.id]],
    ); // prettier-ignore
    assert.deepEqual([row.state, row.workflow_id, row.intent], [shown, followers[0]?.id, null]);
    assert.ok(row.place_epoch > 2);
  }
});

test('what is so already is not done again: a stop of what has stopped, anything of what is terminated', async () => {
  for (const [kind, state] of [
    ['stop', 'stopped'],
    ['stop', 'terminated'],
    ['terminate', 'terminated'],
  ] as const) {
    // prettier-ignore
    const { followers, row } = await end(await owned({ kind, force: false }), state);
    assert.deepEqual([followers.length, row.state, row.workflow_id, row.intent], [0, state, null, null]);
  }
});

test('an instance that another workflow owns, or that is gone, is left alone', async () => {
  for (const intent of [null, { kind: 'terminate', force: false }]) {
    const { followers, row } = await end(await owned(intent, 'wf-other'), 'running');
    assert.deepEqual(
      [followers.length, row.state, row.workflow_id, row.version],
      [0, 'pending', 'wf-other', 1],
    );
    assert.deepEqual(row.intent, intent);
  }
  assert.deepEqual(
    await db.transaction((tx) =>
      settle(tx, { services, subject: 'i-gone', workflowId: 'wf-own' }, 'running'),
    ),
    [],
  );
});

test('of a user who asks at the very end, either the intent is carried out or the state is seen: never neither', async () => {
  for (let times = 0; times < 20; times++) {
    const id = await owned(null);
    const asked = db.transaction(async (tx) => {
      const [row] = await tx.query<InstanceRow>('select * from instances where id = $1 for update', [id]);
      if (row?.workflow_id === null) return 'free' as const;
      await tx.query('update instances set intent = $2 where id = $1', [
        id,
        { kind: 'terminate', force: false },
      ]);
      return 'noted' as const;
    });
    const [how, { followers }] = await Promise.all([asked, end(id, 'running')]);
    assert.equal(followers.length, how === 'noted' ? 1 : 0);
  }
});
