/** Cells are made, drained, emptied and retired under a running region, and the next one comes by itself (S3.2, S3.7, S3.12). */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { cellNumberOf } from '#contracts/ids.ts';
import type { OperatorCell } from '#contracts/operator.ts';
import { type Network, typeSmallest } from './support/cloud.ts';
import { processesOf } from './support/processes.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { until } from './support/until.ts';
import { vmmOf } from './support/vmm.ts';

const vmsMax = 5;

describe('the life of cells', { timeout: 15 * 60_000 }, () => {
  let region: TestRegion;
  let network: Network;
  before(async () => {
    region = await startRegion({ cells: 1, hostsPerCell: 2, record: { cellLimits: { vms: vmsMax } } });
    network = await region.cloud.network('10.40.0.0/16', [22]);
  });
  after(() => region?.[Symbol.asyncDispose]());

  const launch = async (): Promise<string> => {
    const [id] = await region.cloud.launch({ network, type: typeSmallest });
    assert.ok(id);
    await region.cloud.reach('running', [id]);
    return id;
  };
  const list = async (): Promise<OperatorCell[]> =>
    (JSON.parse(await region.pando('cell', 'list', '--json')) as { cells: OperatorCell[] }).cells;
  const states = async () => (await list()).map(({ cellId, state, canary }) => [cellId, state, canary]);
  const refusal = (...args: string[]): Promise<string> =>
    region.pando(...args).then(
      () => 'it was not refused',
      (error: unknown) => String(error),
    );
  /** The name of the host on which a VM runs. */
  const hostOf = (id: string): string => `host-${vmmOf(id).host.split('-').at(-1)}`;

  it('goes from one cell to the next with a VM running, and every refusal says what to do', async () => {
    const { cloud, pando, directory } = region;
    const kept = await launch();
    const { pid } = vmmOf(kept);
    await pando('cell', 'create', '--hosts', '1', '--canary');
    assert.deepEqual(await states(), [
      ['cell-a', 'active', false],
      ['cell-b', 'active', true],
    ]);

    await pando('cell', 'drain', 'cell-a');
    const second = await launch();
    assert.equal(cellNumberOf(second), 2, 'the draining cell launches nothing');
    assert.equal(vmmOf(kept).pid, pid, 'and keeps what it has');

    const free = ['host-1', 'host-2'].find((host) => host !== hostOf(kept)) ?? assert.fail();
    assert.match(await refusal('host', 'rehome', free, '--to', 'cell-b'), /drain it first/);
    await pando('host', 'drain', free);
    await pando('host', 'rehome', free, '--to', 'cell-b');
    await pando('host', 'drain', 'host-3');
    const third = await launch();
    assert.deepEqual([cellNumberOf(third), hostOf(third)], [2, free], 'it serves its new cell');
    assert.match(await refusal('cell', 'retire', 'cell-a'), /cell-a has host-/);

    assert.equal(vmmOf(kept).pid, pid, 'nothing has touched it');
    const emptied = hostOf(kept);
    assert.match(await refusal('host', 'rehome', emptied, '--to', 'cell-b'), /drain it first/);
    await cloud.terminate([kept]);
    await pando('host', 'drain', emptied);
    await until('its host has nothing left', () =>
      pando('host', 'rehome', emptied, '--to', 'cell-b').then(() => true),
    );
    await until('the empty cell is retired', () => pando('cell', 'retire', 'cell-a').then(() => true));
    assert.deepEqual(await states(), [
      ['cell-a', 'retired', false],
      ['cell-b', 'active', true],
    ]);
    const names = (await processesOf(directory)).map(({ name }) => name);
    assert.ok(!names.some((name) => name.includes('cell-a')), names.join(' '));
    const described = await cloud.describe([second, third]);
    assert.ok(described.every(({ state }) => state === 'running'));
  });

  it('makes the next one by itself when the last one nears its limits', async () => {
    await region.pando('host', 'drain', 'host-3', '--undo');
    while ((await list()).find(({ cellId }) => cellId === 'cell-b')?.contents?.vms !== vmsMax - 1)
      await launch();
    await until('the supervisor has made cell-c', async () =>
      (await states()).some(([cellId, state]) => cellId === 'cell-c' && state === 'active'),
    );
    await until('launches go to it', async () => cellNumberOf(await launch()) === 3);
    assert.equal((await list()).length, 3, 'one, not more');
  });
});
