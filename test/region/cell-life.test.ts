/** A cell is drained, marked and retired by its operator, and retired on positive proof alone (S3.7, S3.12). */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { sql } from 'kysely';
import { boundsFor, checkBounds, endsOf } from '#base/rpc/access.ts';
import { regionAccess } from '#contracts/access.ts';
import { PandoError } from '#contracts/errors.ts';
import { newCellId } from '#contracts/ids.ts';
import type { CellContents } from '#contracts/region.ts';
import { describeCells, drainedMsMin, retireCell, setCell } from '#region/cell-life.ts';
import { joinCell, listCells } from '#region/cells.ts';
import { releaseInterface } from '#region/interfaces.ts';
import { factsOf } from '#region/server.ts';
import { noteLaunch } from './noteLaunch.ts';
import { startTestRegion, type TestRegion } from './test-region.ts';

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => PandoError.from(error).code,
  );

const cellId = 'cell-x';
const number = 9;
const empty: CellContents = {
  ...{ cellId, hosts: 0, hostsMax: 10, vms: 0, vmsMax: 100, quarantined: 0, workflows: 0 },
};

describe('a cell’s life', () => {
  let test: TestRegion;
  /** What the cell answers; undefined: nothing. */
  let contents: CellContents | undefined;
  const record = { cellId, number, zone: 'test-1a', state: 'active' as const, processors: ['127.0.0.1:9'] };
  const stream = {
    closed: false,
    call: async (method: string) => {
      if (method === 'cell.contents' && contents !== undefined) return contents as never;
      throw new PandoError('HostUnreachable', 'no answer');
    },
  };
  before(async () => {
    test = await startTestRegion();
    await joinCell(test.region, record, stream);
    await joinCell(test.region, { ...record, cellId: 'cell-y', number: 8 }, { ...stream, closed: true });
  });
  after(() => test.stop());
  beforeEach(() => {
    contents = empty;
  });

  const drainedLongAgo = () =>
    sql`update cell set drained_at = now() - ${drainedMsMin + 1_000} * interval '1 millisecond'
        where cell_id = ${cellId}`.execute(test.region.db);
  const shown = async (id = cellId) =>
    (await describeCells(test.region)).find((cell) => cell.cellId === id) ?? assert.fail('not shown');

  it('is shown with what it says of itself, and without where it does not answer', async () => {
    assert.deepEqual((await shown()).contents, empty);
    assert.equal((await shown('cell-y')).contents, undefined);
    contents = { ...empty, cellId: 'cell-z' };
    assert.equal((await shown()).contents, undefined, 'an answer under another name is none');
  });

  it('is marked as a canary, which routers and rollouts read', async () => {
    assert.equal((await setCell(test.region, { cellId, canary: true })).canary, true);
    await joinCell(test.region, { ...record, canary: false }, stream);
    const marks = (await listCells(test.region)).map((cell) => [cell.cellId, cell.canary]);
    assert.deepEqual(marks, [
      ['cell-y', undefined],
      [cellId, true],
    ]);
    assert.equal((await setCell(test.region, { cellId, canary: false })).state, 'active');
    assert.equal(await codeOf(setCell(test.region, { cellId: 'cell-none', canary: true })), 'NotFound');
  });

  it('is drained and takes launches again', async () => {
    const { accountId } = await test.account();
    assert.equal((await setCell(test.region, { cellId, drained: true })).state, 'draining');
    assert.equal(await codeOf(noteLaunch(test.region.db, accountId, cellId)), 'InsufficientInstanceCapacity');
    assert.equal((await setCell(test.region, { cellId, drained: false })).state, 'active');
    assert.equal(await codeOf(noteLaunch(test.region.db, accountId, cellId)), 'ok');
  });

  it('is retired only drained, after launches on their way have ended, by its own word, and with nothing left', async () => {
    const retire = () => retireCell(test.region, cellId);
    await assert.rejects(retire(), /drain it first/);
    await setCell(test.region, { cellId, drained: true });
    await assert.rejects(retire(), /may still be on its way/);
    await drainedLongAgo();
    await setCell(test.region, { cellId, drained: true });
    contents = undefined;
    assert.equal(await codeOf(retire()), 'HostUnreachable', 'silence proves nothing');
    for (const part of ['hosts', 'vms', 'quarantined', 'workflows'] as const) {
      contents = { ...empty, [part]: 1 };
      assert.equal(await codeOf(retire()), 'IncorrectState', part);
    }
    contents = empty;
    const account = await test.account();
    const { instanceId } = await account.launch({ instanceId: newCellId('instance', number) });
    await assert.rejects(retire(), /1 network interfaces/);
    await releaseInterface(test.region, instanceId);
    const mayAllocate = () => {
      const [caller, self] = ['spiffe://pando/cell/cell-x/cell-x-1', 'spiffe://pando/region/-/region'];
      const ends = endsOf(caller, self);
      const bounds = boundsFor(regionAccess, 'region.allocateInterface', ends);
      assert.notEqual(bounds, 'any');
      const params = { instanceId: newCellId('instance', number) };
      return bounds === 'any'
        ? undefined
        : checkBounds('region.allocateInterface', bounds, ends, params as never, factsOf(test.region));
    };
    await mayAllocate();
    await retire();
    await retire();
    await assert.rejects(async () => mayAllocate(), { code: 'UnauthorizedOperation' });
    assert.equal((await shown()).state, 'retired');
    assert.equal(await codeOf(setCell(test.region, { cellId, drained: false })), 'IncorrectState');
    assert.equal(await codeOf(joinCell(test.region, record, stream)), 'Conflict');
    assert.deepEqual(
      (await listCells(test.region)).map((cell) => cell.cellId),
      ['cell-y'],
    );
    assert.equal(await codeOf(retireCell(test.region, 'cell-none')), 'NotFound');
  });
});
