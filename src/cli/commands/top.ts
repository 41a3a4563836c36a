import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { gatherMetrics, mergeMetrics } from '#node/gatherMetrics.ts';
import { parseMetrics } from '../metricsText.ts';
import { hostNameOf } from '../operator.ts';
import { print, UserError } from '../output.ts';
import { openRun, type Region } from '../region.ts';
import { refuseSimulated } from '../simulated/directory.ts';
import { type Reading, topFacts, topScreen } from '../topView.ts';

const everyMs = 1_000;
/** Home, and what is left of the last screen below. The alternate screen keeps what was there before. */
const [enter, leave, home, clearLine, clearBelow] = [
  '\x1b[?1049h\x1b[?25l',
  '\x1b[?25h\x1b[?1049l',
  '\x1b[H',
  '\x1b[K',
  '\x1b[J',
];

/** `pando top`: what the region does now. Without a terminal it prints one screen after another. */
export async function top(options: { dir: string; once: boolean; json: boolean }): Promise<void> {
  const region = openRun(options);
  refuseSimulated(region.run, 'it has no metrics to show. pando status and pando logs are what there is.');
  let before = await read(region);
  if (before.samples.length === 0)
    throw new UserError(
      `No process of the region in ${region.directory.root} tells its metrics. pando status shows what runs; pando up brings back what is away.`,
    );
  const live = !options.once && !options.json && process.stdout.isTTY;
  if (live) onLive();
  for (;;) {
    await delay(everyMs);
    const now = await read(region);
    const facts = topFacts(before, now);
    before = now;
    if (options.json) print(JSON.stringify(facts, null, options.once ? 2 : 0));
    else {
      const title = `${region.run.regionName}${live ? '  (q or Ctrl-C ends)' : ''}`;
      show(topScreen(facts, title), live);
    }
    if (options.once) return;
  }
}

const read = async ({ directory, run }: Pick<Region, 'directory' | 'run'>): Promise<Reading> => ({
  samples: parseMetrics(mergeMetrics(await gatherMetrics(directory))),
  atMs: monotonicMs(),
  nameOf: (hostId) => hostNameOf(run, hostId),
});

const onLive = (): void => {
  process.stdout.write(enter);
  process.once('exit', () => process.stdout.write(leave));
  process.once('SIGINT', () => process.exit(0));
  process.once('SIGTERM', () => process.exit(0));
  if (!process.stdin.isTTY) return;
  process.stdin.setRawMode(true);
  process.stdin.on('data', (key: Buffer) => {
    if (key.includes('q') || key.includes(3)) process.exit(0);
  });
};

const show = (screen: string, live: boolean): void => {
  if (!live) {
    print(`${screen}\n`);
    return;
  }
  const rows = screen.split('\n').slice(0, Math.max(1, process.stdout.rows - 1));
  process.stdout.write(`${home}${rows.map((row) => row + clearLine).join('\n')}${clearBelow}`);
};
