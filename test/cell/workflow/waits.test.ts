/** Waiting workflows are rows: timers, signals, children, cancellation, alarms, over processors that die. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { defineWorkflow } from '#cell/workflow/definition.ts';
import { awaitChildren, sleepFor, sleepUntil, startChildren, waitForSignal } from '#cell/workflow/wait.ts';
import { until } from '../support/harness.ts';
import { leaveEffect, type ModelProcessor, type ModelServices, ModelStore } from '../support/model-engine.ts';

let store: ModelStore;
let one: ModelProcessor;

const none = { none: 'a model' } as const;

const napping = defineWorkflow<{ readonly ms: number }, { nap: number; end: null }, ModelServices>({
  kind: 'napping',
  steps: [
    {
      name: 'nap',
      why: 'waits by the clock',
      do: async ({ waitedMs, input }) => (waitedMs >= input.ms ? waitedMs : sleepFor(input.ms)),
      commit: leaveEffect('nap'),
      undo: none,
    },
    { name: 'end', why: 'it goes on', do: async () => null, commit: leaveEffect('end'), undo: none },
  ],
});

const listening = defineWorkflow<
  { readonly withinMs: number },
  { before: null; listen: string; end: null },
  ModelServices
>({
  kind: 'listening',
  steps: [
    {
      name: 'before',
      why: 'can be undone',
      do: async () => null,
      undo: async ({ services, workflowId }) => {
        await services.db.query("insert into effects (workflow_id, what) values ($1, 'before.undo')", [
          workflowId,
        ]);
      },
    },
    {
      name: 'listen',
      why: 'waits for a word or its deadline',
      do: async ({ signals, timedOut, input }) => {
        const [go] = signals('go');
        if (go !== undefined) return `heard ${JSON.stringify(go.payload)}`;
        return timedOut ? 'nothing' : waitForSignal(['go'], input.withinMs);
      },
      undo: none,
    },
    { name: 'end', why: 'it goes on', do: async () => null, commit: leaveEffect('end'), undo: none },
  ],
});

const parent = defineWorkflow<
  { readonly count: number; readonly withinMs: number },
  { start: readonly string[]; end: null },
  ModelServices
>({
  kind: 'parent',
  steps: [
    {
      name: 'start',
      why: 'starts others and awaits them',
      do: async ({ children, timedOut, input }) => {
        const begun = await children();
        if (begun.length === 0) {
          const child = (at: number) => ({
            key: `c${at}`,
            kind: 'napping',
            subjectKind: 'thing',
            subject: `t${at}`,
            input: { ms: 30 },
          });
          return startChildren(
            Array.from({ length: input.count }, (_, at) => child(at)),
            input.withinMs,
          );
        }
        if (begun.every((each) => each.ended)) return begun.map((each) => `${each.key} ${each.state}`);
        return timedOut ? ['too late'] : awaitChildren(input.withinMs);
      },
      undo: none,
    },
    { name: 'end', why: 'it goes on', do: async () => null, commit: leaveEffect('end'), undo: none },
  ],
});

const definitions = [napping, listening, parent];

before(async () => {
  store = await ModelStore.open();
  one = await store.processor({ definitions });
});
after(() => store.close());

test('a sleep is a row, and goes on when it is due', async () => {
  const id = await store.begin(one, { kind: 'napping', input: { ms: 400 } });
  const parked = await store.reaches(id, 'waiting');
  assert.equal(parked.step, 'nap');
  const row = await store.reaches(id, 'done');
  assert.ok(Number(row.results.nap) >= 400);
  assert.deepEqual(await store.effects(id), ['nap', 'end']);
});

test('a sleep outlives its processor, and is ended by another', async () => {
  const dying = await store.processor({ definitions });
  const id = await store.begin(dying, { kind: 'napping', input: { ms: 300 } });
  await store.reaches(id, 'waiting');
  dying.kill();
  await store.reaches(id, 'done');
  assert.deepEqual(await store.effects(id), ['nap', 'end']);
});

test('a time of the wall clock is waited for', () => {
  const time = new Date(Date.UTC(2030, 0, 1));
  assert.equal(sleepUntil(time).terms.wakeAt, time);
  assert.throws(() => sleepFor(Number.NaN), RangeError);
  assert.throws(() => sleepFor(400 * 24 * 3_600_000), RangeError);
});

test('a signal wakes at once, whether it comes before the wait or in it; the same id is one signal', async () => {
  const id = await store.begin(one, { kind: 'listening', input: { withinMs: 60_000 } });
  await store.reaches(id, 'waiting');
  // Its row says so a moment before its processor knows.
  await until('it holds no slot', () => one.engine.load === 0);
  assert.equal((await store.row(id)).state, 'waiting');
  const signal = { workflowId: id, id: 'once', name: 'go', payload: { n: 1 } };
  const unheard = { ...signal, id: 'other', name: 'unheard' };
  assert.deepEqual(
    [await one.engine.signal(unheard), await one.engine.signal(unheard), await one.engine.signal(signal)],
    ['sent', 'repeated', 'sent'],
  );
  // It wakes at once, so the workflow may have ended by now.
  assert.ok(['repeated', 'ended'].includes(await one.engine.signal(signal)));
  const row = await store.reaches(id, 'done');
  assert.equal(row.results.listen, 'heard {"n":1}');
  assert.deepEqual(row.results['listen.signals'], [{ id: 'once', name: 'go', payload: { n: 1 } }]);
  assert.equal(await one.engine.signal({ ...signal, id: 'late' }), 'ended');
  assert.equal(await one.engine.signal({ ...signal, workflowId: 'wf-none' }), 'absent');
});

test('a wait for a signal ends at its deadline', async () => {
  const id = await store.begin(one, { kind: 'listening', input: { withinMs: 150 } });
  assert.equal((await store.reaches(id, 'done')).results.listen, 'nothing');
});

test('a cancellation ends a wait and undoes what was done', async () => {
  const id = await store.begin(one, { kind: 'listening', input: { withinMs: 60_000 } });
  await store.reaches(id, 'waiting');
  const { requestCancel } = await import('#cell/store/workflows.ts');
  await requestCancel(store.db, id);
  one.engine.cancel(id);
  const row = await store.reaches(id, 'undone');
  assert.equal(row.error?.code, 'Cancelled');
  assert.deepEqual(await store.effects(id), ['before.undo']);
});

test('children are started once, and their parent waits for all of them or its deadline', async () => {
  const id = await store.begin(one, { kind: 'parent', input: { count: 5, withinMs: 60_000 } });
  const row = await store.reaches(id, 'done');
  assert.deepEqual(row.results.start, ['c0 done', 'c1 done', 'c2 done', 'c3 done', 'c4 done']);
  const late = await store.begin(one, { kind: 'parent', input: { count: 2, withinMs: 1 } });
  const early = await store.reaches(late, 'done');
  assert.ok(Array.isArray(early.results.start));
  const children = await store.db.query('select 1 from workflows where parent_id = any($1)', [[id, late]]);
  assert.equal(children.length, 7);
});

test('children end and their parent is woken on whichever processor lives', async () => {
  const dying = await store.processor({ definitions });
  const id = await store.begin(dying, { kind: 'parent', input: { count: 8, withinMs: 60_000 } });
  await store.reaches(id, 'waiting', 'done');
  dying.kill();
  const row = await store.reaches(id, 'done');
  assert.equal((row.results.start as string[]).length, 8);
  for (const child of await store.db.query<{ id: string }>('select id from workflows where parent_id = $1', [
    id,
  ]))
    assert.deepEqual(await store.effects(child.id), ['nap', 'end']);
});

test('a workflow that stands for longer than it should is told to an operator, once, by one processor', async () => {
  const two = await store.processor({ definitions });
  const id = await store.begin(one, { kind: 'listening', input: { withinMs: 60_000 } });
  await store.reaches(id, 'waiting');
  await one.engine.alarm();
  assert.ok((await store.row(id)).alarmed_at === null, 'a wait that was asked for is no alarm');
  await store.db.query("update workflows set alarm_at = now() - interval '1 s' where id = $1", [id]);
  for (const processor of [one, two, one, two]) await processor.engine.alarm();
  const told = [...one.alarms, ...two.alarms].filter((each) => each.workflow === id);
  assert.equal(told.length, 1);
  assert.equal(told[0]?.alarm, 'workflow-overdue');
  assert.ok((await store.row(id)).alarmed_at !== null);
  await one.engine.signal({ workflowId: id, id: 'x', name: 'go' });
  await store.reaches(id, 'done');
  await until('nothing runs', () => one.engine.load === 0);
});
