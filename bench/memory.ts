/**
 * What each of Pando's processes holds of memory at rest, without VMs: `node bench/memory.ts [COMMIT]`. With a commit, that commit's region
 * is measured first, then this tree's, each alone on the machine.
 */
import { rmSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { table } from '#cli/output.ts';
import { processesOf } from '../test/e2e/support/processes.ts';
import { startRegion } from '../test/e2e/support/region.ts';
import { checkOut } from '../test/support/formerRelease.ts';
import { memoryOf } from './support/processCosts.ts';

const restMs = 10_000;
const mib = (kib: number): string => (kib / 1024).toFixed(1).padStart(7);

async function measure(title: string, tree?: string): Promise<number> {
  await using region = await startRegion({
    cells: 1,
    hostsPerCell: 2,
    ...(tree === undefined ? {} : { tree }),
  });
  await pause(restMs);
  const rows = (await processesOf(region.directory)).map(({ name, kind, pid }) => ({
    name,
    kind,
    ...memoryOf([pid]),
  }));
  const total = (key: 'rssKib' | 'pssKib'): number => rows.reduce((sum, row) => sum + row[key], 0);
  console.log(`${title}\n`);
  console.log(
    table([
      ['process', 'kind', 'RSS MiB', 'PSS MiB'],
      ...rows.map((row) => [row.name, row.kind, mib(row.rssKib), mib(row.pssKib)]),
      ['all', '', mib(total('rssKib')), mib(total('pssKib'))],
    ]),
  );
  return total('pssKib');
}

console.log(
  'RSS counts shared pages in every process, PSS divides them. PostgreSQL with its own processes.\n',
);
const commit = process.argv[2];
if (commit === undefined) await measure('this tree');
else {
  const tree = await checkOut(commit);
  try {
    const before = await measure(commit, tree);
    console.log('');
    const now = await measure('this tree');
    console.log(`\nthis tree ÷ ${commit}: ${(now / before).toFixed(2)} (PSS of all)`);
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}
