/**
 * Runs the whole check: types, format and lint, then every test, and ends with one summary.
 * `node tools/run-tests.ts [pattern…]`: only test files whose path contains a pattern, without types and lint.
 * `--soak`: also the long ones, `*.soak.test.ts`, which are otherwise run only where a pattern names them.
 *
 * Tests on real parts (namespaces, virtual machines) run one file at a time, the others as many as there are cores;
 * both go through one reporter, so that their counts come as one.
 */
import { spawnSync } from 'node:child_process';
import { globSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { appNames, ensureAppModules } from '#cli/appModules.ts';
import { removeAbandonedRuns } from '#lab/teardown.ts';
import { endChildren, removeAbandonedLabs, removeScratch, scratchOf } from '../test/support/abandoned.ts';

// All temporary files of the run lie in one directory, so that nothing of them outlives it.
const scratch = scratchOf(process.pid);
const home = join(import.meta.dirname, '..');
const realParts = ['e2e', 'images', 'agent', 'card', 'gateway', 'lab'];
const fileLimit = join(home, 'test/support/fileLimit.ts');
const testTimeoutMs = 15 * 60_000;
const slowestShown = 20;

/** Ends the tests; what is left of them is removed all the same. */
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => interrupted.abort());

interface TestEvent {
  readonly type: string;
  readonly data: unknown;
}

/** How long each file's tests took: what a whole run's time is made of. */
class FileTimes {
  readonly #ms = new Map<string, number>();

  take({ type, data }: TestEvent): void {
    if (type !== 'test:pass' && type !== 'test:fail') return;
    const { nesting, file, details } = data as {
      nesting: number;
      file?: string;
      details: { duration_ms: number };
    };
    if (nesting !== 0 || file === undefined) return;
    this.#ms.set(file, (this.#ms.get(file) ?? 0) + details.duration_ms);
  }

  /** Lines of a table, the slowest first. */
  slowest(count: number): string[] {
    return [...this.#ms]
      .sort(([, one], [, other]) => other - one)
      .slice(0, count)
      .map(([file, ms]) => `${(ms / 1000).toFixed(1).padStart(7)} s  ${relative(home, file)}`);
  }
}

/** Adds up the figures that each run reports at its end, so that they are printed once for all. */
class Totals {
  readonly #sums = new Map<string, number>();

  /** Whether this event was a figure of a run's summary, now taken into account. */
  take(event: TestEvent): boolean {
    const { type, data } = event as {
      type: string;
      data: { message?: string; nesting?: number; file?: string };
    };
    if (type === 'test:summary') return true;
    if (type !== 'test:diagnostic' || data.nesting !== 0) return false;
    const match = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/.exec(
      data.message ?? '',
    );
    if (match?.[1] === undefined) return false;
    this.#sums.set(match[1], (this.#sums.get(match[1]) ?? 0) + Number(match[2]));
    return true;
  }

  of(name: string): number {
    return this.#sums.get(name) ?? 0;
  }

  get events(): TestEvent[] {
    return [...this.#sums].map(([name, sum]) => ({
      type: 'test:diagnostic',
      data: {
        nesting: 0,
        message: `${name} ${name === 'duration_ms' ? sum.toFixed(0) : sum}`,
        level: 'info',
      },
    }));
  }
}

function check(what: string, command: string, args: readonly string[]): boolean {
  const begun = performance.now();
  const { status } = spawnSync(command, args, { cwd: home, stdio: 'inherit' });
  console.log(`${status === 0 ? '✔' : '✖'} ${what} (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
  return status === 0;
}

const isReal = (file: string): boolean =>
  realParts.includes(relative(join(home, 'test'), file).split('/')[0] ?? '');

async function* events(
  files: readonly string[],
  totals: Totals,
  times: FileTimes,
): AsyncGenerator<TestEvent> {
  const groups = [
    { files: files.filter((file) => !isReal(file)), concurrency: availableParallelism() },
    { files: files.filter(isReal), concurrency: 1 },
  ];
  for (const group of groups) {
    if (group.files.length === 0 || interrupted.signal.aborted) continue;
    for await (const event of run({
      ...group,
      timeout: testTimeoutMs,
      execArgv: ['--import', fileLimit],
      cwd: home,
      signal: interrupted.signal,
    })) {
      times.take(event);
      if (!totals.take(event)) yield event;
    }
  }
  yield* totals.events;
}

const isSoak = (file: string): boolean => file.endsWith('.soak.test.ts');

async function main(args: readonly string[]): Promise<boolean> {
  const soak = args.includes('--soak');
  const patterns = args.filter((each) => each !== '--soak');
  const all = globSync('test/**/*.test.ts', { cwd: home })
    .map((file) => join(home, file))
    .sort();
  const files =
    patterns.length === 0
      ? all.filter((file) => soak || !isSoak(file))
      : all.filter((file) => patterns.some((each) => file.includes(each)));
  if (files.length === 0) {
    console.error(`No test file matches ${patterns.join(' ')}.`);
    return false;
  }
  const whole = patterns.length === 0;
  // An application's tests, and the types of everything, need the application's own packages.
  for (const app of appNames)
    if (whole || files.some((file) => file.includes(`/test/apps/${app}/`) || file.includes(`/e2e/${app}.`)))
      await ensureAppModules(app);
  const compiler = join(home, 'node_modules/.bin/tsc');
  const types =
    !whole ||
    (check('types', compiler, ['--noEmit']) &&
      check('types of the pages', compiler, ['--noEmit', '-p', 'apps/payments/web']));
  const style =
    !whole ||
    check('format and lint', join(home, 'node_modules/.bin/biome'), [
      'check',
      'src',
      'test',
      'bench',
      'images',
      'tools',
      'apps',
    ]);

  const totals = new Totals();
  const times = new FileTimes();
  await removeAbandonedLabs(console.log);
  mkdirSync(scratch, { mode: 0o755 });
  process.env.TMPDIR = scratch;
  for await (const text of Readable.from(events(files, totals, times)).pipe(new spec()))
    process.stdout.write(text);
  await endChildren();
  await removeAbandonedRuns(console.log);
  await removeScratch(scratch);
  delete process.env.TMPDIR;
  await removeAbandonedLabs(console.log);

  if (files.length > 1) console.log(`the slowest files:\n${times.slowest(slowestShown).join('\n')}`);
  if (interrupted.signal.aborted) console.log('✖ interrupted');
  const failed = totals.of('fail') + totals.of('cancelled') + (types ? 0 : 1) + (style ? 0 : 1);
  if (!types) console.log('✖ types failed, see above');
  if (!style) console.log('✖ format and lint failed, see above');
  if (whole && !soak) console.log(`${all.length - files.length} long test files left out: --soak runs them`);
  console.log(`\n${totals.of('pass')} passed, ${failed} failed`);
  return failed === 0 && !interrupted.signal.aborted && totals.of('pass') > 0;
}

process.exitCode = (await main(process.argv.slice(2))) ? 0 : 1;
