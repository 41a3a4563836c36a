/**
 * The fault matrix of rebuilds (S5.5): every step × {fail, crash, repeat, host gone}. Whatever happened, the host ends as after a rebuild
 * without faults, and the step under way was gone on with, not the list begun anew.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { rebuildWorkflow } from '#cell/workflows/rebuild.ts';
import { rebuildSteps } from '#reconfiguration/steps.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { startTestDatabase, type TestDatabase } from '../base/postgres/test-database.ts';
import { doomedLease, kill, lease } from './support/fault-matrix.ts';
import { TestCell, type TestProcessor, until } from './support/harness.ts';
import { type Mode, modes, OrderedFaults } from './support/ordered-faults.ts';

const timing = { duePollMs: 60, parkMsMin: 20, parkMsMax: 100 };
const settleMsMax = 30_000;
const hostManifest = { image: 'sim-2' };
const lanes = 3;

interface Lane {
  readonly setup: TestCell;
  readonly survivor: TestProcessor;
  readonly host: SimHost;
}

let database: TestDatabase;
const free: Lane[] = [];
const all: Lane[] = [];
const waiting: ((lane: Lane) => void)[] = [];

before(async () => {
  database = await startTestDatabase();
  for (let made = 0; made < lanes; made++) {
    const setup = await TestCell.start({ url: database.url, stop: async () => undefined });
    const host = setup.addHost();
    all.push({ setup, host, survivor: await setup.addProcessor({ ...lease, timing, hostManifest }) });
  }
  free.push(...all);
});
after(async () => {
  for (const { setup } of all) await setup.stop();
  await database.stop();
});

const withLane = async (work: (lane: Lane) => Promise<void>): Promise<void> => {
  const lane = free.pop() ?? (await new Promise<Lane>((taken) => waiting.push(taken)));
  try {
    await work(lane);
  } finally {
    const next = waiting.shift();
    if (next === undefined) free.push(lane);
    else next(lane);
  }
};

const rowOf = async ({ survivor, host }: Lane) =>
  (await survivor.cell.operator['operator.hosts']({})).hosts.find(({ hostId }) => hostId === host.hostId);

const settled = (lane: Lane) =>
  until(
    'the host is nobody’s',
    async () => {
      const row = await rowOf(lane);
      return row?.workflowId === undefined && row;
    },
    settleMsMax,
  );

const spoil = ({ host }: Lane): void => {
  Object.assign(host.rebuild.machine, {
    residue: true,
    image: 'another',
    layout: 'another',
    network: 'another',
  });
  host.rebuild.steps.length = 0;
};

const assertRebuilt = async (lane: Lane): Promise<void> => {
  const { host, survivor } = lane;
  const row = await settled(lane);
  assert.deepEqual([row.state, row.phase], ['active', undefined]);
  const { machine } = host.rebuild;
  assert.deepEqual([machine.residue, machine.image, machine.network], [false, 'sim-2', 'as-configured']);
  assert.equal(host.rebuild.isolated, false);
  const passes = await survivor.cell.services.db.query(
    "select 1 from workflows where kind = 'rebuild' and state = 'undone'",
  );
  assert.equal(passes.length, 0, 'no pass was given up');
};

/** The steps that the host carried out, each run of the same one counted once. */
const order = ({ host }: Lane): string[] =>
  host.rebuild.steps.filter((step, at, steps) => step !== steps[at - 1]);

const arrange = (faults: OrderedFaults, step: string, mode: Mode, kill: () => void): void => {
  const name = `rebuild.${step}`;
  const point = `${name}.${mode.endsWith('before') ? 'before' : 'after'}`;
  if (mode === 'repeat') faults.repeat(name);
  else if (mode.startsWith('crash')) faults.crashAt(point, kill);
  else faults.failAt(point, 2);
};

const steps = rebuildWorkflow.steps.map(({ name }) => name);
/** Up to here a pass that fails gives the host back as it was. */
const givesBack = (step: string, mode: Mode): boolean =>
  (step === 'moveVms' || step === 'verifyEmpty') && mode.startsWith('fail');

const assertGivenBack = async (lane: Lane): Promise<void> => {
  const row = await settled(lane);
  assert.deepEqual([row.state, row.phase], ['active', undefined]);
  const { machine, isolated } = lane.host.rebuild;
  assert.deepEqual([machine.residue, machine.image, isolated], [true, 'another', false]);
  assert.ok(!lane.host.rebuild.steps.includes('isolate'));
  await lane.survivor.cell.services.db.query("delete from workflows where state = 'undone'");
};

test('rebuild: every step × every fault', { concurrency: lanes }, async (t) => {
  await Promise.all(
    steps.flatMap((step) =>
      modes.map((mode) =>
        t.test(`${step} ${mode}`, () =>
          withLane(async (lane) => {
            const faults = new OrderedFaults();
            const faulty = await lane.setup.addProcessor({ ...doomedLease, faults, timing, hostManifest });
            try {
              spoil(lane);
              arrange(faults, step, mode, () => kill(faulty, lane.survivor));
              const { hostId } = lane.host;
              // The answer of a processor that is killed never comes.
              const asked = faulty.cell.operator['operator.rebuildHost']({ hostId, full: true });
              const reached = until('the fault', () => faults.reached.size > 0, settleMsMax);
              await Promise.all([reached, Promise.race([asked, reached])]);
              if (givesBack(step, mode)) return await assertGivenBack(lane);
              await assertRebuilt(lane);
              assert.deepEqual(order(lane), rebuildSteps, 'each step in its turn, none begun anew');
            } finally {
              await faulty.stop();
            }
          }),
        ),
      ),
    ),
  );
});

test('rebuild: the host goes away in every step, before and after it was carried out', {
  concurrency: lanes,
}, async (t) => {
  await Promise.all(
    rebuildSteps.flatMap((step) =>
      (['before', 'after'] as const).map((when) =>
        t.test(`${step} ${when}`, () =>
          withLane(async (lane) => {
            spoil(lane);
            const { hostId, rebuild } = lane.host;
            rebuild.diesIn = { step, when };
            await lane.survivor.cell.operator['operator.rebuildHost']({ hostId, full: true });
            await assertRebuilt(lane);
            assert.equal(rebuild.diesIn, undefined, 'it died');
            assert.deepEqual(order(lane), rebuildSteps);
          }),
        ),
      ),
    ),
  );
});

test('a frozen processor that wakes up in the middle commands nothing any more', async () => {
  await withLane(async (lane) => {
    const { host, survivor } = lane;
    const condition = survivor.cell.services.hosts.call(host.hostId, 'rebuild.condition', {});
    assert.ok((await condition).bootId);
    spoil(lane);
    await survivor.cell.operator['operator.rebuildHost']({ hostId: host.hostId });
    await settled(lane);
    const done = host.rebuild.steps.length;
    // What a former owner of an earlier pass sends late.
    const command = { workflowId: 'w-former', step: 'scrub', epoch: 1, generation: 1 };
    for (const step of ['verifyEmpty', 'isolate', 'scrub', 'returnToService'] as const)
      await assert.rejects(
        survivor.cell.services.hosts.call(host.hostId, 'rebuild.step', { command, step, wanted: {} }),
        { code: 'StaleEpoch' },
      );
    assert.equal(host.rebuild.steps.length, done);
  });
});
