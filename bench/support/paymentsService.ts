/** The payments service as a process of its own, as it is deployed: a phone must not share its thread. Forked by `serviceApart`. */
import { PerformanceObserver } from 'node:perf_hooks';
import { z } from 'zod';
import { start } from '#payments/start.ts';

/** What the service's process has used since it began, and what it saw since it was last asked. */
export interface ServiceUse {
  readonly cpuMs: number;
  readonly rssBytes: number;
  /** By the header `x-bench` of a request: from its headers to its answer's end, as the service sees it. */
  readonly servedMs: Readonly<Record<string, readonly number[]>>;
  /** Garbage collections that stopped the service. */
  readonly pausesMs: readonly number[];
}

const entriesMax = 100_000;
const Tagged = z.object({ req: z.object({ headers: z.object({ 'x-bench': z.string() }) }) });

let servedMs: Record<string, number[]> = {};
let pausesMs: number[] = [];
new PerformanceObserver((seen) => {
  for (const entry of seen.getEntries()) {
    const { entryType, duration } = entry;
    const kind = Tagged.safeParse('detail' in entry ? entry.detail : undefined).data?.req.headers['x-bench'];
    if (entryType !== 'gc' && kind === undefined) continue;
    if (kind !== undefined) servedMs[kind] ??= [];
    const times = kind === undefined ? pausesMs : servedMs[kind];
    if (times !== undefined && times.length < entriesMax) times.push(duration);
  }
}).observe({ entryTypes: ['gc', 'http'] });

function use(): ServiceUse {
  const { user, system } = process.cpuUsage();
  const seen = { servedMs, pausesMs };
  [servedMs, pausesMs] = [{}, []];
  return { cpuMs: (user + system) / 1_000, rssBytes: process.memoryUsage().rss, ...seen };
}

const running = await start({
  databaseUrl: process.argv[2] ?? '',
  mode: 'demo',
  port: 0,
  origin: 'http://localhost:8480',
  operatorToken: 'bench-operator-token',
  accountRequestsPerS: 1_000_000,
});
process.on('message', () => process.send?.(use()));
// Whoever forked us has closed the channel, or is gone.
process.once('disconnect', () => void running.close().then(() => process.exit(0)));
process.send?.(running.url);
