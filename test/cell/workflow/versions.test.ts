/** Two releases over one database: rows are read by names of steps, and each release runs only what it has. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { defineWorkflow } from '#cell/workflow/definition.ts';
import { StepTable } from '#cell/workflow/step-table.ts';
import { waitForSignal } from '#cell/workflow/wait.ts';
import { cursorOrders } from '#cell/workflows/cursor-orders.ts';
import { workflowDefinitions } from '#cell/workflows/index.ts';
import { versionOf } from '#cell/workflows/versions.ts';
import { PandoError } from '#contracts/errors.ts';
import { newCellId } from '#contracts/ids.ts';
import {
  leaveEffect,
  type ModelDefinition,
  type ModelServices,
  ModelStore,
} from '../support/model-engine.ts';

let store: ModelStore;

before(async () => {
  store = await ModelStore.open();
});
after(() => store.close());

type Names = Record<string, null>;

/** A table whose steps leave their names; `gate` waits for a signal first. */
const tableOf = (
  names: readonly string[],
  more: { version?: number; cursorOrder?: readonly string[] } = {},
): ModelDefinition =>
  defineWorkflow<unknown, Names, ModelServices>({
    kind: 'shape',
    ...more,
    steps: names.map((name) => ({
      name,
      why: 'a model',
      do: async ({ signals }) =>
        name !== 'gate' || signals('go').length > 0 ? null : waitForSignal(['go'], 60_000),
      commit: leaveEffect(name),
      undo: async ({ services, workflowId }) => {
        await services.db.query('insert into effects (workflow_id, what) values ($1, $2)', [
          workflowId,
          `${name}.undo`,
        ]);
      },
    })),
  });

const old = ['a', 'gate', 'b', 'c'];

test('a workflow of the last release is finished by a table that has grown a step and moved others', async () => {
  const before = await store.processor({ definitions: [tableOf(old)] });
  const id = await store.begin(before, { kind: 'shape' });
  await store.reaches(id, 'waiting');
  before.kill();
  const after = await store.processor({ definitions: [tableOf(['new', 'a', 'gate', 'between', 'c', 'b'])] });
  await after.engine.signal({ workflowId: id, id: '1', name: 'go' });
  await store.reaches(id, 'done');
  assert.deepEqual(await store.effects(id), ['a', 'gate', 'between', 'c', 'b']);
  await after.stop();
});

test('each release takes only versions that it has, and leaves the others to one that can: both ways', async () => {
  const [first, second] = [tableOf(old), tableOf(['a', 'gate', 'z'], { version: 2 })];
  const last = await store.processor({ definitions: [first] });
  const ofLast = await store.begin(last, { kind: 'shape' });
  await store.reaches(ofLast, 'waiting');
  const onlyNew = await store.processor({ definitions: [second] });
  const ofNew = await store.begin(onlyNew, { kind: 'shape', version: 2 });
  await store.reaches(ofNew, 'waiting');
  for (const id of [ofLast, ofNew]) await onlyNew.engine.signal({ workflowId: id, id: '1', name: 'go' });
  await store.reaches(ofNew, 'done');
  await store.reaches(ofLast, 'done');
  assert.deepEqual(await store.effects(ofNew), ['a', 'gate', 'z']);
  assert.deepEqual(await store.effects(ofLast), ['a', 'gate', 'b', 'c']);
  // A processor of one release dies with both kinds in its hands: each is finished where its table is.
  const left = [];
  for (const version of [1, 2]) {
    const id = newCellId('workflow', 1);
    await store.db.query(
      `insert into workflows (id, kind, subject, input, state, owner, version) values ($1, 'shape', 's', '{}', 'running', 'dead', $2)`,
      [id, version],
    );
    left.push(id);
  }
  for (const id of left) await store.reaches(id, 'waiting');
  await onlyNew.stop();
  const [one = '', two = ''] = left;
  for (const id of left) await last.engine.signal({ workflowId: id, id: '1', name: 'go' });
  await store.reaches(one, 'done');
  assert.equal((await store.row(two)).state, 'waiting', 'nobody is left who has version 2');
  const both = await store.processor({ definitions: [first, second] });
  await store.reaches(two, 'done');
  await both.stop();
  await last.stop();
});

test('a row with the integer cursor of the first release is resumed at the step that it meant', async () => {
  const grown = tableOf(['new', 'a', 'b', 'more', 'c'], { cursorOrder: ['a', 'b', 'c'] });
  const insert = async (state: string, cursor: number): Promise<string> => {
    const id = newCellId('workflow', 1);
    await store.db.query(
      `insert into workflows (id, kind, subject, input, state, cursor, owner, error) values ($1, 'shape', 's', '{}', $2, $3, 'dead', $4)`,
      [id, state, cursor, state === 'undoing' ? '{"code":"Cancelled","message":"m","step":"b"}' : null],
    );
    return id;
  };
  const [started, forward, undoing] = [
    await insert('running', 0),
    await insert('running', 2),
    await insert('undoing', 2),
  ];
  const one = await store.processor({ definitions: [grown] });
  await store.reaches(started, 'done');
  await store.reaches(forward, 'done');
  await store.reaches(undoing, 'undone');
  assert.deepEqual(await store.effects(started), ['a', 'b', 'more', 'c']);
  assert.deepEqual(await store.effects(forward), ['c']);
  assert.deepEqual(await store.effects(undoing), ['b.undo', 'a.undo', 'new.undo']);
  await one.stop();
});

test('a cursor that a processor of the first release moved is newer than the name beside it', () => {
  const table = new StepTable(tableOf(['a', 'more', 'b', 'c'], { cursorOrder: ['a', 'b', 'c'] }));
  const at = (step: string | null, step_cursor: number | null, cursor: number) =>
    table.positionOf({ step, step_cursor, cursor }, 'running');
  assert.equal(at('more', 1, 1), 1);
  assert.equal(at('more', 1, 2), 3, 'it did b since');
  assert.equal(at(null, null, 3), 4, 'it did all of its steps');
  assert.throws(() => at('gone', 1, 1), /does not have in this release/);
});

test('a row whose step this release does not have ends stuck, not in a loop', async () => {
  const one = await store.processor({ definitions: [tableOf(['a', 'b'])] });
  const id = newCellId('workflow', 1);
  await store.db.query(
    `insert into workflows (id, kind, subject, input, state, cursor, step, step_cursor, owner) values ($1, 'shape', 's', '{}', 'running', 1, 'gone', 1, 'dead')`,
    [id],
  );
  const row = await store.reaches(id, 'stuck');
  assert.match(row.last_error?.message ?? '', /step gone/);
  await one.stop();
});

/** The steps of version 1 of kinds that the first release does not have, as they landed. Rows of the last release name them. */
const landedSteps: Readonly<Record<string, readonly string[]>> = {
  recover: ['findInterface', 'ensureImage', 'prepareNetwork', 'placeInterface', 'launchVm'],
  drain: ['moveVms'],
  rebuild: [
    ...['moveVms', 'verifyEmpty', 'isolate', 'powerCycle', 'firmwareCheck', 'diagnostics', 'scrub'],
    ...['hostImage', 'slotLayout', 'networkConfiguration', 'validationLaunch', 'returnToService'],
  ],
};

test('the tables of this release: places go through names and the first release’s cursors and come back', () => {
  for (const definition of workflowDefinitions) {
    const landed = cursorOrders[definition.kind] ?? landedSteps[definition.kind];
    assert.ok(landed, `${definition.kind} has its frozen order, or its steps are named here once they land`);
    const table = new StepTable(definition);
    if ((definition.version ?? 1) === 1)
      for (const name of landed)
        assert.ok(
          definition.steps.some((step) => step.name === name),
          `${definition.kind}.${name}: raise the version`,
        );
    for (const way of ['running', 'undoing'] as const)
      for (let position = 0; position <= table.steps.length; position++) {
        const cursor = table.cursorAt(position);
        const row = { step: table.nameAt(position, way), step_cursor: cursor, cursor };
        assert.equal(table.positionOf(row, way), position, `${definition.kind} ${way} ${position}`);
      }
    assert.ok(
      workflowDefinitions.some(
        (each) => each.kind === definition.kind && (each.version ?? 1) === versionOf(definition.kind),
      ),
    );
  }
});

test('what an owner may have begun without writing it down is undone by whoever took over; what a park wrote down is not', async () => {
  const names = ['a', 'b', 'c'];
  const failing = defineWorkflow<unknown, Names, ModelServices>({
    kind: 'unwritten',
    steps: names.map((name) => ({
      name,
      why: 'a model',
      do: async () => {
        if (name === 'a') throw new PandoError('InvalidParameterValue', 'ordered');
        return null;
      },
      undo: async ({ services, workflowId }) => {
        await services.db.query('insert into effects (workflow_id, what) values ($1, $2)', [
          workflowId,
          `${name}.undo`,
        ]);
      },
    })),
  });
  const one = await store.processor({ definitions: [failing] });
  const ofDead = newCellId('workflow', 1);
  const insert = `insert into workflows (id, kind, subject, input, state, resume_state, owner, step, step_cursor, wake_at)
    values ($1, 'unwritten', 's', '{}', $2, 'running', 'dead', 'a', 0, now())`;
  await store.db.query(insert, [ofDead, 'running']);
  await store.reaches(ofDead, 'undone');
  assert.deepEqual(await store.effects(ofDead), ['c.undo', 'b.undo', 'a.undo']);
  const parked = newCellId('workflow', 1);
  await store.db.query(insert, [parked, 'waiting']);
  await store.reaches(parked, 'undone');
  assert.deepEqual(await store.effects(parked), ['a.undo']);
  await one.stop();
});
