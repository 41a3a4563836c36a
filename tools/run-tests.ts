/**
 * Runs the whole check: types, format and lint, then every test, and ends with one summary.
 * `node tools/run-tests.ts [pattern…]`: only test files whose path contains a pattern, without types and lint.
 * `--soak`: also the long ones, `*.soak.test.ts`, which are otherwise run only where a pattern names them.
 * `--times`: at the end, what every file took, not only the slowest.
 *
 * Files run side by side as far as the machine has processors (`test-runner/shares.ts`), those on real parts (namespaces, virtual
 * machines) two at a time; all go through one reporter, so that their counts come as one.
 */
import { spawn } from 'node:child_process';
import { once, setMaxListeners } from 'node:events';
import { chmodSync, globSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { appNames, ensureAppModules } from '#cli/appModules.ts';
import { removeAbandonedRuns } from '#lab/teardown.ts';
import {
  endChildren,
  removeAbandoned,
  removeAbandonedLabs,
  removeScratch,
  scratchOf,
} from '../test/support/abandoned.ts';
import { makeTemplate } from '../test/support/cluster.ts';
import { Output } from './test-runner/output.ts';
import { type Job, runAll } from './test-runner/schedule.ts';
import { shareOf } from './test-runner/shares.ts';
import { Totals } from './test-runner/totals.ts';
import { Usages } from './test-runner/usage.ts';

// All temporary files of the run lie in one directory, so that nothing of them outlives it.
const scratch = scratchOf(process.pid);
/** What the files of a run have in common: compiled modules, a new database cluster, what each file took. */
const shared = join(scratch, 'shared');
const home = join(import.meta.dirname, '..');
const preloaded = ['fileLimit.ts', 'fileUsage.ts'].flatMap((name) => [
  '--import',
  join(home, 'test/support', name),
]);
const testTimeoutMs = 15 * 60_000;
const slowestShown = 20;

/** Ends the tests; what is left of them is removed all the same. */
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupted.abort());
// Who reads the output may end before this process does: by the same Ctrl-C (`| tee`), or as soon as it has enough (`| head`).
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => interrupted.abort());
// Every file that runs has listeners there.
setMaxListeners(0, interrupted.signal, process);

async function check(what: string, command: string, args: readonly string[]): Promise<boolean> {
  const begun = performance.now();
  const { signal } = interrupted;
  const child = spawn(command, args, { cwd: home, stdio: ['ignore', 'inherit', 'inherit'], signal });
  child.on('error', (error) => console.error(`${command}: ${error.message}`));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  console.log(`${code === 0 ? '✔' : '✖'} ${what} (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
  return code === 0;
}

/** Side by side: the compiler keeps one processor busy for the longest time. */
async function checkAll(): Promise<{ types: boolean; style: boolean }> {
  const compiler = join(home, 'node_modules/.bin/tsc');
  const folders = ['src', 'test', 'bench', 'images', 'tools', 'apps'];
  const [types, [ofPages, style]] = await Promise.all([
    check('types', compiler, ['--noEmit']),
    (async () => [
      await check('types of the pages', compiler, ['--noEmit', '-p', 'apps/payments/web']),
      await check('format and lint', join(home, 'node_modules/.bin/biome'), ['check', ...folders]),
    ])(),
  ]);
  return { types: types && ofPages === true, style: style === true };
}

/** Runs the files, prints what they report, and adds up what they took. */
async function runFiles(files: readonly string[], totals: Totals, usages: Usages): Promise<void> {
  const output = new Output();
  const printed = output.stream.pipe(new spec());
  printed.on('data', (text: string) => process.stdout.write(text));
  const runOne = async ({ file }: Job): Promise<void> => {
    output.begin(file);
    const begun = performance.now();
    for await (const event of run({
      files: [file],
      concurrency: 1,
      timeout: testTimeoutMs,
      execArgv: preloaded,
      cwd: home,
      signal: interrupted.signal,
    }))
      if (!totals.take(event)) output.say(file, event);
    usages.add(file, (performance.now() - begun) / 1000);
    output.end(file);
  };
  const jobs = files.map((file) => ({ file, share: shareOf(relative(join(home, 'test'), file)) }));
  await runAll(jobs, availableParallelism(), runOne, () => interrupted.signal.aborted);
  for (const event of totals.events) output.stream.write(event);
  output.stream.end();
  await once(printed, 'end');
}

/** Runs the files in a scratch directory. Whatever comes of it, nothing of it is left. */
async function runInScratch(files: readonly string[], whole: boolean, totals: Totals, usages: Usages) {
  const formerTmpdir = process.env.TMPDIR;
  await removeAbandoned(console.log);
  try {
    makeScratch();
    // Once, before many files would make it at the same time.
    if (whole) await makeTemplate(shared);
    await runFiles(files, totals, usages);
  } finally {
    await endChildren();
    await removeAbandonedRuns(console.log);
    await removeScratch(scratch);
    if (formerTmpdir === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = formerTmpdir;
    await removeAbandonedLabs(console.log);
  }
}

/** The directory of the run's files, and the variables by which the tests' processes find it. */
function makeScratch(): void {
  const compiled = join(shared, 'compiled');
  mkdirSync(compiled, { recursive: true, mode: 0o755 });
  // Processes of every user keep theirs there, each user in a directory of its own.
  chmodSync(compiled, 0o1777);
  process.env.TMPDIR = scratch;
  process.env.PANDO_TEST_SHARED = shared;
  // Node keeps compiled modules, types stripped, for the next process: a test file or a command has some 500 of them.
  process.env.NODE_COMPILE_CACHE = compiled;
}

const isSoak = (file: string): boolean => file.endsWith('.soak.test.ts');

async function main(args: readonly string[]): Promise<boolean> {
  const soak = args.includes('--soak');
  const patterns = args.filter((each) => !each.startsWith('--'));
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
  const { types, style } = whole ? await checkAll() : { types: true, style: true };

  const totals = new Totals();
  const usages = new Usages(shared, home);
  await runInScratch(files, whole, totals, usages);
  const times = args.includes('--times');
  const table = usages.table(times ? files.length : slowestShown);
  if (files.length > 1 || times) console.log(`the slowest files:\n${table.join('\n')}`);
  if (interrupted.signal.aborted) console.log('✖ interrupted');
  const failed = totals.of('fail') + totals.of('cancelled') + (types ? 0 : 1) + (style ? 0 : 1);
  if (!types) console.log('✖ types failed, see above');
  if (!style) console.log('✖ format and lint failed, see above');
  if (whole && !soak) console.log(`${all.length - files.length} long test files left out: --soak runs them`);
  console.log(`\n${totals.of('pass')} passed, ${failed} failed`);
  return failed === 0 && !interrupted.signal.aborted && totals.of('pass') > 0;
}

process.exitCode = (await main(process.argv.slice(2))) ? 0 : 1;
