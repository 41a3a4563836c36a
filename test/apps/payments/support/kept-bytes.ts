/**
 * Prints the bytes that collections of the young generation move to the old one for each statement: `{ "ours": …, "library": … }`.
 * A process of its own, since the test runner follows every promise, which keeps some of them. Argument: a database's URL.
 */
import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics } from 'node:v8';
import { openPool, run } from '#payments/store/pool.ts';

const statements = 6_000;
const text = 'select 1 a, $1::int b';
const countsMax = 5;

/** Collections of the old generation: each takes away what is counted. */
let oldCollections = 0;
const kindOf = (entry: PerformanceEntry): unknown =>
  'detail' in entry && typeof entry.detail === 'object' && entry.detail !== null && 'kind' in entry.detail
    ? entry.detail.kind
    : undefined;
new PerformanceObserver((seen) => {
  for (const entry of seen.getEntries())
    if (kindOf(entry) !== constants.NODE_PERFORMANCE_GC_MINOR) oldCollections += 1;
}).observe({ entryTypes: ['gc'] });

const oldBytes = (): number =>
  getHeapSpaceStatistics().find((space) => space.space_name === 'old_space')?.space_used_size ?? 0;

async function keptBytes(ask: () => Promise<unknown>): Promise<number> {
  // Code is compiled and the young generation grows meanwhile.
  for (let at = 0; at < statements; at += 1) await ask();
  for (let count = 1; ; count += 1) {
    const [before, collected] = [oldBytes(), oldCollections];
    for (let at = 0; at < statements; at += 1) await ask();
    const kept = (oldBytes() - before) / statements;
    if (oldCollections === collected || count >= countsMax) return kept;
  }
}

const pool = openPool({ url: process.argv[2] ?? '', poolMax: 1 });
const client = await pool.connect();
const ours = await keptBytes(() => run(client, text, [3]));
const library = await keptBytes(() => client.query({ name: 'library', text, values: [3] }));
client.release();
await pool.end();
console.log(JSON.stringify({ ours, library }));
