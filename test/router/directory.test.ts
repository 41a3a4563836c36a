/** The list of cells: who misses a cell in it is answered by a fetch that began after he asked. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { CellRecord } from '#contracts/region.ts';
import { routerLimits } from '#router/config.ts';
import { CellDirectory } from '#router/directory.ts';
import type { RegionLink } from '#router/regionLink.ts';

const cell = (number: number): CellRecord => ({
  ...{ cellId: `cell-${number}`, number, zone: 'test-1a', processors: [], state: 'active' },
});

/** A region whose answers wait until they are let go; each is what the region had when it was asked. */
const setUp = (t: { after(work: () => void): void }) => {
  const region = { has: [cell(1)], asked: [] as (() => void)[] };
  const cells = () => {
    const had = [...region.has];
    return new Promise<{ cells: CellRecord[] }>((resolve) =>
      region.asked.push(() => resolve({ cells: had })),
    );
  };
  const tls = { ca: '', cert: '', key: '' };
  const limits = { ...routerLimits.parse({}), cellsEveryMs: 3_600_000 };
  const directory = new CellDirectory(
    { cells } as unknown as RegionLink,
    tls,
    limits,
    pino({ level: 'silent' }),
  );
  t.after(() => directory.close());
  return { region, directory };
};

test('a cell that joined while the list was being fetched is found by who looks for it', async (t) => {
  const { region, directory } = setUp(t);
  const first = directory.refresh();
  region.asked[0]?.();
  await first;
  // A fetch is under way, and was answered before the cell came.
  const periodic = directory.refresh();
  region.has.push(cell(2));
  const wanted = [directory.byNumber(2), directory.byNumber(2)];
  await new Promise((wake) => setImmediate(wake));
  region.asked[1]?.();
  await periodic;
  await new Promise((wake) => setImmediate(wake));
  region.asked[2]?.();
  for (const found of await Promise.all(wanted)) assert.equal(found?.record.cellId, 'cell-2');
  assert.equal(region.asked.length, 3, 'both by one more fetch');
});
