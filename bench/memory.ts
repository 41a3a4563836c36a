/** What each of Pando's processes holds of memory at rest, without VMs: `node bench/memory.ts`. */
import { setTimeout as pause } from 'node:timers/promises';
import { table } from '#cli/output.ts';
import { processesOf } from '../test/e2e/support/processes.ts';
import { startRegion } from '../test/e2e/support/region.ts';
import { memoryOf } from './support/processCosts.ts';

const restMs = 10_000;
const mib = (kib: number): string => (kib / 1024).toFixed(1).padStart(7);

await using region = await startRegion();
await pause(restMs);
const rows = (await processesOf(region.directory)).map(({ name, kind, pid }) => ({
  name,
  kind,
  ...memoryOf([pid]),
}));
const total = (key: 'rssKib' | 'pssKib'): number => rows.reduce((sum, row) => sum + row[key], 0);
console.log(
  'RSS counts shared pages in every process, PSS divides them. PostgreSQL with its own processes.\n',
);
console.log(
  table([
    ['process', 'kind', 'RSS MiB', 'PSS MiB'],
    ...rows.map((row) => [row.name, row.kind, mib(row.rssKib), mib(row.pssKib)]),
    ['all', '', mib(total('rssKib')), mib(total('pssKib'))],
  ]),
);
