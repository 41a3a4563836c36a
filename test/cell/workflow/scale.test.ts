/** One hundred thousand waiting workflows cost rows: no slot, no memory of a processor, and a look at them costs what it cost before. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { cellContents } from '#cell/contents.ts';
import { countByKind, countByState, listWorkflows } from '#cell/store/workflow-listing.ts';
import { takeOverdue, wakeDue } from '#cell/store/workflow-waits.ts';
import { takeOver } from '#cell/store/workflows.ts';
import { defineWorkflow } from '#cell/workflow/definition.ts';
import { waitForSignal } from '#cell/workflow/wait.ts';
import { until } from '../support/harness.ts';
import { type ModelServices, ModelStore } from '../support/model-engine.ts';

const waitingCount = 100_000;
const endedCount = 20_000;
let store: ModelStore;

before(async () => {
  store = await ModelStore.open();
});
after(() => store.close());

const listening = defineWorkflow<unknown, { listen: null }, ModelServices>({
  kind: 'listening',
  steps: [
    {
      name: 'listen',
      why: 'waits for a word',
      do: async ({ signals }) => (signals().length > 0 ? null : waitForSignal(['go'], 3_600_000)),
      undo: { none: 'a model' },
    },
  ],
});

/** Blocks of the store that the statements of one look touch. */
const blocksOf = async (work: string, values: readonly unknown[]): Promise<number> => {
  const rows = await store.db.query<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(
    `explain (analyze, buffers, format json) ${work}`,
    values,
  );
  const plan = rows[0]?.['QUERY PLAN'][0].Plan ?? {};
  return (plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0);
};

/** A store that answers nothing, and counts what its statements touch. */
const counter = () => {
  const counted = {
    blocks: 0,
    query: async <Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> => {
      counted.blocks += await blocksOf(text, values);
      return [];
    },
  };
  return counted;
};

/** What each periodic look of a processor touches: due ones, dead processors' work, overdue ones. */
const looks = async (): Promise<number> => {
  const counting = counter();
  const runnable = ['listening@1'];
  await wakeDue(counting, { owner: 'p', runnable, reached: ['host/h-1', 'host/h-2'], limit: 100 });
  await takeOver(counting, 'p', { runningHere: [], runnable, limit: 100, leaseTtlMs: 3_000 });
  await takeOverdue(counting, 60_000, 50);
  return counting.blocks;
};

/** What is counted every few seconds, for the region and for metrics, and what an operator's list reads. */
const counts = async (): Promise<number> => {
  const counting = counter();
  const limits = { hosts: 1, vms: 1 };
  await cellContents({ db: counting, limits, identity: { cellId: 'cell-a' } });
  await countByState(counting);
  await countByKind(counting);
  await listWorkflows(counting, { states: ['running', 'undoing', 'waiting', 'stuck'], limit: 200 });
  return counting.blocks;
};

test(`${endedCount} ended workflows cost those nothing that count what is under way`, async () => {
  await store.db.query('analyze workflows');
  const few = await counts();
  await store.db.query(
    `insert into workflows (id, kind, subject, input, state, owner, results)
     select 'wf-ended-' || n, 'listening', 's' || n, '{}', 'done', 'gone', jsonb_build_object('text', repeat('x', 500))
     from generate_series(1, $1) n`,
    [endedCount],
  );
  await store.db.query('vacuum analyze workflows');
  const many = await counts();
  await store.db.query("delete from workflows where state = 'done'");
  assert.ok(many <= few + 40, `the counts touch ${many} blocks, ${few} when nothing had ended`);
});

test(`${waitingCount} waiting workflows cost nothing but rows`, async () => {
  const one = await store.processor({ definitions: [listening] });
  const few = await looks();
  await store.db.query(
    `insert into workflows (id, kind, subject, input, state, resume_state, step, step_cursor, owner, wake_at, signal_names, alarm_at, waits_on)
     select 'wf-' || n, 'listening', 's' || n, '{}', 'waiting', 'running', 'listen', 0, 'gone', now() + interval '1 hour', '{go}',
       now() + interval '2 hours', case when n % 10 = 0 then 'host/away-' || n end
     from generate_series(1, $1) n`,
    [waitingCount],
  );
  await store.db.query('analyze workflows');
  const many = await looks();
  assert.ok(many <= few + 40, `a look touches ${many} blocks, ${few} when nothing waited`);
  assert.equal(one.engine.load, 0);
  global.gc?.();
  const heapBefore = process.memoryUsage().heapUsed;
  const looksBefore = one.engine.looks;
  const ids = Array.from({ length: 20 }, (_, at) => `wf-${1 + at * 4_999}`);
  for (const id of ids) await one.engine.signal({ workflowId: id, id: '1', name: 'go' });
  for (const id of ids) await store.reaches(id, 'done');
  await until('no slot is taken', () => one.engine.load === 0);
  assert.ok(one.engine.looks > looksBefore);
  const grownMib = (process.memoryUsage().heapUsed - heapBefore) / 2 ** 20;
  assert.ok(grownMib < 50, `the heap grew by ${grownMib} MiB`);
  const left = await store.db.query<{ n: number }>(
    "select count(*)::int as n from workflows where state = 'waiting'",
  );
  assert.equal(left[0]?.n, waitingCount - ids.length);
});

test('all of them due at once are taken in batches, never more than the slots can soon run', async () => {
  const one = await store.processor({ definitions: [listening], concurrencyMax: 16 });
  await store.db.query(
    "update workflows set wake_at = now() where id in (select id from workflows where state = 'waiting' limit 2000)",
  );
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, one.engine.load);
  }, 5);
  one.engine.hint();
  const due = async (): Promise<number> =>
    (
      await store.db.query<{ n: number }>(
        "select count(*)::int as n from workflows where state = 'waiting' and wake_at <= now()",
      )
    )[0]?.n ?? 0;
  const end = Date.now() + 60_000;
  while ((await due()) > 0 && Date.now() < end);
  clearInterval(timer);
  assert.equal(await due(), 0);
  assert.ok(most <= 64, `${most} at once`);
});
