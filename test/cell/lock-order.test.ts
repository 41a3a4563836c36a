/** Everything that locks several rows of a cell's store, at once and on the same rows: nobody waits in a circle. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sql } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import { PandoError } from '#contracts/errors.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { ec2, TestCell, type TestProcessor } from './support/harness.ts';

const hostCount = 4;
const rounds = 12;
/** All of it is on the same few rows, so that a loaded machine keeps one waiting for long: what this is about is who waits in a circle. */
const store = { statementTimeoutMs: 60_000, queryTimeoutMs: 70_000 };
let cell: TestCell;

before(async () => {
  cell = await TestCell.start();
  for (let n = 0; n < hostCount; n++)
    cell.addHost({ capacity: { vcpus: 64, memoryMib: 65_536, diskMib: 1_048_576 } });
});
after(() => cell.stop());

/** What users may be told when several of them change the same instances. */
const expected = new Set(['IncorrectInstanceState', 'InvalidInstanceID.NotFound', 'Cancelled']);

const shuffled = <T>(list: readonly T[]): T[] =>
  list
    .map((each) => ({ each, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ each }) => each);

const launch = async (processor: TestProcessor, count: number, more: object = {}): Promise<string[]> => {
  const counts = { MinCount: count, MaxCount: count };
  const input = { ImageId: cell.region.imageId, InstanceType: 'p1.nano', ...counts, ...more };
  const { Instances } = await ec2(processor.cell, 'RunInstances', input);
  return (Instances as { InstanceId: string }[]).map(({ InstanceId }) => InstanceId);
};

const change = async (processor: TestProcessor, action: string, ids: readonly string[]): Promise<void> => {
  await ec2(processor.cell, action, { InstanceIds: shuffled(ids) }).catch((error: unknown) => {
    if (!expected.has(PandoError.from(error).code)) throw error;
  });
};

/** As the reports of hosts do it, without their pause. */
const hear = async (
  processor: TestProcessor,
  hosts: readonly SimHost[],
  stop: AbortSignal,
): Promise<void> => {
  while (!stop.aborted) {
    for (const host of shuffled(hosts)) processor.cell.reports.report(host.report());
    await processor.cell.reports.flushHeard();
  }
};

test('launches of several, starts, stops, terminations, moves and reports at once: no deadlock, no false want of room', async () => {
  const processors = [await cell.addProcessor({ store }), await cell.addProcessor({ store })];
  const [one, two] = processors;
  assert.ok(one !== undefined && two !== undefined);
  const strategies = ['cluster', 'partition'] as const;
  for (const strategy of strategies) cell.region.addPlacementGroup(strategy, strategy, 3);
  const inGroup = () => ({ Placement: { GroupName: shuffled(strategies)[0] } });
  const mine = { Placement: { Tenancy: 'dedicated' } };
  // Nobody else's, so that dedicated ones find room on every host.
  const grouped = await launch(two, 6, inGroup());
  const ids = [...(await launch(one, 6)), ...grouped, ...(await launch(one, 2, mine))];
  const stop = new AbortController();
  const heard = processors.map((processor) => hear(processor, cell.hosts, stop.signal));
  const work = processors.flatMap((processor) => [
    repeat(async () => void (await launch(processor, 5))),
    repeat(async () => void (await launch(processor, 2, inGroup()))),
    repeat(async () => void (await launch(processor, 1, mine))),
    repeat(() => change(processor, 'StopInstances', shuffled(ids).slice(0, 6))),
    repeat(() => change(processor, 'StartInstances', shuffled(ids).slice(0, 6))),
    repeat(async () => change(processor, 'TerminateInstances', await launch(processor, 3))),
    repeat(() => move(processor, shuffled(ids)[0] ?? '', grouped)),
  ]);
  await Promise.all(work);
  stop.abort();
  await Promise.all(heard);
  for (const processor of processors) await processor.cell.engine.idle();
  await cell.reset();
  assert.equal(await deadlocks(cell.url), 0);
  assert.deepEqual(cell.world.violations, []);
});

const repeat = async (work: () => Promise<void>): Promise<void> => {
  for (let n = 0; n < rounds; n++) await work();
};

/** A member of a partition may be on the only host that its partition has: there is no place for it, and that is no false want. */
const move = async (
  processor: TestProcessor,
  instanceId: string,
  grouped: readonly string[],
): Promise<void> => {
  const call = processor.cell.operator['operator.migrate'];
  assert.ok(call !== undefined);
  try {
    await call({ instanceId });
  } catch (error) {
    const { code } = PandoError.from(error);
    const keptByGroup = code === 'InsufficientInstanceCapacity' && grouped.includes(instanceId);
    if (!expected.has(code) && !keptByGroup) throw error;
  }
};

/** Counted by the server since the database was made; what its processes counted is written when they end. */
const deadlocks = async (url: string): Promise<number> => {
  const db = openDatabase<Record<never, never>>({ url });
  try {
    const { rows } = await sql<{ n: number }>`
      select deadlocks as n from pg_stat_database where datname = current_database()`.execute(db);
    return rows[0]?.n ?? -1;
  } finally {
    await db.destroy();
  }
};
