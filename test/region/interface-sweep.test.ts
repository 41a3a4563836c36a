/** Interfaces against instances: only the word of the instance's own cell releases one. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PandoError } from '#contracts/errors.ts';
import { newCellId } from '#contracts/ids.ts';
import type { InstanceFate } from '#contracts/region.ts';
import { joinCell, leave } from '#region/cells.ts';
import { releasesPerSweepMax } from '#region/interface-sweep.ts';
import { allocateInterface, vpcStateOf } from '#region/interfaces.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

let region: TestRegion;
let alice: Client;
before(async () => {
  region = await startTestRegion({ sweepGraceMs: 0, sweepEveryMs: 3_600_000 });
  alice = await region.account();
});
after(() => region.stop());

type Answer = { cellId: string; instances: { instanceId: string; fate: InstanceFate }[] };

/** A processor of a cell, as the region sees it; answers about its instances with what `fates` says. */
const cellOf = async (number: number, answer: (instanceIds: string[]) => Answer) => {
  const asked: string[][] = [];
  const stream = {
    closed: false,
    call: async (method: string, params: unknown): Promise<never> => {
      if (method !== 'cell.instances') return { version: 1, unreachable: [] } as never;
      const { instanceIds } = params as { instanceIds: string[] };
      asked.push(instanceIds);
      return answer(instanceIds) as never;
    },
  };
  const cellId = `cell-${number}`;
  const record = { cellId, number, processors: [], zone: 'test-1a', state: 'active' as const };
  await joinCell(region.region, record, stream);
  return { cellId, asked, leave: () => leave(region.region, stream) };
};

const all =
  (cellId: string, fate: InstanceFate) =>
  (instanceIds: string[]): Answer => ({
    cellId,
    instances: instanceIds.map((instanceId) => ({ instanceId, fate })),
  });

const made = async (number: number) => {
  const instanceId = newCellId('instance', number);
  return alice.launch({ instanceId });
};

const isThere = async ({ vpcId, eniId }: { vpcId: string; eniId: string }): Promise<boolean> =>
  (await vpcStateOf(region.region, vpcId)).ports.some((port) => port.eniId === eniId);

test('an instance that its cell says has ended loses its interface; it never gets another', async () => {
  const orphan = await made(1);
  const cell = await cellOf(1, all('cell-1', 'ended'));
  assert.equal(await region.region.sweeper.turn(), 1);
  assert.equal(await isThere(orphan), false);
  const again = { accountId: alice.accountId, subnetId: '', groupIds: [], publicIp: false };
  const subnetId = (await alice.call('DescribeSubnets', {})).Subnets?.[0]?.SubnetId ?? '';
  await assert.rejects(
    allocateInterface(region.region, { ...again, subnetId, instanceId: orphan.instanceId }),
    { code: 'StaleEpoch' },
  );
  cell.leave();
});

test('present, unknown, silent, another name, another cell’s instance: each is kept, and unknown is told', async () => {
  const kept = async (number: number, answer: (ids: string[]) => Answer) => {
    const own = await made(number);
    const cell = await cellOf(number, answer);
    assert.equal(await region.region.sweeper.turn(), 0);
    assert.deepEqual(cell.asked, [[own.instanceId]], 'it was asked, about its own alone');
    assert.ok(await isThere(own));
    cell.leave();
    return own;
  };
  await kept(2, all('cell-2', 'present'));
  const unknown = await kept(3, all('cell-3', 'unknown'));
  assert.deepEqual([...region.region.sweeper.kept], [unknown.instanceId]);
  await kept(4, () => {
    throw new PandoError('HostUnreachable', 'silent');
  });
  await kept(5, all('cell-4', 'ended'));
  const other = await made(6);
  await kept(7, () => ({ cellId: 'cell-7', instances: [{ instanceId: other.instanceId, fate: 'ended' }] }));
  assert.ok(await isThere(other), 'whoever was not asked about it has no say');
});

test('a young interface is not looked at; a pass releases a bounded number', async () => {
  const young = await startTestRegion({ sweepEveryMs: 3_600_000 });
  try {
    const client = await young.account();
    const one = await client.launch({ instanceId: newCellId('instance', 8) });
    assert.equal(await young.region.sweeper.turn(), 0);
    assert.equal((await vpcStateOf(young.region, one.vpcId)).ports.length, 1);
  } finally {
    await young.stop();
  }
  const many = releasesPerSweepMax + 3;
  for (let n = 0; n < many; n++) await made(9);
  const cell = await cellOf(9, all('cell-9', 'ended'));
  assert.equal(await region.region.sweeper.turn(), releasesPerSweepMax);
  assert.equal(await region.region.sweeper.turn(), many - releasesPerSweepMax);
  cell.leave();
});
