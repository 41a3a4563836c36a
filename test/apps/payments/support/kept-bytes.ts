/**
 * Prints the bytes that collections of the young generation move to the old one for each statement: `{ "ours": …, "library": … }`.
 * A process of its own, since the test runner follows every promise, which keeps some of them. Argument: a database's URL.
 */
import { getHeapSpaceStatistics } from 'node:v8';
import { openPool, run } from '#payments/store/pool.ts';

const statements = 6_000;
const looksEvery = 50;
const text = 'select 1 a, $1::int b';

const oldBytes = (): number =>
  getHeapSpaceStatistics().find((space) => space.space_name === 'old_space')?.space_used_size ?? 0;

async function keptBytes(ask: () => Promise<unknown>): Promise<number> {
  // Code is compiled and the young generation grows meanwhile.
  for (let at = 0; at < statements; at += 1) await ask();
  let moved = 0;
  let before = oldBytes();
  for (let at = 0; at < statements; at += 1) {
    await ask();
    if (at % looksEvery !== looksEvery - 1) continue;
    // A collection of the old generation, which may fall into any measure, takes away what earlier ones of the young one moved there.
    const now = oldBytes();
    moved += Math.max(0, now - before);
    before = now;
  }
  return moved / statements;
}

const pool = openPool({ url: process.argv[2] ?? '', poolMax: 1 });
const client = await pool.connect();
const ours = await keptBytes(() => run(client, text, [3]));
const library = await keptBytes(() => client.query({ name: 'library', text, values: [3] }));
client.release();
await pool.end();
console.log(JSON.stringify({ ours, library }));
