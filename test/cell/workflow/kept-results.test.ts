/** What of a step's result is written: what it keeps, whether the workflow ends or waits. The execution itself has all of it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { defineWorkflow } from '#cell/workflow/definition.ts';
import { PandoError } from '#contracts/errors.ts';
import { type ModelServices, ModelStore } from '../support/model-engine.ts';

interface Made {
  readonly id: string;
  readonly shown?: string;
}
type Results = { make: Made; use: string };

let store: ModelStore;
let isAway = false;
const seen: (string | undefined)[] = [];

const definition = defineWorkflow<unknown, Results, ModelServices>({
  kind: 'kept',
  steps: [
    {
      name: 'make',
      why: 'has more to tell than is kept',
      do: async () => ({ id: 'x-1', shown: 'much' }),
      keeps: ({ id }) => ({ id }),
      undo: { none: 'a model' },
    },
    {
      name: 'use',
      why: 'sees what there is',
      retry: { unreachableMs: 60_000 },
      do: async ({ results }) => {
        seen.push(results.make?.shown);
        if (isAway) throw new PandoError('HostUnreachable', 'ordered');
        return 'used';
      },
      undo: { none: 'a model' },
    },
  ],
});

before(async () => {
  store = await ModelStore.open();
});
after(() => store.close());

test('the row has what a step keeps, the steps after it and who asks for its result have all', async () => {
  const one = await store.processor({ definitions: [definition] });
  isAway = false;
  seen.length = 0;
  const id = await store.begin(one, { kind: 'kept' });
  const asked = one.engine.stepResult(id, 'make', 10_000);
  const row = await store.reaches(id, 'done');
  assert.deepEqual(row.results, { make: { id: 'x-1' }, use: 'used' });
  assert.deepEqual(seen, ['much']);
  // undefined: it had ended before it was asked.
  const result = await asked;
  assert.ok(result === undefined || JSON.stringify(result) === JSON.stringify({ id: 'x-1', shown: 'much' }));
  await one.stop();
});

test('an execution that goes on with the row does without the rest', async () => {
  const one = await store.processor({ definitions: [definition] });
  isAway = true;
  seen.length = 0;
  const id = await store.begin(one, { kind: 'kept' });
  const parked = await store.reaches(id, 'waiting');
  assert.deepEqual(parked.results, { make: { id: 'x-1' } });
  isAway = false;
  const row = await store.reaches(id, 'done');
  assert.deepEqual(row.results, { make: { id: 'x-1' }, use: 'used' });
  assert.deepEqual([seen[0], seen.at(-1)], ['much', undefined]);
  await one.stop();
});
