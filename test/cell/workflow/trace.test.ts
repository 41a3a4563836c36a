/** A workflow goes on under the trace of the request that began it: after waits, at another processor, in its children. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { currentTrace, traceIdOf, traceOf, withTrace } from '#base/trace.ts';
import { defineWorkflow } from '#cell/workflow/definition.ts';
import { awaitChildren, startChildren, waitForSignal } from '#cell/workflow/wait.ts';
import { type ModelProcessor, type ModelServices, ModelStore } from '../support/model-engine.ts';

const none = { none: 'a model' } as const;
const seenId = (): string => currentTrace()?.requestId ?? 'none';

const child = defineWorkflow<unknown, { only: string }, ModelServices>({
  kind: 'child',
  steps: [{ name: 'only', why: 'sees its trace', do: async () => seenId(), undo: none }],
});

const parent = defineWorkflow<unknown, { first: string; hear: string; family: string }, ModelServices>({
  kind: 'family',
  steps: [
    {
      name: 'first',
      why: 'sees its trace',
      do: async () => seenId(),
      commit: async () => undefined,
      undo: none,
    },
    {
      name: 'hear',
      why: 'waits as a row',
      do: async ({ signals, services }) =>
        signals('go').length > 0 ? `${services.processor} ${seenId()}` : waitForSignal(['go'], 60_000),
      commit: async () => undefined,
      undo: none,
    },
    {
      name: 'family',
      why: 'has a child',
      do: async ({ children }) => {
        const [begun] = await children();
        if (begun === undefined)
          return startChildren(
            [{ key: 'c', kind: 'child', subjectKind: 'thing', subject: 't', input: {} }],
            60_000,
          );
        return begun.ended ? String(begun.results.only) : awaitChildren(60_000);
      },
      undo: none,
    },
  ],
});

let store: ModelStore;
let one: ModelProcessor;
const definitions = [parent, child];

before(async () => {
  store = await ModelStore.open();
  one = await store.processor({ definitions });
});
after(() => store.close());

test('through a wait, a processor that dies, and a child', async () => {
  const trace = traceOf('request-1', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01');
  const id = await withTrace(trace, () => store.begin(one, { kind: 'family' }));
  const waiting = await store.reaches(id, 'waiting');
  assert.equal(waiting.results.first, 'request-1');
  one.kill();
  const two = await store.processor({ definitions });
  // Sent under another request: the row's own counts.
  await withTrace(traceOf('request-2'), () => two.engine.signal({ workflowId: id, id: 's', name: 'go' }));
  const done = await store.reaches(id, 'done');
  assert.equal(done.results.hear, `${two.engine.owner} request-1`);
  assert.equal(done.results.family, 'request-1');
  assert.equal(done.trace?.requestId, 'request-1');
  assert.ok(done.trace !== null && traceIdOf(done.trace) === traceIdOf(trace));
  one = two;
});

test('a workflow that no request began, or that the last release made, runs under none', async () => {
  const id = await store.begin(one, { kind: 'child' });
  assert.equal((await store.reaches(id, 'done')).results.only, 'none');
  assert.equal((await store.row(id)).trace, null);
});

test('a queued workflow runs under its own trace when the slot of another comes free', async () => {
  const narrow = await store.processor({ definitions, concurrencyMax: 1 });
  const ids = ['a', 'b', 'c'].map((name) =>
    withTrace(traceOf(name), () => store.begin(narrow, { kind: 'child' })),
  );
  const rows = await Promise.all((await Promise.all(ids)).map((id) => store.reaches(id, 'done')));
  assert.deepEqual(
    rows.map((row) => row.results.only),
    ['a', 'b', 'c'],
  );
});
