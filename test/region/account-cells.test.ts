/** The index of accounts' cells, and what a cell may do that its operator has drained or retired. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';
import { newCellId } from '#contracts/ids.ts';
import { accountCells, noteAccounts } from '#region/account-cells.ts';
import { joinCell, listCells } from '#region/cells.ts';
import { cellsStep } from '#region/migrations-cells.ts';
import { noteLaunch } from './noteLaunch.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: unknown) => PandoError.from(error).code,
  );

describe('the cells of accounts (S3.10)', () => {
  let test: TestRegion;
  let client: Client;
  const record = (cellId: string, number: number) => ({
    ...{ cellId, number, zone: 'test-1a', state: 'active' as const, processors: [`127.0.0.1:${number}`] },
  });
  const join = (cellId: string, number: number) =>
    joinCell(test.region, record(cellId, number), {
      closed: true,
      call: () => Promise.reject(new Error('nobody is called')),
    });
  before(async () => {
    test = await startTestRegion();
    client = await test.account();
    for (const [cellId, number] of [
      ['cell-x', 1],
      ['cell-y', 2],
      ['cell-z', 3],
    ] as const)
      await join(cellId, number);
  });
  after(() => test.stop());

  it('are noted before a launch is durable, and by the cells themselves', async () => {
    const { db } = test.region;
    assert.deepEqual(await accountCells(db, client.accountId), []);
    await noteLaunch(db, client.accountId, 'cell-y');
    await noteLaunch(db, client.accountId, 'cell-y');
    assert.deepEqual(await accountCells(db, client.accountId), ['cell-y']);
    await noteAccounts(db, 'cell-x', [client.accountId, client.accountId]);
    await noteAccounts(db, 'cell-unknown', [client.accountId]);
    await noteAccounts(db, 'cell-z', []);
    assert.deepEqual(await accountCells(db, client.accountId), ['cell-x', 'cell-y']);
  });

  it('let a draining cell launch nothing, whatever its processors say when they join again', async () => {
    const { db } = test.region;
    await sql`update cell set drained_at = now(), state = 'draining' where cell_id = 'cell-z'`.execute(db);
    await join('cell-z', 3);
    assert.equal((await listCells(test.region)).find(({ number }) => number === 3)?.state, 'draining');
    assert.equal(await codeOf(noteLaunch(db, client.accountId, 'cell-z')), 'InsufficientInstanceCapacity');
    assert.deepEqual(await accountCells(db, client.accountId), ['cell-x', 'cell-y']);
  });

  it('end with a cell that is retired, which neither launches, joins nor is listed again', async () => {
    const { db } = test.region;
    await sql`update cell set retired_at = now() where cell_id = 'cell-y'`.execute(db);
    assert.deepEqual(await accountCells(db, client.accountId), ['cell-x']);
    assert.equal(await codeOf(noteLaunch(db, client.accountId, 'cell-y')), 'InsufficientInstanceCapacity');
    assert.equal(await codeOf(join('cell-y', 2)), 'Conflict');
    assert.equal(await codeOf(join('cell-new', 2)), 'Conflict', 'its number is in ids for ever');
    assert.deepEqual(
      (await listCells(test.region)).map(({ cellId }) => cellId),
      ['cell-x', 'cell-z'],
    );
  });

  it('are known of what the last release launched', async () => {
    const { db } = test.region;
    const other = await test.account();
    await other.launch({ instanceId: newCellId('instance', 1) });
    await sql`insert into launch_token (account_id, token, cell_id) values (${other.accountId}, 't', 'cell-z')`.execute(
      db,
    );
    const [fill = ''] = /insert into account_cell[^;]*;/.exec(cellsStep) ?? [];
    await sql`delete from account_cell`.execute(db);
    await sql.raw(fill).execute(db);
    assert.deepEqual(await accountCells(db, other.accountId), ['cell-x', 'cell-z']);
  });
});
