/** A host is in exactly one cell, and moves by drain, then re-home (S3.2): two cells with stores of their own, simulated hosts. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { FillWatch } from '#cell/contents.ts';
import { PandoError } from '#contracts/errors.ts';
import { SimCaller } from '#simhost/caller.ts';
import { SimHost } from '#simhost/sim-host.ts';
import { startTestDatabase, type TestDatabase } from '../base/postgres/test-database.ts';
import { ec2, TestCell, type TestProcessor, until, zone } from './support/harness.ts';
import { launch, reaches } from './support/instances.ts';

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => PandoError.from(error).code,
  );

describe('a host that moves to another cell (S3.2)', () => {
  let database: TestDatabase;
  let one: TestCell;
  let other: TestCell;
  let first: TestProcessor;
  let twin: TestProcessor;
  let second: TestProcessor;
  let host: SimHost;

  before(async () => {
    database = await startTestDatabase();
  });
  after(() => database.stop());
  beforeEach(async () => {
    const shared = { url: database.url, stop: async () => undefined };
    [one, other] = [await TestCell.start(shared, 1), await TestCell.start(shared, 2)];
    host = one.addHost({ hostId: 'h-moving' });
    [first, twin, second] = [await one.addProcessor(), await one.addProcessor(), await other.addProcessor()];
  });
  afterEach(async () => {
    for (const cell of [one, other]) await cell.stop();
  });

  /** Dials a cell once, as its agent does. */
  const dial = async (processor: TestProcessor, from = host): Promise<void> => {
    const caller = new SimCaller(from);
    from.joined(await processor.cell.reports.hello(from.hello(), caller));
  };
  const drain = async (processor = first): Promise<void> => {
    const { hostId } = host;
    await processor.cell.operator['operator.drainHost']({ hostId });
    await until('the drain has ended', async () => {
      const { workflowId } = await processor.cell.operator['operator.host']({ hostId });
      return workflowId === undefined;
    });
  };
  const undrain = (processor = first) =>
    processor.cell.operator['operator.drainHost']({ hostId: host.hostId, undo: true });
  const rehome = (number = 2, processor = first) =>
    processor.cell.operator['operator.rehomeHost']({
      hostId: host.hostId,
      to: { cellId: `cell-${number}`, cellNumber: number },
    });
  const hostsOf = async (processor: TestProcessor) =>
    (await processor.cell.operator['operator.hosts']({})).hosts.map(({ hostId }) => hostId);

  it('takes no new VMs while it drains, keeps those that it has, and moves only when it has none', async () => {
    const kept = await launch(first.cell, one.region);
    await reaches(first.cell, kept, 'running');
    assert.equal(await codeOf(rehome()), 'IncorrectState', 'it may still be given VMs');
    const draining = drain();
    const early: string[] = [];
    // One that comes before the drain is begun with has its place, and is of those that the host keeps.
    await until('it takes no launches', async () => {
      const code = await codeOf(launch(first.cell, one.region).then((id) => early.push(id)));
      return code === 'InsufficientInstanceCapacity';
    });
    assert.equal(await codeOf(launch(twin.cell, one.region)), 'InsufficientInstanceCapacity');
    await assert.rejects(rehome(), /in the hands of|still has i-/);
    assert.equal(host.vms.get(kept)?.state, 'running');
    await ec2(first.cell, 'TerminateInstances', { InstanceIds: [kept, ...early] });
    for (const id of [kept, ...early]) await reaches(first.cell, id, 'terminated');
    await draining;
    await until('nothing is left on the host', () => host.vms.size === 0);
    assert.equal((await rehome()).generation, 2);
    assert.deepEqual(await hostsOf(first), []);
    await dial(second);
    assert.deepEqual(await hostsOf(second), [host.hostId]);
    const there = await launch(second.cell, other.region);
    await reaches(second.cell, there, 'running');
    assert.ok(host.vms.has(there));
  });

  it('is forgotten by the cell that it left, answered alike when asked again, and may come back', async () => {
    await drain();
    await rehome();
    assert.equal((await rehome()).generation, 2, 'the same again');
    assert.equal(await codeOf(dial(first)), 'Conflict');
    await dial(second);
    await drain(second);
    const back = { hostId: host.hostId, to: { cellId: 'cell-1', cellNumber: 1 } };
    assert.equal((await second.cell.operator['operator.rehomeHost'](back)).generation, 3);
    await dial(first);
    assert.deepEqual([await hostsOf(first), await hostsOf(second)], [[host.hostId], []]);
  });

  it('that claims two cells has one: its pin, a copy of its former disk and a lost disk are refused', async () => {
    assert.equal(await codeOf(dial(second)), 'Conflict', 'pinned to the first');
    const copy = new SimHost({ hostId: host.hostId, zone, vtep: '198.18.1.11', world: one.world });
    copy.joined({ cellId: 'cell-1', region: 'test-1' });
    const empty = new SimHost({ hostId: host.hostId, zone, vtep: '198.18.1.11', world: one.world });
    await drain();
    await rehome();
    await dial(second);
    assert.equal(await codeOf(dial(first, copy)), 'Conflict', 'it says what was true before the move');
    assert.equal(await codeOf(dial(first, empty)), 'Conflict', 'it says nothing');
    assert.deepEqual([await hostsOf(first), await hostsOf(second)], [[], [host.hostId]]);
  });

  it('has gone also where its answer was lost: its own word is enough', async () => {
    await drain();
    host.faults.order('host.rehome', { kind: 'crash-after' });
    assert.notEqual(await codeOf(rehome()), 'ok');
    assert.equal(await codeOf(undrain()), 'IncorrectState', 'it may have gone');
    await until('it has dialled its former cell again', async () => (await hostsOf(first)).length === 0);
    assert.equal((await rehome()).generation, 2);
    await dial(second);
    assert.deepEqual(await hostsOf(second), [host.hostId]);
  });

  it('stays where it says itself that it has VMs, whatever the rows say', async () => {
    await drain();
    const error = new PandoError('IncorrectState', 'This host has VMs.');
    host.faults.order('host.rehome', { kind: 'fail', error });
    assert.equal(await codeOf(rehome()), 'IncorrectState');
    await undrain();
    assert.deepEqual(await hostsOf(first), [host.hostId]);
    assert.equal(await codeOf(rehome()), 'IncorrectState');
  });

  it('goes to one cell where two are named at once', async () => {
    await drain();
    const outcomes = await Promise.all([codeOf(rehome(2)), codeOf(rehome(3, twin))]);
    assert.deepEqual(outcomes.toSorted(), ['IncorrectState', 'ok']);
    assert.deepEqual(await hostsOf(first), []);
    const [lost] = [2, 3].filter((_, i) => outcomes[i] !== 'ok');
    await assert.rejects(rehome(lost), /h-moving has gone to cell-[23]\./, 'also once the other has ended');
  });

  it('is unknown: said so', async () => {
    const to = { cellId: 'cell-2', cellNumber: 2 };
    const { operator } = first.cell;
    assert.equal(await codeOf(operator['operator.rehomeHost']({ hostId: 'h-none', to })), 'NotFound');
  });
});

describe('a cell that fills (S3.7)', () => {
  let cell: TestCell;
  let processor: TestProcessor;
  before(async () => {
    cell = await TestCell.start();
    cell.addHost();
    processor = await cell.addProcessor({ vmsMax: 5, hostsMax: 2 });
  });
  after(() => cell.stop());

  it('says so when a limit nears, tells its accounts, and takes nothing beyond', async () => {
    const watch = new FillWatch(processor.cell.services);
    await watch.look();
    assert.equal(watch.near, false);
    for (let at = 0; at < 4; at += 1) await launch(processor.cell, cell.region);
    await watch.look();
    assert.equal(watch.near, true, 'four of five');
    cell.addHost();
    await processor.dial(cell.hosts[1] ?? assert.fail('no host'));
    await assert.rejects(processor.dial(cell.addHost()), /is full: 2 hosts/);
    await until('the region was told of the account', () => cell.region.accounts.size > 0, 40_000);
  });
});
