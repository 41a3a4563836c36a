/** What is done about errors, by class: what is away is waited for, what is refused is not; what is poisoned ends stuck and is told. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { commitTriesMax } from '#cell/limits.ts';
import { retryNow } from '#cell/store/workflow-waits.ts';
import { requestCancel } from '#cell/store/workflows.ts';
import { defineWorkflow, type WorkflowDefinition } from '#cell/workflow/definition.ts';
import { retryClassOf, workflowErrorOf } from '#cell/workflow/retry.ts';
import { type ErrorCode, errorCatalogue, PandoError } from '#contracts/errors.ts';
import { until } from '../support/harness.ts';
import {
  fastTiming,
  leaveEffect,
  type ModelDefinition,
  type ModelProcessor,
  type ModelServices,
  ModelStore,
} from '../support/model-engine.ts';

let store: ModelStore;

before(async () => {
  store = await ModelStore.open();
});
after(() => store.close());

/** What the one risky step of a model does; changed by tests, counted. */
const risky = { tries: 0, act: (): unknown => undefined };
const arrange = (act: () => unknown): void => {
  Object.assign(risky, { tries: 0, act });
};
const fail = (code: ErrorCode, resource?: string) => (): never => {
  throw new PandoError(code, 'ordered', resource === undefined ? {} : { details: { resource } });
};

type Results = { first: null; risky: null };
type Model = WorkflowDefinition<unknown, Results, ModelServices>;
const model = (
  kind: string,
  more: Partial<Model['steps'][number]>,
  onEnd: Partial<Model> = {},
): ModelDefinition =>
  defineWorkflow<unknown, Results, ModelServices>({
    kind,
    steps: [
      {
        name: 'first',
        why: 'can be undone',
        do: async () => null,
        commit: leaveEffect('first'),
        undo: async ({ services, workflowId }) => {
          await services.db.query("insert into effects (workflow_id, what) values ($1, 'first.undo')", [
            workflowId,
          ]);
        },
      },
      {
        name: 'risky',
        why: 'fails as ordered',
        do: async () => {
          risky.tries++;
          risky.act();
          return null;
        },
        undo: { none: 'a model' },
        ...more,
      } as Model['steps'][number],
    ],
    ...onEnd,
  });

const commitFails = {
  commit: async (tx: { query(text: string): Promise<unknown> }): Promise<void> => {
    risky.tries++;
    await tx.query('select 1 / 0');
  },
};
const definitions = [
  model('undoable', { retry: { unreachableMs: 500 } }),
  model('patient', { retry: { unreachableMs: 600_000 } }),
  model('forward', { onFailure: 'retry', noReturn: true }),
  model('bad-commit', commitFails),
  model('bad-commit-forward', { ...commitFails, onFailure: 'retry', noReturn: true }),
  model('bad-result-undoable', { do: async () => '\0' as unknown as null }),
  model('bad-result', { onFailure: 'retry', noReturn: true, do: async () => '\0' as unknown as null }),
  model(
    'bad-undo',
    { do: async () => fail('InvalidParameterValue')() },
    {
      onUndone: async (tx) => {
        await tx.query('select 1 / 0');
        return [];
      },
    },
  ),
];

/** What each `undo` leaves, for tables whose steps are not durable one by one. */
const undoes = (name: string) => ({
  name,
  why: 'is done in memory, and can be undone',
  do: async (): Promise<unknown> => null,
  undo: async ({ services, workflowId }: { services: ModelServices; workflowId: string }): Promise<void> => {
    await services.db.query('insert into effects (workflow_id, what) values ($1, $2)', [
      workflowId,
      `${name}.undo`,
    ]);
  },
});
/** Of its four steps the second and third leave no word in the row. */
definitions.push(
  defineWorkflow<unknown, Record<string, unknown>, ModelServices>({
    kind: 'far',
    steps: [
      { ...undoes('one'), commit: async () => undefined },
      undoes('two'),
      undoes('three'),
      { ...undoes('four'), onFailure: 'retry', do: async () => '\0' },
    ],
  }),
);

const processor = (more: Partial<Parameters<ModelStore['processor']>[0]> = {}): Promise<ModelProcessor> =>
  store.processor({ definitions, ...more });

test('what is refused is not tried again', async () => {
  const one = await processor();
  arrange(fail('InvalidParameterValue'));
  const row = await store.reaches(await store.begin(one, { kind: 'undoable' }), 'undone');
  assert.equal(risky.tries, 1);
  assert.deepEqual(await store.effects(row.id), ['first', 'first.undo']);
  await one.stop();
});

test('a fault is tried a few times', async () => {
  const one = await processor();
  arrange(fail('InternalError'));
  await store.reaches(await store.begin(one, { kind: 'undoable' }), 'undone');
  assert.equal(risky.tries, 4);
  await one.stop();
});

test('what is unreachable is waited for as a row, as long as its budget lasts', async () => {
  const one = await processor();
  arrange(fail('HostUnreachable'));
  const id = await store.begin(one, { kind: 'patient' });
  await until(
    'it waits, and holds no slot',
    async () => (await store.row(id)).state === 'waiting' && one.engine.load === 0,
  );
  arrange(() => undefined);
  assert.equal((await store.reaches(id, 'done')).error, null);
  arrange(fail('Unavailable'));
  const given = await store.begin(one, { kind: 'undoable' });
  const began = performance.now();
  const row = await store.reaches(given, 'undone');
  assert.equal(row.error?.code, 'Unavailable');
  assert.ok(performance.now() - began >= 500, 'not before its budget');
  await one.stop();
});

test('what is busy when it is there again has its own patience, and no more than that', async () => {
  const one = await processor();
  const began = performance.now();
  const awayMs = 2 * (fastTiming.busyWaitMs ?? 0);
  let busyFor = 1;
  let busy = 0;
  arrange(() => {
    if (performance.now() - began < awayMs) fail('Unavailable')();
    if (busy++ < busyFor) fail('Conflict')();
  });
  const id = await store.begin(one, { kind: 'patient' });
  assert.equal((await store.reaches(id, 'done', 'undone')).state, 'done');
  assert.equal(busy, 2);
  busyFor = Number.POSITIVE_INFINITY;
  const row = await store.reaches(await store.begin(one, { kind: 'patient' }), 'undone');
  assert.equal(row.error?.code, 'Conflict');
  await one.stop();
});

test('a workflow whose host is away is woken by the processor that the host dials, at once', async () => {
  const slow = { timing: { parkMsMin: 60_000, parkMsMax: 60_000 } };
  const one = await processor(slow);
  const two = await processor(slow);
  const act = (): void => {
    if (!two.reached.has('host/h-7')) fail('HostUnreachable', 'host/h-7')();
  };
  arrange(act);
  const id = await store.begin(one, { kind: 'forward' });
  const parked = await store.reaches(id, 'waiting');
  assert.equal(parked.waits_on, 'host/h-7');
  two.reached.add('host/h-7');
  two.engine.reached('host/h-7');
  await store.reaches(id, 'done');
  await one.stop();
  await two.stop();
});

test('many that wait for one dead host hold no slot of others', async () => {
  const one = await processor({ concurrencyMax: 4 });
  let away = true;
  arrange(() => {
    if (away) fail('HostUnreachable', 'host/h-1')();
  });
  const waiting = await Promise.all(Array.from({ length: 40 }, () => store.begin(one, { kind: 'forward' })));
  for (const id of waiting) await store.reaches(id, 'waiting');
  away = false;
  one.reached.add('host/h-1');
  one.engine.reached('host/h-1');
  for (const id of waiting) await store.reaches(id, 'done');
  await one.stop();
});

test('a step or commit that cannot be given up and always fails ends stuck, with an alarm; another try or a cancellation goes on', async () => {
  for (const kind of ['forward', 'bad-commit-forward', 'bad-result', 'bad-undo']) {
    const one = await processor();
    arrange(fail('InternalError'));
    const id = await store.begin(one, { kind });
    const row = await store.reaches(id, 'stuck');
    assert.equal(row.wake_at, null, `${kind}: nobody tries it again by itself`);
    assert.ok(row.last_error !== null && row.last_error.message !== '', kind);
    const told = await until('the alarm', () =>
      one.alarms.find((each) => each.alarm === 'workflow-stuck' && each.workflow === id),
    );
    assert.equal(told.kind, kind);
    const { tries } = risky;
    assert.ok(tries < 100, `${kind}: a bounded number of tries, not ${tries}`);
    arrange(() => undefined);
    if (kind === 'forward') {
      assert.ok(await retryNow(store.db, id));
      one.engine.hint();
      await store.reaches(id, 'done');
    }
    await one.stop();
  }
});

test('a stuck workflow that a user cancels gets another chance', async () => {
  const one = await processor();
  arrange(fail('InternalError'));
  const id = await store.begin(one, { kind: 'forward' });
  await store.reaches(id, 'stuck');
  arrange(() => undefined);
  await requestCancel(store.db, id);
  one.engine.cancel(id);
  await store.reaches(id, 'done');
  await one.stop();
});

test('a commit that always fails is undone where it can be', async () => {
  const one = await processor();
  arrange(() => undefined);
  const row = await store.reaches(await store.begin(one, { kind: 'bad-commit' }), 'undone');
  assert.ok(risky.tries <= 6);
  assert.match(row.error?.message ?? '', /division by zero/);
  assert.deepEqual(await store.effects(row.id), ['first', 'first.undo']);
  await one.stop();
});

test('a result that the store refuses is undone without it, where the step can be undone', async () => {
  const one = await processor();
  const id = await store.begin(one, { kind: 'bad-result-undoable' });
  const row = await store.reaches(id, 'undone');
  assert.equal(row.epoch, 1, 'by the execution that met it, not by one take-over after the other');
  assert.deepEqual(row.results, { first: null });
  assert.match(row.error?.message ?? '', /\S/);
  assert.deepEqual(await store.effects(row.id), ['first', 'first.undo']);
  await one.stop();
});

test('what an execution did before it ended without a word is undone too', async () => {
  const one = await processor();
  const all = ['four.undo', 'three.undo', 'two.undo', 'one.undo'];
  const stuck = await store.begin(one, { kind: 'far' });
  await store.reaches(stuck, 'stuck');
  await requestCancel(store.db, stuck);
  one.engine.hint();
  await store.reaches(stuck, 'undone');
  assert.deepEqual(await store.effects(stuck), all);
  // Nobody runs it here any more, and it was parked before: its place is known, and it may have come further.
  const lost = await store.begin(one, { kind: 'far' });
  await store.reaches(lost, 'stuck');
  await store.db.query(
    `update workflows set state = 'running', cancel = true, taken_over = false, updated_at = now() - interval '11 seconds' where id = $1`,
    [lost],
  );
  await store.reaches(lost, 'undone');
  assert.deepEqual(await store.effects(lost), all);
  await one.stop();
});

test('a point of no return stands behind a durable step: nobody who goes on with the row is before it by mistake', () => {
  const table = (more: object) =>
    defineWorkflow<unknown, Record<string, unknown>, ModelServices>({
      kind: 'final',
      steps: [
        { ...undoes('one'), ...more },
        { ...undoes('two'), noReturn: true },
      ],
    });
  assert.throws(() => table({}), /durable/);
  assert.ok(table({ commit: async () => undefined }));
});

test('an error is kept as the store can take it, however long it is', () => {
  const { message } = workflowErrorOf(new Error(`\0${'x'.repeat(1_999)}\u{1f525}`), 'step');
  assert.ok(message.isWellFormed() && !message.includes('\0'));
});

test('a store that is away is no poison: the transaction is tried until it is there', async () => {
  // More than a fault would be given, and few enough for pauses that double.
  let left = commitTriesMax + 3;
  const away = (): Error | undefined => {
    if (left-- <= 0) return undefined;
    return left % 2 === 0
      ? Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
      : Object.assign(new Error('cannot execute UPDATE in a read-only transaction'), { code: '25006' });
  };
  const one = await processor({ poison: away });
  arrange(() => undefined);
  const id = await store.begin(one, { kind: 'forward' });
  await store.reaches(id, 'done');
  assert.deepEqual(await store.effects(id), ['first']);
  await one.stop();
});

test('every code has a class, and errors of the store have theirs by SQLSTATE', () => {
  for (const traits of Object.values(errorCatalogue))
    assert.ok(['unreachable', 'busy', 'fault', 'refused'].includes(traits.class));
  const classes = {
    '08006': 'unreachable',
    '57P01': 'unreachable',
    '25006': 'unreachable',
    '53100': 'unreachable',
  };
  const rest = { '40001': 'busy', '40P01': 'busy', '23505': 'fault', '22P05': 'fault', '42601': 'fault' };
  for (const [code, expected] of Object.entries({ ...classes, ...rest }))
    assert.equal(retryClassOf(Object.assign(new Error('x'), { code })), expected, code);
  assert.equal(retryClassOf(new PandoError('NotReady', 'x')), 'unreachable');
  assert.equal(retryClassOf(new TypeError('x')), 'fault');
});
