/** The fault matrix of what waits: sleeps, signals and children × a crash at every point, and releases that take turns in between. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { insertSignal } from '#cell/store/workflow-waits.ts';
import { defineWorkflow } from '#cell/workflow/definition.ts';
import { sleepFor, waitForSignal } from '#cell/workflow/wait.ts';
import { until } from '../support/harness.ts';
import {
  leaveEffect,
  type ModelDefinition,
  type ModelProcessor,
  type ModelServices,
  ModelStore,
  withChildren,
} from '../support/model-engine.ts';
import { OrderedFaults } from '../support/ordered-faults.ts';

let store: ModelStore;

before(async () => {
  store = await ModelStore.open();
});
after(() => store.close());

interface Results {
  sleep: null;
  hear: number;
  family: number;
  end: null;
}
const none = { none: 'a model' } as const;

const child = defineWorkflow<unknown, { only: null }, ModelServices>({
  kind: 'child',
  steps: [{ name: 'only', why: 'ends', do: async () => null, commit: leaveEffect('only'), undo: none }],
});

/** The next release of the model has a step more, in front of one that waits. */
const modelOf = (release: 'last' | 'next'): ModelDefinition => {
  const definition = defineWorkflow<unknown, Results, ModelServices>({
    kind: 'model',
    steps: [
      {
        name: 'sleep',
        why: 'a timer',
        do: async ({ waitedMs }) => (waitedMs >= 30 ? null : sleepFor(30)),
        commit: leaveEffect('sleep'),
        undo: none,
      },
      {
        name: 'hear',
        why: 'a signal',
        do: async ({ signals }) =>
          signals('go').length > 0 ? signals('go').length : waitForSignal(['go'], 60_000),
        commit: leaveEffect('hear'),
        undo: none,
      },
      {
        name: 'family',
        why: 'children',
        do: withChildren(['x', 'y', 'z']),
        commit: leaveEffect('family'),
        undo: none,
      },
      { name: 'end', why: 'a commit', do: async () => null, commit: leaveEffect('end'), undo: none },
    ],
  });
  if (release === 'last') return definition;
  const extra = { name: 'extra', why: 'new', do: async () => null, commit: leaveEffect('extra'), undo: none };
  const [first, ...rest] = definition.steps;
  return { ...definition, steps: first === undefined ? [] : [first, extra, ...rest] };
};

const last = [modelOf('last'), child];
const next = [modelOf('next'), child];
const commits = ['sleep', 'hear', 'family', 'end'];
const points = ['before', 'after', 'park.before', 'park.after', 'committed'];

const assertOnce = async (id: string, withExtra: boolean): Promise<void> => {
  const row = await store.reaches(id, 'done');
  const effects = await store.effects(id);
  assert.deepEqual(
    effects.filter((what) => what !== 'extra'),
    commits,
  );
  assert.ok(effects.filter((what) => what === 'extra').length <= (withExtra ? 1 : 0));
  assert.equal(row.results.hear, 1);
  const children = await store.db.query<{ id: string }>('select id from workflows where parent_id = $1', [
    id,
  ]);
  assert.equal(children.length, 3);
  for (const each of children) assert.deepEqual(await store.effects(each.id), ['only']);
};

/** The faulty processor is alone until its fault has happened, so that nobody else goes past the point. */
const runCase = async (point: string, definitions: readonly ModelDefinition[]): Promise<void> => {
  const faults = new OrderedFaults();
  const faulty = await store.processor({ definitions: last, faults });
  faults.crashAt(point, () => faulty.kill());
  const id = await store.begin(faulty, { kind: 'model' });
  const go = { workflowId: id, id: 'go', name: 'go' };
  await store.db.transaction((tx) => insertSignal(tx, go, 10));
  await until(`${point} is reached`, () => faults.reached.has(point));
  const survivor = await store.processor({ definitions });
  assert.ok(['repeated', 'ended'].includes(await survivor.engine.signal(go)));
  await assertOnce(id, definitions === next);
  await survivor.stop();
};

for (const [what, definitions] of [
  ['the same release', last],
  ['the next release', next],
] as const)
  test(`waits, signals and children × a crash at every point, finished by ${what}`, async (t) => {
    for (const step of commits)
      for (const point of points) {
        if (step === 'end' && point.startsWith('park')) continue;
        await t.test(`${step} ${point}`, () => runCase(`model.${step}.${point}`, definitions));
      }
  });

test('two releases that take turns, each dying after a while, end it once', async () => {
  const id = await store.begin(await store.processor({ definitions: last }), { kind: 'model' });
  let turn = 0;
  let present: ModelProcessor | undefined;
  const began = performance.now();
  while (performance.now() - began < 600) {
    present?.kill();
    present = await store.processor({ definitions: turn++ % 2 === 0 ? next : last });
    await until('it was looked at', () => (present?.engine.looks ?? 0) > 0);
  }
  await present?.engine.signal({ workflowId: id, id: 'go', name: 'go' });
  await assertOnce(id, true);
});
