/** The payments service as a process of its own, as it is deployed: a phone must not share its thread. Forked by `serviceApart`. */
import { start } from '#payments/start.ts';

/** What the service's process has used since it began. */
export interface ServiceUse {
  readonly cpuMs: number;
  readonly rssBytes: number;
}

const use = (): ServiceUse => {
  const { user, system } = process.cpuUsage();
  return { cpuMs: (user + system) / 1_000, rssBytes: process.memoryUsage().rss };
};

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
