/** Random schedules of kills, restarts, signals and timers: every commit happens once, no signal is lost or delivered twice. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { defineWorkflow } from '#cell/workflow/definition.ts';
import { sleepFor, waitForSignal } from '#cell/workflow/wait.ts';
import { PandoError } from '#contracts/errors.ts';
import {
  leaveEffect,
  type ModelProcessor,
  type ModelServices,
  ModelStore,
  withChildren,
} from '../support/model-engine.ts';

let store: ModelStore;

before(async () => {
  store = await ModelStore.open();
});
after(() => store.close());

const none = { none: 'a model' } as const;
const signalCount = 4;

interface Results {
  begin: null;
  hear: readonly string[];
  nap: null;
  flaky: null;
  family: number;
  end: null;
}

const child = defineWorkflow<unknown, { only: null }, ModelServices>({
  kind: 'child',
  steps: [
    {
      name: 'only',
      why: 'naps',
      do: async ({ waitedMs }) => (waitedMs > 0 ? null : sleepFor(15)),
      commit: leaveEffect('only'),
      undo: none,
    },
  ],
});

let flaws = 0;
const model = defineWorkflow<unknown, Results, ModelServices>({
  kind: 'model',
  steps: [
    { name: 'begin', why: 'a commit', do: async () => null, commit: leaveEffect('begin'), undo: none },
    {
      name: 'hear',
      why: 'takes signals one by one or several at once',
      do: async ({ signals }) => {
        const heard = signals('word').map((each) => each.id);
        return heard.length < signalCount ? waitForSignal(['word'], 60_000) : heard;
      },
      commit: leaveEffect('hear'),
      undo: none,
    },
    {
      name: 'nap',
      why: 'a timer',
      do: async ({ waitedMs }) => (waitedMs >= 20 ? null : sleepFor(20)),
      commit: leaveEffect('nap'),
      undo: none,
    },
    {
      name: 'flaky',
      why: 'a host that is away now and then',
      onFailure: 'retry',
      do: async () => {
        if (flaws++ % 3 !== 0)
          throw new PandoError('HostUnreachable', 'away', { details: { resource: 'host/h-1' } });
        return null;
      },
      commit: leaveEffect('flaky'),
      undo: none,
    },
    {
      name: 'family',
      why: 'starts others and awaits them',
      do: withChildren(['x', 'y']),
      commit: leaveEffect('family'),
      undo: none,
    },
    { name: 'end', why: 'a commit', do: async () => null, commit: leaveEffect('end'), undo: none },
  ],
});

const definitions = [model, child];
const commits = ['begin', 'hear', 'nap', 'flaky', 'family', 'end'];

const action = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('signal' as const),
      workflow: fc.nat(2),
      signal: fc.nat(signalCount - 1),
      by: fc.nat(1),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('kill' as const), which: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stop' as const), which: fc.nat(1) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pause' as const), ms: fc.nat(40) }) },
);

/** Two processors, of which one is replaced whenever it dies. */
class Pair {
  readonly #both: ModelProcessor[] = [];

  static async open(): Promise<Pair> {
    const pair = new Pair();
    for (const at of [0, 1]) pair.#both[at] = await store.processor({ definitions });
    return pair;
  }

  at(which: number): ModelProcessor {
    const found = this.#both[which];
    assert.ok(found);
    return found;
  }

  async replace(which: number, how: 'kill' | 'stop'): Promise<void> {
    await this.at(which)[how]();
    this.#both[which] = await store.processor({ definitions });
  }

  async close(): Promise<void> {
    for (const each of this.#both) await each.stop();
  }
}

test('whatever dies and whenever signals come, each commit happens once and each signal arrives once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 6, maxLength: 24 }), async (actions) => {
      const pair = await Pair.open();
      const ids = [0, 1, 2].map((at) => store.begin(pair.at(at % 2), { kind: 'model' }));
      const workflows = await Promise.all(ids);
      const send = (id: string, signal: number, by: number): Promise<unknown> =>
        pair.at(by).engine.signal({ workflowId: id, id: `s${signal}`, name: 'word', payload: signal });
      const sent: Promise<unknown>[] = [];
      for (const each of actions) {
        if (each.kind === 'pause') await delay(each.ms);
        else if (each.kind === 'signal')
          sent.push(send(workflows[each.workflow] ?? '', each.signal, each.by));
        else await pair.replace(each.which, each.kind);
      }
      // Whoever got no answer sends again, under the same id.
      for (const id of workflows) for (let at = 0; at < signalCount; at++) await send(id, at, at % 2);
      for (const id of workflows) {
        const row = await store.reaches(id, 'done', 'undone', 'stuck');
        assert.equal(row.state, 'done');
        assert.deepEqual(await store.effects(id), commits);
        const heard = row.results.hear as string[];
        assert.deepEqual([...heard].sort(), ['s0', 's1', 's2', 's3']);
        const children = await store.db.query<{ id: string }>(
          'select id from workflows where parent_id = $1',
          [id],
        );
        assert.equal(children.length, 2);
        for (const one of children) assert.deepEqual(await store.effects(one.id), ['only']);
      }
      await pair.close();
    }),
    { numRuns: 15, endOnFailure: true },
  );
});
