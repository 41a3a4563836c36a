/** The clock of the store's machine is stepped back by an hour: what a dead processor left is taken up all the same, at once. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { defineWorkflow } from '#cell/workflow/definition.ts';
import { leaveEffect, type ModelServices, ModelStore } from '../support/model-engine.ts';

let store: ModelStore;
before(async () => {
  store = await ModelStore.open();
});
after(() => store.close());

/** As the rows look after the step: they are of an hour that has not come yet. */
const stepBack = async (): Promise<void> => {
  const hour = "interval '1 hour'";
  await store.db.query(
    `update processors set lease_until = lease_until + ${hour}, renewed_at = renewed_at + ${hour}, steady_since = steady_since + ${hour}`,
  );
};

test('what a processor left that died before the step, or after it, goes to one that lives', async () => {
  const model = defineWorkflow<{ doomed: string }, { first: null }, ModelServices>({
    kind: 'model',
    steps: [
      {
        name: 'first',
        why: 'its first processor dies in it',
        // The other one that dies may take it over as well, and does it.
        do: ({ services, input }) =>
          input.doomed === services.processor ? new Promise(() => undefined) : Promise.resolve(null),
        commit: leaveEffect('first'),
        undo: { none: 'a model' },
      },
    ],
  });
  const [lives, before, later] = await Promise.all(
    [1, 2, 3].map(() => store.processor({ definitions: [model] })),
  );
  assert.ok(lives && before && later);
  const beginOn = (first: typeof before): Promise<string> =>
    store.begin(first, { kind: 'model', input: { doomed: first.engine.owner } });
  const left = await beginOn(before);
  const leftLater = await beginOn(later);
  before.kill();
  await stepBack();
  await store.reaches(left, 'done');
  assert.equal((await store.row(leftLater)).owner, later.engine.owner, 'who renews keeps what it has');
  later.kill();
  await store.reaches(leftLater, 'done');
  for (const id of [left, leftLater]) assert.deepEqual(await store.effects(id), ['first']);
});
